"""The places for jobs in hand: so many at once, a number that may change while jobs are in them.

Rule 1: when there are fewer, nobody is turned out: a place that is left is not given again until there are no more
        taken than there are.
"""

from __future__ import annotations

import asyncio


class Places:
    """`size` places. One caller at a time waits for one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._taken = 0
        self._left = asyncio.Event()

    @property
    def are_over(self) -> bool:
        """Whether more are taken than there are."""
        return self._taken > self.size

    async def take(self) -> bool:
        """Wait for a place and take it; returns True."""
        while self._taken >= self.size:
            self._left.clear()
            await self._left.wait()
        self._taken += 1
        return True

    def leave(self) -> None:
        """Leave a place that was taken."""
        self._taken -= 1
        self._left.set()

    def resize(self, size: int) -> None:
        """Let there be so many from now on."""
        self.size = size
        self._left.set()
