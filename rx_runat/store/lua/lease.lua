-- Leases what is due, at most `limit` keys; before that, keys whose lease has ended go back to the schedule.
--
-- KEYS  1 Q, the schedule: zset key -> run_at in epoch ms
--       2 {Q}:claimed, the keys that are out: zset key -> deadline in epoch ms; a lease lives while now < deadline
--       3 {Q}:leases, hash key -> fence, attempt, run_at, mark, waiting; between them a space, '-' for none:
--           fence    the token of the claim that holds the key; none between two attempts
--           mark     a score that we gave the key in Q; another one there is a newer schedule, which begins a new run
--           waiting  the run_at of the run that stands in Q under that mark until this one is over
--       4 {Q}:receipt:<source>, the source's last claim: token, then what it leased
-- ARGV  1 limit   keys; at 0 nothing is leased
--       2 token   of this claim, random; no key holds it; the fence of what it leases
--       3 ttl     of the receipt, ms
--       4 again   1 if an answer to this token was lost, else 0
--       5 lease   its length, ms
--       6 bound   keys that are brought back at most
--       7 now     epoch us; virtual time only, else Redis's own clock
-- ->    {now us, us until the next look is worth it, leased}: the next key due (not at limit 0) or the next lease's end
--       (0: now, -1: nothing of them is known); leased is the deadline, key, run_at, attempt, key, ... with the token
--       between any two; '' if nothing
-- cost  O((limit + bound) * log(size of Q + size of claimed))
--
-- A key that falls due while its lease lives stands in Q half a ms before the lease's end: it is due at that end, and
-- no schedule, which is in whole ms, is taken for that mark. The receipt and its DEL are as in claim.lua.
local Q, claimed, leases, receipt = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local limit, token, again = tonumber(ARGV[1]), ARGV[2], ARGV[4] == '1'
local now = tonumber(ARGV[7])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local ms = math.floor(now / 1000)
local function num(x) return string.format('%.17g', x) end
local function record(key)
  return string.match(redis.call('HGET', leases, key) or '', '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
end
local function keep(key, ...) redis.call('HSET', leases, key, table.concat({...}, ' ')) end

local replayed = redis.call('GETRANGE', receipt, 0, #token - 1) == token
if not replayed then redis.call('DEL', receipt) end

for _, key in ipairs(redis.call('ZRANGE', claimed, '-inf', num(ms), 'BYSCORE', 'LIMIT', 0, ARGV[6])) do
  redis.call('ZREM', claimed, key)
  local _, attempt, run_at, mark, waiting = record(key)
  run_at = run_at or num(ms)                    -- somebody took the record away: the key comes back all the same
  if redis.call('ZADD', Q, 'NX', run_at, key) == 1 then
    keep(key, '-', attempt or 1, run_at, run_at, '-')
  else                                          -- a newer schedule stands, and this run is over
    if waiting ~= '-' and redis.call('ZSCORE', Q, key) == mark then redis.call('ZADD', Q, waiting, key) end
    redis.call('HDEL', leases, key)
  end
end

local leased = ''
if replayed then
  leased = redis.call('GETRANGE', receipt, #token, -1)
else
  local due = math.min(redis.call('ZCOUNT', Q, '-inf', num(ms)), limit)
  local popped = {}
  if due > 0 then
    popped = redis.call('ZRANGE', Q, 0, due - 1, 'WITHSCORES')
    redis.call('ZREMRANGEBYRANK', Q, 0, due - 1)
  end
  local deadline = num(math.ceil(now / 1000) + ARGV[5])
  local items = {deadline}
  for i = 1, #popped, 2 do
    local key, score = popped[i], popped[i + 1]
    local fence, attempt, run_at, mark, waiting = record(key)
    local marked = mark == score
    if marked and waiting ~= '-' then score = waiting end
    local ends = fence and fence ~= '-' and redis.call('ZSCORE', claimed, key)
    if ends and tonumber(ends) > ms then
      mark = num(ends - 0.5)
      redis.call('ZADD', Q, mark, key)
      keep(key, fence, attempt, run_at, mark, score)
    else                                        -- free, or its lease has ended beyond the bound and is replaced here
      if fence == '-' and marked then attempt = num(attempt + 1) else attempt, run_at = '1', score end
      keep(key, token, attempt, run_at, '-', '-')
      redis.call('ZADD', claimed, deadline, key)
      local n = #items
      items[n + 1], items[n + 2], items[n + 3] = key, run_at, attempt
    end
  end
  if #items > 1 then leased = table.concat(items, token) end
  if #items > 1 or again then redis.call('SET', receipt, token .. leased, 'PX', ARGV[3]) end
end

local head = limit > 0 and redis.call('ZRANGE', Q, 0, 0, 'WITHSCORES')[2]
local first = redis.call('ZRANGE', claimed, 0, 0, 'WITHSCORES')[2]
local at = math.min(head and math.ceil(tonumber(head)) or math.huge, first and tonumber(first) or math.huge)
return {now, at < 1e15 and math.max(0, at * 1000 - now) or -1, leased}
