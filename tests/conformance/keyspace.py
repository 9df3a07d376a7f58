"""Everything that a queue has in Redis, as a value that two workers' queues can be compared by."""

from __future__ import annotations

import difflib
import json
import pprint
import re
from typing import Any

from redis import Redis

#: Wall-clock times in ms, wherever they stand: 2017 to 2033.
_MS = re.compile(r"(?<!\d)1[5-9]\d{11}(?!\d)")
#: The score of a delayed job: its time * 4096 + a sequence number.
_DUE = 10**15

Snapshot = dict[str, Any]


def snapshot(redis: Redis, *queues: str) -> Snapshot:
    """Return all keys of the queues with their types and contents, as they are."""
    found: Snapshot = {}
    for queue in queues:
        for key in redis.scan_iter(f"bull:{queue}:*", count=1000):
            kind = redis.type(key)
            found[key] = (kind, _content(redis, key, kind))
    return found


def _content(redis: Redis, key: str, kind: str) -> Any:
    match kind:
        case "hash":
            return redis.hgetall(key)
        case "list":
            return redis.lrange(key, 0, -1)
        case "zset":
            return redis.zrange(key, 0, -1, withscores=True)
        case "set":
            return sorted(redis.smembers(key))
        case "stream":
            return [fields for _id, fields in redis.xrange(key)]
        case "string":
            return redis.get(key)
        case "none":  # Expired between SCAN and TYPE.
            return None
    raise AssertionError(f"{key} is a {kind}")


def normalise(found: Snapshot, queue: str) -> Snapshot:
    """Return the snapshot without what two runs cannot share: times, tokens, stack text, the queue's own name.

    The order of finished jobs is the event stream's affair: two that end in the same ms have no order in their set.
    """
    return {
        _named(key, queue): _normal(key, kind, _named_all(value, queue))
        for key, (kind, value) in sorted(found.items())
    }


def _normal(key: str, kind: str, value: Any) -> tuple[str, Any]:
    if key.endswith(":lock"):
        return kind, "<token>"
    if kind == "hash":
        return kind, {name: _field(name, text) for name, text in sorted(value.items())}
    if kind == "zset":
        members = [(member, _score(score)) for member, score in value]
        return kind, sorted(members) if key.endswith((":completed", ":failed", ":repeat")) else members
    return kind, value


def _field(name: str, text: str) -> Any:
    if name == "stacktrace":
        # The first line is the error; the rest says where in somebody's program.
        return [entry.partition("\n")[0] for entry in json.loads(text)]
    if name in ("data", "opts", "returnvalue", "progress", "parent"):
        return json.loads(text)
    return text


def _score(score: float) -> float | str:
    if score > _DUE and score / 4096 < _DUE:
        return "<due>" if _MS.fullmatch(str(int(score / 4096))) else score
    return "<ms>" if _MS.fullmatch(str(int(score))) else score


def _named_all(value: Any, queue: str) -> Any:
    if isinstance(value, str):
        return _named(value, queue)
    if isinstance(value, dict):
        return {_named(name, queue): _named_all(item, queue) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_named_all(item, queue) for item in value)
    return value


def _named(text: str, queue: str) -> str:
    return _MS.sub("<ms>", text.replace(queue, "Q"))


def each_job_apart(found: Snapshot) -> Snapshot:
    """Return the normalised snapshot with the event stream sorted by job: for workers that do several at once."""
    kind, events = found["bull:Q:events"]
    return found | {"bull:Q:events": (kind, sorted(events, key=lambda event: event.get("jobId", "")))}


def difference(official: Any, ours: Any) -> str:
    """Return what differs, line by line, or an empty text."""
    if official == ours:
        return ""
    lines = [pprint.pformat(value, width=120, sort_dicts=False).splitlines() for value in (official, ours)]
    return "\n".join(difflib.unified_diff(*lines, "official worker", "ours", lineterm="", n=2))
