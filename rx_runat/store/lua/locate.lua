-- Tells where each of some keys is. Takes nothing, writes nothing.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in lease.lua
--       3 {Q}:leases    as in record.lua
--       4 {Q}:dead      as in settle.lua
-- ARGV  1.. keys
-- ->    {place, score, died, place, ...}, three for each key
--       place: 'out' under a lease, living or ended; 'again' between two attempts; '' neither
--       score: its score in Q, or ''; died: the epoch ms at which it became a dead letter, or ''
-- cost  O(keys): four commands for each
local Q, claimed, leases, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local found = {}
for i, key in ipairs(ARGV) do
  local place = ''
  if redis.call('ZSCORE', claimed, key) then
    place = 'out'
  elseif redis.call('HGET', leases, key) then
    place = 'again'
  end
  found[3 * i - 2] = place
  found[3 * i - 1] = redis.call('ZSCORE', Q, key) or ''
  found[3 * i] = string.match(redis.call('HGET', dead, key) or '', '^%d+') or ''
end
return found
