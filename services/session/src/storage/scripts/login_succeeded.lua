#!lua flags=allow-oom
-- Settles a try whose password was right: the failures from its source are forgotten, and the source is known.
--
-- KEYS    1 login:{<hash>}:known   2 login:{<hash>}:failures:<source>   3 login:{<hash>}:tries:<source>
--         4 login:{<hash>}:tries
-- ARGV    1 the try's id   2 the source   3 how long a source is known (ms)   4 how many sources are known
-- RETURN  1
-- ATOMIC  The owner's next try finds the slate wiped and the source known, or neither.
-- Allowed when Redis is full: what it writes is small, and it takes keys away.

local now = now_ms()
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
local surplus = redis.call('ZCARD', KEYS[1]) - ARGV[4]
if surplus > 0 then
  for _, oldest in ipairs(redis.call('ZRANGE', KEYS[1], 0, surplus - 1)) do
    redis.call('ZREM', KEYS[1], oldest)
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
