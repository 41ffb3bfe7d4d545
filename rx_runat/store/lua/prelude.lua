-- What scripts share; `Script` puts it in front of their text. Reads no ARGV and no KEYS.
--
-- now_us(given)  -> the clock, epoch us: `given` in virtual time; if that is nil or '', Redis's own clock
-- spell(number)  -> the number as text that Redis reads as the same double
-- RECORD         the pattern of a lease record in the hash {Q}:leases, which holds for each key five fields with a
--                space between; '-' stands for none:
--   fence    the token of the claim that leases the key; none between two attempts
--   attempt  number of this attempt, from 1; between two attempts: number of the last one
--   run_at   the run_at of the run that was claimed, epoch ms; a run is one schedule of a key, with all its attempts
--   mark     the score that a script gave the key in Q; if Q has another score, a newer schedule has begun a new run
--   waiting  the run_at of a newer run, which is parked in Q under that mark until the lease has ended
--
-- RECORD is a pattern and not a function, for speed: a function would be created at every call of the script, and
-- called once for every key.
local RECORD = '^(%S+) (%S+) (%S+) (%S+) (%S+)$'
local function now_us(given)
  local now = tonumber(given)
  if now then return now end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function spell(number) return string.format('%.17g', number) end
