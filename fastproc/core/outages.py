"""When an outage is told: once when it begins and once when it ends, however often that happens. No clock.

Rule 1: an outage that begins soon after the end of another is not told, and neither is its end: a neighbour that comes
        and goes all the time must not fill the log. The next line that is told counts them.
Rule 2: one that lasts is told, even if late: the last line of the log always says how the neighbour is.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

#: Seconds after an end that was told in which a beginning is not: with LASTS_S two lines in 12 s at most.
QUIET_S: Final = 10.0
#: Seconds after which such an outage is told all the same.
LASTS_S: Final = 2.0


class Over(Struct, frozen=True):
    """An outage that was told is over, after so many seconds; `untold` were not told before it."""

    seconds: float
    untold: int


class Outage:
    """Outages of one neighbour, one after another. The caller brings `now` (monotonic seconds)."""

    def __init__(self) -> None:
        self.began_at: float | None = None
        self._is_told = False
        self._quiet_until = float("-inf")
        self._untold = 0

    def began(self, now: float) -> bool:
        """An outage begins; return whether to tell it now."""
        self.began_at = now
        self._is_told = now >= self._quiet_until
        return self._is_told

    def lasts(self, now: float) -> bool:
        """It goes on; return whether to tell it now."""
        if self.began_at is None or self._is_told or now < self.began_at + LASTS_S:
            return False
        self._is_told = True
        return True

    def ended(self, now: float) -> Over | None:
        """It is over; return what to tell, None for nothing."""
        began_at, self.began_at = self.began_at, None
        if began_at is None:
            return None
        if not self._is_told:
            self._untold += 1
            return None
        self._quiet_until = now + QUIET_S
        untold, self._untold = self._untold, 0
        return Over(now - began_at, untold)


def begin(neighbour: str, endpoint: str, why: str, **more: Any) -> dict[str, Any]:
    """Return the fields of the line that tells the beginning of an outage."""
    return {"outage": "begin", "neighbour": neighbour, "endpoint": endpoint or None, "why": why, **more}


def end(neighbour: str, endpoint: str, over: Over, **more: Any) -> dict[str, Any]:
    """Return the fields of the line that tells its end; `more` is what it has delayed."""
    about = {"outage": "end", "neighbour": neighbour, "endpoint": endpoint or None}
    return {**about, "ms": round(over.seconds * 1000), "untold": over.untold or None, **more}
