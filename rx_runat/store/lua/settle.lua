-- Ends or extends leases. Each request acts only if its fence is that of the key's lease, and the lease lives.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in lease.lua
--       3 {Q}:leases    as in record.lua
--       4 {Q}:dead, the dead letters: hash key -> time in epoch ms, attempts, run_at, reason; between them a space
-- ARGV  1 resent  0; 1 if an earlier reply to these requests was lost; 2 if another primary lost it, or made a lease
--       2 now     epoch us in virtual time; '': Redis's own clock
--       3 token   random, so that it is no member and no field
--       4.. verb, key, fence, argument, deadline, verb, ...
--           begin   ''        the work begins: from now on the attempt counts
--           ack     ''        the run is done
--           nack    delay ms  the run waits for another attempt
--           extend  ms        the lease lasts so long from now, or as long as before if that is longer
--           bury    reason    the key becomes a dead letter
--           back    ''        nobody received the key: it waits as before the claim, and the attempt does not count
--           deadline: the last one that the holder knows of, epoch ms
-- ->    {the earliest score that these requests put into Q, or '', {result, result, ...}, refusal}
--       1: done; for extend the new deadline, epoch ms
--       2: done, and a newer schedule of the key stands, so the nack planned no attempt
--       0: the lease was not the holder's any more, and nothing was done
--       -1: unknown: resent after the deadline, and either the earlier sending ended the lease, or it ran out; or
--           resent to another primary, which may never have known the lease
--       -2: refused, and nothing was done
--       refusal: the error of the first request that was refused, or ''
-- cost  O(requests * log(size of Q + size of claimed))
--
-- A schedule made while the key was under the lease stands, whatever the verb.
-- Resent before the deadline, with the lease gone: only its holder or a cancel ends a lease that early. The script
-- assumes that the earlier sending was done, and the result is 1. If it was a cancel, 1 is what the holder would have
-- got if it had settled just before the cancel; no client can see the difference.
-- ZREM with the token changes nothing, but it is a write. A demoted primary refuses it, and would otherwise return 0
-- for a lease that it does not have.
-- A request is refused alone: if this user may not bury, the other requests of the call are done all the same.
local Q, claimed, leases, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local resent, now, token = tonumber(ARGV[1]), now_us(ARGV[2]), ARGV[3]
local ms, up = math.floor(now / 1000), math.ceil(now / 1000)
redis.call('ZREM', claimed, token)
redis.call('HDEL', leases, token)

local refusal, earliest = '', ''
local function is_refused(reply)
  local refused = type(reply) == 'table' and reply.err
  if refused and refusal == '' then refusal = reply.err end
  return refused
end

local rehearsed                                 -- the reply of the first command on Q that was refused, or true
local function is_schedule_refused()            -- called before the first change of a request that may change Q
  if not rehearsed then
    rehearsed = redis.pcall('ZADD', Q, 'XX', 0, token)
    if type(rehearsed) ~= 'table' then rehearsed = redis.pcall('ZSCORE', Q, token) end
    if type(rehearsed) ~= 'table' then rehearsed = true end
  end
  return is_refused(rehearsed)
end
local function put(score, key)
  redis.call('ZADD', Q, score, key)
  if earliest == '' or tonumber(score) < tonumber(earliest) then earliest = score end
end

-- End the lease of a key. `at`: when it waits for its next attempt; nil: this run is over. `kept`: the attempt of its
-- record, as in record.lua; 0: it needs none.
local function finish(key, run_at, mark, waiting, at, kept)
  local newer
  if at or waiting then
    if is_schedule_refused() then return -2 end
    newer = redis.call('ZSCORE', Q, key)
  end
  if at and not newer and kept ~= 0 then
    local record = write_record('-', kept, run_at, spell(at))
    if is_refused(redis.pcall('HSET', leases, key, record)) then return -2 end
  else
    redis.call('HDEL', leases, key)
  end
  redis.call('ZREM', claimed, key)
  if newer and waiting and is_score(mark, newer) then put(spell(waiting), key)
  elseif at and not newer then put(spell(at), key) end
  return newer and at and 2 or 1
end

local results = {}
for i = 4, #ARGV, 5 do
  local verb, key, argument, result = ARGV[i], ARGV[i + 1], ARGV[i + 3], 0
  local fence, attempt, run_at, mark, waiting = read_record(redis.call('HGET', leases, key))
  local ours = fence == ARGV[i + 2]
  local deadline = ours and redis.call('ZSCORE', claimed, key)
  if deadline and tonumber(deadline) > ms then
    if verb == 'ack' then result = finish(key, run_at, mark, waiting)
    elseif verb == 'extend' then
      result = math.min(math.max(tonumber(deadline), up + argument), 2^53)   -- a reply is an integer
      if is_refused(redis.pcall('ZADD', claimed, spell(result), key)) then result = -2 end
    elseif verb == 'begin' then
      result = 1
      local record = write_record(fence, math.abs(attempt), run_at, mark, waiting)
      if attempt < 0 and is_refused(redis.pcall('HSET', leases, key, record)) then result = -2 end
    elseif verb == 'nack' then result = finish(key, run_at, mark, waiting, up + argument, math.abs(attempt))
    elseif verb == 'back' then
      local kept = math.abs(attempt) - 1
      result = math.min(1, finish(key, run_at, mark, waiting, run_at, mark == '?' and kept or -kept))
    elseif waiting and is_schedule_refused() then result = -2
    else                                        -- bury
      local letter = table.concat({spell(ms), math.abs(attempt), spell(run_at), argument}, ' ')
      if is_refused(redis.pcall('HSET', dead, key, letter)) then result = -2
      else result = finish(key, run_at, mark, waiting) end
    end
  elseif resent > 0 and not ours and verb ~= 'extend' and verb ~= 'begin' then
    result = resent == 1 and ms < tonumber(ARGV[i + 4]) and 1 or -1
  end
  results[#results + 1] = result
end
return {earliest, results, refusal}
