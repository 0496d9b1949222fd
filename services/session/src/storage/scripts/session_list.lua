#!lua flags=no-writes
-- Reads the live sessions of a user; there are never more than a user may have.
--
-- KEYS    1 {sNN}:sessions:<user id>
-- RETURN  for each session {session id, client name, created at, used at, idle until, expires at}
-- ATOMIC  One round trip, and no session that a revocation has half ended.

local tag, sessions = tag_of(KEYS[1]), {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local session = redis.call('HMGET', tag .. 'session:' .. id,
    'client_name', 'created_at', 'used_at', 'idle_until', 'expires_at')
  if session[2] then
    sessions[#sessions + 1] = { id, session[1], tonumber(session[2]), tonumber(session[3]), tonumber(session[4]),
      tonumber(session[5]) }
  end
end
return sessions
