"""Whether a neighbour (object store, database) is there, as a table: facts come in, advice goes out. No clock, no dice.

Rule 1: an error of a neighbour counts against a photo only with evidence that the neighbour works: another photo has
        passed since, or a probe that sees the same has. Without evidence the neighbour is taken to be away.
Rule 2: a failed probe opens the breaker at once. Errors of several different photos with no pass between them open it
        too, whatever the probe says: it may not see what the jobs see.
Rule 3: opened by a probe, the next good probe closes it. Opened by photos, a pause ends in a trial: a few jobs run, the
        first that passes closes it, the first that fails opens it again.
Rule 4: pauses double up to a bound and have jitter; the caller brings `now` (monotonic seconds) and `dice` ([0, 1)).
Rule 5: a photo that fails in many trials counts at last, so that it cannot keep the others waiting for ever.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class State(Enum):
    """Where the breaker is."""

    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"


class Rules(Struct, frozen=True, kw_only=True):
    """The breaker's numbers.

    `tries` of one operation before its failure is judged, `retry_s` seconds before the second, doubling; `witnesses`
    are the different photos that open it; `pause_s` to `pause_max_s` between probes or trials, so that a neighbour that
    is back is found within 5 s; `trial_jobs` run in a trial; `trials` of one photo are forgiven.
    """

    tries: int = 3
    retry_s: float = 0.25
    witnesses: int = 3
    pause_s: float = 0.5
    pause_max_s: float = 3.0
    trial_jobs: int = 2
    trials: int = 20


class Retry(Struct, frozen=True):
    """Try the operation again after so many seconds; nothing is counted."""

    after_s: float


class Away(Struct, frozen=True):
    """The neighbour is away: give the job back, or wait with finished work; nothing is counted."""


class Count(Struct, frozen=True):
    """It is the photo's own failure: the attempt counts."""


Advice = Retry | Away | Count


class _Photo(Struct):
    """A photo whose operations fail: since when, and how often in trials."""

    since: float
    trials: int = 0


class Breaker:
    """One neighbour. `why` is its last error, `since` when the state began."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.state = State.CLOSED
        self.since = 0.0
        self.why = ""
        self._by_probe = False
        self._pauses = 0
        self._due = 0.0
        self._failing: dict[str, _Photo] = {}
        # The last two passes of different photos: the newest may be that of the photo which asks.
        self._passes: tuple[tuple[str, float], ...] = ()

    # --- questions

    def admits(self, in_hand: int) -> bool:
        """Whether a job may be taken, with so many in hand."""
        if self.state is State.TRIAL:
            return in_hand < self.rules.trial_jobs
        return self.state is State.CLOSED

    def due(self) -> float | None:
        """Return when `tick` has something to do: while it is open."""
        return self._due if self.state is State.OPEN else None

    def tick(self, now: float) -> bool:
        """End a pause that is over; return whether the neighbour is to be probed now."""
        if self.state is not State.OPEN or now < self._due:
            return False
        if not self._by_probe:
            self.state = State.TRIAL
        return self._by_probe

    # --- facts

    def passed(self, photo: str, began: float, now: float) -> None:
        """An operation that began at `began` has passed."""
        others = [each for each in self._passes if each[0] != photo]
        self._passes = ((photo, now), *others[:1])
        self._failing.pop(photo, None)
        if self.state is State.CLOSED:
            return
        # An operation that began before the outage says nothing of now.
        if began >= self.since:
            self._close(now)

    def probed(self, ok: bool, now: float, dice: float, why: str = "") -> None:
        """The neighbour was asked; `why` is what it said."""
        if not ok:
            self.why = why
            self._open(now, dice, by_probe=True)
        elif self.state is State.OPEN and self._by_probe:
            self._close(now)

    def failed(
        self, photo: str, tries: int, now: float, dice: float, *, probe_sees: bool, why: str = ""
    ) -> Advice:
        """An operation of the photo has failed for the `tries`-th time in a row, and the last probe was good.

        `probe_sees`: a good probe is evidence that this operation can pass. Call `probed` before.
        """
        self.why = why
        about = self._failing.setdefault(photo, _Photo(now))
        if self.state is State.OPEN:
            return Away()
        if self.state is State.TRIAL:
            about.trials += 1
            self._open(now, dice, by_probe=False)
            return Count() if about.trials >= self.rules.trials else Away()
        if tries < self.rules.tries:
            return Retry(self.rules.retry_s * 2.0 ** (tries - 1) * (0.5 + dice))
        others_pass = any(other != photo and at >= about.since for other, at in self._passes)
        if others_pass or (probe_sees and self._witnesses() < self.rules.witnesses):
            self._failing.pop(photo)
            return Count()
        self._open(now, dice, by_probe=False)
        return Away()

    def forget(self, photo: str) -> None:
        """The photo's job was interrupted: it is no witness any more."""
        self._failing.pop(photo, None)

    def _witnesses(self) -> int:
        """Different photos that have failed with no pass since."""
        last = max((at for _, at in self._passes), default=0.0)
        return sum(each.since >= last for each in self._failing.values())

    # --- moves

    def _open(self, now: float, dice: float, *, by_probe: bool) -> None:
        if self.state is State.CLOSED:
            self._pauses = 0
            self.since = now
        self._by_probe = by_probe
        pause = min(self.rules.pause_max_s, self.rules.pause_s * 2.0**self._pauses)
        self._due = now + pause * (0.5 + dice / 2)
        self._pauses += 1
        self.state = State.OPEN

    def _close(self, now: float) -> None:
        self.state, self.since, self.why, self._pauses = State.CLOSED, now, "", 0
        self._failing.clear()
