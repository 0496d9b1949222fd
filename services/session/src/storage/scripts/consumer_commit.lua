#!lua flags=allow-oom
-- Ends a consumer's run: moves its mark, parks and unparks, if nobody else did since the run began.
--
-- KEYS    1 {consumer:<name>}:mark   2 {consumer:<name>}:parked   3 {consumer:<name>}:skips
-- ARGV    1 the version that the run began with   2 epoch, 3 position, 4 event id of the new mark
--         5 an operator's request and 6 what it came to, both '' when none acted
--         7 what is recorded of an event that was dropped, or ''   8 how many of those are kept
--         9 how many events to remove, their ids; then for each event to park its id and value
-- RETURN  1, or 0 when another went ahead: nothing changed
-- ATOMIC  The mark, the parked events and the record are of one run; of two runs that began alike, one ends.
-- Allowed when Redis is full: what is replaced has the same size, and parked events and operators are few.

if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'position', ARGV[3], 'event_id', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'version', 1)
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'act_request', ARGV[5], 'act_outcome', ARGV[6]) end
if ARGV[7] ~= '' then
  local length = redis.call('RPUSH', KEYS[3], string.format('%.0f', now_ms()) .. '\n' .. ARGV[7])
  if length > tonumber(ARGV[8]) then redis.call('LPOP', KEYS[3]) end
end
local removals = tonumber(ARGV[9])
for at = 10, 9 + removals do
  redis.call('HDEL', KEYS[2], ARGV[at])
end
for at = 10 + removals, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
end
return 1
