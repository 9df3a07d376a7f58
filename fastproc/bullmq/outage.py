"""Whether Redis serves the queue: the reason for /ready, one log line when an outage begins and one when it ends.

Rule 1: each part that asks Redis reports its failures and successes here, under its own name. An outage lasts as long
        as one of them fails, and nothing else logs it.
Rule 2: a caller that asks again after a failure pauses before it does, longer from failure to failure.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from fastproc.core import outages
from fastproc.core.fields import At, fields
from fastproc.core.masking import masked
from fastproc.core.pause import pause_s

log = logging.getLogger(__name__)

#: Shortest and longest pause of a caller between two tries. The longest is what finished work waits, at most, after
#: Redis takes writes again; the lock (LOCK_DURATION_MS, 30 s) leaves time for that.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 3.0


class Outage:
    """The parts that fail now, by name, each with its reason.

    `endpoint`: the server, for the log; `in_hand` counts the jobs that the outage delays.
    """

    def __init__(self, endpoint: str = "") -> None:
        self.endpoint = endpoint
        self.in_hand: Callable[[], int] = lambda: 0
        self._failing: dict[str, str] = {}
        self._outage = outages.Outage()
        self._since, self._began = At(0.0), 0.0
        #: The newest failure, also of an outage that is over, and its wall time in ms.
        self.last, self.last_at_ms = "", 0

    @property
    def since(self) -> float | None:
        """Since when it lasts, in monotonic seconds; None where there is none."""
        return self._began if self._failing else None

    @property
    def why(self) -> str:
        """Why the queue cannot be served now; "" where it can."""
        return next(iter(self._failing.values()), "")

    def failed(self, part: str, why: str) -> None:
        """Report that the part has failed."""
        # It is also shown by /ready and by whoever looks.
        now, why = time.monotonic(), masked(why)
        if self._failing:
            is_due = self._outage.lasts(now)
        else:
            self._since, self._began = At(time.time()), now
            is_due = self._outage.began(now)
        self._failing[part] = why
        self.last, self.last_at_ms = why, time.time_ns() // 1_000_000
        if is_due:
            about = outages.begin("redis", self.endpoint, why, since=self._since)
            words = "Redis does not serve the queue, trying again until it does: %s"
            log.warning(words, why, extra=fields(**about))

    def passed(self, part: str) -> None:
        """Report that the part has succeeded."""
        if self._failing.pop(part, None) is None or self._failing:
            return
        if over := self._outage.ended(time.monotonic()):
            about = outages.end("redis", self.endpoint, over, since=self._since, inHand=self.in_hand())
            log.warning("Redis serves the queue again, after %.1f s", over.seconds, extra=fields(**about))


def retry_pause_s(failures: int) -> float:
    """Return the pause in seconds after so many failures of the same caller in a row (1 or more)."""
    return pause_s(failures, FIRST_PAUSE_S, LONGEST_PAUSE_S, random.random())
