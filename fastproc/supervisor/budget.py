"""Bounds the photo bytes that are held at once (MAX_INFLIGHT_BYTES)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Self

from fastproc.supervisor.standing import waiting


class Share:
    """One job's part of the budget, given back at the end of its block: nothing until `admit`."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.size = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Hold nothing any more."""
        size, self.size = self.size, 0
        self._budget.give_back(size)

    async def admit(self, size: int) -> None:
        """Wait until `size` more bytes fit, then hold them. Once a job: waiting while holding could block others."""
        await self._budget.take(size)
        self.size += size


class ByteBudget:
    """`total` bytes for all jobs, first come first served: small photos must not overtake a large one without end.

    A photo larger than the whole budget passes when nothing else is held, so that no photo waits without end.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.held = 0
        #: Who waits for how much, in the order of their coming.
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def share(self) -> Share:
        """A share, to be entered."""
        return Share(self)

    def give_back(self, size: int) -> None:
        """Hold `size` bytes less."""
        self.held -= size
        self._admit()

    async def take(self, size: int) -> None:
        """Wait for `size` bytes and hold them."""
        if not self._waiting and self._fits(size):
            self.held += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            with waiting("room for its photo"):
                await turn
        except asyncio.CancelledError:
            # It may have been admitted at the same moment, and may have stood before others.
            self.give_back(0 if turn.cancelled() else size)
            raise

    def _fits(self, size: int) -> bool:
        return self.held == 0 or self.held + size <= self.total

    def _admit(self) -> None:
        """Let in who stands first, as long as there is room."""
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.held += size
                turn.set_result(None)
