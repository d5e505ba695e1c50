"""The scripts that the directory's server runs. Each is atomic; all keys are in one hash slot, so that a Cluster takes
them too. CLAIM decides as core/ownership.py: decide does.

Keys are made here of PREFIX and what ARGV names: which list a claim writes to is known only inside it.

A key of ours that holds something else is begun anew, and a claim that cannot be read is none: what somebody has
written there must not keep the clouds from their directory.
"""

from typing import Final

PREFIX: Final = "{glassbridge}:"
"""The braces make one hash slot of all keys."""
KEPT_SECONDS: Final = 7 * 24 * 3600
"""A claim that is not renewed by another socket is forgotten after this long."""
RELEASED_SECONDS: Final = 3600
"""The epoch of a released claim is remembered so long."""
TAKEN_SECONDS: Final = 60
MOST_TAKEN: Final = 10_000
"""Claims taken from one node that wait for it; news of more are left out."""
TAKEN_AT_ONCE: Final = 1_000
CLAIMED: Final = ("node", "incarnation", "address", "session", "phone", "attempt", "epoch")
"""Fields of a user's hash, in the order of a former owner in the answer of CLAIM."""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
_OURS: Final = """
local function own(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then
    redis.call('DEL', key)
  end
end
local function number(key)
  own(key, 'string')
  return tonumber(redis.call('GET', key) or '0') or 0
end
"""

RENEW: Final = (
    _NOW
    + _OURS
    + """
-- KEYS: nodes, leases, what was taken, nodes of the other role, their leases, clock, when this was last run
-- ARGV: incarnation, what is known of the node, lease (ms), most news, clock as the node has seen it,
--       news that was heard
for at, kind in ipairs({'hash', 'zset', 'list', 'hash', 'zset'}) do
  own(KEYS[at], kind)
end
local back = number(KEYS[7]) - now
if back > 0 then  -- the clock was set back: leases of nodes that are gone would last as much longer
  for at = 2, 5, 3 do
    for _, node in ipairs(redis.call('ZRANGE', KEYS[at], 0, -1)) do
      redis.call('ZINCRBY', KEYS[at], -back, node)
    end
  end
end
redis.call('SET', KEYS[7], string.format('%.0f', now))
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
for at = 1, 4, 3 do
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[at + 1], '-inf', now)) do
    redis.call('HDEL', KEYS[at], gone)
    redis.call('ZREM', KEYS[at + 1], gone)
  end
end
for number = 6, #ARGV do
  redis.call('LREM', KEYS[3], 1, ARGV[number])
end
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local clock = string.format('%.0f', math.max(now, tonumber(ARGV[5]), number(KEYS[6])))
redis.call('SET', KEYS[6], clock)
return {string.format('%.0f', now), clock, server, redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[4]),
        redis.call('LRANGE', KEYS[3], 0, ARGV[4] - 1)}
"""
)

LIST: Final = (
    _NOW
    + """
-- KEYS: nodes, leases
return {redis.call('HGETALL', KEYS[1]), redis.call('ZRANGEBYSCORE', KEYS[2], now, '+inf')}
"""
)

WITHDRAW: Final = """
-- KEYS: nodes, leases, what was taken.  ARGV: incarnation
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3])
return 1
"""

CLAIM: Final = (
    _NOW
    + _OURS
    + """
-- KEYS: the user's.  ARGV: prefix, user, node, incarnation, address, session, phone, attempt, epoch,
--       seconds kept, seconds that news of a loss waits, most news,
--       until when the caller waits for the answer (ms; 0: unknown), clock as the node has seen it
if tonumber(ARGV[13]) > 0 and now > tonumber(ARGV[13]) then
  return {-1, '0', {}}
end
own(KEYS[1], 'hash')
local kept = redis.call('HMGET', KEYS[1], 'epoch', 'incarnation', 'node', 'address', 'session', 'phone', 'attempt')
local old, owner = tonumber(kept[1] or '0') or 0, kept[2]
if not (kept[3] and kept[4] and kept[5] and kept[6] and kept[7] and tonumber(kept[7])) then
  owner = false
end
local attempt, epoch = tonumber(ARGV[8]), tonumber(ARGV[9])
local former = {}
if owner then
  former = {kept[3], owner, kept[4], kept[5], kept[6], kept[7], kept[1]}
  local before, yields = tonumber(kept[7]), false
  if kept[6] ~= '' and kept[6] == ARGV[7] and before ~= attempt then
    yields = attempt > before
  else
    yields = epoch == 0 or epoch > old or owner == ARGV[4]
  end
  if not yields then
    return {0, kept[1], former}
  end
end
local is_ours = owner == ARGV[4]
if is_ours then
  former = {}
end
local session = ARGV[6]
if owner and not is_ours and epoch == 0 and kept[5] ~= '' then
  session = kept[5]
end
local seen = math.max(tonumber(ARGV[14]), number(ARGV[1] .. 'clock'))
if is_ours and epoch > 0 then
  epoch = math.max(old, epoch)
elseif epoch <= old then
  epoch = math.max(old + 1, now, seen)
end
local written = string.format('%.0f', epoch)
redis.call('SET', ARGV[1] .. 'clock', string.format('%.0f', math.max(seen, epoch)))
redis.call('HSET', KEYS[1], 'node', ARGV[3], 'incarnation', ARGV[4], 'address', ARGV[5], 'session', session,
           'phone', ARGV[7], 'attempt', ARGV[8], 'epoch', written)
redis.call('EXPIRE', KEYS[1], ARGV[10])
if owner and not is_ours and redis.call('ZSCORE', ARGV[1] .. 'leases', owner) then
  local news = ARGV[1] .. 'taken:' .. owner
  own(news, 'list')
  if redis.call('LLEN', news) < tonumber(ARGV[12]) then
    redis.call('RPUSH', news, written .. ' ' .. ARGV[2])
    redis.call('EXPIRE', news, ARGV[11])
  end
end
return {1, written, former}
"""
)

RELEASE: Final = (
    _NOW
    + """
-- KEYS: the user's.  ARGV: incarnation, epoch, seconds for which the epoch is remembered, until when (as above)
if tonumber(ARGV[4]) > 0 and now > tonumber(ARGV[4]) then
  return -1
end
local kept = redis.call('HMGET', KEYS[1], 'incarnation', 'epoch')
if kept[1] ~= ARGV[1] or kept[2] ~= ARGV[2] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
)
