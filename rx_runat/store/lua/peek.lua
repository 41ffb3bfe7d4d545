-- Reads the next keys without taking them.
--
-- KEYS  1 Q, the schedule
-- ARGV  1 n       keys
--       2 now     epoch us; given in virtual time only, else Redis's own clock
-- ->    {now us, {key, score, ...}}
-- cost  O(n + log(size of Q))
return {now_us(ARGV[2]), redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')}
