-- Ends or extends leases. Each request acts only if its fence is that of the key's lease, and the lease lives.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in lease.lua
--       3 {Q}:leases    as in prelude.lua
--       4 {Q}:dead, the dead letters: hash key -> time in epoch ms, attempts, run_at, reason; between them a space
-- ARGV  1 resent  1 if an earlier reply to these requests was lost, else 0
--       2 now     epoch us in virtual time; '': Redis's own clock
--       3.. verb, key, fence, argument, deadline, verb, ...
--           ack     ''        the run is done
--           nack    delay ms  the run waits for another attempt
--           extend  ms        the lease lasts so long from now, or as long as before if that is longer
--           bury    reason    the key becomes a dead letter
--           back    ''        nobody received the key: it waits as before the claim, and the attempt does not count
--           deadline: the last one that the holder knows of, epoch ms
-- ->    {the earliest score that these requests put into Q, or '', {result, result, ...}}
--       1: done; for extend the new deadline, epoch ms
--       0: the lease was not the holder's any more, and nothing was done
--       -1: unknown: resent after the deadline; either the earlier sending ended the lease, or it ran out
-- cost  O(requests * log(size of Q + size of claimed))
--
-- A schedule made while the key was under the lease stands, whatever the verb.
-- Resent before the deadline, with the lease gone: only its holder or a cancel ends a lease that early. The script
-- assumes that the earlier sending was done, and the result is 1. If it was a cancel, 1 is what the holder would have
-- got if it had settled just before the cancel; no client can see the difference.
-- PERSIST changes nothing, but it is a write. A full server permits it, and then the writes that add. A demoted primary
-- refuses PERSIST. Without PERSIST, a demoted primary that does not have the lease would return 0 instead of an error.
local Q, claimed, leases, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local resent, now = ARGV[1] == '1', now_us(ARGV[2])
local ms, up = math.floor(now / 1000), math.ceil(now / 1000)

local earliest = ''
local function added(score)
  if earliest == '' or tonumber(score) < tonumber(earliest) then earliest = score end
end
local function wait(key, score, attempt, run_at)
  if redis.call('ZADD', Q, 'NX', score, key) == 0 then return end
  added(score)
  if attempt > 0 then redis.call('HSET', leases, key, table.concat({'-', spell(attempt), run_at, score, '-'}, ' ')) end
end

redis.call('PERSIST', claimed)
local results = {}
for i = 3, #ARGV, 5 do
  local verb, key, argument, result = ARGV[i], ARGV[i + 1], ARGV[i + 3], 0
  local fence, attempt, run_at, mark, waiting = string.match(redis.call('HGET', leases, key) or '', RECORD)
  local ours = fence == ARGV[i + 2]
  local deadline = ours and redis.call('ZSCORE', claimed, key)
  if deadline and tonumber(deadline) > ms then
    if verb == 'extend' then
      result = math.max(tonumber(deadline), up + argument)
      redis.call('ZADD', claimed, spell(result), key)
    else
      result = 1
      redis.call('ZREM', claimed, key)
      redis.call('HDEL', leases, key)
      if waiting ~= '-' and redis.call('ZSCORE', Q, key) == mark then
        redis.call('ZADD', Q, waiting, key)
        added(waiting)
      end
      if verb == 'nack' then wait(key, spell(up + argument), tonumber(attempt), run_at)
      elseif verb == 'back' then wait(key, run_at, attempt - 1, run_at)
      elseif verb == 'bury' then
        redis.call('HSET', dead, key, table.concat({spell(ms), attempt, run_at, argument}, ' '))
      end
    end
  elseif resent and not ours and verb ~= 'extend' then
    result = ms < tonumber(ARGV[i + 4]) and 1 or -1
  end
  results[#results + 1] = result
end
return {earliest, results}
