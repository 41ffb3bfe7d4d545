-- The state of a queue at a glance: counts, and the next keys. Takes nothing, writes nothing.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed, zset key -> end of its lease in epoch ms
--       3 {Q}:dead, hash by key
-- ARGV  1 window  ms from now; only keys due by then are listed; '+inf': all
--       2 n       keys of each list at most
--       3 slice   ms, the width of the slices of time that are counted where more than n keys come; 0: none is
--       4 now     epoch us; virtual time only, else Redis's own clock
-- ->    {now us, scheduled, due, claimed, dead,
--        {due key, score, ...}, {coming key, score, ...}, {claimed key, end of lease, ...},
--        {number of a slice since 1970, keys in it, ...}}
-- cost  O(n + slices * log(size of Q)); 200 slices at most
--
-- Slices are counted from 1970, not from now: a picture of them does not tremble as time goes on.
local Q, claimed, dead = KEYS[1], KEYS[2], KEYS[3]
local window, n, slice = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(ARGV[4])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local function text(number) return string.format('%.17g', number) end
local ms = math.floor(now / 1000)
local last = window
if window ~= '+inf' then last = text(ms + tonumber(window)) end

local due = redis.call('ZRANGE', Q, '-inf', text(ms), 'BYSCORE', 'LIMIT', 0, n, 'WITHSCORES')
local coming = redis.call('ZRANGE', Q, '(' .. text(ms), last, 'BYSCORE', 'LIMIT', 0, n, 'WITHSCORES')
local held = redis.call('ZRANGE', claimed, 0, n - 1, 'WITHSCORES')
local slices = {}
if slice > 0 and #coming >= 2 * n and window ~= '+inf' then
  local first = math.floor(ms / slice)
  for i = first, first + math.min(199, math.floor(tonumber(window) / slice)) do
    local from = '(' .. text(ms)
    if i > first then from = text(i * slice) end
    local keys = redis.call('ZCOUNT', Q, from, '(' .. text((i + 1) * slice))
    if keys > 0 then
      slices[#slices + 1] = text(i)
      slices[#slices + 1] = keys
    end
  end
end
return {
  now, redis.call('ZCARD', Q), redis.call('ZCOUNT', Q, '-inf', text(ms)), redis.call('ZCARD', claimed),
  redis.call('HLEN', dead), due, coming, held, slices,
}
