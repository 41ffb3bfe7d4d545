-- Returns keys whose lease has ended to the schedule, then leases due keys, at most `limit`.
--
-- KEYS  1 Q, the schedule: zset key -> run_at in epoch ms
--       2 {Q}:claimed, the keys under a lease: zset key -> deadline in epoch ms; a lease lives while now < deadline
--       3 {Q}:leases    as in record.lua
--       4 {Q}:receipt:<source>, the receipt of the source's last claim: its token, then what it leased
--       5 {Q}:data      as in schedule.lua
-- ARGV  1 limit   keys; at 0 nothing is leased
--       2 token   of this claim: random, so that it is part of no key; it is the fence of the leases
--       3 ttl     of the receipt, ms
--       4 resent  0; 1 or 2 if an earlier reply to this token was lost, as in settle.lua
--       5 lease   how long a lease lasts, ms
--       6 bound   the most keys whose ended lease is handled
--       7 bytes   the most that the keys of each of the two may have together, unless it is one key
--       8 piece   as in claim.lua
--       9 counted an attempt with a number up to this counts at once; a later one when `begin` says so (settle.lua)
--      10 now     epoch us; given in virtual time only, else Redis's own clock
-- ->    {now us, wait us, leased, left, odd}
--       wait: until the next key is due or the next lease ends (at limit 0 only the latter);
--       0: now, -1: never
--       leased: the receipt: the deadline, the width, then key, run_at, attempt, counts, key, ... with the token before
--       each; '' or the token alone if nothing
--       width: 4, or 5 where the queue has data: then key, run_at, attempt, counts, data, key, ...; '' for a key without
--       counts: 'now': this attempt counts already; 'later': it counts when `begin` says so; 'suspect': likewise, and the
--       attempt before ended with its lease, so perhaps the work killed its process
--       left, odd: as in claim.lua
-- cost  O((limit + bound) * log(size of Q + size of claimed))
--
-- A key that falls due while it is under a living lease is parked in Q at lease end - 0.5 ms. It falls due
-- when the lease ends and not before, because `due` is judged in whole ms: at lease end - 1 ms it is still later. Our
-- schedules are in whole ms too, so a score with half a ms is such a mark.
-- The receipt and its DEL are as in claim.lua. If the second part is refused, the first is done all the same.
-- Data is copied, and stays where it is until the run is over: it is the key's, for its next attempt and its next run.
--
-- If a claim takes MANY keys or more, its first record gets zeros in front of its attempt, and so more than 64 bytes: then
-- Redis keeps the hash as a table. It keeps a hash of a few hundred short values as a list, and searches that list for
-- each key: 2 us a key where a thousand are out. Where few are out, the list is as fast.
local MANY = 32
local Q, claimed, leases, receipt, data = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local limit, token, resent = tonumber(ARGV[1]), ARGV[2], ARGV[4] ~= '0'
local bytes, counted = tonumber(ARGV[7]), tonumber(ARGV[9])
local now = now_us(ARGV[10])
local ms = math.floor(now / 1000)
local odd = false

local function add(list, first, second)
  local n = #list
  list[n + 1], list[n + 2] = first, second
end

