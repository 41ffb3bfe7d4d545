-- Brings dead letters back to the schedule, with their own run_at and data, and no attempts counted. A letter whose key
-- waits or is out under a lease stays a letter.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:dead      as in settle.lua
--       3 {Q}:claimed   as in lease.lua
--       4 {Q}:data      as in schedule.lua
-- ARGV  1 token   random, so that it is no key: what is done to it changes nothing
--       2.. keys
-- ->    {how many of the keys were brought back, how many are letters that stay}
-- cost  O(keys * log(size of Q))
--
-- Refused, it has done nothing: a command fails by its name and its Redis key alone, so whatever succeeds with the token
-- succeeds with every key. HDEL comes first, because a full server permits it as the first write, and then the others as
-- well.
--
-- A letter can be read if it has the fields that settle.lua writes; `LETTER` in dead_letter_store.py says the same.
-- Another client may have written anything else there. Numbers are spelled anew, because ZADD reads fewer forms of a
-- number than Lua does.
local Q, dead, claimed, data, token = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1]
redis.call('ZSCORE', claimed, token)
redis.call('ZSCORE', Q, token)
redis.call('HDEL', dead, token)
redis.call('ZADD', Q, 'XX', 0, token)
redis.call('HDEL', data, token)
redis.call('HSET', data, token, '')
redis.call('HDEL', data, token)
local revived, stayed = 0, 0
for i = 2, #ARGV do
  local key = ARGV[i]
  local letter = redis.call('HGET', dead, key)
  local attempts, run_at, rest = string.match(letter or '', '^%d+ (%d+) (%S+) (.*)$')
  local at = attempts and #attempts < 16 and not string.find(run_at, '[xX%z]') and tonumber(run_at)   -- no 0x10, no 5\0
  if at and at == at and not redis.call('ZSCORE', Q, key) and not redis.call('ZSCORE', claimed, key) then   -- no nan
    local text = string.match(rest, '\31([^\31]*)$') or ''
    if text == '' then redis.call('HDEL', data, key) else redis.call('HSET', data, key, text) end
    redis.call('ZADD', Q, spell(at), key)
    redis.call('HDEL', dead, key)
    revived = revived + 1
  elseif letter then
    stayed = stayed + 1
  end
end
return {revived, stayed}
