#!lua flags=allow-oom
-- Renews a resync's hold, if it is still held for that reason.
--
-- KEYS    1 {consumer:<name>}:mark
-- ARGV    1 reason   2 for how long (ms)
-- RETURN  1, or 0 when the consumer is not held for that: nothing changed
-- ATOMIC  A hold that another took is not made longer.

if redis.call('HGET', KEYS[1], 'halted') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'hold_until', string.format('%.0f', now_ms() + ARGV[2]))
return 1
