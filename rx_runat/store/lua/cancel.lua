-- Cancels a key: it waits no more, a lease on it is revoked, and its data is deleted.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in lease.lua
--       3 {Q}:leases    as in record.lua
--       4 {Q}:data      as in schedule.lua
-- ARGV  1 key
--       2 token   random, so that it is no key: what is done to it changes nothing
-- ->    1 if the key waited or was under a lease, living or ended; else 0
-- cost  O(log(size of Q + size of claimed))
--
-- Refused, it has done nothing: a command fails by its name and its Redis key alone, so whatever succeeds with the token
-- succeeds with the key. ZREM at Q is the last command that can fail, and the first that changes something.
local Q, claimed, leases, data, key, token = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2]
redis.call('ZREM', claimed, token)
redis.call('HDEL', leases, token)
redis.call('HDEL', data, token)
local waited = redis.call('ZREM', Q, key)
local out = redis.call('ZREM', claimed, key)
redis.call('HDEL', leases, key)
redis.call('HDEL', data, key)
return math.max(waited, out)
