#!lua flags=allow-oom
-- Settles a try whose password was wrong: the next one waits twice as long.
--
-- KEYS    1 login:{<hash>}:failures   2 login:{<hash>}:tries
-- ARGV    1 the try's id   2 failures that cost nothing   3 first wait (ms)   4 longest wait (ms)
--         5 after how long without a failure all are forgotten (ms)   6 the same while they cost nothing
-- RETURN  how many failures there are now
-- ATOMIC  The count and the wait that follows from it are of one moment.
-- Allowed when Redis is full: guessing must not get cheaper then.

local now = now_ms()
redis.call('ZREM', KEYS[2], ARGV[1])
local failures = redis.call('HINCRBY', KEYS[1], 'count', 1)
local over = failures - tonumber(ARGV[2])
local memory = ARGV[6]
if over >= 0 then
  -- Beyond 2^30 the doubling only costs precision.
  local wait = math.min(ARGV[3] * 2 ^ math.min(over, 30), tonumber(ARGV[4]))
  redis.call('HSET', KEYS[1], 'wait_until', string.format('%.0f', now + wait))
  memory = ARGV[5]
end
redis.call('PEXPIRE', KEYS[1], memory)
return failures
