"""Whether a neighbour (object store, database) is there, as a table: facts come in, advice goes out. No clock, no dice.

Rule 1: an error of a neighbour counts against a photo only with evidence that the neighbour works: another photo has
        passed since, or a probe has seen the same operation pass. Without evidence the neighbour is taken to be away.
Rule 2: a failed probe opens the breaker at once, and the next good one closes it.
Rule 3: opened by photos alone, a pause ends in a trial: a few jobs run; the first that passes closes the breaker; when
        all have failed it is open again, and the next trial has more jobs.
Rule 4: pauses double up to a bound and have jitter; the caller brings `now` (monotonic seconds) and `dice` ([0, 1)).
Rule 5: a photo that fails in many trials counts at last, so that no photo goes round without end; finished work does
        not: it waits until it passes, or until others have passed and it still does not.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

#: Seconds after which a photo that failed, and is in hand no more, is forgotten.
FORGET_S = 3600.0


class State(Enum):
    """Where the breaker is."""

    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"


class Rules(Struct, frozen=True, kw_only=True):
    """The breaker's numbers.

    `tries` of one operation before its failure is judged, `retry_s` seconds before the second, doubling; `pause_s` to
    `pause_max_s` between probes or trials, so that a neighbour that is back is found within 5 s; the first trial has
    `trial_jobs` jobs, each further one twice as many up to `trial_jobs_max`; one that nobody fails in `trial_s` closes
    the breaker; `trials` of one photo are forgiven.
    """

    tries: int = 3
    retry_s: float = 0.25
    pause_s: float = 0.5
    pause_max_s: float = 3.0
    trial_jobs: int = 2
    trial_jobs_max: int = 16
    trial_s: float = 30.0
    trials: int = 8


class Retry(Struct, frozen=True):
    """Try the operation again after so many seconds; nothing is counted."""

    after_s: float


class Away(Struct, frozen=True):
    """The neighbour is away: the job goes back, or waits with finished work; nothing is counted.

    `aside_s` is how long a job that goes back must not be taken again, so that a trial sees other photos; 0: it may.
    """

    aside_s: float = 0.0


class Count(Struct, frozen=True):
    """It is the photo's own failure: the attempt counts."""


Advice = Retry | Away | Count


class _Photo(Struct):
    """A photo whose operations fail: since when, and in how many trials."""

    since: float
    trials: int = 0


class Breaker:
    """One neighbour. `why` is its last error, `since` when it was last seen to come or go."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.state = State.CLOSED
        self.since = 0.0
        self.why = ""
        self._by_probe = False
        self._rounds = 0
        self._due = 0.0
        self._trial_left = 0
        self._failing: dict[str, _Photo] = {}
        # The last two passes of different photos: the newest may be that of the photo which asks.
        self._passes: tuple[tuple[str, float], ...] = ()

    # --- questions

    def admits(self, in_hand: int) -> bool:
        """Whether a job may be taken, with so many in hand."""
        if self.state is State.TRIAL:
            return in_hand < self._trial_left
        return self.state is State.CLOSED

    def due(self) -> float | None:
        """Return when `tick` has something to do: while it is not closed."""
        return None if self.state is State.CLOSED else self._due

    def tick(self, now: float) -> bool:
        """End a pause or a trial that is over; return whether the neighbour is to be probed now."""
        if self.state is State.CLOSED or now < self._due:
            return False
        if self.state is State.TRIAL:
            self._close(now)
            return False
        if not self._by_probe:
            self.state, self._due = State.TRIAL, now + self.rules.trial_s
            self._trial_left = min(
                self.rules.trial_jobs_max, self.rules.trial_jobs * 2 ** min(max(0, self._rounds - 1), 32)
            )
        return self._by_probe

    # --- facts

    def passed(self, photo: str, began: float, now: float) -> None:
        """An operation that began at `began` has passed."""
        others = [each for each in self._passes if each[0] != photo]
        self._passes = ((photo, now), *others[:1])
        self._failing.pop(photo, None)
        # An operation that began before the outage says nothing of now.
        if self.state is not State.CLOSED and began >= self.since:
            self._close(now)

    def probed(self, ok: bool, now: float, dice: float, why: str = "") -> None:
        """The neighbour was asked; `why` is what was wrong with its answer."""
        if not ok:
            self.why = why
            self._open(now, dice, by_probe=True)
        elif self.state is State.OPEN and self._by_probe:
            self._close(now)

    def failed(
        self, photo: str, tries: int, now: float, dice: float, *, passes: bool, keep: bool, why: str = ""
    ) -> Advice:
        """An operation of the photo has failed for the `tries`-th time in a row, and the last probe was good.

        `passes`: the probe has seen the same operation pass, for another object. `keep`: the job has finished work.
        Call `probed` before.
        """
        self.why = why
        about = self._failing.setdefault(photo, _Photo(now))
        if self.state is State.OPEN:
            return self._away(now)
        if self.state is State.TRIAL:
            return self._failed_in_trial(photo, now, dice, keep)
        if tries < self.rules.tries:
            return Retry(self.rules.retry_s * 2.0 ** (tries - 1) * (0.5 + dice))
        if passes or any(other != photo and at >= about.since for other, at in self._passes):
            self._failing.pop(photo)
            return Count()
        self._open(now, dice, by_probe=False)
        return self._away(now)

    def forget(self, photo: str) -> None:
        """The photo's job was interrupted: nothing is known of it any more."""
        self._failing.pop(photo, None)

    # --- moves

    def _failed_in_trial(self, photo: str, now: float, dice: float, keep: bool) -> Advice:
        about = self._failing[photo]
        about.trials += 1
        self._trial_left -= 1
        self._due = now + self.rules.trial_s
        if self._trial_left <= 0:
            self._open(now, dice, by_probe=False)
        if about.trials >= self.rules.trials and not keep:
            self._failing.pop(photo)
            if not self._failing:
                self._close(now)
            return Count()
        return self._away(now) if self.state is State.OPEN else Away(self.rules.pause_max_s)

    def _away(self, now: float) -> Away:
        return Away() if self._by_probe else Away(max(0.0, self._due - now) + self.rules.pause_max_s)

    def _open(self, now: float, dice: float, *, by_probe: bool) -> None:
        if self.state is State.CLOSED:
            self._rounds = 0
            self.since = now
        self._by_probe = by_probe
        pause = min(self.rules.pause_max_s, self.rules.pause_s * 2.0 ** min(self._rounds, 32))
        self._due = now + pause * (0.5 + dice / 2)
        self._rounds += 1
        self.state = State.OPEN

    def _close(self, now: float) -> None:
        self.state, self.since, self.why, self._rounds = State.CLOSED, now, "", 0
        # Others may have done what went back from here.
        self._failing = {
            photo: about for photo, about in self._failing.items() if now - about.since < FORGET_S
        }
