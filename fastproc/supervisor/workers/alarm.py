"""Rings at the earliest moment that was asked for, so that the pool need not make a timer for every deadline.

Rule 1: nearly no deadline is ever reached, so an alarm that is no longer needed is left as it is: who is rung looks,
        and asks again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

#: So that a clock that is a hair behind cannot make the loop spin.
_LEAST_S = 0.001


class Alarm:
    """`ring` is called in the loop that is running."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._at = math.inf

    def ask(self, due: float | None) -> None:
        """Ring at `due` (monotonic seconds) at the latest; None: no need."""
        if due is None or due >= self._at:
            return
        self.cancel()
        delay = max(_LEAST_S, due - time.monotonic())
        self._at, self._timer = due, asyncio.get_running_loop().call_later(delay, self._due)

    def cancel(self) -> None:
        """Do not ring. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        self._at, self._timer = math.inf, None

    def _due(self) -> None:
        self._at, self._timer = math.inf, None
        self._ring()
