"""Runs tasks in worker processes: spawning, carrying tasks and replies, reaping. Obeys `core.fleet`, judges nothing.

Rule 1: a worker's process is gone when the kernel says so (its pidfd is readable), not when it says so.
Rule 2: what a worker reports is checked before use: copied out first, because it may still be writing.
Rule 3: nothing waits for a worker without a deadline: the fleet's table has one for every state but IDLE.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from msgspec import Struct

from fastproc.core import fleet
from fastproc.core.errors import (
    DEADLY,
    FleetHalted,
    TaskError,
    WorkerCrashed,
    WorkerOutOfMemory,
    WorkerTimeout,
)
from fastproc.core.evidence import Death
from fastproc.core.fleet import Fleet, Halt, Kill, Lost, Order, Spawn, State, Stop
from fastproc.core.model import Report
from fastproc.core.plan import allowance_s
from fastproc.ipc.blob import Lane, SlotLanes
from fastproc.ipc.messages import GATE, Done, Failed, FromWorker, Progress, Ready, Settings, Task
from fastproc.supervisor.workers.process import WorkerProcess
from fastproc.supervisor.workers.trust import Distrust, failure_of, renditions_of

log = logging.getLogger(__name__)

#: Room for renditions beyond the source's size: an optimised copy is smaller than it, thumbnails are small.
OUTPUT_HEADROOM_BYTES = 16 << 20
#: Of what a worker says when it cannot start.
MAX_REASON_CHARS = 300

OnStage = Callable[[str], None]


class Result(Struct, frozen=True):
    """A finished task: the report, and the bytes of its renditions in the report's order."""

    report: Report
    bodies: tuple[bytes, ...]


class Loan:
    """A source lane on loan to one job: write the photo into `target`, then run it."""

    def __init__(self, slot: int, lane: Lane, max_bytes: int) -> None:
        self.slot, self.lane = slot, lane
        self.target = lane.blob.view[:max_bytes]
        self.size = 0

    def move(self, slot: int, lane: Lane) -> None:
        """Carry the photo over to another slot's lane."""
        target = lane.blob.view[: len(self.target)]
        target[: self.size] = self.target[: self.size]
        self.release()
        self.slot, self.lane, self.target = slot, lane, target

    def release(self) -> None:
        """Let go of the blob's memory, so that it can be unmapped."""
        self.target.release()


class _Waiting:
    """A task between `run` and its result."""

    def __init__(self, number: int, loan: Loan, content_type: str | None, on_stage: OnStage) -> None:
        self.number, self.loan, self.content_type = number, loan, content_type
        self.on_stage = on_stage
        self.stages_seen: set[str] = set()
        self.allowed_s = 0.0
        self.result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()


