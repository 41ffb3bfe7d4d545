-- Counts a queue, and tells since when its oldest keys wait. Takes nothing, writes nothing.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in lease.lua
--       3 {Q}:dead      as in settle.lua
-- ARGV  1 now     epoch us; given in virtual time only, else Redis's own clock
-- ->    {now us, scheduled, due, claimed, dead, head, lease end}
--       head: the lowest score in Q; lease end: the earliest deadline in claimed; '' if there is none
-- cost  O(log(size of Q))
local Q, claimed, dead = KEYS[1], KEYS[2], KEYS[3]
local now = now_us(ARGV[1])
local function lowest(found) return found[2] or '' end
return {
  now, redis.call('ZCARD', Q), redis.call('ZCOUNT', Q, '-inf', spell(math.floor(now / 1000))),
  redis.call('ZCARD', claimed), redis.call('HLEN', dead),
  lowest(redis.call('ZRANGE', Q, 0, 0, 'WITHSCORES')), lowest(redis.call('ZRANGE', claimed, 0, 0, 'WITHSCORES')),
}
