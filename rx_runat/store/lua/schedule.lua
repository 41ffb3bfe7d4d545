-- Schedules keys, all or none; delays count from Redis's clock.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:leases   as in record.lua
-- ARGV  1 keep    '' (the last schedule wins), NX (the first), LT (the earliest), GT (the latest)
--       2 now     epoch us in virtual time; '': Redis's own clock
--       3.. time, key, time, key, ... where a time is epoch ms, or '+' and a delay in ms
-- ->    the earliest score that these keys have afterwards
-- cost  O(keys * log(size of Q))
--
-- The clock is rounded up to the ms, as every run_at is: no key comes early.
-- A key that is parked until its lease ends (as in lease.lua) has a mark in Q, not its run_at. A policy compares
-- run_ats, so such a key gets its own run_at back first.
-- All or none: with well-formed arguments a command fails by its name and its Redis key alone. All reads come before the
-- first write; ZMSCORE, which runs once more at the end, is tried with one key. The only command that writes is ZADD at
-- Q, so if the first one succeeds, all do. A full server refuses the first, as it should.
local Q, leases, keep = KEYS[1], KEYS[2], ARGV[1]
local ms = math.ceil(now_us(ARGV[2]) / 1000)
local CHUNK = 4000                              -- as in `bulk`

local keys = {}                                 -- where a policy compares
local last = {}                                 -- key -> its last time, because a key may be twice in the list
for i = 3, #ARGV, 2 do
  local at, key = ARGV[i], ARGV[i + 1]
  if string.byte(at) == 43 then                 -- '+'
    at = ms + string.sub(at, 2)
    ARGV[i] = string.format('%.0f', at)         -- exact for whole ms, and in a third of the time of '%.17g'
  end
  if keep == '' then last[key] = tonumber(at) else keys[#keys + 1] = key end
end

local function earliest_of(times)
  local earliest = math.huge
  for _, at in pairs(times) do earliest = math.min(earliest, at) end
  return earliest
end

if keep == '' then
  bulk('ZADD', Q, ARGV, 3)
  return spell(earliest_of(last))
end

redis.call('ZMSCORE', Q, keys[1])
local own = {}
local held = redis.call('EXISTS', leases) == 1
for i = 1, held and #keys or 0, CHUNK do
  local to = math.min(i + CHUNK - 1, #keys)
  local scores = redis.call('ZMSCORE', Q, unpack(keys, i, to))
  local records = redis.call('HMGET', leases, unpack(keys, i, to))
  for j = 1, #records do
    local _, _, _, mark, waiting = read_record(records[j])
    if waiting and is_score(mark, scores[j]) then
      own[#own + 1], own[#own + 2] = spell(waiting), keys[i + j - 1]
    end
  end
end
bulk('ZADD', Q, own)
for i = 3, #ARGV, CHUNK do redis.call('ZADD', Q, keep, unpack(ARGV, i, math.min(i + CHUNK - 1, #ARGV))) end

local earliest = math.huge
for i = 1, #keys, CHUNK do
  earliest = math.min(earliest, earliest_of(redis.call('ZMSCORE', Q, unpack(keys, i, math.min(i + CHUNK - 1, #keys)))))
end
return spell(earliest)
