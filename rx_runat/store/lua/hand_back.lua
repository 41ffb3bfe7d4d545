-- Returns keys that were claimed and not delivered, with their own run_at; a schedule made meanwhile stands.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:receipt:<source>
-- ARGV  1 token   of this hand-back, random
--       2 ttl     of the receipt, ms
--       3.. score, key, score, key, ...
-- ->    how many went back; -1 if this token had done it before (its answer was lost, or this is a late copy)
-- cost  O(keys * log(size of Q))
--
-- The receipt changes from "what I took" to "what I gave": without it a second asking would return keys that another
-- source has claimed since. DEL first, a write that a full server allows: it lets the ZADDs through.
local Q, receipt, token = KEYS[1], KEYS[2], ARGV[1]
if redis.call('GET', receipt) == token then return -1 end
redis.call('DEL', receipt)
local back = 0
for i = 3, #ARGV, 2 do back = back + redis.call('ZADD', Q, 'NX', ARGV[i], ARGV[i + 1]) end
redis.call('SET', receipt, token, 'PX', ARGV[2])
return back
