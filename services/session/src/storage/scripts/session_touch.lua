#!lua flags=allow-oom
-- Counts a verification as use of the session: at most once in the touch interval, whoever asks.
--
-- KEYS    1 {sNN}:access:<hash>
-- ARGV    1 touch interval (ms)   2 idle life (ms)
-- RETURN  1 when the session lives, 0 when it ended since the caller read the token
-- ATOMIC  A touch that races with a revocation must not bring the session's key back.
-- Allowed when Redis is full: it replaces values by values of the same length.

local value = redis.call('GET', KEYS[1])
if not value then return 0 end
local now, tag = now_ms(), tag_of(KEYS[1])
local session_id, user_id, role, access_until, touch_at = string.match(value, '^(%S+) (%S+) (%S+) (%d+) (%d+)$')
if now < tonumber(touch_at) then return 1 end
local key = tag .. 'session:' .. session_id
local expires_at = redis.call('HGET', key, 'expires_at')
if not expires_at then return 0 end
local idle_until = math.min(now + ARGV[2], tonumber(expires_at))
redis.call('HSET', key, 'used_at', now, 'idle_until', idle_until)
redis.call('PEXPIREAT', key, idle_until)
access_put(KEYS[1], session_id, user_id, role, tonumber(access_until), now + ARGV[1])
return 1
