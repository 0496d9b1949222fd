#!lua
-- Makes a session and tells it.
--
-- KEYS    1 stream   2 events   3 user   4 {sNN}:sessions:<user id>   5 {sNN}:session:<session id>
--         6 {sNN}:access:<hash>   7 {sNN}:refresh:<hash>
-- ARGV    1-4 as in prelude.lua   5 user id   6 session id   7 role   8 auth epoch   9 client name
--         10 access hash   11 refresh hash   12 access, 13 idle, 14 absolute life (ms)   15 touch interval (ms)
--         16 how many sessions a user may have   17 id and 18 payload of SessionCreated
--         19 payload of SessionRevoked for sessions that make room   20.. ids for these
-- RETURN  {'STALE'} when the user's auth epoch has moved on since the password was checked; otherwise
--         {'OK', now, access until, idle until, expires at}
-- ATOMIC  A revocation either comes before, and then its auth epoch is seen here, or after, and then it finds
--         the session in the index.

local now, tag = now_ms(), tag_of(KEYS[1])
local user_id, session_id = ARGV[5], ARGV[6]
local known = redis.call('HGET', KEYS[3], 'auth_epoch')
if known and tonumber(ARGV[8]) < tonumber(known) then
  return { 'STALE' }
end

-- Sessions that ran out leave their id in the index until somebody looks.
local live = {}
local gone = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  if redis.call('EXISTS', tag .. 'session:' .. id) == 1 then live[#live + 1] = id else gone[#gone + 1] = id end
end
local surplus = math.min(#live + 1 - tonumber(ARGV[16]), #ARGV - 19)
for at = 1, surplus do
  event_append(KEYS[3], user_id, ARGV[19 + at], 'session.v1.SessionRevoked',
    payload_fill(ARGV[19], live[at], user_id), now)
end
event_append(KEYS[3], user_id, ARGV[17], 'session.v1.SessionCreated', ARGV[18], now)

for _, id in ipairs(gone) do
  redis.call('ZREM', KEYS[4], id)
end
for at = 1, surplus do
  session_end(tag, live[at], KEYS[4])
end
local expires_at = now + ARGV[14]
local access_until = math.min(now + ARGV[12], expires_at)
local idle_until = math.min(now + ARGV[13], expires_at)
redis.call('HSET', KEYS[5], 'user_id', user_id, 'role', ARGV[7], 'auth_epoch', ARGV[8], 'client_name', ARGV[9],
  'created_at', now, 'used_at', now, 'idle_until', idle_until, 'expires_at', expires_at,
  'access', ARGV[10], 'refresh', ARGV[11])
redis.call('PEXPIREAT', KEYS[5], idle_until)
access_put(KEYS[6], session_id, user_id, ARGV[7], access_until, now + ARGV[15])
redis.call('SET', KEYS[7], session_id, 'PXAT', expires_at)
redis.call('ZADD', KEYS[4], now, session_id)
redis.call('PEXPIREAT', KEYS[4], expires_at, 'GT')
redis.call('PEXPIREAT', KEYS[4], expires_at, 'NX')
return { 'OK', now, access_until, idle_until, expires_at }
