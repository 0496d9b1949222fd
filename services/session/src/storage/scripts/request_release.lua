#!lua flags=allow-oom
-- Frees a claimed request id again, when what was asked for is not there: nothing happened, so the id stands for
-- nothing.
--
-- KEYS    1 {sNN}:request:<principal>:<method>:<request id>
-- ARGV    1 fingerprint
-- RETURN  how many were freed
-- ATOMIC  A claim of another content in between is not ours to free.
-- Allowed when Redis is full: it takes a key away.

local request = redis.call('HMGET', KEYS[1], 'fingerprint', 'answer')
if request[1] ~= ARGV[1] or request[2] then return 0 end
return redis.call('DEL', KEYS[1])
