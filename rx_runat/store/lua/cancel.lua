-- Cancels a key: it waits no more, and a lease on it is revoked.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in lease.lua
--       3 {Q}:leases    as in record.lua
-- ARGV  1 key
--       2 token   random, so that it is no key: what is done to it changes nothing
-- ->    1 if the key waited or was under a lease, living or ended; else 0
-- cost  O(log(size of Q + size of claimed))
--
-- Refused, it has done nothing: a command fails by its name and its Redis key alone, so whatever succeeds with the token
-- succeeds with the key. ZREM at Q is the last command that can fail, and the first that changes something.
local Q, claimed, leases, key, token = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
redis.call('ZREM', claimed, token)
redis.call('HDEL', leases, token)
local waited = redis.call('ZREM', Q, key)
local out = redis.call('ZREM', claimed, key)
redis.call('HDEL', leases, key)
return math.max(waited, out)
