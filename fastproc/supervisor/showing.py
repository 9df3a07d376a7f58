"""Shows the supervisor's snapshot every SHOW_S, and after each order, on a board that pages and shells look at.

Rule 1: whatever the board answers, the service goes on; what it refuses is one warning.
Rule 2: at the end the snapshot is taken away, so that one that has ended is not taken for one that hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final, Protocol

from fastproc.core.errors import QueueRefused, QueueUnavailable
from fastproc.core.snapshot import Snapshot

log = logging.getLogger(__name__)

SHOW_S: Final = 2.0
#: Longest wait for the board: a snapshot that comes late is worth nothing.
ANSWER_S: Final = 2.0
#: Likewise at the end, of which all parts share 1 s (`supervisor.stopping`).
LEAVE_S: Final = 0.2


class Board(Protocol):
    """Where snapshots are shown."""

    async def show(self, snapshot: Snapshot) -> float:
        """Show it in place of the one before; return how long that took. Raises QueueUnavailable."""

    async def leave(self) -> None:
        """Show nothing any more. Raises QueueUnavailable."""


class Showing:
    """`latency_s`: of the board's newest answer."""

    def __init__(self, board: Board, gather: Callable[[], Snapshot]) -> None:
        self._board, self._gather = board, gather
        self._refused = False
        self._due = asyncio.Event()
        self.latency_s: float | None = None

    async def run(self) -> None:
        """Show, without end."""
        while True:
            self._due.clear()
            await self.show()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHOW_S):
                    await self._due.wait()

    def soon(self) -> None:
        """Show it now: something has changed that somebody will look for."""
        self._due.set()

    async def show(self) -> None:
        """Show the snapshot of now."""
        try:
            async with asyncio.timeout(ANSWER_S):
                self.latency_s = await self._board.show(self._gather())
        except QueueRefused as error:
            if not self._refused:
                log.warning(
                    "this service is not shown to `fastproc top` and others, Redis refuses it: %s", error
                )
            self._refused = True
        except (QueueUnavailable, TimeoutError) as error:
            # An outage has its own line.
            self.latency_s = None
            log.debug("the snapshot was not shown: %s", error)
        except Exception:
            log.exception("the snapshot could not be gathered")

    async def leave(self) -> None:
        """Take the snapshot away, where the board answers: nothing of the end waits for it."""
        if self.latency_s is None:
            return
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._board.leave()
        except (QueueUnavailable, TimeoutError) as error:
            log.debug("the snapshot was not taken away, it expires: %s", error)
