#!lua flags=allow-oom
-- Claims a request id for a content where the principal lives, before the effect where the target lives: an
-- admin's target is in another partition, and no script reaches into two. The answer is kept by the effect.
--
-- KEYS    1 {sNN}:request:<principal>:<method>:<request id>
-- ARGV    1 fingerprint   2 how long it is kept (ms)
-- RETURN  {'OTHER', fingerprint} when the id stands for another content; {'OK'}
-- ATOMIC  Of two contents at once, one gets the id.
-- Allowed when Redis is full: the revocation behind it must work then, and it frees memory.

local known = redis.call('HGET', KEYS[1], 'fingerprint')
if known and known ~= ARGV[1] then return { 'OTHER', known } end
if not known then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return { 'OK' }
