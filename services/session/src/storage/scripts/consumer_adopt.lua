#!lua flags=allow-oom
-- Gives a consumer's mark the producer's new epoch, without effects.
--
-- KEYS    1 {consumer:<name>}:mark
-- ARGV    1 epoch, 2 position, 3 event id that it must have   4-6 the new ones
-- RETURN  1, or 0 when the mark is another or the consumer is halted: nothing changed
-- ATOMIC  A run that ends at the same time either sees the new mark or is seen here.

local mark = redis.call('HMGET', KEYS[1], 'epoch', 'position', 'event_id', 'halted')
if mark[1] ~= ARGV[1] or mark[2] ~= ARGV[2] or mark[3] ~= ARGV[3] or mark[4] ~= '' then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[4], 'position', ARGV[5], 'event_id', ARGV[6])
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
