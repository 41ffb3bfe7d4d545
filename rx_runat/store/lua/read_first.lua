-- Reads the first members of a zset, bounded in bytes. `Script` puts this in front of the scripts that claim.
--
-- keys_of(part)  -> the members in a list of member, score, member, score, ...
-- read_first(name, most, bytes, token)  -> parts, joined, n
--   parts:  lists of member, score, member, score, ...; together the first n members, n <= most
--   joined: the same lists, each as one string with the token between any two items
--   n is 1 at least, if most is; more members only while all of `joined` is not longer than `bytes`
--
-- A member may be a megabyte long, and reading it costs a millisecond or more, also if it is not taken. So the steps are small:
-- 4 members, then four times as many, at most 64, and at most half of what the mean length so far leaves room for.
-- Reading 1,000 short members takes 18 steps, which together cost 4 % more than one.
local function keys_of(part)
  local keys = {}
  for i = 1, #part, 2 do keys[#keys + 1] = part[i] end
  return keys
end
local function read_first(name, most, bytes, token)
  local parts, joined, n, size, step = {}, {}, 0, 0, 4
  while n < most do
    local part = redis.call('ZRANGE', name, n, math.min(most, n + step) - 1, 'WITHSCORES')
    local text = table.concat(part, token)
    if size + #text > bytes then                -- seldom: find how many of them fit
      local fit, room = 0, bytes - size
      repeat
        room = room - #part[fit + 1] - #part[fit + 2] - 2 * #token
        fit = fit + 2
      until fit == #part or room < #part[fit + 1] + #part[fit + 2] + 2 * #token
      if room < 0 and n > 0 then break end      -- not even the first one fits, and others are taken already
      for i = #part, fit + 1, -1 do part[i] = nil end
      text, most = table.concat(part, token), n + fit / 2
    end
    parts[#parts + 1], joined[#joined + 1] = part, text
    n, size = n + #part / 2, size + #text
    step = math.max(1, math.min(64, step * 4, math.floor((bytes - size) / (size / n) / 2)))
  end
  return parts, joined, n
end
