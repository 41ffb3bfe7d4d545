-- Brings dead letters back to the schedule, with their own run_at and no attempts counted; a newer schedule of a key
-- stands.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:dead   as in settle.lua
-- ARGV  1.. keys
-- ->    how many of the keys were dead letters
-- cost  O(keys * log(size of Q))
--
-- A full server permits HDEL as the first write, and then ZADD as well.
local Q, dead = KEYS[1], KEYS[2]
local revived = 0
for _, key in ipairs(ARGV) do
  local run_at = string.match(redis.call('HGET', dead, key) or '', '^%S+ %S+ (%S+)')
  if run_at then
    redis.call('HDEL', dead, key)
    redis.call('ZADD', Q, 'NX', run_at, key)
    revived = revived + 1
  end
end
return revived
