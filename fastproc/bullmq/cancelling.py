"""How a job is cancelled: a mark in its hash, which whoever takes it finds, and a set of marked jobs for who has it.

BullMQ has no order to cancel. A mark outlives every process: the service that takes a marked job, or has it in hand,
ends it as CANCELLED. Marked jobs that wait are taken by their id, whatever is before them and though the queue is
paused: no photo is fetched for them.

Rule 1: a mark is put on jobs alone that have not ended, and never on the next job of a scheduler: its series would end.
        (BullMQ refuses to remove that one, too.)
Rule 2: the end of a job makes its mark void in the same step, so that a retry runs. The set is only a hint of where to
        look: a mark without an entry works, an entry without a mark is removed.
Rule 3: a job that is taken by its id leaves what moveToActive leaves.
Source: BullMQ includes/prepareJobForProcessing.lua, removeJob-2.lua (isJobSchedulerJob).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fastproc.bullmq.lua import Lua
from fastproc.bullmq.protocol import Arg, Keys, clean, text
from fastproc.core.cancellation import Mark

#: The field of a job's hash: JSON of `Mark`; "": it has been obeyed.
FIELD: Final = "fastprocCancel"
#: The set of marked jobs, by the time of the mark.
SET: Final = "fastproc:cancel"
#: Marked jobs that one look returns; the rest come with later ones.
MOST: Final = 100
#: Longest `why`: it stands in the row and in the event.
MAX_WHY_CHARS: Final = 200
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


#: KEYS: the job, its lock, the set, completed, failed, repeat. ARGV: its id, the mark, now.
#: Returns what the job is: `unknown`, `completed`, `failed`, `scheduled`; `marked`, or `again`: it was marked before.
MARK: Final = Lua(
    f"""
local job, lock, marked, completed, failed, schedulers = unpack(KEYS)
local id = ARGV[1]
-- A text or nothing, but an error for one of the queue's own keys, such as `wait`.
if type(redis.pcall('HGET', job, 'timestamp')) ~= 'string' then return 'unknown' end
if redis.call('ZSCORE', completed, id) then return 'completed' end
if redis.call('ZSCORE', failed, id) then return 'failed' end
local scheduler = redis.call('HGET', job, 'rjk')
if scheduler and redis.call('EXISTS', lock) == 0 then
  local at = redis.call('ZSCORE', schedulers, scheduler)
  if at and id == 'repeat:' .. scheduler .. ':' .. at then return 'scheduled' end
end
redis.call('ZADD', marked, ARGV[3], id)
local before = redis.call('HGET', job, '{FIELD}')
if before and before ~= '' then return 'again' end
redis.call('HSET', job, '{FIELD}', ARGV[2])
return 'marked'
"""
)

#: KEYS: the job, its lock, the set, completed, failed, delayed, prioritized, waiting-children, wait, paused, active,
#: events. ARGV: its id, the token of its lock, the lock's ms, now, the worker's name.
#: Returns the job's hash, or 0: it is not there to be taken.
TAKE: Final = Lua(
    f"""
local job, lock, marked, completed, failed, delayed, prioritized, parents, wait, paused, active, events = unpack(KEYS)
local id = ARGV[1]
local mark = redis.call('HGET', job, '{FIELD}')
if not mark or mark == '' or redis.call('ZSCORE', completed, id) or redis.call('ZSCORE', failed, id) then
  redis.call('HDEL', job, '{FIELD}')
  redis.call('ZREM', marked, id)
  return 0
end
if redis.call('EXISTS', lock) == 1 then return 0 end
if redis.call('ZREM', delayed, id) == 1 then
  redis.call('HSET', job, 'delay', 0)
elseif redis.call('ZREM', prioritized, id) == 0 and redis.call('ZREM', parents, id) == 0
  and redis.call('LREM', wait, 1, id) == 0 and redis.call('LREM', paused, 1, id) == 0 then
  return 0
end
redis.call('LPUSH', active, id)
redis.call('SET', lock, ARGV[2], 'PX', ARGV[3])
redis.call('XADD', events, '*', 'event', 'active', 'jobId', id, 'prev', 'waiting')
redis.call('HSET', job, 'processedOn', ARGV[4], 'pb', ARGV[5])
redis.call('HINCRBY', job, 'ats', 1)
return redis.call('HGETALL', job)
"""
)

_OF_MARK: Final = ("{job}", "{job}:lock", SET, "completed", "failed", "repeat")
_OF_TAKE: Final = (
    *_OF_MARK[:5], "delayed", "prioritized", "waiting-children", "wait", "paused", "active", "events",
)  # fmt: skip


def mark(keys: Keys, job_id: str, mark: Mark) -> tuple[list[str], list[Arg]]:
    """Return keys and arguments of MARK."""
    return _filled(keys, _OF_MARK, job_id), [job_id, msgspec.json.encode(mark), mark.at]


def take(
    keys: Keys, job_id: str, token: str, lock_ms: int, now_ms: int, name: str
) -> tuple[list[str], list[Arg]]:
    """Return keys and arguments of TAKE."""
    return _filled(keys, _OF_TAKE, job_id), [job_id, token, lock_ms, now_ms, name]


def taken(reply: Any) -> Mapping[str, bytes] | None:
    """Return the hash that TAKE has returned."""
    if not isinstance(reply, list) or not reply:
        return None
    return {text(name): value for name, value in zip(reply[::2], reply[1::2], strict=True)}


def asked(raw: bytes | None) -> Mark | None:
    """Return the mark of a job's field; None where there is none, or a void one."""
    if not raw:
        return None
    try:
        found = msgspec.json.decode(raw, type=Mark)
    except (ValueError, RecursionError):
        # Somebody has written it by hand: it is a mark all the same.
        return Mark()
    return Mark(_words(found.why), _words(found.by), found.at)


def made(why: str, by: str, at_ms: int) -> Mark:
    """Return a mark of an operator's words."""
    return Mark(_words(why), _words(by), at_ms)


def _words(text: str) -> str:
    return clean(_CONTROL.sub(" ", text).strip()[:MAX_WHY_CHARS])


def _filled(keys: Keys, names: tuple[str, ...], job_id: str) -> list[str]:
    return [keys(name.replace("{job}", job_id)) for name in names]
