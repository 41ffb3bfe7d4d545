-- Cancels a key: it waits no more, and a lease on it is revoked.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in lease.lua
--       3 {Q}:leases    as in record.lua
-- ARGV  1 key
-- ->    1 if the key waited or was under a lease, living or ended; else 0
-- cost  O(log(size of Q + size of claimed))
local Q, claimed, leases = KEYS[1], KEYS[2], KEYS[3]
local waited = redis.call('ZREM', Q, ARGV[1])
local out = redis.call('ZREM', claimed, ARGV[1])
redis.call('HDEL', leases, ARGV[1])
return math.max(waited, out)
