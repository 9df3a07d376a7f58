"""Whether a job in hand or the event loop is stuck, as a table: where it stands and since when; a verdict comes out.

Rule 1: a job that says what it waits for is not stuck, however long that takes: whoever it waits for has a watch of its
        own (a breaker, the fleet's deadlines, the budget's queue).
Rule 2: any other step ends within the deadlines of its parts; far beyond them the job is interrupted, which gives it
        back. Only a job that does not end then is stuck: a restart is all that helps.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

#: Longest step that has a deadline of its own: a request to the store (`backends.s3_http`), in seconds.
STEP_S: Final = 120.0
#: How many times over is far beyond.
FAR: Final = 3.0
#: An interrupted job has so many seconds to give itself back.
INTERRUPTED_S: Final = 30.0
#: The loop lags when it comes back so much too late, in seconds.
LAG_S: Final = 1.0


class Verdict(Enum):
    """What is to be done about a job."""

    FINE = "fine"
    INTERRUPT = "interrupt"
    STUCK = "stuck"


class Standing(Struct):
    """Where a job stands: its step since when, what it waits for ("": nothing), when it was interrupted (0: never)."""

    step: str
    since: float
    waits_for: str = ""
    interrupted_at: float = 0.0


def judge(standing: Standing, now: float, step_s: float = STEP_S) -> Verdict:
    """Return what is to be done, where the longest step may take `step_s`."""
    if standing.interrupted_at:
        return Verdict.STUCK if now - standing.interrupted_at > INTERRUPTED_S else Verdict.FINE
    if standing.waits_for or now - standing.since <= FAR * step_s:
        return Verdict.FINE
    return Verdict.INTERRUPT
