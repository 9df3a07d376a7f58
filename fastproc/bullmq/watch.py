"""Asks Redis now and then whether it serves the queue and whether that shall rest: an outage is noticed within 5 s.

Rule 1: what is asked changes nothing, and is refused where a job's commands would be.
Rule 2: an answer that does not come in time is an outage for /ready, and no reason to drop the connection: jobs may
        wait for replies on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastproc.bullmq.client import Client
from fastproc.bullmq.waiter import Waiter
from fastproc.core.errors import QueueUnavailable

#: Pause between two checks, and the longest wait for the answer: together less than 5 s.
CHECK_EVERY_S = CHECK_TIMEOUT_S = 2.0


class Watch:
    """Checks over the connection that carries the jobs, and tends the one that waits.

    `rest` is called with the ms for which the queue was told to rest, 0 where it was not.
    """

    def __init__(self, client: Client, waiter: Waiter, rest: Callable[[int], None]) -> None:
        self._client, self._waiter, self._rest = client, waiter, rest

    async def run(self) -> None:
        """Check and tend until cancelled."""
        await asyncio.gather(self._check_without_end(), self._tend_without_end())

    async def check(self) -> None:
        """Ask once, and report what was found."""
        outage = self._client.outage
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._client.check()
                self._rest(await self._client.rest_ms())
        except QueueUnavailable as error:
            outage.failed("check", str(error))
        except TimeoutError:
            outage.failed("check", f"no answer in {CHECK_TIMEOUT_S:g} s")
        else:
            outage.passed("check")
            outage.passed("commands")

    async def _check_without_end(self) -> None:
        while True:
            await self.check()
            await asyncio.sleep(CHECK_EVERY_S)

    async def _tend_without_end(self) -> None:
        while True:
            await self._waiter.tend()
            await asyncio.sleep(CHECK_EVERY_S)
