"""The next iteration of a job scheduler's job: which, when, with which options. Pure; the clock and zone are given.

Source: BullMQ src/classes/job-scheduler.ts, upsertJobScheduler and getNextJobOpts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any, Final

from msgspec import Struct

from fastproc.bullmq import cron, zones
from fastproc.bullmq.protocol import text

#: Our own field in a scheduler's record: why its series could not be continued. BullMQ reads only fields that it knows.
ERROR_FIELD: Final = "fastprocError"


class Iteration(Struct, frozen=True):
    """A scheduler's next job: `data` is JSON text, `options` are BullMQ's.

    `next_ms` (wall clock) is None for `every`, whose time the script updateJobScheduler works out itself.
    """

    scheduler_id: str
    next_ms: int | None
    data: str
    options: dict[str, Any]


def scheduler_id(fields: Mapping[str, bytes]) -> str | None:
    """Return the id of the scheduler that made the job, if one did."""
    repeat_job_key = fields.get("rjk")
    return text(repeat_job_key) if repeat_job_key else None


def looks_legacy(name: str) -> bool:
    """Whether the id may be an old repeatable job's, which has five parts: then its record must have the field `ic`."""
    return name.count(":") >= 4


def following(
    name: str, data: str, options: Mapping[str, Any], now_ms: int, local: tzinfo
) -> Iteration | None:
    """Return the iteration after the job with these options, or None where the series has ended.

    `options` are those of the job's hash, short names and all; the script itself sets the delay and id of `every`.
    `local` is the zone of patterns that name none. Raises ValueError without pattern and interval, and for a pattern or
    zone that cannot be planned. Options that BullMQ does not write raise what reading them raises: ArithmeticError,
    KeyError, OSError, TypeError, ValueError.
    """
    repeat = options.get("repeat")
    if not isinstance(repeat, Mapping) or not (repeat.get("pattern") or repeat.get("every")):
        raise ValueError("the job's options have neither a pattern nor an interval")
    count = int(repeat.get("count") or 0) + 1
    limit, end_ms = repeat.get("limit"), _epoch_ms(repeat.get("endDate"))
    if (limit is not None and count > int(limit)) or (end_ms is not None and now_ms > end_ms):
        return None
    next_ms = None
    if repeat.get("pattern"):
        base_ms = max(now_ms, int(options.get("prevMillis") or 0), _epoch_ms(repeat.get("startDate")) or 0)
        next_ms = _next_by_pattern(name, repeat, base_ms, local)
        if end_ms is not None and next_ms > end_ms:
            return None
    return Iteration(name, next_ms, data, _options(options, repeat, name, count, next_ms, now_ms))


def _options(
    options: Mapping[str, Any],
    repeat: Mapping[str, Any],
    name: str,
    count: int,
    next_ms: int | None,
    now_ms: int,
) -> dict[str, Any]:
    offset = repeat.get("offset") if repeat.get("every") else None
    again = {key: value for key, value in repeat.items() if key != "immediately"}
    again |= {"count": count, "offset": offset}
    for key in ("startDate", "endDate"):
        again[key] = _epoch_ms(repeat.get(key))
    merged = {"attempts": 0, **options, "timestamp": now_ms, "repeatJobKey": name}
    merged["repeat"] = {key: value for key, value in again.items() if value is not None}
    # The first job of an older application's `every` has one; its followers do not.
    merged.pop("prevMillis", None)
    if next_ms is not None:
        merged |= {"prevMillis": next_ms, "jobId": f"repeat:{name}:{next_ms}"}
        merged["delay"] = max(0, next_ms - now_ms)
    if isinstance(merged.get("backoff"), int | float):
        merged["backoff"] = {"type": "fixed", "delay": merged["backoff"]}
    return merged


def _next_by_pattern(name: str, repeat: Mapping[str, Any], base_ms: int, local: tzinfo) -> int:
    # Without a seed Node's `H` is another number each time; the scheduler's name gives each its own, which stays.
    pattern = cron.parse(str(repeat["pattern"]), str(repeat.get("hashSeed") or name))
    zone = zones.zone("utc" if repeat.get("utc") else repeat.get("tz"), local)
    next_ms = zones.next_ms(pattern, base_ms, zone)
    if next_ms is None:
        raise ValueError(
            f"the pattern {repeat['pattern']!r} names no time in the next {cron.MAX_YEARS} years"
        )
    return next_ms


def _epoch_ms(value: Any) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and not value.isdigit():
        return int(datetime.fromisoformat(value).timestamp() * 1000)
    return int(value)
