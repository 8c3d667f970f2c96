-- Keeps a revocation, joined with an earlier one of the same tokens, and announces it.
--
-- KEYS  1 hash of all, to until when issued and until when kept
-- ARGV  1 the time in microseconds, '' for this server's   2 its name in the hash   3 until when issued
--       4 until when kept   5 seconds that it is kept for beyond that   6 how many are kept
--       7 where it is announced   8 as what
-- Returns until when issued and until when kept, or nothing where there is no room.
local revoked, name = KEYS[1], ARGV[2]
local issued, kept, beyond, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local now = tonumber(ARGV[1])
if now then
  now = now / 1000000
else
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end

local function times(value)
  local issued, kept = string.match(value, '^(%d+) (%d+)$')
  return tonumber(issued), tonumber(kept)
end

if not redis.acl_check_cmd('PUBLISH', ARGV[7], '') then
  return redis.error_reply('NOPERM this user must not PUBLISH to ' .. ARGV[7])
end
local known = redis.call('HGET', revoked, name)
if known then
  local issued_then, kept_then = times(known)
  if now < kept_then + beyond then
    issued, kept = math.max(issued, issued_then), math.max(kept, kept_then)
  end
elseif redis.call('HLEN', revoked) >= most then
  -- Only now: the whole of it goes by itself, and no more than fit are ever there.
  local all, ended = redis.call('HGETALL', revoked), {}
  for index = 1, #all, 2 do
    local _, kept_then = times(all[index + 1])
    if now >= kept_then + beyond then
      ended[#ended + 1] = all[index]
    end
  end
  if #all / 2 - #ended >= most then
    return {}
  end
  for index = 1, #ended, 1000 do
    redis.call('HDEL', revoked, unpack(ended, index, math.min(index + 999, #ended)))
  end
end
local left_ms = redis.call('PTTL', revoked)
local text = string.format('%.0f %.0f', issued, kept)
redis.call('HSET', revoked, name, text)
redis.call('PEXPIRE', revoked, string.format('%.0f', math.max(left_ms, (kept + beyond - now) * 1000, 1)))
redis.call('PUBLISH', ARGV[7], ARGV[8])
return {string.format('%.0f', issued), string.format('%.0f', kept)}
