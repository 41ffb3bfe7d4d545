-- Deletes the data or the lease records of keys that neither wait nor are out under a lease: npm runat takes keys, also
-- between two attempts, and leaves both.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in lease.lua
--       3 {Q}:data      as in schedule.lua; or {Q}:leases, as in record.lua
-- ARGV  keys
-- ->    for how many of them something was deleted
-- cost  O(keys)
local Q, claimed, data = KEYS[1], KEYS[2], KEYS[3]
local orphans = {}
for i, key in ipairs(ARGV) do
  if not redis.call('ZSCORE', Q, key) and not redis.call('ZSCORE', claimed, key) then orphans[#orphans + 1] = key end
end
local deleted = 0
for i = 1, #orphans, 4000 do
  deleted = deleted + redis.call('HDEL', data, unpack(orphans, i, math.min(i + 3999, #orphans)))
end
return deleted
