#!lua flags=allow-oom
-- Stops a consumer for good where it is, with the reason.
--
-- KEYS    1 {consumer:<name>}:mark
-- ARGV    1 epoch, 2 position, 3 event id that the mark must have   4 who must have taken the lease last   5 reason
-- RETURN  1, or 0 when the mark is another, another took the lease or it is halted: nothing changed
-- ATOMIC  A replica that slept does not stop the one that went on, nor takes a resync its hold, and a run that began before does not end.

local mark = redis.call('HMGET', KEYS[1], 'epoch', 'position', 'event_id', 'owner', 'halted')
if mark[1] ~= ARGV[1] or mark[2] ~= ARGV[2] or mark[3] ~= ARGV[3] or mark[4] ~= ARGV[4] then return 0 end
if mark[5] and mark[5] ~= '' then return 0 end
redis.call('HSET', KEYS[1], 'halted', ARGV[5])
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
