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
--       4.. runs of requests, one after the other: verb, fence, argument, deadline, n, and the keys of n requests,
--           which are equal but for the key
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
--       i, score: the i-th request, counted from 1, put the key's next run into Q with this score; resent: perhaps the
--       earlier sending did
-- cost  O(requests * log(size of Q + size of claimed)); acks of a run without a next run, the usual case, share a
--       few commands
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
local function rehearse()
  if not rehearsed then
    rehearsed = redis.pcall('ZADD', Q, 'XX', 0, token)
    if type(rehearsed) ~= 'table' then
      local read = redis.pcall('ZMSCORE', Q, token)
      rehearsed = read.err and read or true
    end
  end
  return rehearsed
end
local function is_schedule_refused()            -- called before the first change of a request that may change Q
  return is_refused(rehearse())
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
    newer = redis.call('ZMSCORE', Q, key)[1]
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

local next_runs = {}
local function tell(i, at)
  next_runs[#next_runs + 1] = i
  next_runs[#next_runs + 1] = spell(at)
end

-- Do the i-th request. Returns its result. It reads with the commands of `plain_acks`: if the user may not call one of
-- them, the script ends before its first change.
local function settle(i, verb, fence, argument, last, key)
  local lease, attempt, run_at, mark, waiting = read_record(redis.call('HMGET', leases, key)[1])
  local ours, result = lease == fence, 0
  local deadline = ours and redis.call('ZMSCORE', claimed, key)[1]
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
    result = resent == 1 and ms < tonumber(last) and 1 or -1
    local at = (verb == 'ack' or verb == 'bury') and moment(string.match(argument, '^%S*'))
    if at and result == 1 and is_score(at, redis.pcall('ZSCORE', Q, key)) then tell(i, at) end
  end
  return result
end

-- Returns which of some keys an ack simply ends: the lease is ours and lives, and no newer run is parked. As a table:
-- key -> 'with data' if the key's data goes too, else 'alone'.
local function plain_acks(fence, keys)
  local texts, ends = redis.call('HMGET', leases, unpack(keys)), redis.call('ZMSCORE', claimed, unpack(keys))
  local newer = has_data and redis.call('ZMSCORE', Q, unpack(keys))
  local found = {}
  for i, key in ipairs(keys) do
    local lease, _, _, _, waiting = read_record(texts[i])
    if lease == fence and not waiting and ends[i] and tonumber(ends[i]) > ms then
      found[key] = newer and not newer[i] and 'with data' or 'alone'
    end
  end
  return found
end

local results, word = {}, 4
while word < #ARGV do
  local verb, fence, argument, last, n = unpack(ARGV, word, word + 4)
  local first = word + 5
  word = first + n
  local are_plain = verb == 'ack' and argument == '' and (not has_data or rehearse() == true)
  for from = first, word - 1, 1000 do           -- `unpack` fails from 8,000
    local keys = {unpack(ARGV, from, math.min(word - 1, from + 999))}
    local plain = are_plain and plain_acks(fence, keys) or {}
    local over, with_data = {}, {}
    local function end_runs()
      bulk('HDEL', leases, over)
      bulk('ZREM', claimed, over)
      bulk('HDEL', data, with_data)
      over, with_data = {}, {}
    end
    for i, key in ipairs(keys) do
      local what = plain[key]
      if what then
        plain[key] = nil                        -- if the key comes again, its lease is gone
        over[#over + 1] = key
        if what == 'with data' then with_data[#with_data + 1] = key end
        results[#results + 1] = 1
      else
        end_runs()
        results[#results + 1] = settle(#results + 1, verb, fence, argument, last, key)
      end
    end
    end_runs()
  end
end
return {earliest, results, refusal, next_runs}
