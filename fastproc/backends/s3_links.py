"""What the requests of one event loop share: connections, the thread that moves their bytes, and how many there are.

Rule: a transfer that is not waited for any more has ended: nothing is read for it, and nothing sent.
"""

from __future__ import annotations

import asyncio

from fastproc.backends.s3_times import Deadlines, Timeouts, Timer
from fastproc.backends.s3_wire.connections import Connections
from fastproc.backends.s3_wire.mover import Mover
from fastproc.backends.s3_wire.transfers import Transfer

#: Requests at a time; who comes then waits. As many connections as aiohttp allows, which was used before.
MOST = 100


class Links:
    """The links of one event loop to its servers. They begin with the first request."""

    def __init__(self, timeouts: Timeouts, authorities: tuple[str, str] | None = None) -> None:
        """`authorities`: a file of certificates to trust, and its variable. Raises ConfigError."""
        self.timeouts = timeouts
        self.connections = Connections(timeouts.keep_s, authorities)
        self.places = asyncio.Semaphore(MOST)
        self._mover: Mover | None = None
        self._deadlines = Deadlines()

    async def move(self, transfer: Transfer, timer: Timer) -> None:
        """Wait for a transfer's end. Raises OSError, Late, Malformed; then, and if cancelled, it is stopped."""
        if self._mover is None:
            self._mover = Mover()
        ended = self._mover.start(transfer)
        self._deadlines.watch(transfer, timer, ended)
        try:
            await ended
        finally:
            self._deadlines.forget(transfer)
            self._mover.stop(transfer)
        if transfer.error is not None:
            raise transfer.error

    async def close(self) -> None:
        """Close connections, and end the thread. Idempotent."""
        self.connections.close()
        self._deadlines.close()
        if self._mover is not None:
            self._mover.close()
            self._mover = None
