"""Divides what one service may use among its supervisors: workers, prefetch, rate limit, memory. Pure.

Rule 1: the parts of a whole add up to it, and differ by one at most.
Rule 2: a part belongs to its supervisor alone: while that one is down, nobody uses it. So nothing has to be agreed on
        between processes, and the whole is never exceeded.
Rule 3: a supervisor that is started again begins without tokens: those of its predecessor may be used up.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

#: So many workers one supervisor feeds (tuning.md, "supervisors").
WORKERS_PER_SUPERVISOR: Final = 16
#: What the master has resident (tuning.md, "supervisors").
MASTER_BYTES: Final = 60 << 20


class Share(Struct, frozen=True):
    """What supervisor `number` (from 1) of `of` may use. `again`: it takes the place of one that has ended."""

    number: int = 1
    of: int = 1
    again: bool = False

    @property
    def is_first(self) -> bool:
        """Whether it says what all of them would say: they have the same settings, servers and libraries."""
        return self.number == 1 and not self.again

    def part(self, whole: int) -> int:
        """Return its part of a whole number."""
        return whole * self.number // self.of - whole * (self.number - 1) // self.of

    def memory(self, limit: int) -> int:
        """Return its part, in bytes, of a limit on the memory of all processes (0: none)."""
        if not limit or self.of == 1:
            return limit
        return max(1, self.part(limit - MASTER_BYTES))


#: The only supervisor has everything.
WHOLE: Final = Share()


def supervisors(workers: int, rate_max: int, inflight_bytes: int, source_bytes: int) -> int:
    """Return how many supervisors so many workers have by default: one for each WORKERS_PER_SUPERVISOR.

    Each needs a part of the rate limit (0: none), and room for one photo of `source_bytes` (`most`).
    """
    wanted = -(-workers // WORKERS_PER_SUPERVISOR)
    return max(1, min(wanted, most(workers, rate_max, inflight_bytes, source_bytes)))


def most(workers: int, rate_max: int, inflight_bytes: int, source_bytes: int) -> int:
    """Return among how many supervisors this can be divided."""
    return min(workers, rate_max or workers, inflight_bytes // source_bytes)
