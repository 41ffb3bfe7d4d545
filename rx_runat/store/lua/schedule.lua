-- Schedules keys, all or none; delays count from Redis's clock.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:leases   as in lease.lua
-- ARGV  1 keep    '' (the last schedule wins), NX (the first), LT (the earliest), GT (the latest)
--       2 now     epoch us in virtual time, '' else: Redis's own clock
--       3.. time, key, time, key, ... where a time is epoch ms, or '+' and a delay in ms
-- ->    the earliest score that stands for these keys
-- cost  O(keys * log(size of Q))
--
-- The clock is rounded up to the ms, as every run_at is: nothing comes early. The only failures (wrong type, full
-- memory) meet the first ZADD: all or none.
-- A key that stands in Q until a lease ends is compared by its own run_at, and so gets that back first.
local Q, leases, keep = KEYS[1], KEYS[2], ARGV[1]
local now = tonumber(ARGV[2])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local ms = math.ceil(now / 1000)
if keep ~= '' and redis.call('EXISTS', leases) == 1 then
  for i = 4, #ARGV, 2 do
    local mark, waiting =
      string.match(redis.call('HGET', leases, ARGV[i]) or '', '^%S+ %S+ %S+ (%S+) (%S+)$')
    if mark and waiting ~= '-' and redis.call('ZSCORE', Q, ARGV[i]) == mark then
      redis.call('ZADD', Q, waiting, ARGV[i])
    end
  end
end
for i = 3, #ARGV, 2 do
  local at, key = ARGV[i], ARGV[i + 1]
  if string.sub(at, 1, 1) == '+' then at = string.format('%.17g', ms + tonumber(string.sub(at, 2))) end
  if keep == '' then redis.call('ZADD', Q, at, key) else redis.call('ZADD', Q, keep, at, key) end
end

local earliest
for i = 4, #ARGV, 2 do                          -- a key may be twice in the list: ask when all is written
  local at = redis.call('ZSCORE', Q, ARGV[i])
  if not earliest or tonumber(at) < tonumber(earliest) then earliest = at end
end
return earliest
