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
from fastproc.core.view import View, together
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
    """`living`: the supervisors that have a process, by number."""

    def __init__(self, host: str, living: Callable[[], Mapping[int, SupervisorProcess]]) -> None:
        self._host, self._living = host, living

    async def view(self) -> View:
        """Return how the service does, as one of them sees it and each sees itself."""
        processes = dict(sorted(self._living().items()))
        own = await asyncio.gather(*(self._own(process) for process in processes.values()))
        serving = [number for number, snapshot in zip(processes, own, strict=True) if snapshot]
        # One that starts says why it does not get on.
        for number in (*serving, *(each for each in processes if each not in serving)):
            whole = await processes[number].run_errand(Look(whole=True), LOOK_S)
            if whole and not whole.problem:
                view = msgspec.msgpack.decode(whole.value, type=View)
                return together(view, [snapshot for snapshot in own if snapshot])
        words = f"{len(processes)} supervisors are starting, or do not answer"
        remedy = "Look at the log if this lasts."
        verdict = Verdict("warn", words, remedy)
        return View(host=self._host, at_ms=time.time_ns() // 1_000_000, verdict=verdict)

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
        return msgspec.msgpack.decode(done.value, type=Snapshot) if done and not done.problem else None

    async def _one(self, what: What, kind: type[T], within_s: float) -> T:
        """Ask the first supervisor that answers how it does."""
        for _, process in sorted(self._living().items()):
            if await self._own(process):
                return _value(await process.run_errand(what, within_s), kind)
        raise NoAnswer("no supervisor answers: they are starting, or stand still")


def _value(done: Done | None, kind: type[T]) -> T:
    if done is None:
        raise NoAnswer("the supervisor has not answered in time: what was ordered may be done or not")
    if done.problem:
        raise FastprocError(done.problem)
    return msgspec.msgpack.decode(done.value, type=kind)
