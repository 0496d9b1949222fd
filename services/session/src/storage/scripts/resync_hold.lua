#!lua flags=allow-oom
-- Stops a consumer wherever it is, for an operator's resync, with a reason of that resync's own, unless another holds it.
--
-- KEYS    1 {consumer:<name>}:mark
-- ARGV    1 reason   2 for how long (ms)
-- RETURN  nil when there is no mark, otherwise {1, epoch, position, event id or ''}, or {0, the other's reason}
-- ATOMIC  No run that began before ends after it, and of two resyncs at once one gets the hold.

if redis.call('HEXISTS', KEYS[1], 'position') == 0 then return false end
local now = now_ms()
local hold_until = redis.call('HGET', KEYS[1], 'hold_until')
if hold_until and tonumber(hold_until) > now then return {0, redis.call('HGET', KEYS[1], 'halted')} end
redis.call('HSET', KEYS[1], 'halted', ARGV[1], 'hold_until', string.format('%.0f', now + ARGV[2]))
redis.call('HINCRBY', KEYS[1], 'version', 1)
local mark = redis.call('HMGET', KEYS[1], 'epoch', 'position', 'event_id')
return {1, mark[1], mark[2], mark[3]}
