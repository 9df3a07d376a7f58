"""A rate limit as an operator writes it: `10/s`, `600/min`, `10/1000ms`, `off`. Pure.

Rule 1: bounds are those of RATE_LIMIT_MAX and RATE_LIMIT_DURATION_MS (a test compares).
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

MOST: Final = 1_000_000
LONGEST_MS: Final = 86_400_000
_UNITS: Final = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
_FORM: Final = re.compile(r"(\d{1,12}) ?/ ?(\d{0,12}) ?(ms|s|min|h)")
EXPECTED: Final = f"expected 1 to {MOST} jobs in 1 ms to 24 h, such as 10/s, 600/min or 10/1000ms; or off"


class Rate(Struct, frozen=True):
    """`max` jobs may start in `duration_ms`; 0: there is no limit."""

    max: int = 0
    duration_ms: int = 1000

    @property
    def duration_s(self) -> float:
        return self.duration_ms / 1000

    def __str__(self) -> str:
        """As it is written."""
        if not self.max:
            return "off"
        unit = next(name for name in reversed(_UNITS) if self.duration_ms % _UNITS[name] == 0)
        count = self.duration_ms // _UNITS[unit]
        return f"{self.max}/{'' if count == 1 else count}{unit}"


def parse(text: str) -> Rate:
    """Return the rate that is meant. Raises ValueError, with what is expected."""
    text = text.strip().lower()
    if text in ("off", "0"):
        return Rate()
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(EXPECTED)
    rate = Rate(int(form[1]), int(form[2] or 1) * _UNITS[form[3]])
    if not (1 <= rate.max <= MOST and 1 <= rate.duration_ms <= LONGEST_MS):
        raise ValueError(EXPECTED)
    return rate
