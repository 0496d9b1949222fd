#!lua flags=allow-oom
-- Ends every session of a user and forgets the user's auth epoch: after user service's database went back in time,
-- and its epochs with it.
--
-- KEYS    1 stream   2 events   3 user   4 {sNN}:sessions:<user id>
-- ARGV    1-4 as in prelude.lua   5 user id   6 id and 7 payload of AllSessionsRevoked
-- RETURN  how many sessions ended
-- ATOMIC  A session made with an old epoch never lives beside a forgotten one.
-- Allowed when Redis is full: it frees memory.

local tag, count = tag_of(KEYS[1]), 0
local ids = redis.call('ZRANGE', KEYS[4], 0, -1)
for _, id in ipairs(ids) do
  count = count + redis.call('EXISTS', tag .. 'session:' .. id)
end
if count > 0 then
  event_append(KEYS[3], ARGV[5], ARGV[6], 'session.v1.AllSessionsRevoked', ARGV[7], now_ms())
end
redis.call('HDEL', KEYS[3], 'auth_epoch')
for _, id in ipairs(ids) do
  session_end(tag, id, KEYS[4])
end
return count
