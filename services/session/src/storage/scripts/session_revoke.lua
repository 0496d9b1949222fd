#!lua flags=allow-oom
-- Ends one session because its user or an admin asked, and keeps the answer for a repeat of the request.
--
-- KEYS    1 stream   2 events   3 user   4 {sNN}:sessions:<user id>   5 {sNN}:session:<session id>
--         6 {sNN}:request:<principal>:<method>:<request id>
-- ARGV    1-4 as in prelude.lua   5 user id   6 session id   7 fingerprint   8 how long answers are kept (ms)
--         9 id and 10 payload of SessionRevoked
-- RETURN  {'OTHER', fingerprint} when the request id stands for another content; {'REPLAY'}; {'NOT_FOUND'};
--         {'OK'}
-- ATOMIC  The answer is kept if and only if the session ended; two repeats at once end it once.
-- Allowed when Redis is full: logging out must work then, and it frees memory.

local request = redis.call('HMGET', KEYS[6], 'fingerprint', 'answer')
if request[1] and request[1] ~= ARGV[7] then return { 'OTHER', request[1] } end
if request[2] then return { 'REPLAY' } end
if redis.call('HGET', KEYS[5], 'user_id') ~= ARGV[5] then return { 'NOT_FOUND' } end

event_append(KEYS[3], ARGV[5], ARGV[9], 'session.v1.SessionRevoked', ARGV[10], now_ms())
session_end(tag_of(KEYS[1]), ARGV[6], KEYS[4])
redis.call('HSET', KEYS[6], 'fingerprint', ARGV[7], 'answer', '')
redis.call('PEXPIRE', KEYS[6], ARGV[8])
return { 'OK' }
