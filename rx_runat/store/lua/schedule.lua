-- Schedules keys with their data, all or none; delays count from Redis's clock.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:leases    as in record.lua
--       3 {Q}:claimed   as in lease.lua
--       4 {Q}:data      hash key -> its data, JSON; a key without a field has none
-- ARGV  1 keep    '' (the last schedule wins), first, earliest, latest, absent
--       2 now     epoch us in virtual time; '': Redis's own clock
--       3 token   random, so that it is no member and no field
--       4 waiting 1: only keys that wait are written; else 0
--       5 width   2; 3 if data is named
--       6.. time, key, time, key, ... where a time is epoch ms, or '+' and a delay in ms
--           of width 3: time, key, data, time, ... where data is JSON; 'null': none from now on; '': what is there stays
-- ->    the earliest score that these keys have afterwards; '' if none of them waits
-- cost  O(keys * log(size of Q))
--
-- The clock is rounded up to the ms, as every run_at is: no key comes early.
-- A policy compares run_ats. A key that is parked until its lease ends (as in lease.lua) has a mark in Q, not its run_at;
-- that one is in its record. Under 'absent' a key is not written if it is out under a lease, either, a lease that has
-- ended included: it comes again.
-- What a policy rejects changes neither time nor data; only 'last' accepts the time that is there already.
-- All or none: with well-formed arguments a command fails by its name and its Redis key alone. All reads come first, and
-- each command that writes is tried with the token. A full server refuses the first of them, as it should.
local Q, leases, claimed, data = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local keep, token, only_waiting, width = ARGV[1], ARGV[3], ARGV[4] == '1', tonumber(ARGV[5])
local ms = math.ceil(now_us(ARGV[2]) / 1000)
local FIRST, CHUNK = 6, 4000                    -- CHUNK as in `bulk`

for i = FIRST, #ARGV, width do
  if string.byte(ARGV[i]) == 43 then            -- '+'
    ARGV[i] = string.format('%.0f', ms + string.sub(ARGV[i], 2))   -- exact for whole ms, in a third of the time of '%.17g'
  end
end

local stands = {}                               -- key -> the run_at for which it waits, a number
local out = {}                                  -- the keys under a lease, where that matters
if keep ~= '' or only_waiting then
  local keys = {}
  for i = FIRST, #ARGV, width do keys[#keys + 1] = ARGV[i + 1] end
  local has_leases = redis.call('EXISTS', leases) == 1
  for i = 1, #keys, CHUNK do
    local to = math.min(i + CHUNK - 1, #keys)
    local scores = redis.call('ZMSCORE', Q, unpack(keys, i, to))
    local records = has_leases and redis.call('HMGET', leases, unpack(keys, i, to))
    local ends = keep == 'absent' and redis.call('ZMSCORE', claimed, unpack(keys, i, to))
    for j, score in ipairs(scores) do
      local key, _, mark, waiting = keys[i + j - 1], nil, nil, nil
      if records then _, _, _, mark, waiting = read_record(records[j]) end
      if score then stands[key] = waiting and is_score(mark, score) and waiting or tonumber(score) end
      if ends and ends[j] then out[key] = true end
    end
  end
end

local function is_accepted(time, key)
  local present = stands[key]
  if not present then return not only_waiting and not out[key] end
  if keep == '' then return true end
  return keep == 'earliest' and time < present or keep == 'latest' and time > present
end

local times, named = {}, {}                     -- time, key, ... as ZADD takes them; key -> data, the last one named
for i = FIRST, #ARGV, width do
  local at, key = ARGV[i], ARGV[i + 1]
  local time = tonumber(at)
  if is_accepted(time, key) then
    times[#times + 1], times[#times + 2] = at, key
    stands[key] = time
    if width == 3 and ARGV[i + 2] ~= '' then named[key] = ARGV[i + 2] end
  end
end

redis.call('ZADD', Q, 'XX', 0, token)
if next(named) then
  redis.call('HDEL', data, token)
  redis.call('HSET', data, token, '')
  redis.call('HDEL', data, token)
end
local kept, dropped = {}, {}
for key, text in pairs(named) do
  if text == 'null' then dropped[#dropped + 1] = key else kept[#kept + 1], kept[#kept + 2] = key, text end
end
bulk('ZADD', Q, times)
bulk('HSET', data, kept)
bulk('HDEL', data, dropped)

local earliest                                  -- another client may have written inf, which is a time like any other
for i = FIRST, #ARGV, width do
  local at = stands[ARGV[i + 1]]
  if at and not (earliest and earliest <= at) then earliest = at end
end
return earliest and spell(earliest) or ''
