#!lua flags=allow-oom
-- Ends the sessions that were made before the user's auth epoch rose to this, and keeps out logins that are
-- still on their way with a lower one. Late or twice, it ends no newer session and tells nothing twice.
--
-- KEYS    1 stream   2 events   3 user   4 {sNN}:sessions:<user id>
-- ARGV    1-4 as in prelude.lua   5 user id   6 auth epoch   7 id and 8 payload of AllSessionsRevoked
-- RETURN  how many sessions ended
-- ATOMIC  See session_create.lua: no login falls between the look at the index and the stored epoch.
-- Allowed when Redis is full: a revocation must work then.

local tag, epoch = tag_of(KEYS[1]), tonumber(ARGV[6])
local known = redis.call('HGET', KEYS[3], 'auth_epoch')
local rises = not known or tonumber(known) < epoch
local ending = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  local made_with = redis.call('HGET', tag .. 'session:' .. id, 'auth_epoch')
  if made_with and tonumber(made_with) < epoch then ending[#ending + 1] = id end
end
if rises or #ending > 0 then
  event_append(KEYS[3], ARGV[5], ARGV[7], 'session.v1.AllSessionsRevoked', ARGV[8], now_ms())
end
if rises then redis.call('HSET', KEYS[3], 'auth_epoch', ARGV[6]) end
for _, id in ipairs(ending) do
  session_end(tag, id, KEYS[4])
end
return #ending
