-- What the Redis store does to one channel. Each call is one atomic step, and checks everything before it writes: what
-- an error leaves behind is not undone.
--
-- KEYS  1 stream of its events: an entry has the event's id as its own, and the fields p (prev), a (microseconds at
--         append), m (message), and t (type) where there is one, in this order
--       2 hash: head, at (last append), run (of the server that made the last append), deleted (up to which id), kept
--         (until when it has a subscriber by somebody's word)
--       3 hash of idempotency keys, to what the first call did
--       4 sorted set of the same keys, by when they expire
-- ARGV  1 what to do
--       2 the time in microseconds, '' for this server's
--       3 how many events are kept
--       4 for how many microseconds
--       5 after how many milliseconds without an append this server may remove all of it
--       6 for how many microseconds after the last append its head is kept
--
-- Numbers go through `text`: Lua would write 1.7e+15.

local stream, meta, remembered, expiries = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local most, age_us, ttl_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

local function text(number)
  return string.format('%.0f', number)
end

local function clock_us()
  if ARGV[2] ~= '' then
    return tonumber(ARGV[2])
  end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local now_us = clock_us()
local young_us = now_us - age_us

local function id_of(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

local function at_of(entry)
  return tonumber(entry[2][4])
end

-- The hash, whose parts may have been evicted one by one. No head: the channel is not known.
local function load()
  local found = redis.call('HMGET', meta, 'head', 'at', 'run', 'deleted', 'kept')
  local channel = {
    head = tonumber(found[1] or nil), at = tonumber(found[2] or '0'), run = found[3] or '',
    deleted = tonumber(found[4] or '0'), kept = tonumber(found[5] or '0'),
  }
  if not channel.head and redis.call('EXISTS', stream) == 1 then
    local about = redis.call('XINFO', 'STREAM', stream)
    for index = 1, #about, 2 do
      if about[index] == 'last-generated-id' then
        channel.head = tonumber(string.match(about[index + 1], '^%d+'))
      end
    end
    channel.at = channel.head
  end
  return channel
end

-- Lets go of what retention has ended, and returns the oldest entry that is left: the first that is young enough, for
-- a clock that stepped back must not tear a hole.
local function retain()
  if redis.call('XLEN', stream) > most then
    redis.call('XTRIM', stream, 'MAXLEN', '=', most)
  end
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not oldest or at_of(oldest) >= young_us then
    return oldest
  end
  -- No id is below its event's time.
  local from = text(math.max(young_us, 0)) .. '-0'
  while true do
    local entries = redis.call('XRANGE', stream, from, '+', 'COUNT', 100)
    for _, entry in ipairs(entries) do
      if at_of(entry) >= young_us then
        redis.call('XTRIM', stream, 'MINID', '=', entry[1])
        return entry
      end
    end
    if #entries < 100 then
      redis.call('XTRIM', stream, 'MAXLEN', '=', 0)
      return nil
    end
    from = '(' .. entries[#entries][1]
  end
end

local function forget_keys()
  local expired = redis.call('ZRANGEBYSCORE', expiries, '-inf', text(now_us), 'LIMIT', 0, 500)
  if #expired > 0 then
    redis.call('HDEL', remembered, unpack(expired))
    redis.call('ZREM', expiries, unpack(expired))
  end
end

-- The error where this user must not announce something, else nothing. Asked before anything is written: refused by
-- PUBLISH itself it would be done and not acknowledged.
local function untold(topic)
  if not redis.acl_check_cmd('PUBLISH', topic, '') then
    return redis.error_reply('NOPERM this user must not PUBLISH to ' .. topic)
  end
end

local calls = {}

-- ARGV  7 the server's run   8 where it is announced   9 the base, '' where no channel may be made   10 type or ''
--       11 idempotency key or ''   12 its content's digest   13 microseconds that keys are remembered
--       14 how many of them   15 … the messages
-- Returns first id, last id, prev of the first, the time; or what is in the way.
function calls.append()
  local refusal = untold(ARGV[8])
  if refusal then
    return refusal
  end
  local channel = load()
  local key = ARGV[11]
  if key ~= '' then
    local known = redis.call('HGET', remembered, key)
    if known then
      local expires_us, first, last, digest = string.match(known, '^(%d+) (%d+) (%d+) (.*)$')
      if tonumber(expires_us) > now_us then
        if digest ~= ARGV[12] then
          return {'reused'}
        end
        return {'replayed', first, last}
      end
    end
  end
  if not channel.head then
    if ARGV[9] == '' then
      return {'unknown'}
    end
    channel.head, channel.run = tonumber(ARGV[9]), ARGV[7]
  end
  if key ~= '' then
    forget_keys()
    if redis.call('ZCARD', expiries) >= tonumber(ARGV[14]) then
      return {'keys'}
    end
  end
  local first = math.max(channel.head + 1, now_us)
  -- Another run of the server, or another server, may have lost what it had acknowledged: then nothing proves that no
  -- event lies between this one and the last that is left.
  local prev = channel.head
  if channel.run ~= ARGV[7] then
    prev = first - 1
  end
  local id, before, lengths = first, prev, {}
  for index = 15, #ARGV do
    local fields = {'p', text(before), 'a', text(now_us), 'm', ARGV[index]}
    if ARGV[10] ~= '' then
      fields[7], fields[8] = 't', ARGV[10]
    end
    redis.call('XADD', stream, text(id) .. '-0', unpack(fields))
    lengths[#lengths + 1] = #ARGV[index]
    before, id = id, id + 1
  end
  redis.call('XTRIM', stream, 'MAXLEN', '=', most)
  if young_us > 0 then
    redis.call('XTRIM', stream, 'MINID', '=', text(young_us))
  end
  redis.call('HSET', meta, 'head', text(before), 'at', text(now_us), 'run', ARGV[7])
  redis.call('PEXPIRE', stream, ttl_ms)
  redis.call('PEXPIRE', meta, ttl_ms)
  if key ~= '' then
    local expires_us = text(now_us + tonumber(ARGV[13]))
    local known = expires_us .. ' ' .. text(first) .. ' ' .. text(before) .. ' ' .. ARGV[12]
    redis.call('HSET', remembered, key, known)
    redis.call('ZADD', expiries, expires_us, key)
    local keys_ms = text(tonumber(ARGV[13]) / 1000 + 60000)
    redis.call('PEXPIRE', remembered, keys_ms)
    redis.call('PEXPIRE', expiries, keys_ms)
  end
  local told = {'e', text(prev), text(first), text(now_us), ARGV[10], table.concat(lengths, ',')}
  redis.call('PUBLISH', ARGV[8], table.concat(told, ' ') .. '\n' .. table.concat(ARGV, '', 15))
  return {'stored', text(first), text(before), text(prev), text(now_us)}
end

-- ARGV  7 after or before   8 an id   9 how many at most   10 bytes of messages at which it ends
-- Returns head, oldest id and its prev ('' for none), deleted, then id, prev, at, message, type of each event, oldest
-- first; nothing where the channel is not known.
function calls.read()
  local channel = load()
  if not channel.head then
    return {}
  end
  local oldest = retain()
  local answer = {text(channel.head), '', '', text(channel.deleted)}
  if oldest then
    answer[2], answer[3] = text(id_of(oldest)), oldest[2][2]
  end
  local left, room = tonumber(ARGV[9]), tonumber(ARGV[10])
  local place = '(' .. ARGV[8] .. '-0'
  local found = {}
  while left > 0 and room > 0 do
    local count = math.min(left, 50)
    local entries
    if ARGV[7] == 'after' then
      entries = redis.call('XRANGE', stream, place, '+', 'COUNT', count)
    else
      entries = redis.call('XREVRANGE', stream, place, '-', 'COUNT', count)
    end
    for _, entry in ipairs(entries) do
      found[#found + 1] = entry
      room = room - #entry[2][6]
      if room <= 0 then
        break
      end
    end
    left = left - #entries
    if #entries < count then
      break
    end
    place = '(' .. entries[#entries][1]
  end
  local from, to, step = 1, #found, 1
  if ARGV[7] == 'before' then
    from, to, step = #found, 1, -1
  end
  for index = from, to, step do
    local entry = found[index]
    local fields = entry[2]
    local at = #answer
    answer[at + 1], answer[at + 2], answer[at + 3] = text(id_of(entry)), fields[2], fields[4]
    answer[at + 4], answer[at + 5] = fields[6], fields[8] or ''
  end
  return answer
end

-- Returns head, microseconds of the last append, number of events, oldest id or ''; nothing where it is not known.
function calls.info()
  local channel = load()
  if not channel.head then
    return {}
  end
  local oldest = retain()
  return {text(channel.head), text(channel.at), redis.call('XLEN', stream), oldest and text(id_of(oldest)) or ''}
end

-- ARGV  7 where it is announced   8 by whom
-- Returns the id up to which nothing is left.
function calls.delete()
  local refusal = untold(ARGV[7])
  if refusal then
    return refusal
  end
  local channel = load()
  local to = text(channel.head or 0)
  if channel.head then
    redis.call('XTRIM', stream, 'MAXLEN', '=', 0)
    redis.call('HSET', meta, 'head', to, 'deleted', to, 'run', channel.run, 'at', text(channel.at))
    redis.call('PEXPIRE', meta, ttl_ms)
  end
  redis.call('PUBLISH', ARGV[7], 'd ' .. to .. ' ' .. ARGV[8])
  return to
end

-- Drops what has ended. Returns the head of a channel without events and keys, whose time is up or nearly so, and
-- whether it is up; 'gone' where there is no such channel; else nothing.
function calls.sweep()
  local channel = load()
  if not channel.head then
    return {'gone'}
  end
  local oldest = retain()
  forget_keys()
  if oldest or redis.call('ZCARD', expiries) > 0 then
    return {}
  end
  local until_us = channel.at + tonumber(ARGV[6])
  if now_us <= until_us - 150000000 then
    return {}
  end
  return {text(channel.head), now_us > math.max(until_us, channel.kept) and 1 or 0}
end

-- ARGV  7 until when by this process's word
function calls.keep()
  if redis.call('EXISTS', meta) == 1 then
    redis.call('HSET', meta, 'kept', ARGV[7])
    redis.call('PEXPIRE', meta, ttl_ms)
    redis.call('PEXPIRE', stream, ttl_ms)
  end
  return 1
end

-- ARGV  7 the head that `sweep` told
-- Removes the channel, unless it was written to since. Returns whether it did.
function calls.forget()
  local channel = load()
  if not channel.head or text(channel.head) ~= ARGV[7] or redis.call('ZCARD', expiries) > 0 then
    return 0
  end
  redis.call('DEL', stream, meta, remembered, expiries)
  return 1
end

return calls[ARGV[1]]()
