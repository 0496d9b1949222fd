-- Put in front of every script by `scripts.rs`, below the script's own shebang line. No script stands alone.
--
-- What all of them keep to:
--   * One hash tag: every key is one of KEYS or begins with the tag of KEYS[1], so that a cluster runs them too.
--   * Redis does not roll back a script that fails in the middle. So: read and decide first, then append the
--     event, then write; and nothing after the first write can fail.
--   * Time is Redis' own, in milliseconds. TIME stands still within a script, and its effects, not the script,
--     go to the append-only file and to replicas.
--
-- A script that appends events has
--   KEYS  1 {sNN}:stream   2 {sNN}:events   3 {sNN}:user:<user id> (except session_refresh.lua, which learns the user)
--   ARGV  1 an epoch for a stream that has none   2 how many events the stream keeps
--         3 traceparent or ''                     4 request id or ''

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function tag_of(key)
  return string.match(key, '^{[^}]+}') .. ':'
end

-- Starts the stream's history when there is none: the first event ever, or the first after a FLUSHALL. What a
-- half-deleted partition left of an older history goes.
local function stream_open(stream, events, epoch)
  if redis.call('HEXISTS', stream, 'epoch') == 0 then
    redis.call('DEL', stream, events)
    redis.call('HSET', stream, 'epoch', epoch, 'position', '0', 'last', '')
  end
end

-- Appends one event: the next position of the stream, the next version of the user's sessions.
local function event_append(user_key, user_id, id, type, payload, now)
  stream_open(KEYS[1], KEYS[2], ARGV[1])
  local state = redis.call('HMGET', KEYS[1], 'position', 'last')
  local position = string.format('%.0f', state[1] + 1)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], position .. '-0',
    'id', id, 'previous', state[2], 'type', type, 'schema', '1', 'payload', payload,
    'aggregate', user_id, 'version', redis.call('HINCRBY', user_key, 'version', 1),
    'traceparent', ARGV[3], 'request', ARGV[4], 'at', now)
  redis.call('HSET', KEYS[1], 'position', position, 'last', id)
end

-- Payloads come encoded, with a run of 36 equal letters where an id goes that only the script knows. Ids have
-- 36 characters too, so the lengths in the encoding stay right.
local function payload_fill(payload, session_id, user_id)
  payload = string.gsub(payload, string.rep('s', 36), session_id)
  return (string.gsub(payload, string.rep('u', 36), user_id))
end

-- Removes a session with its tokens: the present ones and those it had before.
local function session_end(tag, session_id, index)
  local key = tag .. 'session:' .. session_id
  local rotated = tag .. 'rotated:' .. session_id
  local tokens = redis.call('HMGET', key, 'access', 'refresh')
  for _, hash in ipairs(redis.call('LRANGE', rotated, 0, -1)) do
    redis.call('DEL', tag .. 'refresh:' .. hash)
  end
  if tokens[1] then redis.call('DEL', tag .. 'access:' .. tokens[1]) end
  if tokens[2] then redis.call('DEL', tag .. 'refresh:' .. tokens[2]) end
  redis.call('DEL', key, rotated)
  redis.call('ZREM', index, session_id)
end

-- Puts the present access token: all that a verification wants to know, in one value.
local function access_put(key, session_id, user_id, role, access_until, touch_at)
  redis.call('SET', key, string.format('%s %s %s %.0f %.0f', session_id, user_id, role, access_until, touch_at),
    'PXAT', string.format('%.0f', access_until))
end
