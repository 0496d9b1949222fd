#!lua flags=allow-oom
-- Takes or renews the lease of a consumer's mark. Where there is none, nobody gets it: consumer_begin.lua makes it.
--
-- KEYS    1 {consumer:<name>}:mark
-- ARGV    1 owner   2 for how long (ms)
-- RETURN  nil while another replica has it or there is no mark, otherwise {epoch, position, event id or '', fence, halted or ''}
-- ATOMIC  Two replicas that find it free do not both get it.

if redis.call('HEXISTS', KEYS[1], 'position') == 0 then return false end
local now = now_ms()
local state = redis.call('HMGET', KEYS[1], 'owner', 'lease_until')
local free = not state[1] or tonumber(state[2]) <= now
if state[1] ~= ARGV[1] and not free then return false end
if state[1] ~= ARGV[1] then redis.call('HINCRBY', KEYS[1], 'fence', 1) end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'lease_until', string.format('%.0f', now + ARGV[2]))
return redis.call('HMGET', KEYS[1], 'epoch', 'position', 'event_id', 'fence', 'halted')
