-- The record of a lease: what {Q}:leases holds for a key. `Script` puts this in front of the scripts that read records.
--
-- A record is five fields with a space between; '-' stands for none:
--   fence    the token of the claim that leases the key; none between two attempts
--   attempt  number of this attempt, from 1, perhaps with leading zeros (see lease.lua); negative: it has not begun, so
--            it does not count yet; between two attempts: number of the last one that counted; positive, and `mark` is
--            run_at: that one ended with its lease, so perhaps the work killed its process, and the key is a suspect
--   run_at   the run_at of the run that was claimed, epoch ms; a run is one schedule of a key, with all its attempts
--   mark     the score that a script gave the key in Q; if Q has another score, a newer schedule has begun a new run.
--            While a suspect is leased: '?', so that it stays a suspect if it goes back
--   waiting  the run_at of a newer run, which is parked in Q under that mark until the lease has ended
--
-- read_record(text)  -> fence, attempt, run_at, mark, waiting: as above, but numbers for attempt, run_at and waiting,
--                    and nil for no waiting; nothing if the text is no record, as somebody else may have written it.
--                    Both times were due once, so neither is infinitely late.
-- write_record(fence, attempt, run_at, mark, waiting)  -> the text
-- is_score(mark, score)  -> whether the two are the same number; servers differ in how they spell fractions
--
-- Numbers that are read go back to Redis spelled anew: Lua reads some spellings that ZADD does not.
local function read_record(text)
  local fence, attempt, run_at, mark, waiting = string.match(text or '', '^(%S+) (%-?%d+) (%S+) (%S+) (%S+)$')
  local number, at, later = tonumber(attempt), tonumber(run_at), nil
  if not at or not (at < math.huge) or math.abs(number) > 1e9 then return end
  if waiting ~= '-' then
    later = tonumber(waiting)
    if not later or not (later < math.huge) then return end
  end
  return fence, number, at, mark, later
end
local function write_record(fence, attempt, run_at, mark, waiting)
  return table.concat({fence, attempt, spell(run_at), mark, waiting and spell(waiting) or '-'}, ' ')
end
local function is_score(mark, score)
  local number = tonumber(mark)                 -- none, where the mark is '-' or '?'
  return number and number == tonumber(score)
end
