#!lua flags=allow-oom
-- Makes the mark of a consumer that has none: where it begins.
--
-- KEYS    1 {consumer:<name>}:mark
-- ARGV    1 epoch, 2 position, 3 event id of the mark
-- RETURN  1, or 0 when there is a mark already
-- ATOMIC  Of two replicas that look for the beginning, one decides.

if redis.call('HEXISTS', KEYS[1], 'position') == 1 then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'position', ARGV[2], 'event_id', ARGV[3], 'halted', '', 'version', '0')
return 1
