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
-- All or none: the script can fail only before it has written. If Q has another type, the memory is full or the server
-- is read-only, the first ZADD fails already; if {Q}:leases has another type, the first HGET does.
-- A key that is parked until its lease ends (as in lease.lua) has a mark in Q, not its run_at. A policy compares
-- run_ats, so such a key gets its own run_at back first.
local Q, leases, keep = KEYS[1], KEYS[2], ARGV[1]
local ms = math.ceil(now_us(ARGV[2]) / 1000)
if keep ~= '' and redis.call('EXISTS', leases) == 1 then
  for i = 4, #ARGV, 2 do
    local _, _, _, mark, waiting = read_record(redis.call('HGET', leases, ARGV[i]))
    if waiting and is_score(mark, redis.call('ZSCORE', Q, ARGV[i])) then
      redis.call('ZADD', Q, spell(waiting), ARGV[i])
    end
  end
end
for i = 3, #ARGV, 2 do
  local at, key = ARGV[i], ARGV[i + 1]
  if string.sub(at, 1, 1) == '+' then at = spell(ms + tonumber(string.sub(at, 2))) end
  if keep == '' then redis.call('ZADD', Q, at, key) else redis.call('ZADD', Q, keep, at, key) end
end

local earliest
for i = 4, #ARGV, 2 do                          -- a key may be twice in the list: read scores when all are written
  local at = redis.call('ZSCORE', Q, ARGV[i])
  if not earliest or tonumber(at) < tonumber(earliest) then earliest = at end
end
return earliest
