-- The store's base: the greatest id that any channel which is not known may have given.
--
-- The index has a name of its own among the others, below all of them, by which it is seen whether it is still the one
-- that was written: the time at which it was begun, or minus that where a process began it that had just come. One begun
-- while others are at work was evicted: it takes them a moment to name their channels to it again, and until then any
-- channel that is not there may be one that was lost.
--
-- KEYS  1 the base   2 the index of channels
-- ARGV  1 the time in microseconds, '' for this server's   2 an id that it must not be below, or ''
--       3 a channel that is not there, or ''   4 '1' where the channel was lost if the index names it, '2' where it was
--         in any case: nobody knows what it had given by now   5 milliseconds after which both may go
--       6 '1' from a process that has just come   7 microseconds after which all have named their channels again
-- Returns the base, and whether the index names the channel.
local now_us = tonumber(ARGV[1])
if not now_us then
  local time = redis.call('TIME')
  now_us = time[1] * 1000000 + time[2]
end
local known = redis.call('GET', KEYS[1])
local base = tonumber(known or now_us)
if ARGV[2] ~= '' then
  base = math.max(base, tonumber(ARGV[2]))
end
local begun = redis.call('ZRANGEBYLEX', KEYS[2], '-', '(\2', 'LIMIT', 0, 1)[1]
if not begun then
  redis.call('ZADD', KEYS[2], 0, '\1' .. string.format('%.0f', ARGV[6] == '1' and -now_us or now_us))
  base = math.max(base, now_us)
elseif ARGV[3] ~= '' and tonumber(string.sub(begun, 2)) > now_us - tonumber(ARGV[7]) then
  base = math.max(base, now_us)
end
local named = ARGV[3] ~= '' and redis.call('ZSCORE', KEYS[2], ARGV[3])
if ARGV[4] == '2' or (named and ARGV[4] == '1') then
  base = math.max(base, now_us)
  redis.call('ZREM', KEYS[2], ARGV[3])
end
local text = string.format('%.0f', base)
if text ~= known then
  redis.call('SET', KEYS[1], text)
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return {text, named and 1 or 0}
