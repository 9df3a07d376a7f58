"""How long workers wait while there is work: the sum of their waits, which says whether something else is too slow.

Rule 1: a worker waits for work while it is idle and a photo is on its way (being fetched, or ready), one worker for
        each such photo; while the service has no place for further jobs, every idle worker does.
Rule 2: what is so between two looks is what was so at the first: a look is due at each change of workers and photos.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fastproc.core.fleet import Fleet
from fastproc.core.slot import State
from fastproc.supervisor.workers.loans import Loans


class Idleness:
    """Adds up the waits of a fleet's workers. `is_full` says whether the service has no place for further jobs."""

    def __init__(self, fleet: Fleet, loans: Loans, clock: Callable[[], float] = time.monotonic) -> None:
        self._fleet, self._loans, self._clock = fleet, loans, clock
        self._seconds, self._waiting, self._at = 0.0, 0, clock()
        self.is_full: Callable[[], bool] = lambda: False
        loans.on_lend = self.look

    @property
    def seconds(self) -> float:
        """Worker seconds until now."""
        self.look()
        return self._seconds

    def look(self) -> None:
        """Something has changed, or is about to be asked."""
        now = self._clock()
        self._seconds += self._waiting * (now - self._at)
        self._waiting, self._at = self._waits(), now

    def _waits(self) -> int:
        idle = self._fleet.count(State.IDLE)
        if not idle or self._fleet.draining:
            return 0
        on_the_way = sum(self._loans.lent) - self._fleet.count(State.BUSY)
        return idle if self.is_full() else max(0, min(idle, on_the_way))
