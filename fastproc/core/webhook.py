"""When a webhook is tried again, and how a sick receiver is spared. Pure; the caller brings clock and dice.

Rule 1: only a status of 200 to 299 is success. Everything else is tried again, with growing pauses, until the webhook
        is too old: a wrong route or secret of a deployment must not cost events.
Rule 2: a receiver that fails again and again rests, and is then asked with one webhook at a time until one passes.
Source: Standard Webhooks 1.0.0, "Delivery success and failure", "Deliverability and reliability".
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from fastproc.core.pause import pause_s

#: Of one webhook: 5 s as in Standard Webhooks' schedule; an hour at most, so that a repaired receiver soon has it.
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 3600.0
#: Of a receiver: what `Retry-After` may ask for at most, and what 410 (Gone) asks for: 24 requests a day.
LONGEST_HOLD_S: Final = 3600.0
#: Failures in a row after which a receiver rests; three are no accident (tuning.md, "webhooks: a receiver's rest").
REST_AFTER: Final = 3
FIRST_REST_S: Final = 1.0
LONGEST_REST_S: Final = 60.0

GONE: Final = 410


class Rest(Struct, frozen=True):
    """A receiver's standing: failures in a row, since when, and until when it is left alone (monotonic seconds)."""

    failures: int = 0
    since: float = 0.0
    until: float = 0.0

    @property
    def is_sick(self) -> bool:
        return self.failures >= REST_AFTER

    def state(self, now: float) -> str:
        """How the receiver stands, in the words of breakers: `open` while nothing is sent, `trial`, `closed`."""
        if now < self.until:
            return "open"
        return "trial" if self.is_sick else "closed"

    def slots(self, now: float, most: int) -> int:
        """How many webhooks may be under way at once."""
        if now < self.until:
            return 0
        return 1 if self.is_sick else most

    def failed(self, now: float, hold_s: float, dice: float) -> Rest:
        """The standing after a failure; `hold_s` is what the receiver asked for."""
        # What fails during the rest was under way when it began.
        failures = self.failures if now < self.until else self.failures + 1
        rest_s = 0.0
        if failures >= REST_AFTER:
            rest_s = pause_s(failures - REST_AFTER + 1, FIRST_REST_S, LONGEST_REST_S, dice)
        until = max(self.until, now + max(rest_s, hold_s))
        return Rest(failures=failures, since=self.since if self.failures else now, until=until)

    def passed(self, now: float) -> Rest:
        """The standing after a success."""
        # One that was under way when the rest began says nothing of what came after it.
        return self if now < self.until else Rest()


def succeeded(status: int) -> bool:
    """Return whether the receiver has taken the webhook."""
    return 200 <= status <= 299


def hold_s(status: int, retry_after_s: float) -> float:
    """Return for how long the receiver asks to be left alone; `retry_after_s` is 0 where it does not say."""
    return LONGEST_HOLD_S if status == GONE else min(max(0.0, retry_after_s), LONGEST_HOLD_S)


def again_s(attempts: int, held_s: float, dice: float) -> float:
    """Return the pause before the next attempt, after so many that failed; not shorter than the receiver's hold."""
    return max(held_s, pause_s(attempts, FIRST_PAUSE_S, LONGEST_PAUSE_S, dice))
