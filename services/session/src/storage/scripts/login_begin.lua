#!lua
-- Admits a try to log in, or tells how long to wait. A try that is admitted counts until it is settled, so that
-- a thousand at once are not a thousand guesses.
--
-- KEYS    1 login:{<hash>}:failures   2 login:{<hash>}:tries
-- ARGV    1 the try's id   2 failures that cost nothing   3 tries at once while there are fewer failures
--         4 how long an unsettled try counts (ms)
-- RETURN  0 when admitted, otherwise the milliseconds to wait
-- ATOMIC  Of many tries at once only as many pass as may.

local now = now_ms()
local state = redis.call('HMGET', KEYS[1], 'count', 'wait_until')
local failures, wait_until = tonumber(state[1] or 0), tonumber(state[2] or 0)
if now < wait_until then return wait_until - now end

redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local at_once = 1
if failures < tonumber(ARGV[2]) then at_once = tonumber(ARGV[3]) end
if redis.call('ZCARD', KEYS[2]) >= at_once then
  local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  return math.max(1, math.min(1000, first[2] - now))
end
redis.call('ZADD', KEYS[2], now + ARGV[4], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 0
