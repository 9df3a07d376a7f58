"""Whether Redis serves the queue: the reason for /ready, one log line when an outage begins and one when it ends.

Rule 1: each part that asks Redis reports its failures and successes here, under its own name. An outage lasts as long
        as one of them fails, and nothing else logs it.
Rule 2: a caller that asks again after a failure pauses before it does, longer from failure to failure.
"""

from __future__ import annotations

import logging
import random
import time

from fastproc.core.pause import pause_s

log = logging.getLogger(__name__)

#: Shortest and longest pause of a caller between two tries. The longest is what finished work waits, at most, after
#: Redis takes writes again; the lock (LOCK_DURATION_MS, 30 s) leaves time for that.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 3.0


class Outage:
    """The parts that fail now, by name, each with its reason."""

    def __init__(self) -> None:
        self._failing: dict[str, str] = {}
        self._since = 0.0
        #: The newest failure, also of an outage that is over, and its wall time in ms.
        self.last, self.last_at_ms = "", 0

    @property
    def since(self) -> float | None:
        """Since when it lasts, in monotonic seconds; None where there is none."""
        return self._since if self._failing else None

    @property
    def why(self) -> str:
        """Why the queue cannot be served now; "" where it can."""
        return next(iter(self._failing.values()), "")

    def failed(self, part: str, why: str) -> None:
        """Report that the part has failed."""
        if not self._failing:
            self._since = time.monotonic()
            log.warning("Redis does not serve the queue, trying again until it does: %s", why)
        self._failing[part] = why
        self.last, self.last_at_ms = why, time.time_ns() // 1_000_000

    def passed(self, part: str) -> None:
        """Report that the part has succeeded."""
        if self._failing.pop(part, None) is not None and not self._failing:
            log.warning("Redis serves the queue again, after %.1f s", time.monotonic() - self._since)


def retry_pause_s(failures: int) -> float:
    """Return the pause in seconds after so many failures of the same caller in a row (1 or more)."""
    return pause_s(failures, FIRST_PAUSE_S, LONGEST_PAUSE_S, random.random())
