#!lua flags=allow-oom
-- Ends a resync: puts a consumer's mark elsewhere, lets it go on, and keeps the answer for a repeat.
--
-- KEYS    1 {consumer:<name>}:mark
-- ARGV    1 epoch, 2 position, 3 event id that the mark must have   4 what it must be halted for, or ''
--         5-7 the new mark   8 request id, 9 how many aggregates, 10 position of the answer
-- RETURN  1, or 0 when the mark is another or is not held for that: nothing changed
-- ATOMIC  Of two resyncs at once one ends, and a repeat never hears of an answer that did not come true.

local mark = redis.call('HMGET', KEYS[1], 'epoch', 'position', 'event_id', 'halted')
if mark[1] ~= ARGV[1] or mark[2] ~= ARGV[2] or mark[3] ~= ARGV[3] or mark[4] ~= ARGV[4] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[5], 'position', ARGV[6], 'event_id', ARGV[7], 'halted', '',
  'resync_request', ARGV[8], 'resync_aggregates', ARGV[9], 'resync_position', ARGV[10])
redis.call('HDEL', KEYS[1], 'hold_until')
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
