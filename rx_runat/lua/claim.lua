-- Takes what is due, at most `limit` keys, and writes down what it took: a claim whose answer was lost can be asked again.
--
-- KEYS  1 Q, the schedule: zset key -> run_at in epoch ms
--       2 {Q}:receipt:<source>, the source's last claim: token, then key, score, ... each followed by the token
-- ARGV  1 limit   keys
--       2 token   of this claim, random; no key holds it
--       3 ttl     of the receipt, ms
--       4 again   1 if an answer to this token was lost, else 0
--       5 now     epoch us; virtual time only, else Redis's own clock
-- ->    {now us, us until the next key is due (0: now, -1: nothing is scheduled), {key, score, ...}}
-- cost  O(limit * log(size of Q)); the receipt holds the answer's bytes until the source's next claim
--
-- An old request that comes late finds its own receipt under a name that the source has left, and takes nothing:
-- so an answer to a second asking is written down even when it is empty.
-- DEL comes before SET and always: it is allowed on a full server, and lets SET through; and it is refused by a primary
-- that was demoted, which an idle source would else ask for ever.
local Q, receipt = KEYS[1], KEYS[2]
local limit, token, again = tonumber(ARGV[1]), ARGV[2], ARGV[4] == '1'
local now = tonumber(ARGV[5])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local taken = {}

local before = redis.call('GET', receipt)
if before and string.sub(before, 1, #token) == token then
  local from = #token + 1
  while true do
    local stop = string.find(before, token, from, true)
    if not stop then break end
    taken[#taken + 1] = string.sub(before, from, stop - 1)
    from = stop + #token
  end
else
  redis.call('DEL', receipt)
  local ms = string.format('%.17g', math.floor(now / 1000))
  local due = math.min(redis.call('ZCOUNT', Q, '-inf', ms), limit)
  if due > 0 then taken = redis.call('ZPOPMIN', Q, due) end
  if due > 0 or again then
    local body = due > 0 and table.concat(taken, token) .. token or ''
    redis.call('SET', receipt, token .. body, 'PX', ARGV[3])
  end
end

local head = redis.call('ZRANGE', Q, 0, 0, 'WITHSCORES')[2]
local wait = -1
if head and tonumber(head) < 1e15 then wait = math.max(0, math.ceil(tonumber(head)) * 1000 - now) end
return {now, wait, taken}
