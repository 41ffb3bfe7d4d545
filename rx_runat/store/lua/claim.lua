-- Takes what is due, at most `limit` keys, and writes down what it took: a claim whose answer was lost can be asked again.
--
-- KEYS  1 Q, the schedule: zset key -> run_at in epoch ms
--       2 {Q}:receipt:<source>, the source's last claim: token, then what it took
--       3 {Q}:claimed   as in lease.lua
--       4 {Q}:leases    as in lease.lua
-- ARGV  1 limit   keys
--       2 token   of this claim, random; no key holds it
--       3 ttl     of the receipt, ms
--       4 again   1 if an answer to this token was lost, else 0
--       5 now     epoch us; virtual time only, else Redis's own clock
-- ->    {now us, us until the next key is due (0: now, -1: nothing is scheduled), what it took}
--       what it took: key, score, key, score, ... with the token between any two; '' if nothing
-- cost  O(limit + log(size of Q)); the receipt holds the answer's bytes until the source's next claim
--
-- What was taken is one string from here to the client's split: a server spends as long on an array of 2,000 strings
-- as on the rest of this script.
-- An old request that comes late finds its own receipt under a name that the source has left, and takes nothing:
-- so an answer to a second asking is written down even when it is empty.
-- DEL comes before SET and always: it is allowed on a full server, and lets SET through; and it is refused by a primary
-- that was demoted, which an idle source would else ask for ever.
-- Where there are leases, what was popped is sifted: a key whose lease lives waits for its end, as in lease.lua; of the
-- others every trace of a lease goes, and a score that we gave gives way to the run's own.
local Q, receipt, claimed, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local limit, token, again = tonumber(ARGV[1]), ARGV[2], ARGV[4] == '1'
local now = tonumber(ARGV[5])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local taken = ''

local function sift(popped, ms)
  local free = {}
  for i = 1, #popped, 2 do
    local key, score = popped[i], popped[i + 1]
    local fence, attempt, run_at, mark, waiting =
      string.match(redis.call('HGET', leases, key) or '', '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
    if mark == score then score = waiting ~= '-' and waiting or run_at end
    local ends = fence and fence ~= '-' and redis.call('ZSCORE', claimed, key)
    if ends and tonumber(ends) > tonumber(ms) then
      mark = string.format('%.17g', ends - 0.5)
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
  local ms = string.format('%.17g', math.floor(now / 1000))
  local due = math.min(redis.call('ZCOUNT', Q, '-inf', ms), limit)
  if due > 0 then                               -- what ZPOPMIN does, in four fifths of its time
    local popped = redis.call('ZRANGE', Q, 0, due - 1, 'WITHSCORES')
    redis.call('ZREMRANGEBYRANK', Q, 0, due - 1)
    if redis.call('EXISTS', leases) == 1 then popped = sift(popped, ms) end
    taken = table.concat(popped, token)
  end
  if due > 0 or again then redis.call('SET', receipt, token .. taken, 'PX', ARGV[3]) end
end

local head = redis.call('ZRANGE', Q, 0, 0, 'WITHSCORES')[2]
local wait = -1
if head and tonumber(head) < 1e15 then wait = math.max(0, math.ceil(tonumber(head)) * 1000 - now) end
return {now, wait, taken}
