#!lua
-- Exchanges a refresh token for new tokens, or ends the session of one that was exchanged before: two have it,
-- and which of them is the owner cannot be told. No used token is ever forgotten while its session lives: else
-- whoever stole one could exchange until the owner's is no longer known, and its use would give nothing away. So a
-- session whose list of them is full ends as well.
--
-- KEYS    1 stream   2 events   3 {sNN}:refresh:<old hash>   4 {sNN}:access:<new hash>   5 {sNN}:refresh:<new hash>
-- ARGV    1-4 as in prelude.lua   5 old refresh hash   6 new access hash   7 new refresh hash
--         8 access, 9 idle life (ms)   10 touch interval (ms)   11 how many used tokens a session may have
--         12 the event's id   13 payload of SessionRefreshed   14 payload of SessionRevoked for a second use,
--         15 for a full list
-- RETURN  {'UNKNOWN'}; {'REUSED', session id, user id}; {'FULL', session id, user id}; or {'OK', session id,
--         user id, client name, created at, used at, idle until, expires at, access until}
-- ATOMIC  Of two exchanges at once exactly one gets tokens, and the other ends the session.

local session_id = redis.call('GET', KEYS[3])
if not session_id then return { 'UNKNOWN' } end
local now, tag = now_ms(), tag_of(KEYS[1])
local key = tag .. 'session:' .. session_id
local rotated = tag .. 'rotated:' .. session_id
local session = redis.call('HMGET', key,
  'user_id', 'role', 'client_name', 'created_at', 'expires_at', 'access', 'refresh')
local user_id, role, client_name, created_at, old_access = session[1], session[2], session[3], session[4], session[6]
if not user_id then return { 'UNKNOWN' } end
local user_key = tag .. 'user:' .. user_id

local over = nil
if session[7] ~= ARGV[5] then
  over = { 'REUSED', ARGV[14] }
elseif redis.call('LLEN', rotated) >= tonumber(ARGV[11]) then
  over = { 'FULL', ARGV[15] }
end
if over then
  event_append(user_key, user_id, ARGV[12], 'session.v1.SessionRevoked',
    payload_fill(over[2], session_id, user_id), now)
  session_end(tag, session_id, tag .. 'sessions:' .. user_id)
  return { over[1], session_id, user_id }
end

event_append(user_key, user_id, ARGV[12], 'session.v1.SessionRefreshed',
  payload_fill(ARGV[13], session_id, user_id), now)
local expires_at = tonumber(session[5])
local access_until = math.min(now + ARGV[8], expires_at)
local idle_until = math.min(now + ARGV[9], expires_at)
redis.call('DEL', tag .. 'access:' .. old_access)
access_put(KEYS[4], session_id, user_id, role, access_until, now + ARGV[10])
redis.call('SET', KEYS[5], session_id, 'PXAT', expires_at)
-- The old token stays known, so that its second use is noticed.
redis.call('RPUSH', rotated, ARGV[5])
redis.call('PEXPIREAT', rotated, expires_at)
redis.call('HSET', key, 'used_at', now, 'idle_until', idle_until, 'access', ARGV[6], 'refresh', ARGV[7])
redis.call('PEXPIREAT', key, idle_until)
return { 'OK', session_id, user_id, client_name, tonumber(created_at), now, idle_until, expires_at, access_until }
