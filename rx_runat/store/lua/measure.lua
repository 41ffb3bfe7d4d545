-- Tells how many keys are due, and how large the first ones are, of a queue without leases and data. Writes nothing.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in lease.lua
--       3 {Q}:leases    as in record.lua
--       4 {Q}:data      as in schedule.lua
-- ARGV  1 samples   so many of the first keys are measured
-- ->    {now us, due, us until the next key is due (0: now, -1: nothing is scheduled), size, below}
--       due:   keys; -1 where there are leases or data
--       size:  the mean of these first keys, bytes in the server's memory, which is more than their length; -1 if none
--              is due, or if MEMORY USAGE is forbidden
--       below: a bound for ZRANGE BYSCORE: whoever has a score below it was measured; '' if there is none, because all
--              that were measured have the same score and others follow
-- cost  O(samples + log(size of Q))
--
-- MEMORY USAGE takes the mean of the samples times ZCARD. The samples are the first members in their order; of a small
-- zset, which is a listpack, it tells the exact size.
local Q, claimed, leases, data = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, samples = now_us(), tonumber(ARGV[1])
if redis.call('EXISTS', claimed, leases, data) > 0 then return {now, -1, 0, -1, ''} end
local due = redis.call('ZCOUNT', Q, '-inf', spell(math.floor(now / 1000)))
local head = redis.call('ZRANGE', Q, 0, 0, 'WITHSCORES')[2]
if due == 0 then
  local wait = -1
  if head and tonumber(head) < 1e15 then wait = math.max(0, math.ceil(tonumber(head)) * 1000 - now) end
  return {now, 0, wait, -1, ''}
end
local used, count = redis.pcall('MEMORY', 'USAGE', Q, 'SAMPLES', samples), redis.call('ZCARD', Q)
local size = type(used) == 'number' and math.ceil(used / count) or -1
local below = '+inf'
if samples < count then
  local last = redis.call('ZRANGE', Q, samples - 1, samples - 1, 'WITHSCORES')[2]
  below = last ~= head and '(' .. last or ''
end
return {now, due, 0, size, below}
