"""The operator's desk of a service with several supervisors: asks them over their links. Satisfies `desk.port.Desk`.

Rule 1: what concerns the queue is asked of one of them, the first that answers; how each does, of all at once.
Rule 2: an order goes to one supervisor, which does it: acts on the queue are for all, those on a host reach every
        supervisor through the queue's own channel. It is never sent to a second one: the first may have done it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from fastproc.core.acts import Act, Outcome
from fastproc.core.errors import FastprocError
from fastproc.core.job_view import Found, JobRow
from fastproc.core.scene import Verdict
from fastproc.core.snapshot import Snapshot
from fastproc.core.view import View, also, together
from fastproc.ipc.errands import Count, Done, Find, Give, Link, ListJobs, Look, What
from fastproc.master.process import SupervisorProcess

T = TypeVar("T")

#: Longest waits: for a look, for a look-up, and for an order (a replay takes its worker's start and a photo's time).
LOOK_S: Final = 2.0
FIND_S: Final = 10.0
ACT_S: Final = 300.0


class NoAnswer(FastprocError):
    """No supervisor answers."""


class MasterDesk:
    """`living`: the supervisors that have a process, by number; `serves`: whether one has begun to take jobs."""

    def __init__(
        self,
        host: str,
        living: Callable[[], Mapping[int, SupervisorProcess]],
        serves: Callable[[int], bool],
    ) -> None:
        self._host, self._living, self._serves = host, living, serves

    async def view(self) -> View:
        """Return how the service does, as one of them sees it and each sees itself."""
        processes = dict(sorted(self._living().items()))
        looks = (process.run_errand(Look(whole=False), LOOK_S) for process in processes.values())
        own = dict(zip(processes, await asyncio.gather(*looks), strict=True))
        lost = [
            _silent(number, processes[number].pid) for number in own if self._is_silent(number, own[number])
        ]
        answered = {number: done for number, done in own.items() if done}
        # One that starts says why it does not get on; who has said nothing is not asked again.
        for number in sorted(answered, key=lambda each: bool(answered[each].problem)):
            whole = await processes[number].run_errand(Look(whole=True), LOOK_S)
            if whole and not whole.problem:
                view = msgspec.msgpack.decode(whole.value, type=View)
                found = [snapshot for done in answered.values() if (snapshot := _snapshot(done))]
                return also(together(view, found), lost)
        words = f"{len(processes)} supervisors are starting, or do not answer"
        verdict = Verdict("warn", words, "Look at the log if this lasts.")
        return also(View(host=self._host, at_ms=time.time_ns() // 1_000_000, verdict=verdict), lost)

    async def find(self, text: str) -> Found:
        """Look a job up. Raises NoAnswer, and what the supervisor said."""
        return await self._one(Find(text), Found, FIND_S)

    async def jobs(self, state: str, code: str, limit: int) -> Sequence[JobRow]:
        """Return jobs. Raises likewise."""
        return await self._one(ListJobs(state, code, limit), list[JobRow], FIND_S)

    async def count(self, code: str) -> int:
        """Return how many failed jobs have the code now. Raises likewise."""
        return await self._one(Count(code), int, FIND_S)

    async def act(self, act: Act, by: str) -> Outcome:
        """Do what the operator orders. Raises likewise."""
        return await self._one(Give(act, by), Outcome, ACT_S)

    async def links(self, bucket: str, key: str) -> Sequence[str]:
        """Return addresses of an object. Raises likewise."""
        return await self._one(Link(bucket, key), list[str], FIND_S)

    async def _own(self, process: SupervisorProcess) -> Snapshot | None:
        done = await process.run_errand(Look(whole=False), LOOK_S)
        return _snapshot(done) if done else None

    def _is_silent(self, number: int, done: Done | None) -> bool:
        """Whether it stands still: it has served, and says nothing. /health says the same."""
        return done is None and number in self._living() and self._serves(number)

    async def _one(self, what: What, kind: type[T], within_s: float) -> T:
        """Ask the first supervisor that answers how it does."""
        for _, process in sorted(self._living().items()):
            if await self._own(process):
                return _value(await process.run_errand(what, within_s), kind)
        raise NoAnswer("no supervisor answers: they are starting, or stand still")


def _snapshot(done: Done) -> Snapshot | None:
    return None if done.problem else msgspec.msgpack.decode(done.value, type=Snapshot)


def _silent(number: int, pid: int) -> Verdict:
    remedy = f"it stands still: kill its process (pid {pid}), and the master starts it again; or restart the service"
    return Verdict("bad", f"supervisor {number} does not answer", remedy)


def _value(done: Done | None, kind: type[T]) -> T:
    if done is None:
        raise NoAnswer("the supervisor has not answered in time: what was ordered may be done or not")
    if done.problem:
        raise FastprocError(done.problem)
    return msgspec.msgpack.decode(done.value, type=kind)
