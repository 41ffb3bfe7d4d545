-- Looks at the next keys without taking them.
--
-- KEYS  1 Q, the schedule
-- ARGV  1 n       keys
--       2 now     epoch us; virtual time only, else Redis's own clock
-- ->    {now us, {key, score, ...}}
-- cost  O(n + log(size of Q))
local now = tonumber(ARGV[2])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
return {now, redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')}
