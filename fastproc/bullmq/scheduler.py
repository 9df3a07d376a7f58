"""The next iteration of a job scheduler's job: which, when, with which options. Pure; the clock and zone are given.

BullMQ has no timer: who takes a scheduler's job produces the next one, at the start and not at the end, so that the
series goes on whatever becomes of this job.
Source: BullMQ src/classes/job-scheduler.ts, upsertJobScheduler and getNextJobOpts; worker.ts, nextJobFromJobData.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter
from msgspec import Struct

from fastproc.bullmq.protocol import text


class Iteration(Struct, frozen=True):
    """What updateJobScheduler is told: `next_ms` is None for `every`, which the script works out by itself."""

    scheduler_id: str
    next_ms: int | None
    data: str
    options: dict[str, Any]


def scheduler_id(fields: Mapping[str, bytes]) -> str | None:
    """The id of the scheduler that made the job, if one did."""
    found = fields.get("rjk")
    return text(found) if found else None


def looks_legacy(name: str) -> bool:
    """Whether the id may be a repeatable job's of old, which has five parts: then its hash must be asked for `ic`."""
    return name.count(":") >= 4


def following(
    name: str, data: str, options: Mapping[str, Any], now_ms: int, local: tzinfo | None
) -> Iteration | None:
    """Return the iteration after the job with these options, or None where the series has come to its end.

    `options` are those of the job's hash, short names and all; the script itself sets the delay and id of `every`.
    `local` is the zone of patterns that name none. Raises ValueError for a pattern or a zone that cannot be read.
    """
    repeat = options.get("repeat")
    if not isinstance(repeat, Mapping) or not (repeat.get("pattern") or repeat.get("every")):
        raise ValueError("the job's options have neither a pattern nor an interval")
    count = int(repeat.get("count") or 0) + 1
    limit, end_ms = repeat.get("limit"), _epoch_ms(repeat.get("endDate"))
    if (limit is not None and count > int(limit)) or (end_ms is not None and now_ms > end_ms):
        return None
    base_ms = max(now_ms, int(options.get("prevMillis") or 0))
    next_ms = max(base_ms, _next_by_pattern(repeat, base_ms, local)) if repeat.get("pattern") else None
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


def _next_by_pattern(repeat: Mapping[str, Any], base_ms: int, local: tzinfo | None) -> int:
    base_ms = max(base_ms, _epoch_ms(repeat.get("startDate")) or 0)
    zone = ZoneInfo(str(repeat["tz"])) if repeat.get("tz") else local
    pattern = str(repeat["pattern"])
    # Six fields begin with the seconds in cron-parser, and end with them in croniter unless told.
    following = croniter(pattern, datetime.fromtimestamp(base_ms / 1000, zone), second_at_beginning=True)
    moment: datetime = following.get_next(datetime)
    return int(moment.timestamp() * 1000)


def _epoch_ms(value: Any) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and not value.isdigit():
        return int(datetime.fromisoformat(value).timestamp() * 1000)
    return int(value)
