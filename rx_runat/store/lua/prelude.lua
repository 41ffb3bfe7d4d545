-- What scripts share; `Script` puts it in front of their text. Reads no ARGV and no KEYS.
--
-- now_us(given)   -> the clock, epoch us: `given` in virtual time; if that is nil or '', Redis's own clock
-- spell(number)   -> the number as text that Redis reads as the same double
-- bulk(command, name, words, first)   calls `command name word word ...` with words[first] (default 1) and all that
--                 follow, 4,000 in one call: `unpack` fails from 8,000
--
-- Redis does not roll back a script that fails half-way. With well-formed arguments a command fails only by its name and
-- by its key, so a command that has succeeded once in a script cannot fail there later at the same key. All scripts that
-- write keep this order:
--   1. They read everything they need. A key of the wrong type, or a reading command that is forbidden, ends them here.
--   2. The first write only frees (DEL, ZREM, HDEL): a full server permits it, and then the writes that add. A demoted
--      primary refuses it. `schedule` is the exception: a full server shall refuse it.
--   3. They call each command that is to come once without effect, at the same key and with a token that is no member
--      and no field: ZREM key token, HDEL key token, ZADD key XX 0 token, ZREMRANGEBYRANK key 1 0. HSET cannot be called
--      without effect; where HDEL key token has succeeded before, HSET key token '' is tried, and HDEL undoes it.
--   4. They write the receipt, and then call HSET, if it was not tried, by pcall. If HSET fails, a command that has
--      succeeded before undoes what was written.
--   5. What follows cannot fail: now they take keys away.
local function now_us(given)
  local now = tonumber(given)
  if now then return now end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function spell(number) return string.format('%.17g', number) end
local function bulk(command, name, words, first)
  for i = first or 1, #words, 4000 do redis.call(command, name, unpack(words, i, math.min(i + 3999, #words))) end
end
