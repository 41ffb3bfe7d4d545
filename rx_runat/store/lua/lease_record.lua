-- The record of a lease, for the scripts that read or write one; `Script` puts it in front of their text.
--
-- The hash {Q}:leases holds for each key five fields with a space between; '-' stands for none:
--   fence    the token of the claim that holds the key; none between two attempts
--   attempt  which attempt this is, from 1; between two attempts, which the last one was
--   run_at   the run_at of the run that was claimed, epoch ms
--   mark     the score in Q that we gave the key; another score there is a newer schedule, which begins a new run
--   waiting  the run_at of a newer run that is parked in Q under that mark until the lease has ended
--
-- read_lease(leases, key)              -> the five fields, or nil if the key has no record
-- write_lease(leases, key, five fields)
local function read_lease(leases, key)
  return string.match(redis.call('HGET', leases, key) or '', '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
end
local function write_lease(leases, key, ...) redis.call('HSET', leases, key, table.concat({...}, ' ')) end
