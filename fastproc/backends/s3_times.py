"""When a request to an S3 server has taken too long, by what its transfer has moved; one timer for all requests.

Rule 1: whoever moves bytes only writes down when (`Transfer.moved_at`, `paced_at`): the timer, when it is due, looks
        there, and is set again where all is well.
Rule 2: `Late` names the phase that took too long.
Rule 3: the timer is due at the earliest moment that any transfer named at its beginning; one that has ended meanwhile
        leaves it as it is. Nearly none is ever too slow, so setting one for each would cost for nothing.
"""

from __future__ import annotations

import asyncio
import math
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

    def due(self, transfer: Transfer) -> tuple[float, str]:
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


class Deadlines:
    """Those of all transfers that are under way: the future of one that is too slow fails with `Late`."""

    def __init__(self) -> None:
        self._watched: dict[Transfer, tuple[Timer, asyncio.Future[None]]] = {}
        self._set: asyncio.TimerHandle | None = None
        self._at = math.inf

    def watch(self, transfer: Transfer, timer: Timer, ended: asyncio.Future[None]) -> None:
        """From now on, until `forget`."""
        self._watched[transfer] = timer, ended
        self._set_for(timer.due(transfer)[0])

    def forget(self, transfer: Transfer) -> None:
        """Nobody waits for it. Idempotent."""
        self._watched.pop(transfer, None)

    def close(self) -> None:
        """Nothing is watched any more. Idempotent."""
        if self._set is not None:
            self._set.cancel()
        self._set, self._at = None, math.inf

    def _set_for(self, at: float) -> None:
        if at < self._at:
            self.close()
            # A loop's clock counts whole milliseconds.
            left = max(0.0, at - time.monotonic()) + 0.001
            self._at, self._set = at, asyncio.get_running_loop().call_later(left, self._look)

    def _look(self) -> None:
        self._set, self._at = None, math.inf
        earliest, now = math.inf, time.monotonic()
        for transfer, (timer, ended) in self._watched.items():
            at, words = timer.due(transfer)
            if at > now:
                earliest = min(earliest, at)
            elif not ended.done():
                ended.set_exception(Late(words))
        if earliest < math.inf:
            self._set_for(earliest)
