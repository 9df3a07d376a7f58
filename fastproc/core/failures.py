"""What has failed, by code: how often, when first and last, the newest photo and job. Pure: the caller brings times.

Rule 1: a failed attempt counts as an attempt; a job counts once, when it has failed for good.
Rule 2: codes are those of `core.errors`, so a table of them has a bound; texts have one too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from fastproc.core.model import Ended, GiveUp, Job

#: Longest texts kept of a job: an id may be as long as its producer wants, and a reason quotes strangers.
MAX_ID_CHARS: Final = 128
MAX_REASON_CHARS: Final = 300


class Failure(Struct, frozen=True, kw_only=True):
    """One code: attempts that failed, jobs that failed for good, and the newest of them. Times in ms, wall clock."""

    code: str
    attempts: int = 0
    jobs: int = 0
    first_at_ms: int
    last_at_ms: int
    photo: str = ""
    job: str = ""
    reason: str = ""


def failure(job: Job, end: Ended, at_ms: int) -> Failure:
    """Return the count of one attempt that failed at that time."""
    return Failure(
        code=end.code,
        attempts=1,
        jobs=int(isinstance(end.decision, GiveUp)),
        first_at_ms=at_ms,
        last_at_ms=at_ms,
        photo=job.photo_id[:MAX_ID_CHARS],
        job=job.id[:MAX_ID_CHARS],
        reason=end.reason.removeprefix(f"{end.code}: ")[:MAX_REASON_CHARS],
    )


def together(one: Failure, other: Failure) -> Failure:
    """Return both of the same code as one."""
    newer = max(one, other, key=lambda each: each.last_at_ms)
    return Failure(
        code=one.code,
        attempts=one.attempts + other.attempts,
        jobs=one.jobs + other.jobs,
        first_at_ms=min(one.first_at_ms, other.first_at_ms),
        last_at_ms=newer.last_at_ms,
        photo=newer.photo,
        job=newer.job,
        reason=newer.reason,
    )


def table(counted: Iterable[Failure]) -> list[Failure]:
    """Return one row a code, the newest failure first."""
    rows: dict[str, Failure] = {}
    for each in counted:
        rows[each.code] = together(rows[each.code], each) if each.code in rows else each
    return sorted(rows.values(), key=lambda row: (-row.last_at_ms, row.code))
