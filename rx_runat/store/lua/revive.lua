-- Brings dead letters back to the schedule, with their own run_at and no attempts counted; a newer schedule of a key
-- stands.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:dead   as in settle.lua
-- ARGV  1 token   random, so that it is no key: what is done to it changes nothing
--       2.. keys
-- ->    {how many of the keys were brought back, how many are letters that cannot be read and stay}
-- cost  O(keys * log(size of Q))
--
-- Refused, it has done nothing: a command fails by its name and its Redis key alone, so whatever succeeds with the token
-- succeeds with every key. HDEL comes first, because a full server permits it as the first write, and then ZADD as well.
--
-- A letter can be read if it has the four fields that settle.lua writes; `LETTER` in dead_letter_store.py says the same.
-- Another client may have written anything else there. Numbers are spelled anew, because ZADD reads fewer forms of a
-- number than Lua does.
local Q, dead, token = KEYS[1], KEYS[2], ARGV[1]
redis.call('HDEL', dead, token)
redis.call('ZADD', Q, 'XX', 0, token)
local revived, unreadable = 0, 0
for i = 2, #ARGV do
  local key = ARGV[i]
  local letter = redis.call('HGET', dead, key)
  local attempts, run_at = string.match(letter or '', '^%d+ (%d+) (%S+) ')
  local at = attempts and #attempts < 16 and not string.find(run_at, '[xX]') and tonumber(run_at)   -- no 0x10
  if at and at == at then                       -- no nan
    redis.call('ZADD', Q, 'NX', spell(at), key)
    redis.call('HDEL', dead, key)
    revived = revived + 1
  elseif letter then
    unreadable = unreadable + 1
  end
end
return {revived, unreadable}
