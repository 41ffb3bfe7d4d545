-- Takes due keys, at most `limit`, and writes a receipt: after a lost reply the same keys can be asked for again.
--
-- KEYS  1 Q, the schedule: zset key -> run_at in epoch ms
--       2 {Q}:receipt:<source>, the receipt of the source's last claim: its token, then what it took
--       3 {Q}:claimed   as in lease.lua
--       4 {Q}:leases    as in record.lua
--       5 {Q}:data      as in schedule.lua
-- ARGV  1 limit   keys
--       2 token   of this claim: random, so that it is part of no key
--       3 ttl     of the receipt, ms
--       4 resent  0; 1 or 2 if an earlier reply to this token was lost, as in settle.lua; 3 if it is asked for ahead
--       5 bytes   the most that `taken` may have, but for tokens, unless it is one key
--       6 piece   bytes; of a longer receipt, only so much is returned when the request is resent
--       7 now     epoch us; given in virtual time only, else Redis's own clock
-- ->    {now us, us until the next key is due (0: now, -1: nothing is scheduled), taken, left, odd}
--       taken: the receipt: the width, then key, score, key, ... with the token before each; '' or the token alone if
--       nothing. width: 2, or 3 where the queue has data: then key, score, data, key, ...; '' for a key without data
--       left:  how many bytes follow in the receipt
--       odd:   a key whose lease record could not be read, and so counts as none; false if there is no such key
-- cost  O(limit + log(size of Q)); the receipt holds as many bytes as the reply, until the source's next claim
--
-- The keys leave as one string, which the client splits: to return an array of 2,000 strings costs a server as much
-- time as the rest of this script. It is the receipt itself, because Lua hashes every byte of a new string: one more
-- string of all keys costs a twentieth of the whole claim.
--
-- A transaction may claim as well, for a source that asks for its claims ahead; see candidates.py. Its receipt is the
-- token and `+`: the client knows the keys. If such a claim is resent, that receipt is what it gets.
--
-- A delayed duplicate of a resent request must find a receipt and do nothing. So a resent claim always writes one, even
-- if it takes no key; and the source then goes on under another receipt key. A claim that is asked for ahead always
-- writes one as well, because it replaces the receipt of the claim before, whose keys may have to go back yet.
--
-- DEL runs before SET in every claim, unless the reply comes from the receipt. A full server refuses a script whose
-- first write adds, but permits DEL, and then SET as well. A demoted primary refuses DEL, also when nothing is due.
-- Without DEL, an idle source would never notice the demotion, and would go on asking that server.
--
-- If the queue has leases, `sort_out` looks at each key that is due. A key under a living lease stays in Q, parked as in
-- lease.lua. Any other key is taken, and its lease record removed; if its score was a mark
-- (see record.lua), its own run_at is returned instead.
--
-- If the queue has data, that of each key that is taken goes with it and is deleted here; a parked key leaves its data
-- where it is. One EXISTS tells whether there are leases or data, so a plain queue pays for neither.
local Q, receipt, claimed, leases, data = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local limit, token, resent = tonumber(ARGV[1]), ARGV[2], ARGV[4] ~= '0'
local now = now_us(ARGV[7])
local taken, left, odd = '', 0, false
local marks, records, forgotten, over           -- only where there are leases

local function sort_out(parts, width, ms)
  local free = {}
  marks, records, forgotten, over = {}, {}, {}, {}
  for _, part in ipairs(parts) do
    local keys = keys_of(part, width)
    local texts = redis.call('HMGET', leases, unpack(keys))
    local ends = redis.call('ZMSCORE', claimed, unpack(keys))
    for i, key in ipairs(keys) do
      local at = width * (i - 1) + 2
      local score = part[at]
      local fence, attempt, run_at, mark, waiting = read_record(texts[i])
      if fence and is_score(mark, score) then score = spell(waiting or run_at) end
      if fence and fence ~= '-' and ends[i] and tonumber(ends[i]) > ms then
        mark = spell(ends[i] - 0.5)
        local m, r = #marks, #records
        marks[m + 1], marks[m + 2] = mark, key
        records[r + 1], records[r + 2] = key, write_record(fence, attempt, run_at, mark, score)
      else
        if texts[i] then forgotten[#forgotten + 1] = key end
        if texts[i] and not fence then odd = key end
        if ends[i] then over[#over + 1] = key end
        local f = #free
        free[f + 1], free[f + 2], free[f + 3] = key, score, width == 3 and part[at + 1] or nil
      end
    end
  end
  return free
end

if redis.call('GETRANGE', receipt, 0, #token - 1) == token then
  taken = redis.call('GETRANGE', receipt, 0, -1)
  left = math.max(0, #taken - tonumber(ARGV[6]))
  if left > 0 then taken = string.sub(taken, 1, -left - 1) end
else
  redis.call('DEL', receipt)
  local ms = math.floor(now / 1000)
  local due = math.min(redis.call('ZCOUNT', Q, '-inf', spell(ms)), limit)
  local n, emptied = 0, {}
  if due > 0 then
    local others = redis.call('EXISTS', leases, claimed, data)
    local has_data = others > 0 and redis.call('EXISTS', data) == 1
    local has_leases = others > (has_data and 1 or 0)
    local width = has_data and 3 or 2
    local parts, joined
    parts, joined, n = read_first(Q, due, tonumber(ARGV[5]), token, has_data and data)
    if has_leases then
      joined = sort_out(parts, width, ms)
      parts = {joined}
      redis.call('ZREM', claimed, token)
      redis.call('HDEL', leases, token)
      redis.call('ZREMRANGEBYRANK', Q, 1, 0)
      if #marks > 0 then redis.call('ZADD', Q, 'XX', 0, token) end
    end
    if has_data then
      redis.call('HDEL', data, token)
      for _, part in ipairs(parts) do
        for i = 1, #part, 3 do
          if part[i + 2] ~= '' then emptied[#emptied + 1] = part[i] end
        end
      end
    end
    if #joined > 0 then
      table.insert(joined, 1, token .. width)
      taken = table.concat(joined, token)
    end
  end
  if taken == '' and (n > 0 or resent) then taken = token end
  if taken ~= '' then redis.call('SET', receipt, taken, 'PX', ARGV[3]) end
  if n > 0 then                                 -- ZRANGE and ZREMRANGEBYRANK need four fifths of ZPOPMIN's time
    local done
    if records and #records > 0 then done = redis.pcall('HSET', leases, unpack(records, 1, math.min(4000, #records))) end
    if type(done) ~= 'table' then done = redis.pcall('ZREMRANGEBYRANK', Q, 0, n - 1) end
    if type(done) == 'table' then
      redis.call('DEL', receipt)
      return done
    end
    if records then
      bulk('HSET', leases, records, 4001)
      bulk('ZADD', Q, marks)
      bulk('HDEL', leases, forgotten)
      bulk('ZREM', claimed, over)
    end
    bulk('HDEL', data, emptied)
  end
end

local head = redis.call('ZRANGE', Q, 0, 0, 'WITHSCORES')[2]
local wait = -1
if head and tonumber(head) < 1e15 then wait = math.max(0, math.ceil(tonumber(head)) * 1000 - now) end
return {now, wait, taken, left, odd}
