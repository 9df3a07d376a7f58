"""Pauses double up to a bound, less up to half of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.pause import pause_s


def test_a_pause_doubles_up_to_its_bound() -> None:
    assert [pause_s(failures, 0.2, 5.0, 0.0) for failures in (1, 2, 3, 5, 6, 7)] == [
        0.2,
        0.4,
        0.8,
        3.2,
        5.0,
        5.0,
    ]


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_jitter_takes_half_of_a_pause_at_most(failures: int, dice: float) -> None:
    full = pause_s(failures, 0.2, 5.0, 0.0)
    assert full / 2 <= pause_s(failures, 0.2, 5.0, dice) <= full <= 5.0
