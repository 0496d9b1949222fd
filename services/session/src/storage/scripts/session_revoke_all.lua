#!lua flags=allow-oom
-- Ends every session of a user because the user or an admin asked, and keeps the answer for a repeat.
--
-- KEYS    1 stream   2 events   3 user   4 {sNN}:sessions:<user id>
--         5 {sNN}:request:<principal>:<method>:<request id>
-- ARGV    1-4 as in prelude.lua   5 user id   6 fingerprint   7 how long answers are kept (ms)
--         8 id and 9 payload of AllSessionsRevoked
-- RETURN  {'OTHER', fingerprint} when the request id stands for another content; {'REPLAY', count};
--         {'OK', count}
-- ATOMIC  The count is that of the sessions that ended, and a repeat gets the first one's.
-- Allowed when Redis is full: logging out must work then, and it frees memory.

local request = redis.call('HMGET', KEYS[5], 'fingerprint', 'answer')
if request[1] and request[1] ~= ARGV[6] then return { 'OTHER', request[1] } end
if request[2] then return { 'REPLAY', tonumber(request[2]) } end

local tag, count = tag_of(KEYS[1]), 0
local ids = redis.call('ZRANGE', KEYS[4], 0, -1)
for _, id in ipairs(ids) do
  count = count + redis.call('EXISTS', tag .. 'session:' .. id)
end
if count > 0 then
  event_append(KEYS[3], ARGV[5], ARGV[8], 'session.v1.AllSessionsRevoked', ARGV[9], now_ms())
end
for _, id in ipairs(ids) do
  session_end(tag, id, KEYS[4])
end
redis.call('HSET', KEYS[5], 'fingerprint', ARGV[6], 'answer', count)
redis.call('PEXPIRE', KEYS[5], ARGV[7])
return { 'OK', count }
