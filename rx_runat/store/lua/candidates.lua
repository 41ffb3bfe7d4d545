-- Reads how many keys a claim could take at the moment, of a queue without leases and data. Writes nothing.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in claim.lua
--       3 {Q}:leases    as in claim.lua
--       4 {Q}:data      as in claim.lua
-- ARGV  1 samples   so many of the first keys are measured
-- ->    {now us, due, us until the next key is due (0: now, -1: nothing is scheduled), size}
--       due:  keys; 0 where there are leases or data
--       size: the mean of the first keys, bytes in the server's memory, which is more than their length; -1 if none is
--             due, or if MEMORY USAGE is forbidden
-- cost  O(samples + log(size of Q))
--
-- MEMORY USAGE takes the mean of the samples times ZCARD. The samples are the first members in their order; of a small
-- zset, which is a listpack, it tells the exact size.
local Q, claimed, leases, data = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now = now_us()
if redis.call('EXISTS', claimed, leases, data) > 0 then return {now, 0, 0, -1} end
local due = redis.call('ZCOUNT', Q, '-inf', spell(math.floor(now / 1000)))
if due > 0 then
  local used = redis.pcall('MEMORY', 'USAGE', Q, 'SAMPLES', ARGV[1])
  return {now, due, 0, type(used) == 'number' and math.ceil(used / redis.call('ZCARD', Q)) or -1}
end
local head = redis.call('ZRANGE', Q, 0, 0, 'WITHSCORES')[2]
local wait = -1
if head and tonumber(head) < 1e15 then wait = math.max(0, math.ceil(tonumber(head)) * 1000 - now) end
return {now, 0, wait, -1}
