-- Returns keys whose lease has ended to the schedule, then leases due keys, at most `limit`.
--
-- KEYS  1 Q, the schedule: zset key -> run_at in epoch ms
--       2 {Q}:claimed, the keys under a lease: zset key -> deadline in epoch ms; a lease lives while now < deadline
--       3 {Q}:leases    as in prelude.lua
--       4 {Q}:receipt:<source>, the receipt of the source's last claim: its token, then what it leased
-- ARGV  1 limit   keys; at 0 nothing is leased
--       2 token   of this claim: random, so that it is part of no key; it is the fence of the leases
--       3 ttl     of the receipt, ms
--       4 resent  1 if an earlier reply to this token was lost, else 0
--       5 lease   how long a lease lasts, ms
--       6 bound   the most keys whose ended lease is handled
--       7 now     epoch us; given in virtual time only, else Redis's own clock
-- ->    {now us, wait us, leased}
--       wait: until the next key is due or the next lease ends (at limit 0 only the latter);
--       0: now, -1: never
--       leased: the deadline, then key, run_at, attempt, key, ... with the token between any two; '' if nothing
-- cost  O((limit + bound) * log(size of Q + size of claimed))
--
-- A key that falls due while it is under a living lease is parked in Q at lease end - 0.5 ms. It falls due
-- when the lease ends and not before, because `due` is judged in whole ms: at lease end - 1 ms it is still later. Our schedules are in
-- whole ms too, so a score with half a ms is such a mark.
-- The receipt and its DEL are as in claim.lua.
local Q, claimed, leases, receipt = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local limit, token, resent = tonumber(ARGV[1]), ARGV[2], ARGV[4] == '1'
local now = now_us(ARGV[7])
local ms = math.floor(now / 1000)

local replayed = redis.call('GETRANGE', receipt, 0, #token - 1) == token
if not replayed then redis.call('DEL', receipt) end

for _, key in ipairs(redis.call('ZRANGE', claimed, '-inf', spell(ms), 'BYSCORE', 'LIMIT', 0, ARGV[6])) do
  redis.call('ZREM', claimed, key)
  local _, attempt, run_at, mark, waiting = string.match(redis.call('HGET', leases, key) or '', RECORD)
  run_at = run_at or spell(ms)                  -- somebody deleted the record: the key must come back all the same
  if redis.call('ZADD', Q, 'NX', run_at, key) == 1 then
    redis.call('HSET', leases, key, table.concat({'-', attempt or 1, run_at, run_at, '-'}, ' '))
  else                                          -- a newer schedule stands, so this run is over
    if waiting ~= '-' and redis.call('ZSCORE', Q, key) == mark then redis.call('ZADD', Q, waiting, key) end
    redis.call('HDEL', leases, key)
  end
end

local leased = ''
if replayed then
  leased = redis.call('GETRANGE', receipt, #token, -1)
else
  local due = math.min(redis.call('ZCOUNT', Q, '-inf', spell(ms)), limit)
  local popped = {}
  if due > 0 then
    popped = redis.call('ZRANGE', Q, 0, due - 1, 'WITHSCORES')
    redis.call('ZREMRANGEBYRANK', Q, 0, due - 1)
  end
  local deadline = spell(math.ceil(now / 1000) + ARGV[5])
  local items = {deadline}
  for i = 1, #popped, 2 do
    local key, score = popped[i], popped[i + 1]
    local fence, attempt, run_at, mark, waiting = string.match(redis.call('HGET', leases, key) or '', RECORD)
    local marked = mark == score
    if marked and waiting ~= '-' then score = waiting end
    local ends = fence and fence ~= '-' and redis.call('ZSCORE', claimed, key)
    if ends and tonumber(ends) > ms then
      mark = spell(ends - 0.5)
      redis.call('ZADD', Q, mark, key)
      redis.call('HSET', leases, key, table.concat({fence, attempt, run_at, mark, score}, ' '))
    else                                        -- no lease, or one that ended and exceeded the bound above
      if fence == '-' and marked then attempt = spell(attempt + 1) else attempt, run_at = '1', score end
      redis.call('HSET', leases, key, table.concat({token, attempt, run_at, '-', '-'}, ' '))
      redis.call('ZADD', claimed, deadline, key)
      local n = #items
      items[n + 1], items[n + 2], items[n + 3] = key, run_at, attempt
    end
  end
  if #items > 1 then leased = table.concat(items, token) end
  if #items > 1 or resent then redis.call('SET', receipt, token .. leased, 'PX', ARGV[3]) end
end

local head = limit > 0 and redis.call('ZRANGE', Q, 0, 0, 'WITHSCORES')[2]
local first = redis.call('ZRANGE', claimed, 0, 0, 'WITHSCORES')[2]
local at = math.min(head and math.ceil(tonumber(head)) or math.huge, first and tonumber(first) or math.huge)
return {now, at < 1e15 and math.max(0, at * 1000 - now) or -1, leased}
