-- Finds the next moment that is worth a look for a source of claims: the schedule's head, or the first end of a lease.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed, zset key -> end of its lease in epoch ms
-- ARGV  none
-- ->    the earlier score of the two, as Redis spells it; nil if nothing waits and nothing is out
-- cost  O(log(size of Q + size of claimed)); it only reads
--
-- Both in one script: whoever reads on a connection that is told of changes must not read again before it listens,
-- because what the server says meanwhile about the first read is dropped with the second answer.
local Q, claimed = KEYS[1], KEYS[2]
local head = redis.call('ZRANGE', Q, 0, 0, 'WITHSCORES')[2]
local first = redis.call('ZRANGE', claimed, 0, 0, 'WITHSCORES')[2]
if head and first and tonumber(first) < tonumber(head) then head = first end
return head or first
