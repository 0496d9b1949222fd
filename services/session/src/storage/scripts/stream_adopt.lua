#!lua flags=allow-oom
-- Gives a partition's stream a new epoch when it was last seen on another Redis server: after a failover the
-- newest events may be lost and their positions used again.
--
-- KEYS    1 {sNN}:stream   2 {sNN}:events
-- ARGV    1 a new epoch   2 the server's run id
-- RETURN  1 when the epoch changed, 0 otherwise
-- ATOMIC  Of two replicas of the service that see the new server, one changes the epoch.

stream_open(KEYS[1], KEYS[2], ARGV[1])
local state = redis.call('HMGET', KEYS[1], 'server')
if state[1] == ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'server', ARGV[2])
-- One that was never seen began on this server, or it would have been seen.
if not state[1] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
return 1
