"""What the jobs of one run came to: rates, percentiles, failures by code. Pure.

Rule 1: times are BullMQ's own, milliseconds of the wall clock: `timestamp` of whoever added the job, `processedOn` and
        `finishedOn` of the service that did it.
Rule 2: percentiles are by nearest rank: the smallest value that at least p percent of the values do not exceed. So each
        is a value that was measured, and p99 of fewer than 100 values is the largest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct


class Course(Struct, frozen=True, kw_only=True):
    """One job: when it was due, added, taken the last time, and ended; milliseconds, 0 for what has not happened.

    `reason` is what it failed of, "" for a completed one.
    """

    due_ms: float
    added_ms: float
    taken_ms: float
    ended_ms: float
    reason: str = ""

    @property
    def completed(self) -> bool:
        return self.ended_ms > 0 and not self.reason


class Spread(Struct, frozen=True):
    """Percentiles of milliseconds, by nearest rank, with mean and maximum."""

    p50: float
    p95: float
    p99: float
    mean: float
    max: float


class Figures(Struct, frozen=True, kw_only=True):
    """One run in figures. `latency_ms`: from the planned (a burst: the real) arrival to completed.

    `queue_ms`: from added to taken by a service, the last time. `work_ms`: from there to completed. All three of
    completed jobs alone; None where none has completed. `late_ms` is how late the last of the late jobs was added.
    """

    jobs: int
    completed: int
    failed: int
    unfinished: int
    failures: dict[str, int]
    seconds: float
    jobs_per_s: float
    latency_ms: Spread | None
    queue_ms: Spread | None
    work_ms: Spread | None
    late_ms: float
    clocks_differ: bool


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the value at nearest rank (rule 2). `ordered` has at least one value, the smallest first."""
    return ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1]


def spread(values: Sequence[float]) -> Spread | None:
    """Return the percentiles; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    p50, p95, p99 = (percentile(ordered, percent) for percent in (50, 95, 99))
    return Spread(p50, p95, p99, round(math.fsum(ordered) / len(ordered), 1), ordered[-1])


def figures(courses: Sequence[Course], window: tuple[float, float] | None = None) -> Figures:
    """Return the figures of one run. `window`: from when to when an open load had its arrivals, None for a burst.

    A burst's time is from the first job added to the last end, an open load's from the window's begin to its end, or to
    the last job's if that is later: so chance, which makes the first user late, does not make the service faster.
    """
    is_open = window is not None
    ended = [course for course in courses if course.ended_ms]
    done = [course for course in courses if course.completed]
    began, until = window or (min((course.added_ms for course in courses), default=0.0), 0.0)
    last = max((course.ended_ms for course in ended), default=began)
    seconds = (max(last, until) - began) / 1000
    codes = Counter(code(course.reason) for course in ended if course.reason)
    return Figures(
        jobs=len(courses),
        completed=len(done),
        failed=len(ended) - len(done),
        unfinished=len(courses) - len(ended),
        failures=dict(sorted(codes.items())),
        seconds=round(seconds, 3),
        jobs_per_s=round(len(done) / seconds, 2) if seconds > 0 else 0.0,
        latency_ms=spread(
            [round(each.ended_ms - (each.due_ms if is_open else each.added_ms), 1) for each in done]
        ),
        queue_ms=spread([each.taken_ms - each.added_ms for each in done]),
        work_ms=spread([each.ended_ms - each.taken_ms for each in done]),
        late_ms=round(max((each.added_ms - each.due_ms for each in courses), default=0.0), 1)
        if is_open
        else 0.0,
        clocks_differ=any(each.taken_ms < each.added_ms for each in done),
    )


def code(reason: str) -> str:
    """Return the code that a `failedReason` begins with, `OTHER` where it has none."""
    found, colon, _ = reason.partition(":")
    return found if colon and found.replace("_", "").isalpha() and found.isupper() else "OTHER"
