#!lua flags=allow-oom
-- Tells where a partition's stream stands, and starts its history when there is none: whoever asks gets an
-- epoch to hold on to, and notices when it is another.
--
-- KEYS    1 {sNN}:stream   2 {sNN}:events
-- ARGV    1 an epoch for a stream that has none
-- RETURN  {epoch, position, id of the event there or '', oldest position or 0}
-- ATOMIC  Epoch, head and oldest are of one moment.

stream_open(KEYS[1], KEYS[2], ARGV[1])
local state = redis.call('HMGET', KEYS[1], 'epoch', 'position', 'last')
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
local oldest = 0
if first[1] then oldest = tonumber(string.match(first[1][1], '^%d+')) end
return { state[1], tonumber(state[2]), state[3], oldest }
