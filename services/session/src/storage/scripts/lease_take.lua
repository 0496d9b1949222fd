#!lua flags=allow-oom
-- Takes a lease that is free or run out, renews one's own, or gives it back.
--
-- KEYS    1 the lease
-- ARGV    1 owner   2 for how long (ms); 0 to give it back
-- RETURN  1 when the lease is the owner's, 0 when it is another's
-- ATOMIC  Two that find it free do not both get it.

local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
