-- Takes the first keys of a queue without leases and data, which the client has read. Only inside a transaction that
-- fails if anybody has written since; see candidates.py.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:receipt:<source>   as in claim.lua
-- ARGV  1 receipt   the token of the claim and `+`
--       2 ttl       of the receipt, ms
--       3 count     keys, at least 1
-- ->    how many were taken: count
-- cost  O(count + log(size of Q))
--
-- A script, because Redis checks each command of a transaction again at EXEC, and goes on behind one that is refused.
local Q, receipt = KEYS[1], KEYS[2]
redis.call('DEL', receipt)
redis.call('ZREMRANGEBYRANK', Q, 1, 0)
redis.call('SET', receipt, ARGV[1], 'PX', ARGV[2])
return redis.call('ZREMRANGEBYRANK', Q, 0, ARGV[3] - 1)
