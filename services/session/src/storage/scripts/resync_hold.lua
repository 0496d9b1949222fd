#!lua flags=allow-oom
-- Stops a consumer wherever it is, for an operator's resync, with a reason of that resync's own.
--
-- KEYS    1 {consumer:<name>}:mark
-- ARGV    1 reason
-- RETURN  nil when there is no mark, otherwise {epoch, position, event id or ''}
-- ATOMIC  No run that began before ends after it.

if redis.call('HEXISTS', KEYS[1], 'position') == 0 then return false end
redis.call('HSET', KEYS[1], 'halted', ARGV[1])
redis.call('HINCRBY', KEYS[1], 'version', 1)
return redis.call('HMGET', KEYS[1], 'epoch', 'position', 'event_id')
