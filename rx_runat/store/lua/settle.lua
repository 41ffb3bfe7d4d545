-- Ends leases, or lengthens them: each verdict acts only while the lease is the asker's and lives.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in lease.lua
--       3 {Q}:leases    as in lease.lua
--       4 {Q}:dead, the dead letters: hash key -> time in epoch ms, attempts, run_at, reason; between them a space
-- ARGV  1 again   1 if an answer to these verdicts was lost, else 0
--       2 now     epoch us in virtual time, '' else: Redis's own clock
--       3.. verb, key, fence, argument, held, verb, ...
--           ack     ''        the run is done
--           nack    delay ms  it waits for another attempt
--           extend  ms        its lease lives so long from now, or as long as it did
--           bury    reason    it goes to the dead letters
--           back    ''        nobody saw it: it waits as it was, its attempt not counted
--           held    the deadline that the asker knows of, epoch ms
-- ->    {the earliest score that came into Q or '', {answer, answer, ...}}
--       1: done; for extend the deadline, epoch ms; 0: not the asker's any more, nothing was done;
--       -1: asked again, and the lease has ended meanwhile: whether by the first asking cannot be known
-- cost  O(verdicts * log(size of Q + size of claimed))
--
-- A schedule made while the key was out stands, whatever the verdict. Asked again before the deadline: only its holder
-- ends a lease that early (or a cancel, whose history is then one in which it came second), so it was our first asking.
-- PERSIST changes nothing, but it is a write that a full server allows, and it lets the adding ones through; and it is
-- refused by a primary that was demoted, which may not know of the lease.
local Q, claimed, leases, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local again, now = ARGV[1] == '1', tonumber(ARGV[2])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local ms, up = math.floor(now / 1000), math.ceil(now / 1000)
local function num(x) return string.format('%.17g', x) end

local earliest = ''
local function came(score)
  if earliest == '' or tonumber(score) < tonumber(earliest) then earliest = score end
end
local function wait(key, score, attempt, run_at)
  if redis.call('ZADD', Q, 'NX', score, key) == 0 then return end
  came(score)
  if attempt > 0 then
    redis.call('HSET', leases, key, table.concat({'-', num(attempt), run_at, score, '-'}, ' '))
  end
end

redis.call('PERSIST', claimed)
local answers = {}
for i = 3, #ARGV, 5 do
  local verb, key, argument, answer = ARGV[i], ARGV[i + 1], ARGV[i + 3], 0
  local fence, attempt, run_at, mark, waiting =
    string.match(redis.call('HGET', leases, key) or '', '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  local ours = fence == ARGV[i + 2]
  local deadline = ours and redis.call('ZSCORE', claimed, key)
  if deadline and tonumber(deadline) > ms then
    if verb == 'extend' then
      answer = math.max(tonumber(deadline), up + argument)
      redis.call('ZADD', claimed, num(answer), key)
    else
      answer = 1
      redis.call('ZREM', claimed, key)
      redis.call('HDEL', leases, key)
      if waiting ~= '-' and redis.call('ZSCORE', Q, key) == mark then
        redis.call('ZADD', Q, waiting, key)
        came(waiting)
      end
      if verb == 'nack' then wait(key, num(up + argument), tonumber(attempt), run_at)
      elseif verb == 'back' then wait(key, run_at, attempt - 1, run_at)
      elseif verb == 'bury' then
        redis.call('HSET', dead, key, table.concat({num(ms), attempt, run_at, argument}, ' '))
      end
    end
  elseif again and not ours and verb ~= 'extend' then
    answer = ms < tonumber(ARGV[i + 4]) and 1 or -1
  end
  answers[#answers + 1] = answer
end
return {earliest, answers}
