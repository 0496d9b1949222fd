#!lua flags=no-writes
-- Reads events of a partition's stream.
--
-- KEYS    1 {sNN}:stream   2 {sNN}:events
-- ARGV    1 the id that they come after   2 how many
-- RETURN  {epoch or '', entries}
-- ATOMIC  The events are of that epoch: no flush falls between. MULTI would do, but not when Redis is full.

return { redis.call('HGET', KEYS[1], 'epoch') or '', redis.call('XRANGE', KEYS[2], '(' .. ARGV[1], '+', 'COUNT', ARGV[2]) }
