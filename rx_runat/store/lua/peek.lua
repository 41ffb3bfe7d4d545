-- Reads the next keys without taking them.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:data   as in schedule.lua
-- ARGV  1 n       keys
--       2 now     epoch us; given in virtual time only, else Redis's own clock
-- ->    {now us, {key, score, ...}, {data, ...}}
--       data: one for each key, '' for a key without; an empty list if no key of the queue has data
-- cost  O(n + log(size of Q))
local Q, data = KEYS[1], KEYS[2]
local found = redis.call('ZRANGE', Q, 0, ARGV[1] - 1, 'WITHSCORES')
local texts = {}
if redis.call('EXISTS', data) == 1 then
  for i = 1, #found, 2 do texts[#texts + 1] = redis.call('HGET', data, found[i]) or '' end
end
return {now_us(ARGV[2]), found, texts}
