"""The neighbours that jobs need (object store, database): calls go through their breakers, which pause the intake.

Rule 1: `core.breaker` decides; here its advice is obeyed: wait, try again, give the job back, or count the failure.
Rule 2: one probe of a neighbour at a time, whoever asks; an outage is one line in the log at its beginning and one at
        its end.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeVar

from fastproc.core.breaker import Away, Breaker, Count, Retry, Rules, State
from fastproc.core.errors import NeighbourAway, ServiceError, TaskError
from fastproc.supervisor.outage_log import OutageLog
from fastproc.supervisor.standing import step, waiting

T = TypeVar("T")

#: Longest wait for a probe's answer.
PROBE_TIMEOUT_S = 2.0
#: A neighbour that has answered nobody for so long is probed, so that an outage is noticed within 5 s, by an idle
#: service too, and by one whose questions hang while further jobs ask theirs.
IDLE_PROBE_S = 2.0


class Neighbour:
    """One neighbour; `error` is what its backend raises while it is away.

    `probe` asks it, raises that too, and returns whether it has seen the jobs' operation pass; its argument is whether
    to look deeply, which an idle look does not. `looks`: it is probed when it has answered nobody for a while.
    `outages` tells the log; two neighbours may share it.
    """

    def __init__(
        self,
        name: str,
        error: type[ServiceError],
        probe: Callable[[bool], Awaitable[bool]],
        rules: Rules | None = None,
        *,
        looks: bool = True,
        outages: OutageLog | None = None,
    ) -> None:
        self.name = name
        self._outages = outages or OutageLog(name)
        self._error, self._probe, self._looks = error, probe, looks
        self._passes = False
        self._breaker = Breaker(rules or Rules())
        self._asking: asyncio.Task[bool] | None = None
        #: Since when it is away, in monotonic seconds.
        self.away_since: float | None = None
        # When it answered last, or was probed.
        self._heard_at = time.monotonic()
        #: Seconds of its newest good answer, and its newest error with its wall time in ms: for people who look.
        self.latency_s: float | None = None
        self.last_error, self.last_error_at_ms = "", 0
        #: Is told the seconds of each operation that it has answered.
        self.on_answer: Callable[[float], None] = lambda seconds: None
        #: Set, and replaced, at every change that a waiting caller may want to see.
        self._changed = asyncio.Event()

    #: What its state is called in the log while it is away.
    gone: ClassVar[str] = "is away"

    @property
    def away(self) -> str:
        """Why the neighbour cannot be used now; "" when it can."""
        return self._breaker.why or "no answer" if self._breaker.state is not State.CLOSED else ""

    @property
    def state(self) -> str:
        """Its breaker's: `closed`, `trial`, `open`."""
        return self._breaker.state.value

    def admits(self, in_hand: int) -> bool:
        """Whether a job may be taken, with so many in hand."""
        return self._breaker.admits(in_hand)

    async def call(self, photo: str, operation: Callable[[], Awaitable[T]], *, keep: bool) -> T:
        """Run an operation of the photo's job, again where the breaker asks for it, and return its result.

        `keep`: the job has finished work, which waits here while the neighbour is away.
        Raises: NeighbourAway where it is away (not with `keep`); what the operation raises where it is the photo's own.
        """
        tries = 0
        try:
            while True:
                began = time.monotonic()
                step(f"asking {self.name}")
                try:
                    result = await operation()
                except self._error as error:
                    tries = await self._obey(photo, tries + 1, error, keep=keep)
                except TaskError:
                    # It answered, and its answer is about the photo.
                    self._passed(photo, began)
                    raise
                else:
                    self._passed(photo, began)
                    return result
        except asyncio.CancelledError:
            self._breaker.forget(photo)
            raise

    def seen_away(self, why: str, aside_s: float) -> NeighbourAway:
        """It was found away outside of `call`: pause, and return what a job that needed it ends with."""
        self._erred(why)
        self._breaker.probed(False, time.monotonic(), random.random(), why)
        self._stir()
        self._outages.went_back += 1
        return NeighbourAway(f"{self.name} {self.gone}: {why}", aside_s)

    async def watch(self) -> None:
        """End pauses and probe when they are over; probe when it has answered nobody for a while; until cancelled."""
        try:
            while True:
                due = self._due()
                try:
                    # Not wait_for: before Python 3.12 it can swallow a cancellation.
                    async with asyncio.timeout(None if due is None else max(0.01, due - time.monotonic())):
                        await self._changed.wait()
                except TimeoutError:
                    await self._look()
        finally:
            if self._asking:
                self._asking.cancel()

    async def _look(self) -> None:
        """It is the due moment of a pause, of a trial, or of an idle look."""
        now = time.monotonic()
        if self._breaker.tick(now):
            await self._ask()
        elif self._breaker.state is State.CLOSED and now >= self._heard_at + IDLE_PROBE_S:
            await self._ask(deep=False)
        self._stir()

    def _due(self) -> float | None:
        if self._breaker.state is not State.CLOSED:
            return self._breaker.due()
        return self._heard_at + IDLE_PROBE_S if self._looks else None

    async def changed(self) -> None:
        """Wait for a change of the breaker."""
        await self._changed.wait()

    async def _obey(self, photo: str, tries: int, error: ServiceError, *, keep: bool) -> int:
        """Return, when the operation may be tried again, how many tries there were in a row; else raise."""
        self._erred(error.message)
        if error.of_host:
            # The probe may have more luck, on a connection that is open: that is no evidence against the photo.
            self._breaker.probed(False, time.monotonic(), random.random(), error.message)
        elif self._breaker.state is not State.OPEN:
            await self._ask()
        advice = self._breaker.failed(
            photo,
            tries,
            time.monotonic(),
            random.random(),
            passes=self._passes,
            keep=keep,
            why=error.message,
        )
        self._stir()
        match advice:
            case Retry(after_s):
                await asyncio.sleep(after_s)
                return tries
            case Count():
                raise error
            case Away() if keep:
                self._outages.waited += 1
                with waiting(self.name):
                    while self._breaker.state is State.OPEN:
                        await self._changed.wait()
                return 0
            case Away(aside_s):
                self._outages.went_back += 1
                raise NeighbourAway(f"{self.name} is away: {self.away}", aside_s)

    def _passed(self, photo: str, began: float) -> None:
        was, self._heard_at = self._breaker.state, time.monotonic()
        self.latency_s = self._heard_at - began
        self.on_answer(self.latency_s)
        self._breaker.passed(photo, began, self._heard_at)
        if was is not self._breaker.state:
            self._stir()

    async def _ask(self, *, deep: bool = True) -> bool:
        """Probe the neighbour, one probe for all that ask at the moment; return whether it is there."""
        self._heard_at = time.monotonic()
        if self._asking is None:
            self._asking = asyncio.create_task(self._probed(deep), name=f"probe of {self.name}")
        return await asyncio.shield(self._asking)

    async def _probed(self, deep: bool) -> bool:
        why, began = "", time.monotonic()
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                self._passes = await self._probe(deep)
            self.latency_s = time.monotonic() - began
        except TaskError as error:
            why = error.message
        except TimeoutError:
            why = f"no answer in {PROBE_TIMEOUT_S:g} s"
        finally:
            self._asking = None
        if why:
            self._erred(why)
        self._breaker.probed(not why, time.monotonic(), random.random(), why)
        self._stir()
        return not why

    def _erred(self, why: str) -> None:
        self.last_error, self.last_error_at_ms = why, time.time_ns() // 1_000_000

    def _stir(self) -> None:
        """Tell the log of a change, and wake those that wait for one."""
        if self._breaker.state is not State.CLOSED:
            if self.away_since is None:
                self.away_since = time.monotonic()
            self._outages.away(self.name, self.gone, self.away)
        elif self.away_since is not None:
            self.away_since = None
            self._outages.back(self.name)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
