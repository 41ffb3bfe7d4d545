-- Reads one page of the schedule, in order, after a place in it. Takes nothing, writes nothing.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:data   as in schedule.lua
-- ARGV  1 most   keys in the page
--       2 token  random, so that it is part of no key
--       3 bytes  the most that the page may have, but for tokens, unless it is one key
--       4 until  epoch ms, or as it was returned with the page before: later keys are not listed; '+inf': all are
--       5 score  of the last key of the page before; '': this is the first page
--       6 key    that key
--       7 now    epoch us; given in virtual time only, else Redis's own clock
-- ->    {now us, page, until}
--       page: the width, then key, score, key, ... as in claim.lua; '' after the last page
--       until: as above, but no later than the last key at the time of the first page, so that the listing ends although
--       keys are added behind it all the time
-- cost  O(most + log(size of Q)); where the last key has moved, log(size of Q) reads more
--
-- The place is a score and a key, not a rank: ranks change with each key that is taken or scheduled before it. So a key
-- that nobody touches is listed once, whatever happens around it. Within one score Redis orders keys by their bytes. Lua
-- compares strings by the server's locale, so `is_after` compares the bytes.
local Q, data = KEYS[1], KEYS[2]
local token, until_score, last_score, last = ARGV[2], ARGV[4], ARGV[5], ARGV[6]
local now = now_us(ARGV[7])

local function is_after(one, other)             -- whether `one` comes after `other`, by their bytes
  for i = 1, math.min(#one, #other), 1000 do
    local to = math.min(i + 999, #one, #other)
    if string.sub(one, i, to) ~= string.sub(other, i, to) then
      for j = i, to do
        local a, b = string.byte(one, j), string.byte(other, j)
        if a ~= b then return a > b end
      end
    end
  end
  return #one > #other
end

local function place()                          -- the rank of the first key after the last one
  local score = redis.call('ZSCORE', Q, last)
  if score and tonumber(score) == tonumber(last_score) then return redis.call('ZRANK', Q, last) + 1 end
  local low = redis.call('ZCOUNT', Q, '-inf', '(' .. last_score)
  local high = redis.call('ZCOUNT', Q, '-inf', last_score)
  while low < high do                           -- among the keys of this score
    local middle = math.floor((low + high) / 2)
    if is_after(redis.call('ZRANGE', Q, middle, middle)[1], last) then high = middle else low = middle + 1 end
  end
  return low
end

local from = 0
if last_score ~= '' then from = place()
else
  local final = redis.call('ZRANGE', Q, -1, -1, 'WITHSCORES')[2]
  if final and tonumber(final) < tonumber(until_score == '+inf' and math.huge or until_score) then until_score = final end
end
local left = redis.call('ZCOUNT', Q, '-inf', until_score) - from
if left <= 0 then return {now, '', until_score} end
local has_data = redis.call('EXISTS', data) == 1
local _, joined = read_first(Q, math.min(left, tonumber(ARGV[1])), tonumber(ARGV[3]), token, has_data and data, from)
table.insert(joined, 1, token .. (has_data and 3 or 2))
return {now, table.concat(joined, token), until_score}
