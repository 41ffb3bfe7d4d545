-- Returns keys that were claimed and not delivered, with their own run_at and data; a newer schedule of a key stands.
--
-- KEYS  1 Q, the schedule
--       2 {Q}:receipt:<source>   as in claim.lua
--       3 {Q}:receipt:<source>   under which the keys were claimed; it is the same one, unless a reply was lost
--       4 {Q}:data               as in schedule.lua
-- ARGV  1 token   of this hand-back: random, so that it is no member
--       2 ttl     of the receipt, ms
--       3 moved   1 if this may be another primary than the one that replied to the claim, else 0
--       4 proofs  tokens, one behind the other: of the claim, and of what was done later under KEYS[3]
--       5 width   2, or 3 if some of the keys have data
--       6.. score, key, score, key, ...; of width 3: score, key, data, score, ..., '' for a key without data
-- ->    how many keys went back, 0 if the claim is not known here; -1 if this token did it before: its reply was lost, or
--       this is a delayed duplicate
-- cost  O(keys * log(size of Q))
--
-- After this script the receipt holds the token of the hand-back instead of a claim. Without that token, a resent
-- request would return keys that another source has claimed since.
--
-- A replica that became the primary has all of a script's effects or none. If it has no receipt of the claim, then the
-- claim never happened there: its keys still wait, or somebody has claimed or cancelled them since. So none is returned,
-- and no receipt is written, which the next hand-back from that claim would take for a proof.
--
-- The receipt may be the only proof of the claim. So it stays until nothing can fail any more. ZREM with the token comes
-- first: it changes nothing, a full server permits it, and then what adds as well, and a demoted primary refuses it.
--
-- If a key goes back without data, data that lies there is deleted: it is of a later schedule, which npm runat took.
local Q, receipt, proofs, data = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, width = ARGV[1], tonumber(ARGV[5])
if redis.call('GET', receipt) == token then return -1 end
local is_known = ARGV[3] == '0'
if not is_known then
  local proof = redis.call('GETRANGE', proofs, 0, #token - 1)  -- all tokens have the same length
  is_known = proof ~= '' and string.find(ARGV[4], proof, 1, true) ~= nil
end
local has_data = width == 3 or redis.call('EXISTS', data) == 1
redis.call('ZREM', Q, token)
if not is_known then return 0 end
redis.call('ZADD', Q, 'XX', 0, token)
if has_data then redis.call('HDEL', data, token) end
if width == 3 then
  redis.call('HSET', data, token, '')
  redis.call('HDEL', data, token)
end
redis.call('SET', receipt, token, 'PX', ARGV[2])
local back = 0
if not has_data then
  for i = 6, #ARGV, 4000 do
    back = back + redis.call('ZADD', Q, 'NX', unpack(ARGV, i, math.min(i + 3999, #ARGV)))
  end
  return back
end
for i = 6, #ARGV, width do
  local key, text = ARGV[i + 1], width == 3 and ARGV[i + 2] or ''
  if redis.call('ZADD', Q, 'NX', ARGV[i], key) == 1 then
    back = back + 1
    if text == '' then redis.call('HDEL', data, key) else redis.call('HSET', data, key, text) end
  end
end
return back