local replayed = redis.call('GETRANGE', receipt, 0, #token - 1) == token
if not replayed then redis.call('DEL', receipt) end

-- The first part: leases that have ended.
local ended = math.min(redis.call('ZCOUNT', claimed, '-inf', spell(ms)), ARGV[6])
if ended > 0 then
  local scores, records, forgotten, over = {}, {}, {}, {}
  for _, part in ipairs((read_first(claimed, ended, bytes, token))) do
    local keys = keys_of(part, 2)
    local texts = redis.call('HMGET', leases, unpack(keys))
    local waits = redis.call('ZMSCORE', Q, unpack(keys))
    for i, key in ipairs(keys) do
      local fence, attempt, run_at, mark, waiting = read_record(texts[i])
      if texts[i] and not fence then odd = key end
      over[#over + 1] = key
      if waits[i] then                          -- a newer schedule stands, so this run is over
        if waiting and is_score(mark, waits[i]) then add(scores, spell(waiting), key) end
        forgotten[#forgotten + 1] = key
      else                                      -- without a record, too, the key must come back
        run_at, attempt = run_at or ms, attempt or 1
        if attempt < 0 then                     -- it had not begun: as suspect as before
          attempt = mark == '?' and -attempt - 1 or attempt + 1
        end
        add(scores, spell(run_at), key)
        if attempt ~= 0 then add(records, key, write_record('-', attempt, run_at, spell(run_at)))
        else forgotten[#forgotten + 1] = key end
      end
    end
  end
  redis.call('ZREM', claimed, token)
  redis.call('HDEL', leases, token)
  redis.call('ZADD', Q, 'XX', 0, token)
  bulk('HSET', leases, records)                 -- if the first of these fails, nothing is done yet
  bulk('ZADD', Q, scores)
  bulk('HDEL', leases, forgotten)
  bulk('ZREM', claimed, over)
end

-- The second part: keys that are due.
local leased, left = '', 0
if replayed then
  leased = redis.call('GETRANGE', receipt, 0, -1)
  left = math.max(0, #leased - tonumber(ARGV[8]))
  if left > 0 then leased = string.sub(leased, 1, -left - 1) end
else
  local due = limit > 0 and math.min(redis.call('ZCOUNT', Q, '-inf', spell(ms)), limit) or 0
  local deadline = spell(math.ceil(now / 1000) + ARGV[5])
  local has_data = due > 0 and redis.call('EXISTS', data) == 1
  local width = has_data and 3 or 2
  local parts, _, n = read_first(Q, due, bytes, token, has_data and data)
  local items, deadlines, marks, records = {'', deadline, width + 2}, {}, {}, {}
  for _, part in ipairs(parts) do
    local keys = keys_of(part, width)
    local texts = redis.call('HMGET', leases, unpack(keys))
    local ends = redis.call('ZMSCORE', claimed, unpack(keys))
    for i, key in ipairs(keys) do
      local place = width * (i - 1) + 2
      local score, fence, attempt, run_at, mark, waiting, is_marked = part[place]
      if texts[i] then
        fence, attempt, run_at, mark, waiting = read_record(texts[i])
        if not fence then odd = key end
        is_marked = fence and is_score(mark, score)
        if is_marked and waiting then score = spell(waiting) end
      end
      if fence and fence ~= '-' and ends[i] and tonumber(ends[i]) > ms then
        mark = spell(ends[i] - 0.5)
        add(marks, mark, key)
        add(records, key, write_record(fence, attempt, run_at, mark, score))
      else                                      -- no lease, or one that ended and exceeded the bounds above
        local ended_with_lease = false
        if fence == '-' and is_marked then
          ended_with_lease = attempt > 0 and is_score(mark, run_at)   -- a nack marks a later moment
          attempt, score = math.abs(attempt) + 1, spell(run_at)
        else
          attempt = 1
        end
        local counts = 'now'
        if attempt > counted then counts = ended_with_lease and 'suspect' or 'later' end
        local number, suspicion = counts == 'now' and attempt or -attempt, ended_with_lease and '?' or '-'
        if n >= MANY and #records == 0 then number = string.format('%064d', number) end
        add(records, key, table.concat({token, number, score, suspicion, '-'}, ' '))
        add(deadlines, deadline, key)
        local k = #items
        items[k + 1], items[k + 2], items[k + 3], items[k + 4] = key, score, attempt, counts
        if has_data then items[k + 5] = part[place + 1] end
      end
    end
  end
  if n > 0 then
    redis.call('ZADD', claimed, 'XX', 0, token)
    redis.call('ZREMRANGEBYRANK', Q, 1, 0)
    if #marks > 0 then redis.call('ZADD', Q, 'XX', 0, token) end
  end
  if #items > 3 then leased = table.concat(items, token) elseif resent then leased = token end
  if leased ~= '' then redis.call('SET', receipt, leased, 'PX', ARGV[3]) end
  if n > 0 then
    local done = redis.pcall('HSET', leases, unpack(records, 1, math.min(4000, #records)))
    if type(done) == 'table' then
      redis.call('DEL', receipt)
      return done
    end
    bulk('HSET', leases, records, 4001)
    bulk('ZADD', claimed, deadlines)
    redis.call('ZREMRANGEBYRANK', Q, 0, n - 1)
    bulk('ZADD', Q, marks)
  end
end

local head = limit > 0 and redis.call('ZRANGE', Q, 0, 0, 'WITHSCORES')[2]
local first = redis.call('ZRANGE', claimed, 0, 0, 'WITHSCORES')[2]
local at = math.min(head and math.ceil(tonumber(head)) or math.huge, first and tonumber(first) or math.huge)
return {now, at < 1e15 and math.max(0, at * 1000 - now) or -1, leased, left, odd}
