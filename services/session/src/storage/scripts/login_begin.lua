#!lua
-- Admits a try to log in, or tells how long to wait. A try that is admitted counts until it is settled, so that
-- a thousand at once are not a thousand guesses.
--
-- Two things slow a try down: failures of the address from where the try comes, and, more patiently, its failures
-- from everywhere. The second does not hold where a login of this address succeeded lately: else whoever keeps
-- failing from many places could keep the owner out.
--
-- KEYS    1 login:{<hash>}:known   2 login:{<hash>}:failures:<source>   3 login:{<hash>}:tries:<source>
--         4 login:{<hash>}:failures   5 login:{<hash>}:tries
-- ARGV    1 the try's id   2 the source   3 how long an unsettled try counts (ms)
--         4 failures that cost nothing, 5 tries at once while there are fewer: from one source
--         6 and 7 the same from everywhere
-- RETURN  {milliseconds to wait, 0 when admitted; whether the source is known}
-- ATOMIC  Of many tries at once only as many pass as may.

local now = now_ms()
local known = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[2]) or 0) > now
local levels = known and 1 or 2

local wait = 0
for level = 1, levels do
  local failures_key, tries_key = KEYS[2 * level], KEYS[2 * level + 1]
  local free, at_once = tonumber(ARGV[2 + 2 * level]), tonumber(ARGV[3 + 2 * level])
  local state = redis.call('HMGET', failures_key, 'count', 'wait_until')
  wait = math.max(wait, tonumber(state[2] or 0) - now)
  if tonumber(state[1] or 0) >= free then at_once = 1 end
  redis.call('ZREMRANGEBYSCORE', tries_key, '-inf', now)
  if redis.call('ZCARD', tries_key) >= at_once then
    local first = redis.call('ZRANGE', tries_key, 0, 0, 'WITHSCORES')
    wait = math.max(wait, 1, math.min(1000, first[2] - now))
  end
end
if wait > 0 then return { wait, known and 1 or 0 } end

for level = 1, levels do
  redis.call('ZADD', KEYS[2 * level + 1], now + ARGV[3], ARGV[1])
  redis.call('PEXPIRE', KEYS[2 * level + 1], ARGV[3])
end
return { 0, known and 1 or 0 }
