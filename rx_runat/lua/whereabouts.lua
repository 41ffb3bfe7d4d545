-- Where keys are that are no longer seen where they were. Takes nothing, writes nothing.
--
-- KEYS  1 {Q}:claimed   as in lease.lua
--       2 {Q}:leases    as in lease.lua
--       3 {Q}:dead      as in settle.lua
-- ARGV  1.. keys
-- ->    {place, ...}, one for each: 'out' under a lease, living or ended; 'again': it waits for another attempt;
--       the epoch ms at which it became a dead letter; '': none of these
-- cost  O(keys): three commands for each at most
local claimed, leases, dead = KEYS[1], KEYS[2], KEYS[3]
local places = {}
for i, key in ipairs(ARGV) do
  if redis.call('ZSCORE', claimed, key) then
    places[i] = 'out'
  elseif redis.call('HGET', leases, key) then
    places[i] = 'again'
  else
    places[i] = string.match(redis.call('HGET', dead, key) or '', '^%d+') or ''
  end
end
return places
