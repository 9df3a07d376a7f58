"""Keeps failures by code: this service's own since its start, and all services' together in the queue's server.

Rule 1: a failure costs its job no command: counts gather, and are written every WRITE_S where there are any.
Rule 2: what cannot be written waits, without growing, and fails nothing; a failure that goes on is one log line.
Rule 3: what may have been written is not written again: after a lost reply a count may be short, never double.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from fastproc.core.errors import QueueRefused, QueueUnavailable
from fastproc.core.failures import Failure, failure, together
from fastproc.core.failures import table as table_of
from fastproc.core.model import Completed, Ended, Job
from fastproc.supervisor.book_ports import FailureStore

log = logging.getLogger(__name__)

WRITE_S: Final = 5.0
#: Longest wait for the server: counts are not worth more.
ANSWER_S: Final = 2.0


class Failures:
    """Failures by code; without a store, those of this service alone."""

    def __init__(self, store: FailureStore | None = None) -> None:
        self._store = store
        self._own: dict[str, Failure] = {}
        self._unwritten: dict[str, Failure] = {}
        self._refused = False

    def ended(self, job: Job, end: Completed | Ended) -> None:
        """A job's attempt ended."""
        if isinstance(end, Completed):
            return
        one = failure(job, end, time.time_ns() // 1_000_000)
        _add(self._own, one)
        if self._store:
            _add(self._unwritten, one)

    def own(self) -> list[Failure]:
        """Return a row a code, of this service since its start."""
        return table_of(self._own.values())

    async def shared(self) -> list[Failure]:
        """Return a row a code, of all services in the last days. Raises QueueUnavailable, TimeoutError."""
        if self._store is None:
            return self.own()
        async with asyncio.timeout(ANSWER_S):
            return table_of([*await self._store.read(), *self._unwritten.values()])

    async def run(self) -> None:
        """Write, without end."""
        while True:
            await asyncio.sleep(WRITE_S)
            await self.write()

    async def write(self) -> None:
        """Write what was counted since the last time."""
        if not (self._store and self._unwritten):
            return
        underway, self._unwritten = self._unwritten, {}
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._store.add(list(underway.values()))
            self._refused = False
        except QueueRefused as error:
            for each in underway.values():
                _add(self._unwritten, each)
            if not self._refused:
                log.warning("failures by code are not in Redis, it is tried again: %s", error)
            self._refused = True
        except (QueueUnavailable, TimeoutError) as error:
            log.debug("failures by code: perhaps not in Redis: %s", error)


def _add(rows: dict[str, Failure], one: Failure) -> None:
    before = rows.get(one.code)
    rows[one.code] = together(before, one) if before else one
