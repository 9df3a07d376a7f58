"""When a supervisor is started, and when all of them end with it: facts come in, the master obeys. Pure.

Rule 1: the first starts alone, and the others when it serves: what is wrong with the settings or the servers is said
        once, and each trial is made once before the rest come.
Rule 2: one that ends is started again. After YOUNG_S its end is a new story; before, its failures in a row count, the
        pauses double (`core.pause`), and FAILURES of them end the service: a part of its workers would be missing.
Rule 3: a wrong setting ends the service at once. So does a start that finds a server away, or no worker that survives,
        while no supervisor serves: a service with one supervisor ends then too. While others serve, a server that is
        away is a neighbour's fault: it is waited for without end.
Rule 4: what was asked to end from outside (exit code 0), and what the kernel refused to start, is no failure.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from fastproc.core.pause import pause_s

#: Rows in tuning.md, "supervisors".
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
YOUNG_S: Final = 30.0
FAILURES: Final = 5


class Cause(Enum):
    """Why a supervisor ended, by its exit code."""

    ASKED = "it was asked to end"
    CONFIG = "a wrong setting"
    UNREACHABLE = "a server that cannot be used"
    HALTED = "workers that do not survive, or a part that broke"
    KILLED = "a signal, or an exit code of nobody's"


class Halt(Struct, frozen=True):
    """All end. `told`: the supervisor has said why itself."""

    cause: Cause
    why: str
    told: bool = True


class Place(Struct):
    """The place of one supervisor. `start_at` (monotonic s): when the next process is due, None while it has one."""

    start_at: float | None = 0.0
    born: float = 0.0
    serves: bool = False
    starts: int = 0
    failures: int = 0


class Restarts:
    """Places of supervisors, numbered from 1."""

    def __init__(self, count: int) -> None:
        self.places = {number: Place() for number in range(1, count + 1)}
        self._begun = False

    @property
    def serving(self) -> int:
        """How many serve."""
        return sum(place.serves for place in self.places.values())

    @property
    def restarted(self) -> int:
        """How many processes took the place of one that had ended."""
        return sum(max(0, place.starts - 1) for place in self.places.values())

    def due(self, now: float) -> list[int]:
        """Return whom to start now."""
        return [number for number, at in self._times().items() if at <= now]

    def next_at(self) -> float | None:
        """Return when `due` has somebody next; None: not by time alone."""
        return min(self._times().values(), default=None)

    def started(self, number: int, now: float) -> bool:
        """It has a process now; return whether that takes the place of another."""
        place = self.places[number]
        place.start_at, place.born, place.starts = None, now, place.starts + 1
        return place.starts > 1

    def refused(self, number: int, now: float, dice: float) -> None:
        """The kernel refused the process."""
        self.places[number].start_at = now + pause_s(FAILURES, FIRST_PAUSE_S, LONGEST_PAUSE_S, dice)

    def served(self, number: int) -> None:
        """It takes jobs."""
        self.places[number].serves = self._begun = True

    def ended(self, number: int, cause: Cause, how: str, now: float, dice: float) -> Halt | None:
        """Its process has ended; `how` is for messages. Return Halt where all are to end, else it is due again."""
        place = self.places[number]
        served, place.serves = place.serves, False
        if cause is Cause.CONFIG:
            return Halt(cause, how)
        if not served and not self.serving and cause in (Cause.UNREACHABLE, Cause.HALTED):
            return Halt(cause, how)
        if served and cause is Cause.ASKED:
            place.failures, place.start_at = 0, now
            return None
        is_young = not served or now - place.born < YOUNG_S
        place.failures = place.failures + 1 if is_young else 1
        if place.failures >= FAILURES and cause is not Cause.UNREACHABLE:
            why = f"supervisor {number} did not last {YOUNG_S:.0f} s {place.failures} times in a row: {how}"
            return Halt(Cause.HALTED, why, told=False)
        place.start_at = now + pause_s(place.failures, FIRST_PAUSE_S, LONGEST_PAUSE_S, dice)
        return None

    def _times(self) -> dict[int, float]:
        return {
            number: place.start_at
            for number, place in self.places.items()
            if place.start_at is not None and (number == 1 or self._begun)
        }
