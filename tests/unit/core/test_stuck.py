"""The watchdog's table: who waits is not stuck, who does not end after an interruption is."""

from __future__ import annotations

import pytest

from fastproc.core.stuck import FAR, INTERRUPTED_S, STEP_S, Standing, Verdict, judge

LATE = FAR * STEP_S + 1


@pytest.mark.parametrize(
    ("standing", "now", "verdict"),
    [
        (Standing("fetch", 0.0), 10.0, Verdict.FINE),
        (Standing("fetch", 0.0), FAR * STEP_S, Verdict.FINE),
        (Standing("fetch", 0.0), LATE, Verdict.INTERRUPT),
        (Standing("fetch", 0.0, waits_for="the database"), 10 * LATE, Verdict.FINE),
        (Standing("fetch", 0.0, interrupted_at=LATE), LATE + INTERRUPTED_S, Verdict.FINE),
        (Standing("fetch", 0.0, interrupted_at=LATE), LATE + INTERRUPTED_S + 1, Verdict.STUCK),
    ],
)
def test_the_table(standing: Standing, now: float, verdict: Verdict) -> None:
    assert judge(standing, now) is verdict


def test_a_longer_step_is_given_longer() -> None:
    assert judge(Standing("work", 0.0), LATE, step_s=10 * STEP_S) is Verdict.FINE
