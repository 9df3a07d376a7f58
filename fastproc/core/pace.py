"""How fast a service works its queue off, and how many seconds what waits will take: what autoscalers and people ask.

Rule 1: the pace is that of times in which jobs waited: an idle service says nothing of how fast it could be.
Rule 2: what nobody knows is None and no number: nothing has ended yet, the queue is paused, a neighbour is away. A rate
        limit needs no case of its own: the pace is what it lets through.
Rule 3: several services work at the same queue side by side: their paces add up, their seconds do not (`together`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

#: How far back the pace looks, and the shortest time that it is judged by, in seconds (tuning.md, "pace of a queue").
WINDOW_S: Final = 60.0
SHORTEST_S: Final = 5.0
#: Looks that are closer to each other than this add nothing to what is known, and are not kept, in seconds.
APART_S: Final = 1.0


#: How far back a trend looks, and over how many seconds it must go, so that it is no noise (tuning.md).
TREND_S: Final = 60.0
TREND_LEAST_S: Final = 10.0


class Mark(Struct, frozen=True):
    """A look at `at` (monotonic s): jobs that had ended for good since the start, and whether others waited."""

    at: float
    ended: int
    waits: bool


def marked(marks: Sequence[Mark], new: Mark) -> tuple[Mark, ...]:
    """Return the marks with a new one, without those that are too old."""
    if marks and new.at - marks[-1].at < APART_S and new.waits == marks[-1].waits:
        return tuple(marks)
    return (*(mark for mark in marks if new.at - mark.at <= WINDOW_S), new)


def pace(marks: Sequence[Mark], now: float, ended: int) -> float | None:
    """Return jobs a second while jobs waited; None where they have not waited long enough. `ended`: until now."""
    if not marks:
        return None
    spans = [(a, b) for a, b in pairwise((*marks, Mark(now, ended, marks[-1].waits))) if a.waits and b.waits]
    seconds = sum(b.at - a.at for a, b in spans)
    return sum(b.ended - a.ended for a, b in spans) / seconds if seconds >= SHORTEST_S else None


def backlog_s(waiting: int | None, per_s: float | None, *, stopped: bool = False) -> float | None:
    """Return the seconds that the waiting jobs take at this pace; None where nobody knows.

    `stopped`: no job may be taken now, because the queue is paused or a neighbour is away.
    """
    if waiting == 0:
        return 0.0
    if waiting is None or stopped or not per_s:
        return None
    return waiting / per_s


def together(seconds: Iterable[float]) -> float:
    """Return what the backlogs of services make that share a queue: each alone would need `seconds` for all of it."""
    found = tuple(seconds)
    return 0.0 if not all(found) else 1 / sum(1 / each for each in found)


def due_ms(added_ms: int, delay_ms: float) -> int:
    """Return since when a job could have been taken: when it was added, and the delay that it asked for."""
    return added_ms + max(0, int(delay_ms))


def age_s(since_ms: int | None, now_ms: int) -> float | None:
    """Return the seconds since a wall time, not less than 0 where clocks differ; None where there is none."""
    return None if since_ms is None else max(0, now_ms - since_ms) / 1000


class Trend:
    """By how much a number changes a second, from looks at it."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def of(self, number: int, now: float) -> float | None:
        """Return the change a second in the last TREND_S; None where nobody has looked long and often enough.

        Growth is what goes on in both halves of that time, the lesser of the two: a burst that is being worked off is
        none. A fall is that of the second half.
        """
        self._seen = [each for each in (*self._seen, (now, number)) if each[0] >= now - TREND_S]
        oldest, newest = self._seen[0], self._seen[-1]
        middle = next(each for each in self._seen if each[0] >= (oldest[0] + now) / 2)
        if now - oldest[0] < TREND_LEAST_S or middle is newest:
            return None
        before, lately = _change(oldest, middle), _change(middle, newest)
        return min(lately, max(0.0, before))


def _change(one: tuple[float, int], other: tuple[float, int]) -> float:
    return (other[1] - one[1]) / (other[0] - one[0])
