"""When a request to an S3 server has taken too long, by what its transfer has moved; one timer at a time.

Rule 1: whoever moves bytes only writes down when (`Transfer.moved_at`, `paced_at`): a timer that is due looks there,
        and is set again where all is well.
Rule 2: `Late` names the phase that took too long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from fastproc.backends.s3_wire.transfers import Transfer


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds, and the least rate of a photo's body: each `pace_bytes` must come within `pace_s`."""

    connect_s: float = 5.0
    #: Without any byte of an answer. With `connect_s`, it is also the time for the head of a GET's answer.
    idle_s: float = 15.0
    #: For a whole request (waiting for admission not counted).
    total_s: float = 120.0
    pace_s: float = 5.0
    pace_bytes: int = 50_000
    #: How long an unused connection is kept. Less than the 5 s after which impatient servers close theirs, because a
    #: request that crosses such a close is lost.
    keep_s: float = 4.0


class Late(Exception):
    """It took too long."""


class Timer:
    """The deadlines of one request, from phase to phase: its connection and head, or the whole upload; then a body."""

    def __init__(self, times: Timeouts, *, has_body: bool) -> None:
        self._times = times
        # A request without a body: until its answer's head. An upload: with its answer.
        most = times.total_s if has_body else min(times.connect_s + times.idle_s, times.total_s)
        self._end = time.monotonic() + most
        self._words = f"{'' if has_body else 'no answer, '}it took more than {most:g} s"
        self._paced_at: float | None = None
        self._next = 0
        self._set: asyncio.TimerHandle | None = None

    def body(self) -> None:
        """From now on: the body of an answer."""
        self._paced_at = time.monotonic()
        self._end = self._paced_at + self._times.total_s
        self._words = f"it took more than {self._times.total_s:g} s"
        self._next = self._times.pace_bytes

    def came(self, size: int) -> None:
        """`size` bytes of a body that comes in several transfers are there."""
        if size >= self._next:
            self._next, self._paced_at = size + self._times.pace_bytes, time.monotonic()

    @asynccontextmanager
    async def connecting(self) -> AsyncIterator[None]:
        """A wait for a connection. Raises Late."""
        now, connect_s = time.monotonic(), self._times.connect_s
        words = f"connection timeout, it took more than {connect_s:g} s"
        if self._end < now + connect_s:
            words = self._words
        try:
            async with asyncio.timeout(min(self._end - now, connect_s)):
                yield
        except TimeoutError as error:
            # The kernel's own, after its own time, says more than we can.
            raise (error if error.errno else Late(words)) from None

    async def wait_for(self, place: asyncio.Semaphore) -> None:
        """Wait for one of the places. Raises Late."""
        try:
            async with asyncio.timeout(self._end - time.monotonic()):
                await place.acquire()
        except TimeoutError:
            raise Late(f"no connection was free, {self._words}") from None

    def watch(self, transfer: Transfer, ended: asyncio.Future[None]) -> None:
        """From now on: fail the future when its transfer is too slow."""
        self._look(transfer, ended)

    def stop(self) -> None:
        """Nothing is waited for."""
        if self._set is not None:
            self._set.cancel()
            self._set = None

    def _look(self, transfer: Transfer, ended: asyncio.Future[None]) -> None:
        at, words = self._due(transfer)
        left = at - time.monotonic()
        if left > 0:
            # A loop's clock counts whole milliseconds.
            self._set = asyncio.get_running_loop().call_later(left + 0.001, self._look, transfer, ended)
        elif not ended.done():
            ended.set_exception(Late(words))

    def _due(self, transfer: Transfer) -> tuple[float, str]:
        """When the transfer will have taken too long, as far as it has come, and in which words."""
        times = self._times
        due = self._end, self._words
        if self._paced_at is not None:
            at = max(self._paced_at, transfer.paced_at) + times.pace_s
            words = f"fewer than {times.pace_bytes} bytes more, it took more than {times.pace_s:g} s"
            due = min(due, (at, words))
        if transfer.is_sent:
            due = min(due, (transfer.moved_at + times.idle_s, f"nothing came for {times.idle_s:g} s"))
        return due
