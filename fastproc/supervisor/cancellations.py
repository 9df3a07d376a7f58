"""Obeys orders to cancel jobs: looks at intervals which jobs were told to end, and ends them.

Rule 1: a look is one small command, whatever is in hand, and one more for each job that was told to end. It is the
        surest way: an order that was given while nobody listened is found.
Rule 2: a job in hand is interrupted where it may be (`LockKeeper.cancellable`); one that waits is taken and ended,
        unless the service stops or a neighbour is away. It needs no place and no token: nothing is processed.
Rule 3: nothing here raises into the service: what Redis refuses is one warning, an outage has its own lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from fastproc.core.errors import QueueRefused, QueueUnavailable
from fastproc.core.model import Job
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.ports import Queue

log = logging.getLogger(__name__)

#: Between two looks. tuning.md
LOOK_S: Final = 1.0


class Cancellations:
    """`begin` runs a job that was taken to be ended; `may_take` says whether one may be taken now."""

    def __init__(
        self, queue: Queue, locks: LockKeeper, begin: Callable[[Job], None], may_take: Callable[[], bool]
    ) -> None:
        self._queue, self._locks, self._begin, self._may_take = queue, locks, begin, may_take
        self._refused, self._asked = False, asyncio.Event()

    def soon(self) -> None:
        """Somebody says that there is an order: look now. Nobody else may look: a look that is cut loses its job."""
        self._asked.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._asked.wait()
            self._asked.clear()
            await self.look()

    async def look(self) -> None:
        """Look once."""
        try:
            for job_id, mark in (await self._queue.cancelled()).items():
                if mark and self._locks.cancel(job_id, mark):
                    continue
                if self._may_take() and (job := await self._queue.take_cancelled(job_id)):
                    self._begin(job)
            self._refused = False
        except QueueRefused as error:
            if not self._refused:
                log.warning("orders to cancel jobs are not seen, it is tried again: %s", error)
            self._refused = True
        except QueueUnavailable as error:
            log.debug("no look for cancelled jobs: %s", error)
