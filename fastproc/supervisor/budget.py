"""Bounds the photo bytes that are held at once (MAX_INFLIGHT_BYTES)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastproc.supervisor.standing import waiting


class Share:
    """One job's part of the budget: nothing until `admit`."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.size = 0

    async def give_back(self) -> None:
        """Hold nothing any more."""
        size, self.size = self.size, 0
        await self._budget.give_back(size)

    async def admit(self, size: int) -> None:
        """Wait until `size` more bytes fit, then hold them. Once a job: waiting while holding could block others."""
        await self._budget.take(size)
        self.size += size


class ByteBudget:
    """`total` bytes for all jobs, first come first served.

    A photo larger than the whole budget passes when nothing else is held, so that no photo waits without end.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.held = 0
        self._freed = asyncio.Condition()
        # The one that waits for room is at the head of a queue: small photos must not overtake a large one without end.
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def share(self) -> AsyncIterator[Share]:
        """Give back at the end of the block what was admitted in it."""
        share = Share(self)
        try:
            yield share
        finally:
            await share.give_back()

    async def give_back(self, size: int) -> None:
        """Hold `size` bytes less."""
        if size:
            self.held -= size
            async with self._freed:
                self._freed.notify_all()

    async def take(self, size: int) -> None:
        """Wait for `size` bytes and hold them."""
        with waiting("room for its photo"):
            async with self._turn, self._freed:
                await self._freed.wait_for(lambda: self.held == 0 or self.held + size <= self.total)
                self.held += size
