-- The state of a queue at one moment: counts, and the next keys. Takes nothing, writes nothing.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:claimed   as in lease.lua
--       3 {Q}:dead      as in settle.lua
-- ARGV  1 window  ms from now; of the coming keys, only those due by then are listed; '+inf': all
--       2 n       the most keys in each list
--       3 slice   the width in ms of the slices of time in which keys are counted, if n or more are coming within
--                 a finite window; 0: none
--       4 now     epoch us; given in virtual time only, else Redis's own clock
-- ->    {now us, scheduled, due, claimed, dead,
--        {due key, score, ...}, {coming key, score, ...}, {claimed key, deadline, ...},
--        {number of a slice, counted from 1970, keys in it, ...}}
-- cost  O(n + slices * log(size of Q)); 200 slices at most
--
-- Slices are counted from 1970, not from now, so that the bars of a picture keep their places as time goes on.
local Q, claimed, dead = KEYS[1], KEYS[2], KEYS[3]
local window, n, slice = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_us(ARGV[4])
local ms = math.floor(now / 1000)
local last = window
if window ~= '+inf' then last = spell(ms + tonumber(window)) end

local due = redis.call('ZRANGE', Q, '-inf', spell(ms), 'BYSCORE', 'LIMIT', 0, n, 'WITHSCORES')
local coming = redis.call('ZRANGE', Q, '(' .. spell(ms), last, 'BYSCORE', 'LIMIT', 0, n, 'WITHSCORES')
local held = redis.call('ZRANGE', claimed, 0, n - 1, 'WITHSCORES')
local slices = {}
if slice > 0 and #coming >= 2 * n and window ~= '+inf' then
  local first = math.floor(ms / slice)
  for i = first, first + math.min(199, math.floor(tonumber(window) / slice)) do
    local from = '(' .. spell(ms)
    if i > first then from = spell(i * slice) end
    local keys = redis.call('ZCOUNT', Q, from, '(' .. spell((i + 1) * slice))
    if keys > 0 then
      slices[#slices + 1] = spell(i)
      slices[#slices + 1] = keys
    end
  end
end
return {
  now, redis.call('ZCARD', Q), redis.call('ZCOUNT', Q, '-inf', spell(ms)), redis.call('ZCARD', claimed),
  redis.call('HLEN', dead), due, coming, held, slices,
}
