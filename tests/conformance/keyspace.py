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

#: A job of a scheduler: `repeat:<scheduler>:<ms>`.
_ITERATION = re.compile(r":repeat:.+:(1[5-9]\d{11})$")
_ITERATION_ID = re.compile(r"(repeat:[^\s\"]+:)(1[5-9]\d{11})")

Snapshot = dict[str, Any]


def snapshot(redis: Redis, *queues: str) -> Snapshot:
    """Return all keys of the queues with their types and contents, as they are.

    But for those that depend on the clock alone: the pause between two sweeps, and the metrics by the minute.
    """
    found: Snapshot = {}
    for queue in queues:
        for key in redis.scan_iter(f"bull:{queue}:*", count=1000):
            kind = redis.type(key)
            if not key.endswith((":stalled-check", ":metrics:completed:data", ":metrics:failed:data")):
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
    streams = [value for kind, value in found.values() if kind == "stream"]
    names = [*found, *(f":{event.get('jobId', '')}" for events in streams for event in events)]
    iterations = sorted({int(ms) for name in names for ms in _ITERATION.findall(name)})
    numbers = {str(ms): f"<iteration {number}>" for number, ms in enumerate(iterations, 1)}

    def named(text: str) -> str:
        text = _ITERATION_ID.sub(
            lambda m: m[1] + numbers.get(m[2], "<next iteration>"), text.replace(queue, "Q")
        )
        return _MS.sub("<ms>", text)

    def everywhere(value: Any) -> Any:
        match value:
            case str():
                return named(value)
            case bool():
                return value
            case int():
                return "<ms>" if _MS.fullmatch(str(value)) else value
            case dict():
                return {named(name): everywhere(item) for name, item in value.items()}
            case list() | tuple():
                return type(value)(everywhere(item) for item in value)
        return value

    return {
        named(key): everywhere((kind, _normal(key, kind, value)))
        for key, (kind, value) in sorted(found.items())
    }


def _normal(key: str, kind: str, value: Any) -> Any:
    if key.endswith(":lock"):
        return "<token>"
    if kind == "hash":
        fields = {name: _field(name, text) for name, text in sorted(value.items())}
        if ":metrics:" in key:
            return {"count": fields["count"]}
        return _without_delay(fields) if _ITERATION.search(key) else fields
    if kind == "zset":
        members = [(member, _score(score)) for member, score in value]
        return sorted(members) if key.endswith((":completed", ":failed", ":repeat")) else members
    return value


def _without_delay(fields: dict[str, Any]) -> dict[str, Any]:
    """An iteration's delay is the rest of its interval, which depends on the moment."""
    for holder in (fields, fields.get("opts", {})):
        if holder.get("delay") not in (None, 0, "0"):
            holder["delay"] = "<rest>"
    return fields


def _field(name: str, text: str) -> Any:
    if name == "stacktrace":
        # The first line is the error, with its class where a JavaScript engine wrote it; the rest says where.
        return [re.sub(r"^\w*Error: ", "", entry.partition("\n")[0]) for entry in json.loads(text)]
    if name in ("data", "opts", "returnvalue", "progress", "parent"):
        value = json.loads(text)
        if isinstance(value, dict) and "offset" in value.get("repeat", ()):
            # Where in the interval the series began.
            value["repeat"]["offset"] = "<offset>"
        return value
    return "<offset>" if name == "offset" else text


def _score(score: float) -> Any:
    due = str(int(score / 4096))
    return "<due>" if score > _DUE and _MS.fullmatch(due) else int(score) if score.is_integer() else score


def each_job_apart(found: Snapshot) -> Snapshot:
    """Return the normalised snapshot with the event stream sorted by job: for workers that do several at once."""
    kind, events = found["bull:Q:events"]
    return found | {"bull:Q:events": (kind, sorted(events, key=lambda event: event.get("jobId", "")))}


def each_iteration_apart(found: Snapshot) -> Snapshot:
    """Return the normalised snapshot of a schedule without what depends on the moment when its jobs were added.

    A job that is added just when it is due is not delayed first; whether the next one is due before this one ends says
    which events come between, and whether the queue has drained.
    """

    def settled(event: dict[str, Any]) -> dict[str, Any]:
        return {name: text for name, text in event.items() if (event["event"], name) != ("waiting", "prev")}

    def as_if_delayed(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: "<rest>" if name == "delay" else as_if_delayed(part) for name, part in value.items()}

    kind, events = found["bull:Q:events"]
    kept = [settled(event) for event in events if event["event"] not in ("delayed", "drained")]
    jobs = {
        key: (sort, as_if_delayed(value)) if ":<iteration" in key else (sort, value)
        for key, (sort, value) in found.items()
    }
    return each_job_apart(jobs | {"bull:Q:events": (kind, kept)})


def difference(official: Any, ours: Any) -> str:
    """Return what differs, line by line, or an empty text."""
    if official == ours:
        return ""
    lines = [pprint.pformat(value, width=120, sort_dicts=False).splitlines() for value in (official, ours)]
    return "\n".join(difflib.unified_diff(*lines, "official worker", "ours", lineterm="", n=2))
