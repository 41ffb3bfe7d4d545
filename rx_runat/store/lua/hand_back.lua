-- Returns keys that were claimed and not delivered, with their own run_at; a newer schedule of a key stands.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:receipt:<source>   as in claim.lua
-- ARGV  1 token   of this hand-back: random, so that it is no member
--       2 ttl     of the receipt, ms
--       3.. score, key, score, key, ...
-- ->    how many keys went back; -1 if this token did it before: its reply was lost, or this is a delayed duplicate
-- cost  O(keys * log(size of Q))
--
-- After this script the receipt holds the token of the hand-back instead of a claim. Without that token, a resent
-- request would return keys that another source has claimed since.
local Q, receipt, token = KEYS[1], KEYS[2], ARGV[1]
if redis.call('GET', receipt) == token then return -1 end
redis.call('DEL', receipt)
redis.call('ZADD', Q, 'XX', 0, token)
redis.call('SET', receipt, token, 'PX', ARGV[2])
local back = 0
for i = 3, #ARGV, 4000 do
  back = back + redis.call('ZADD', Q, 'NX', unpack(ARGV, i, math.min(i + 3999, #ARGV)))
end
return back
