"""Runs tasks in worker processes: obeys the orders of `core.fleet`, and tells it the facts. Judges nothing.

Rule 1: a worker's process is gone when the kernel says so (its pidfd is readable), not when it says so.
Rule 2: what a worker reports is checked before use (`trust`): copied out first, because it may still be writing.
Rule 3: nothing waits for an answer without a deadline, which the fleet's table has for every state but IDLE; only the
        end of a process that was killed is waited for as long as the kernel takes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastproc.core import fleet
from fastproc.core.errors import DEADLY, FleetHalted, WorkerOutOfMemory
from fastproc.core.evidence import Death
from fastproc.core.fleet import Fleet, Halt, Kill, Lost, Order, Spawn, State, Stop
from fastproc.core.model import Report
from fastproc.core.plan import allowance_s
from fastproc.ipc.messages import GATE, Done, Failed, FromWorker, Progress, Ready, Settings, Task
from fastproc.supervisor.workers.loans import Loan, Loans
from fastproc.supervisor.workers.process import WorkerProcess
from fastproc.supervisor.workers.task import OnStage, PendingTask, Result
from fastproc.supervisor.workers.trust import Distrust, failure_of, renditions_of

log = logging.getLogger(__name__)

#: Longest reason that is kept of a worker that cannot start.
MAX_REASON_CHARS = 300


class Pool:
    """`size` worker processes and their shared memory."""

    def __init__(
        self, size: int, settings: Settings, task_timeout_s: float, rules: fleet.Rules | None = None
    ) -> None:
        self._settings, self._timeout_s = settings, task_timeout_s
        self._stages = settings.options.stages
        self._fleet = Fleet(size, rules or fleet.Rules())
        self._loans = Loans(size, settings.options.limits.max_source_bytes)
        self._processes: dict[int, WorkerProcess] = {}
        self._waiting: list[PendingTask] = []
        self._running: dict[int, PendingTask] = {}
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
        loan = self._loans.lend(self._fleet.home(self._loans.lent))
        try:
            yield loan
        finally:
            self._loans.take_back(loan)

    async def run(self, loan: Loan, content_type: str | None, on_stage: OnStage) -> Result:
        """Process the photo on loan; `on_stage` is called with each stage that is done.

        Cancelling kills the worker that has the task. Raises: the TaskError that the worker reported, or
        WorkerCrashed, WorkerTimeout; FleetHalted.
        """
        task = PendingTask(next(self._numbers), loan, content_type, on_stage, self._stages)
        self._waiting.append(task)
        self._dispatch()
        try:
            return await task.result
        finally:
            if task in self._waiting:
                self._waiting.remove(task)
            if task.number in self._running:
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

    @property
    def pids_by_slot(self) -> dict[int, int]:
        """The processes that live now, for metrics."""
        return {slot: process.pid for slot, process in self._processes.items() if not process.gone.is_set()}

    async def stop(self) -> None:
        """Let busy workers finish, stop the rest, and free the memory. Call it when no task is left."""
        self._obey(self._fleet.drain(time.monotonic()))
        self._tick()
        await asyncio.gather(*(process.gone.wait() for process in list(self._processes.values())))
        if self._alarm:
            self._alarm.cancel()
        self._loans.close()

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
        self._loans.forget_worker(slot)
        self._processes[slot] = WorkerProcess(
            slot,
            self._settings,
            on_message=lambda message: self._said(slot, message),
            on_wrong=lambda why: self._obey(self._fleet.condemn(slot, why)),
            on_exit=lambda how: self._exited(slot, how),
        )

    def _lose(self, slot: int, number: int, why: str) -> None:
        task = self._running.pop(number)
        error = task.lost(why)
        error.death = self._death(slot, task, why)
        task.fail(error)

    def _death(self, slot: int, task: PendingTask, how: str) -> Death:
        """What is known of a worker whose task did not end: call it before the slot's next process is spawned."""
        versions = self.greeting.versions if self.greeting else {}
        return Death(stage=task.stage, how=how, said=self._processes[slot].said, versions=versions)

    def _halt(self, why: str) -> None:
        error = FleetHalted(why)
        if not self.halted.done():
            self.halted.set_exception(error)
        for task in self._waiting:
            task.fail(error)

    # --- facts

    def _said(self, slot: int, message: FromWorker) -> None:
        if self._fleet.slots[slot].doomed:
            # It was caught lying, or is too late; what it says until it is dead is not believed.
            return
        task = self._running.get(self._fleet.slots[slot].task)
        match message:
            case Ready() if self._fleet.slots[slot].state is State.STARTING:
                self.greeting = message
                self._obey(self._fleet.ready(slot, time.monotonic()))
                self.ready.set()
                self._dispatch()
            case Progress(stage=stage, pixels=pixels) if task and task.expects(stage):
                if stage == GATE:
                    self._allow(slot, task, pixels)
                task.passed(stage)
            case Done(report=report) if task:
                self._done(slot, task, report)
            case Failed() if task:
                self._failed(slot, task, message)
            case _:
                why = f"it sent {type(message).__name__} when nobody asked"
                self._obey(self._fleet.condemn(slot, why))

    def _allow(self, slot: int, task: PendingTask, pixels: int) -> None:
        task.allowed_s = allowance_s(pixels, self._timeout_s)
        self._fleet.allow(slot, task.allowed_s)
        self._set_alarm()

    def _done(self, slot: int, task: PendingTask, report: Report) -> None:
        try:
            bodies = renditions_of(report, self._loans.output(slot), self._stages)
        except Distrust as wrong:
            self._obey(self._fleet.condemn(slot, f"its report is wrong: {wrong}"))
            return
        self._loans.renew_output(slot, max((r.offset + r.size for r in report.renditions), default=0))
        del self._running[task.number]
        task.succeed(Result(report, bodies))
        self._free(slot)

    def _failed(self, slot: int, task: PendingTask, failed: Failed) -> None:
        try:
            error = failure_of(failed, self._stages)
        except Distrust as wrong:
            self._obey(self._fleet.condemn(slot, f"its answer is wrong: {wrong}"))
            return
        if error.code in DEADLY:
            error.death = self._death(slot, task, "it says so itself, and lives")
        del self._running[task.number]
        task.fail(error)
        # What is left of a memory that was once full is in pieces: the next photo gets a new process.
        self._free(slot, spent=isinstance(error, WorkerOutOfMemory))

    def _free(self, slot: int, *, spent: bool = False) -> None:
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
        while choice := self._fleet.pick([task.loan.slot for task in self._waiting]):
            index, slot = choice
            self._assign(self._waiting.pop(index), slot)
        self._set_alarm()

    def _assign(self, task: PendingTask, slot: int) -> None:
        if task.loan.slot != slot:
            self._loans.carry(task.loan, slot)
            self.moves += 1
        now = time.monotonic()
        task.allowed_s = allowance_s(0, self._timeout_s)
        self._fleet.assign(slot, task.number, now + task.allowed_s, now)
        self._running[task.number] = task
        fresh = self._loans.show(task.loan)
        order = Task(
            lane=task.loan.lane.number,
            size=task.loan.size,
            content_type=task.content_type,
            fresh=tuple(lane.number for lane in fresh),
        )
        try:
            self._processes[slot].send(order, [lane.blob.fd for lane in fresh])
        except (OSError, ValueError) as error:
            # ValueError: the task itself cannot be encoded. Either way the slot must not stay busy with nothing.
            self._obey(self._fleet.condemn(slot, f"it takes no task: {error}"))

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