class Pool:
    """`size` worker processes and their shared memory."""

    def __init__(
        self, size: int, settings: Settings, task_timeout_s: float, rules: fleet.Rules | None = None
    ) -> None:
        limits = settings.options.limits
        self._settings, self._timeout_s = settings, task_timeout_s
        self._max_bytes = limits.max_source_bytes
        self._fleet = Fleet(size, rules or fleet.Rules())
        self._lanes = [
            SlotLanes(i, source_bytes=self._max_bytes, output_bytes=self._max_bytes + OUTPUT_HEADROOM_BYTES)
            for i in range(size)
        ]
        self._processes: dict[int, WorkerProcess] = {}
        self._queue: list[_Waiting] = []
        self._running: dict[int, _Waiting] = {}
        self._numbers = itertools.count(1)
        self._alarm: asyncio.TimerHandle | None = None
        self.ready = asyncio.Event()
        self.halted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.greeting: Ready | None = None
        self.deaths = 0
        self.moves = 0

    # --- for the line

    def start(self) -> None:
        """Spawn the workers; `ready` is set when the first can take a task, `halted` fails when none ever will."""
        self._tick()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Loan]:
        """Lend shared memory for one photo, in the slot that has least to do."""
        slot = self._fleet.home([lanes.lent for lanes in self._lanes])
        loan = Loan(slot, self._lanes[slot].lend(), self._max_bytes)
        try:
            yield loan
        finally:
            loan.release()
            self._lanes[loan.slot].take_back(loan.lane, loan.size)

    async def run(self, loan: Loan, content_type: str | None, on_stage: OnStage) -> Result:
        """Process the photo on loan; `on_stage` is called with each stage that is done.

        Cancelling kills the worker that has the task. Raises: the TaskError that the worker reported, or
        WorkerCrashed, WorkerTimeout; FleetHalted.
        """
        waiting = _Waiting(next(self._numbers), loan, content_type, on_stage)
        self._queue.append(waiting)
        self._dispatch()
        try:
            return await waiting.result
        finally:
            if waiting in self._queue:
                self._queue.remove(waiting)
            if waiting.number in self._running:
                # Nobody wants the answer any more, but the worker still reads the photo: the memory must not be
                # lent again before the process is gone.
                self._obey(self._fleet.condemn(loan.slot, "its job was abandoned"))
                await self._processes[loan.slot].gone.wait()

    @property
    def busy(self) -> int:
        """Workers that have a task."""
        return self._fleet.count(State.BUSY)

    @property
    def alive(self) -> int:
        """Workers that have, or could take, a task."""
        return self.busy + self._fleet.count(State.IDLE)

    @property
    def pids(self) -> list[int]:
        """The processes, for profilers and tests."""
        return [process.pid for process in self._processes.values()]

    async def stop(self) -> None:
        """Let busy workers finish, stop the rest, and free the memory. Call it when no task is left."""
        self._obey(self._fleet.drain(time.monotonic()))
        self._tick()
        await asyncio.gather(*(process.gone.wait() for process in list(self._processes.values())))
        if self._alarm:
            self._alarm.cancel()
        for lanes in self._lanes:
            lanes.close()

    # --- orders

    def _obey(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Spawn(slot):
                    self._spawn(slot)
                case Stop(slot):
                    self._processes[slot].stop()
                case Kill(slot, why):
                    log.warning("worker %d (pid %d) is killed: %s", slot, self._processes[slot].pid, why)
                    self._processes[slot].kill()
                case Lost(slot, number, why):
                    self._lose(slot, number, why)
                case Halt(why):
                    self._halt(why)

    def _spawn(self, slot: int) -> None:
        self._lanes[slot].forget_worker()
        self._processes[slot] = WorkerProcess(
            slot,
            self._settings,
            on_message=lambda message: self._said(slot, message),
            on_wrong=lambda why: self._obey(self._fleet.condemn(slot, why)),
            on_exit=lambda how: self._exited(slot, how),
        )

    def _lose(self, slot: int, number: int, why: str) -> None:
        waiting = self._running.pop(number)
        error: TaskError = (
            WorkerTimeout(f"no result after {waiting.allowed_s:g} s")
            if why == fleet.DEADLINE
            else (WorkerCrashed(f"the worker died during the task: {why}"))
        )
        error.death = self._death(slot, waiting, why)
        if not waiting.result.done():
            waiting.result.set_exception(error)

    def _death(self, slot: int, waiting: _Waiting, how: str) -> Death:
        """What can be said of a worker whose task came to no end: call it before the slot's next process is spawned."""
        left = (stage for stage in self._settings.options.stages if stage not in waiting.stages_seen)
        versions = self.greeting.versions if self.greeting else {}
        return Death(stage=next(left, ""), how=how, said=self._processes[slot].said, versions=versions)

    def _halt(self, why: str) -> None:
        error = FleetHalted(why)
        if not self.halted.done():
            self.halted.set_exception(error)
        for waiting in self._queue:
            if not waiting.result.done():
                waiting.result.set_exception(error)

    # --- facts

    def _said(self, slot: int, message: FromWorker) -> None:
        if self._fleet.slots[slot].doomed:
            # It was caught lying, or is too late; what it says until it is dead is not believed.
            return
        waiting = self._running.get(self._fleet.slots[slot].task)
        match message:
            case Ready() if self._fleet.slots[slot].state is State.STARTING:
                self.greeting = message
                self._obey(self._fleet.ready(slot, time.monotonic()))
                self.ready.set()
                self._dispatch()
            case Progress(stage=stage, pixels=pixels) if waiting and stage in self._expected(waiting):
                waiting.stages_seen.add(stage)
                if stage == GATE:
                    self._allow(slot, waiting, pixels)
                else:
                    waiting.on_stage(stage)
            case Done(report=report) if waiting:
                self._done(slot, waiting, report)
            case Failed() if waiting:
                self._failed(slot, waiting, message)
            case _:
                why = f"it sent {type(message).__name__} when nobody asked"
                self._obey(self._fleet.condemn(slot, why))

    def _expected(self, waiting: _Waiting) -> set[str]:
        return {GATE, *self._settings.options.stages} - waiting.stages_seen

    def _allow(self, slot: int, waiting: _Waiting, pixels: int) -> None:
        waiting.allowed_s = allowance_s(pixels, self._timeout_s)
        self._fleet.allow(slot, waiting.allowed_s)
        self._set_alarm()

    def _done(self, slot: int, waiting: _Waiting, report: Report) -> None:
        output = self._lanes[slot].output.blob.view
        try:
            bodies = renditions_of(report, output, self._settings.options.stages)
        except Distrust as wrong:
            self._obey(self._fleet.condemn(slot, f"its report is wrong: {wrong}"))
            return
        self._lanes[slot].renew_output(max((r.offset + r.size for r in report.renditions), default=0))
        self._answered(slot, waiting, Result(report, bodies))

    def _failed(self, slot: int, waiting: _Waiting, failed: Failed) -> None:
        try:
            error = failure_of(failed, self._settings.options.stages)
        except Distrust as wrong:
            self._obey(self._fleet.condemn(slot, f"its answer is wrong: {wrong}"))
            return
        self._answered(slot, waiting, error)

    def _answered(self, slot: int, waiting: _Waiting, answer: Result | TaskError) -> None:
        del self._running[waiting.number]
        if not waiting.result.done():
            if isinstance(answer, TaskError):
                if answer.code in DEADLY:
                    answer.death = self._death(slot, waiting, "it says so itself, and lives")
                waiting.result.set_exception(answer)
            else:
                waiting.result.set_result(answer)
        # What is left of a memory that was once full is in pieces: the next photo gets a new process.
        spent = isinstance(answer, WorkerOutOfMemory)
        self._obey(self._fleet.finished(slot, time.monotonic(), spent=spent))
        self._dispatch()

    def _exited(self, slot: int, how: str) -> None:
        self.deaths += not self._fleet.draining
        if self._fleet.slots[slot].state is State.STARTING and (said := self._processes[slot].said):
            # No photo had a hand in it yet, and the operator needs the reason: the jail's, a stage's, a library's.
            how = f"{how}: {said.splitlines()[-1][:MAX_REASON_CHARS]}"
        self._obey(self._fleet.exited(slot, how, time.monotonic()))
        self._tick()

    # --- time and work

    def _dispatch(self) -> None:
        while choice := self._fleet.pick([waiting.loan.slot for waiting in self._queue]):
            index, slot = choice
            self._assign(self._queue.pop(index), slot)
        self._set_alarm()

    def _assign(self, waiting: _Waiting, slot: int) -> None:
        loan = waiting.loan
        if loan.slot != slot:
            self._move(loan, slot)
        now = time.monotonic()
        waiting.allowed_s = allowance_s(0, self._timeout_s)
        self._fleet.assign(slot, waiting.number, now + waiting.allowed_s, now)
        self._running[waiting.number] = waiting
        fresh = self._lanes[slot].deliver(loan.lane)
        task = Task(
            lane=loan.lane.number,
            size=loan.size,
            content_type=waiting.content_type,
            fresh=tuple(lane.number for lane in fresh),
        )
        try:
            self._processes[slot].send(task, [lane.blob.fd for lane in fresh])
        except (OSError, ValueError) as error:
            # ValueError: the task itself cannot be encoded. Either way the slot must not stay busy with nothing.
            self._obey(self._fleet.condemn(slot, f"it takes no task: {error}"))

    def _move(self, loan: Loan, slot: int) -> None:
        old_slot, old_lane = loan.slot, loan.lane
        loan.move(slot, self._lanes[slot].lend())
        self._lanes[old_slot].take_back(old_lane, loan.size)
        self.moves += 1

    def _tick(self) -> None:
        self._obey(self._fleet.tick(time.monotonic()))
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        due = self._fleet.due()
        if due is not None and not self.halted.done():
            # At least a millisecond, so that a clock that is a hair behind cannot make the loop spin.
            delay = max(0.001, due - time.monotonic())
            self._alarm = asyncio.get_running_loop().call_later(delay, self._tick)
