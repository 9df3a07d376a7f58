"""When the jobs of a load test are added: all at once, at most so many at a time, or at a rate that nothing slows down.

Rule 1: an open plan has its times before the first job is added. A job that is added late, because its deployment or
        this program was busy, counts from the planned time on (no coordinated omission).
"""

from __future__ import annotations

from random import Random
from typing import Literal

from msgspec import Struct

#: How the arrivals of an open plan lie: at random, as those of many users who know nothing of each other, or evenly.
Pattern = Literal["poisson", "fixed"]


class Burst(Struct, frozen=True, kw_only=True, tag="burst", tag_field="mode"):
    """So many jobs at once; `outstanding`: so many are in the queue and at work at most, 0 for no limit."""

    jobs: int
    outstanding: int = 0


class Open(Struct, frozen=True, kw_only=True, tag="open", tag_field="mode"):
    """Jobs at a rate (a second) for so many seconds, whatever becomes of those before."""

    rate: float
    seconds: float
    pattern: Pattern = "poisson"


Load = Burst | Open


def times(load: Load, dice: Random) -> list[float]:
    """Return when each job is due, in seconds from the start, in order; those of a burst are all due at 0."""
    if isinstance(load, Burst):
        return [0.0] * load.jobs
    if load.pattern == "fixed":
        return [number / load.rate for number in range(max(1, round(load.rate * load.seconds)))]
    due: list[float] = []
    at = dice.expovariate(load.rate)
    while at < load.seconds:
        due.append(at)
        at += dice.expovariate(load.rate)
    # A test of no job says nothing: at a low rate chance may give none.
    return due or [0.0]


def due_now(due: list[float], added: int, ended: int, elapsed: float, outstanding: int) -> int:
    """Return how many of the jobs from number `added` on are to be added, `elapsed` seconds after the start."""
    room = outstanding - (added - ended) if outstanding else len(due) - added
    last = min(len(due), added + max(0, room))
    count = 0
    while added + count < last and due[added + count] <= elapsed:
        count += 1
    return count
