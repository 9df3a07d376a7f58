"""A rate as an operator writes it: what is understood, what is refused, and how it is shown."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest

from fastproc.config.queue import LimiterConfig
from fastproc.core import rates
from fastproc.core.rates import Rate


@pytest.mark.parametrize(
    ("text", "rate", "shown"),
    [
        ("10/1000ms", Rate(10, 1000), "10/s"),
        ("10/s", Rate(10, 1000), "10/s"),
        (" 600 / MIN ", Rate(600, 60_000), "600/min"),
        ("1/h", Rate(1, 3_600_000), "1/h"),
        ("5/250ms", Rate(5, 250), "5/250ms"),
        ("7/90s", Rate(7, 90_000), "7/90s"),
        ("off", Rate(), "off"),
        ("0", Rate(), "off"),
    ],
)
def test_a_rate_is_read_and_shown(text: str, rate: Rate, shown: str) -> None:
    assert rates.parse(text) == rate
    assert str(rate) == shown
    assert rates.parse(shown).max == rate.max


@pytest.mark.parametrize(
    "text",
    ["", "10", "10/", "/s", "-1/s", "1.5/s", "10/day", "0/s", "10/0s", "1000001/s", "1/25h", "9" * 99 + "/s"],
)
def test_what_is_no_rate_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 10/s, 600/min or 10/1000ms; or off"):
        rates.parse(text)


def test_the_bounds_are_those_of_the_variables() -> None:
    hints: dict[str, Any] = get_type_hints(LimiterConfig, include_extras=True)
    most, longest = (hints[name].__metadata__[0].le for name in ("max", "duration_ms"))
    assert (most, longest) == (rates.MOST, rates.LONGEST_MS)
