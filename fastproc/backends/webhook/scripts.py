"""The Lua by which an outbox of webhooks changes: each step whole, or not at all.

Rule 1: only the six keys of PARTS are touched, in this order, and only by commands that BullMQ's scripts use as well,
        so that the rights of docs/security.md suffice.
Rule 2: no script works longer for a large backlog than for a small one: what it walks through is bounded.
"""

from __future__ import annotations

import hashlib
from typing import Final

#: What Redis needs for a webhook beside its text (tuning.md, "webhooks: backlog").
OVERHEAD_BYTES: Final = 512
#: Bytes of webhooks in one reply: a megabyte holds the connection, which jobs use too, for a few milliseconds.
REPLY_BYTES: Final = 1 << 20
#: Lost webhooks that are kept for `fastproc webhooks`.
KEPT_LOST: Final = 100
#: Webhooks that one call of `hurry` makes due: some milliseconds of Redis' time.
HURRIED: Final = 1000
PARTS: Final = ("due", "age", "text", "tries", "stat", "lost")

_HEAD = f"""
local due, age, text, tries, stat, lost = unpack(KEYS)
local function forget(id)
  local held = redis.call('HGET', text, id)
  if not held then return nil end
  redis.call('HINCRBY', stat, 'bytes', -(#held + {OVERHEAD_BYTES}))
  redis.call('HDEL', text, id)
  redis.call('HDEL', tries, id)
  redis.call('ZREM', due, id)
  redis.call('ZREM', age, id)
  return held
end
local function lose(id, why, now)
  local tried = redis.call('HGET', tries, id) or ''
  local held = forget(id)
  if not held then return end
  redis.call('HINCRBY', stat, why, 1)
  local about = string.match(held, '^[^\\n]*')
  redis.call('LPUSH', lost, why .. ' ' .. now .. '\\n' .. about .. '\\n' .. tried)
  redis.call('LTRIM', lost, 0, {KEPT_LOST - 1})
end
local function keep(ms)
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ms) end
end
"""
_SOURCES: Final = {
    # id, text, now, due, most bytes, expiry -> how many were lost for it; -1: it was there before
    "add": """
local id, new, now, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
if redis.call('ZSCORE', age, id) then return -1 end
local size, count = #new + OVERHEAD, 0
while tonumber(redis.call('HGET', stat, 'bytes') or '0') + size > most do
  local oldest = redis.call('ZRANGE', age, 0, 0)[1]
  if not oldest then break end
  lose(oldest, 'dropped', now)
  count = count + 1
end
redis.call('HSET', text, id, new)
redis.call('ZADD', age, now, id)
redis.call('ZADD', due, ARGV[4], id)
redis.call('HINCRBY', stat, 'bytes', size)
keep(ARGV[6])
return count
""",
    # now, lease until, limit, oldest -> due ones as id, text, tries, age; kept; next due; how many were too old
    "take": """
local now, ids, size, old = ARGV[1], {}, 0, 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', age, '-inf', ARGV[4], 'LIMIT', 0, 100)) do
  if tonumber(redis.call('ZSCORE', due, id)) <= tonumber(now) then
    lose(id, 'expired', now)
    old = old + 1
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, ARGV[3])) do
  local held = redis.call('HGET', text, id)
  size = size + #held
  if #ids > 0 and size > REPLY then break end
  redis.call('ZADD', due, ARGV[2], id)
  ids[#ids + 1] = {id, held, redis.call('HGET', tries, id) or '', redis.call('ZSCORE', age, id)}
end
local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
return {ids, redis.call('ZCARD', age), first[2] or '', old}
""",
    # id
    "done": """
if forget(ARGV[1]) then redis.call('HINCRBY', stat, 'delivered', 1) end
return redis.call('ZCARD', age)
""",
    # id, due, what came of it, expiry
    "failed": """
if redis.call('ZSCORE', age, ARGV[1]) then
  redis.call('ZADD', due, ARGV[2], ARGV[1])
  redis.call('HSET', tries, ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
  keep(ARGV[4])
end
return redis.call('ZCARD', age)
""",
    # now, ids that are leased and were not sent -> kept
    "free": """
for i = 2, #ARGV do
  if redis.call('ZSCORE', due, ARGV[i]) then redis.call('ZADD', due, ARGV[1], ARGV[i]) end
end
return redis.call('ZCARD', age)
""",
    # now -> how many that waited for their next try are due now; a lease is none of them
    "hurry": """
local count = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '(' .. ARGV[1], '+inf')) do
  local tried = redis.call('HGET', tries, id)
  if tried and string.match(tried, '^%d+') == redis.call('ZSCORE', due, id) then
    redis.call('ZADD', due, ARGV[1], id)
    count = count + 1
    if count == HURRIED then break end
  end
end
return count
""",
}
SCRIPTS: Final = {
    name: _HEAD
    + source.replace("OVERHEAD", str(OVERHEAD_BYTES))
    .replace("REPLY", str(REPLY_BYTES))
    .replace("HURRIED", str(HURRIED))
    for name, source in _SOURCES.items()
}
SHA: Final = {name: hashlib.sha1(source.encode()).hexdigest() for name, source in SCRIPTS.items()}
