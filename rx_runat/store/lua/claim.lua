-- Takes due keys, at most `limit`, and writes a receipt: after a lost reply the same keys can be asked for again.
--
-- KEYS  1 Q, the schedule: zset key -> run_at in epoch ms
--       2 {Q}:receipt:<source>, the receipt of the source's last claim: its token, then what it took
--       3 {Q}:claimed   as in lease.lua
--       4 {Q}:leases    as in prelude.lua
-- ARGV  1 limit   keys
--       2 token   of this claim: random, so that it is part of no key
--       3 ttl     of the receipt, ms
--       4 resent  1 if an earlier reply to this token was lost, else 0
--       5 now     epoch us; given in virtual time only, else Redis's own clock
-- ->    {now us, us until the next key is due (0: now, -1: nothing is scheduled), taken}
--       taken: key, score, key, score, ... with the token between any two; '' if nothing
-- cost  O(limit + log(size of Q)); the receipt holds as many bytes as the reply, until the source's next claim
--
-- The keys leave as one string, which the client splits: to return an array of 2,000 strings costs a server as much
-- time as the rest of this script.
--
-- A delayed duplicate of a resent request must find a receipt and do nothing. So a resent claim always writes one, even
-- if it takes no key; and the source then goes on under another receipt key.
--
-- DEL runs before SET in every claim, unless the reply comes from the receipt. A full server refuses a script whose
-- first write adds, but permits DEL, and then SET as well. A demoted primary refuses DEL, also when nothing is due.
-- Without DEL, an idle source would never notice the demotion, and would go on asking that server.
--
-- If the queue has leases, `skip_leased` looks at what was popped. A key under a living lease goes back, parked as in
-- lease.lua. Any other key is taken, and its lease record removed; if its score was a mark
-- (see prelude.lua), its own run_at is returned instead.
local Q, receipt, claimed, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local limit, token, resent = tonumber(ARGV[1]), ARGV[2], ARGV[4] == '1'
local now = now_us(ARGV[5])
local taken = ''

local function skip_leased(popped, ms)
  local free = {}
  for i = 1, #popped, 2 do
    local key, score = popped[i], popped[i + 1]
    local fence, attempt, run_at, mark, waiting = string.match(redis.call('HGET', leases, key) or '', RECORD)
    if mark == score then score = waiting ~= '-' and waiting or run_at end
    local ends = fence and fence ~= '-' and redis.call('ZSCORE', claimed, key)
    if ends and tonumber(ends) > tonumber(ms) then
      mark = spell(ends - 0.5)
      redis.call('ZADD', Q, mark, key)
      redis.call('HSET', leases, key, table.concat({fence, attempt, run_at, mark, score}, ' '))
    else
      redis.call('ZREM', claimed, key)
      redis.call('HDEL', leases, key)
      free[#free + 1] = key
      free[#free + 1] = score
    end
  end
  return free
end

if redis.call('GETRANGE', receipt, 0, #token - 1) == token then
  taken = redis.call('GETRANGE', receipt, #token, -1)
else
  redis.call('DEL', receipt)
  local ms = spell(math.floor(now / 1000))
  local due = math.min(redis.call('ZCOUNT', Q, '-inf', ms), limit)
  if due > 0 then                               -- these two do what ZPOPMIN does, in four fifths of its time
    local popped = redis.call('ZRANGE', Q, 0, due - 1, 'WITHSCORES')
    redis.call('ZREMRANGEBYRANK', Q, 0, due - 1)
    if redis.call('EXISTS', leases) == 1 then popped = skip_leased(popped, ms) end
    taken = table.concat(popped, token)
  end
  if due > 0 or resent then redis.call('SET', receipt, token .. taken, 'PX', ARGV[3]) end
end

local head = redis.call('ZRANGE', Q, 0, 0, 'WITHSCORES')[2]
local wait = -1
if head and tonumber(head) < 1e15 then wait = math.max(0, math.ceil(tonumber(head)) * 1000 - now) end
return {now, wait, taken}
