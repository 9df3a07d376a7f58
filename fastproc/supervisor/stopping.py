"""How the service ends: the request to stop, in two steps, and a deadline for everything that is closed then.

Rule 1: the first request lets the jobs in hand be finished and takes no more; the second ends without them.
Rule 2: all that is closed shares one deadline. What has not closed by then is named in the log and left as it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

#: For all closes together, and the least for each of them: one that hangs must not cost the others their turn.
CLOSE_S, LEAST_CLOSE_S = 1.0, 0.1


class StopRequest:
    """Set by signals, awaited by the service."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def ask(self) -> None:
        """Ask for the stop; a second call says not to wait for the jobs in hand."""
        if self.asked.is_set():
            self.hurried.set()
        self.asked.set()

    def order(self, *, hurry: bool) -> None:
        """The same by somebody who says which of the two it is: repeated, it changes nothing."""
        if hurry:
            self.hurried.set()
        self.asked.set()


class Closing:
    """Closes parts, one after the other. `gave_up`: one of them, or a thread of its own, may still be at work."""

    def __init__(self) -> None:
        self._until: float | None = None
        self.gave_up = False

    async def close(self, name: str, close: Callable[[], Awaitable[object]]) -> None:
        """Close one part, as long as the deadline allows. Raises what `close` raises."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + CLOSE_S
        try:
            async with asyncio.timeout(max(self._until - now, LEAST_CLOSE_S)):
                await close()
        except TimeoutError:
            self.gave_up = True
            log.warning("stopping: %s did not close in time and is left as it is", name)
