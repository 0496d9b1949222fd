#!lua flags=allow-oom
-- Settles a try whose password was wrong: the next one waits twice as long.
--
-- KEYS    1 login:{<hash>}:failures:<source>   2 login:{<hash>}:tries:<source>
--         3 login:{<hash>}:failures   4 login:{<hash>}:tries, unless the source is known
-- ARGV    1 the try's id   2 first wait (ms)   3 longest wait (ms)
--         4 after how long without a failure all are forgotten (ms)   5 the same while they cost nothing
--         6 failures that cost nothing from one source, 7 from everywhere
-- RETURN  how many failures there are now, from the source
-- ATOMIC  The count and the wait that follows from it are of one moment.
-- Allowed when Redis is full: guessing must not get cheaper then.

local now = now_ms()
local function count(failures_key, tries_key, free)
  redis.call('ZREM', tries_key, ARGV[1])
  local failures = redis.call('HINCRBY', failures_key, 'count', 1)
  local over = failures - tonumber(free)
  local memory = ARGV[5]
  if over >= 0 then
    -- Beyond 2^30 the doubling only costs precision.
    local wait = math.min(ARGV[2] * 2 ^ math.min(over, 30), tonumber(ARGV[3]))
    redis.call('HSET', failures_key, 'wait_until', string.format('%.0f', now + wait))
    memory = ARGV[4]
  end
  redis.call('PEXPIRE', failures_key, memory)
  return failures
end

local failures = count(KEYS[1], KEYS[2], ARGV[6])
if KEYS[3] then count(KEYS[3], KEYS[4], ARGV[7]) end
return failures
