-- Ends or extends leases. Each request acts only if its fence is that of the key's lease, and the lease lives.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in lease.lua
--       3 {Q}:leases    as in record.lua
--       4 {Q}:dead, the dead letters: hash key -> time in epoch ms, attempts, run_at, reason, with a space between any
--         two, then the separator \31 and the data of the run that was buried, or nothing
--       5 {Q}:data      as in schedule.lua
-- ARGV  1 resent  0; 1 if an earlier reply to these requests was lost; 2 if another primary lost it, or made a lease
--       2 now     epoch us in virtual time; '': Redis's own clock
--       3 token   random, so that it is no member and no field
--       4.. verb, key, fence, argument, deadline, verb, ...
--           begin   ''        the work begins: from now on the attempt counts
--           ack     next      the run is done
--           nack    delay ms  the run waits for another attempt
--           extend  ms        the lease lasts so long from now, or as long as before if that is longer
--           bury    next, a space, reason, \31, data    the key becomes a dead letter
--           back    ''        nobody received the key: it waits as before the claim, and the attempt does not count
--           next: when the key's next run is due, epoch ms, or '+' and a delay in ms; '': there is none
--           deadline: the last one that the holder knows of, epoch ms
-- ->    {the earliest score that these requests put into Q, or '', {result, result, ...}, refusal, {i, score, ...}}
--       1: done; for extend the new deadline, epoch ms
--       2: done, and a newer schedule of the key stands, so the nack planned no attempt
--       0: the lease was not the holder's any more, and nothing was done
--       -1: unknown: resent after the deadline, and either the earlier sending ended the lease, or it ran out; or
--           resent to another primary, which may never have known the lease
--       -2: refused, and nothing was done
--       refusal: the error of the first request that was refused, or ''
--       i, score: the i-th request, counted from 1, put the key's next run into Q with this score; resent, perhaps the
--       earlier sending did
-- cost  O(requests * log(size of Q + size of claimed))
--
-- A schedule made while the key was under the lease stands, whatever the verb; its data does, too. A run that is over
-- takes the key's data with it, unless such a schedule or a next run stands: data is the key's.
-- Resent before the deadline, with the lease gone: only its holder or a cancel ends a lease that early. The script
-- assumes that the earlier sending was done, and the result is 1. If it was a cancel, 1 is what the holder would have
-- got if it had settled just before the cancel; no client can see the difference.
-- ZREM with the token changes nothing, but it is a write. A demoted primary refuses it, and would otherwise return 0
-- for a lease that it does not have.
-- A request is refused alone: if this user may not bury, the other requests of the call are done all the same.
local Q, claimed, leases, dead, data = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local resent, now, token = tonumber(ARGV[1]), now_us(ARGV[2]), ARGV[3]
local ms, up = math.floor(now / 1000), math.ceil(now / 1000)
local has_data = redis.call('EXISTS', data) == 1
redis.call('ZREM', claimed, token)
redis.call('HDEL', leases, token)
if has_data then redis.call('HDEL', data, token) end

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

-- End the lease of a key. `at`: when it waits for its next attempt or its next run; nil: it does not wait. `kept`: the
-- attempt of its record, as in record.lua; 0: it needs none. Returns the result, and a newer schedule that stands.
local function finish(key, run_at, mark, waiting, at, kept)
  local newer
  if at or waiting or has_data then
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
  elseif at and not newer then put(spell(at), key)
  elseif has_data and not newer then redis.call('HDEL', data, key) end
  return 1, newer
end

local function moment(next_run)
  if string.byte(next_run) == 43 then return up + string.sub(next_run, 2) end   -- '+'
  return tonumber(next_run)
end

local results, next_runs = {}, {}
local function tell(i, at)
  next_runs[#next_runs + 1] = (i + 1) / 5
  next_runs[#next_runs + 1] = spell(at)
end
for i = 4, #ARGV, 5 do
  local verb, key, argument, result = ARGV[i], ARGV[i + 1], ARGV[i + 3], 0
  local fence, attempt, run_at, mark, waiting = read_record(redis.call('HGET', leases, key))
  local ours = fence == ARGV[i + 2]
  local deadline = ours and redis.call('ZSCORE', claimed, key)
  if deadline and tonumber(deadline) > ms then
    local at, newer
    if verb == 'ack' then
      at = moment(argument)
      result, newer = finish(key, run_at, mark, waiting, at, 0)
    elseif verb == 'extend' then
      result = math.min(math.max(tonumber(deadline), up + argument), 2^53)   -- a reply is an integer
      if is_refused(redis.pcall('ZADD', claimed, spell(result), key)) then result = -2 end
    elseif verb == 'begin' then
      result = 1
      local record = write_record(fence, math.abs(attempt), run_at, mark, waiting)
      if attempt < 0 and is_refused(redis.pcall('HSET', leases, key, record)) then result = -2 end
    elseif verb == 'nack' then
      result, newer = finish(key, run_at, mark, waiting, up + argument, math.abs(attempt))
      if newer then result = 2 end
    elseif verb == 'back' then
      local kept = math.abs(attempt) - 1
      result = finish(key, run_at, mark, waiting, run_at, mark == '?' and kept or -kept)
    else                                        -- bury
      local next_run, rest = string.match(argument, '^(%S*) (.*)$')
      at = moment(next_run)
      local letter = table.concat({spell(ms), math.abs(attempt), spell(run_at), rest}, ' ')
      if (at or waiting or has_data) and is_schedule_refused() then result = -2
      elseif is_refused(redis.pcall('HSET', dead, key, letter)) then result = -2
      else result, newer = finish(key, run_at, mark, waiting, at, 0) end
    end
    if at and result == 1 and not newer then tell(i, at) end
  elseif resent > 0 and not ours and verb ~= 'extend' and verb ~= 'begin' then
    result = resent == 1 and ms < tonumber(ARGV[i + 4]) and 1 or -1
    local at = (verb == 'ack' or verb == 'bury') and moment(string.match(argument, '^%S*'))
    if at and result == 1 and is_score(at, redis.pcall('ZSCORE', Q, key)) then tell(i, at) end
  end
  results[#results + 1] = result
end
return {earliest, results, refusal, next_runs}
