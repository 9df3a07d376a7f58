"""Where a value is drawn on an axis, and which round numbers label it."""

from __future__ import annotations

import math

from msgspec import Struct


class Axis(Struct, frozen=True):
    """Where values from `low` to `high` are drawn: from `first` to `last`."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)

    def ticks(self, about: int = 8) -> list[float]:
        """Return the round numbers to label (1, 2 or 5 times a power of ten apart), at most about so many."""
        step = round_up((self.high - self.low) / about)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(step * at, 12) for at in range(first, last + 1)]


def round_up(value: float) -> float:
    """Return the smallest of 1, 2, 5, 10, 20 ... and their decimal fractions that is not below the value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))
