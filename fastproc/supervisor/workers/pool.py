"""Runs tasks in worker processes: obeys the orders of `core.fleet`, and tells it the facts. Judges nothing.

Rule 1: a worker's process is gone when the kernel says so (its pidfd is readable), not when it says so.
Rule 2: what a worker reports is checked before use (`trust`): copied out first, because it may still be writing.
Rule 3: nothing waits for an answer without a deadline, which the fleet's table has for every state but IDLE; only the
        end of a process that was killed is waited for as long as the kernel takes.
Rule 4: where the kernel refuses something, the job goes back uncounted; a SIGKILL from outside is not the photo's.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastproc.core import fleet, placing
from fastproc.core.errors import DEADLY, FleetHalted, NeighbourAway, WorkerOutOfMemory
from fastproc.core.fleet import Fleet
from fastproc.core.model import Report
from fastproc.core.orders import ABANDONED, Halt, Kill, Lost, Order, Spawn, Stop
from fastproc.core.plan import allowance_s
from fastproc.core.slot import State
from fastproc.ipc.messages import GATE, Done, Failed, FromWorker, Progress, Ready, Settings
from fastproc.supervisor.workers.alarm import Alarm
from fastproc.supervisor.workers.deaths import Deaths
from fastproc.supervisor.workers.host import ASIDE_S, Host
from fastproc.supervisor.workers.idleness import Idleness
from fastproc.supervisor.workers.loans import Loan, Loans
from fastproc.supervisor.workers.looks import Looks
from fastproc.supervisor.workers.memory import Memory
from fastproc.supervisor.workers.roster import Roster
from fastproc.supervisor.workers.task import OnStage, PendingTask, Result
from fastproc.supervisor.workers.tasks import TaskLists
from fastproc.supervisor.workers.trust import Distrust, failure_of, renditions_of

log = logging.getLogger(__name__)


class Pool(Looks):
    """`size` worker processes and their shared memory."""

    def __init__(
        self,
        size: int,
        settings: Settings,
        task_timeout_s: float,
        rules: fleet.Rules | None = None,
        host: Host | None = None,
    ) -> None:
        """Raises OSError when the kernel has no shared memory."""
        self._timeout_s, self._stages = task_timeout_s, settings.options.stages
        self._host = host or Host()
        self.memory = Memory(size, settings.options, self._host)
        self.fleet = self._fleet = Fleet(size, rules or fleet.Rules())
        self._loans = Loans(size, settings.options.limits.max_source_bytes)
        self.processes = Roster(settings)
        self._tasks = TaskLists(self.memory, self._loans, self._host)
        self._deaths = Deaths(self.memory, self.processes, self._stages)
        self.idleness = Idleness(self._fleet, self._loans)
        self._numbers, self._alarm = itertools.count(1), Alarm(self._tick)
        self.ready = asyncio.Event()
        self.halted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.greeting: Ready | None = None

    # --- for the line

    def start(self) -> None:
        """Spawn the workers; `ready` is set when the first can take a task, `halted` fails when none ever will."""
        self._tick()

    @asynccontextmanager
    async def lend(self, photo: str = "") -> AsyncIterator[Loan]:
        """Lend shared memory for the photo of this id, in the slot that has least to do. Raises NeighbourAway."""
        try:
            loan = self._loans.lend(self._fleet.home(self._loans.lent), photo)
        except OSError as error:
            raise self._host.refused(f"shared memory: {error}") from None
        try:
            yield loan
        finally:
            self._loans.take_back(loan)

    async def run(self, loan: Loan, content_type: str | None, on_stage: OnStage) -> Result:
        """Process the photo on loan; `on_stage` is called with each stage that is done.

        Cancelling kills the worker that has the task. Raises: the TaskError that the worker reported, or
        WorkerCrashed, WorkerKilled, WorkerTimeout; NeighbourAway where the kernel does not let it run; FleetHalted.
        """
        task = PendingTask(next(self._numbers), loan, content_type, on_stage, self._stages)
        self._tasks.add(task)
        self._dispatch()
        try:
            return await task.result
        finally:
            if self._tasks.drop(task):
                # Nobody wants the answer any more, but the worker still reads the photo: the memory must not be
                # lent again before the process is gone.
                self._obey(self._fleet.condemn(loan.slot, ABANDONED))
                await self.processes[loan.slot].gone.wait()

    def resize(self, size: int, settings: Settings, host: Host) -> None:
        """Have `size` workers from now on; `settings` are for new ones, `host` has the budget for so many.

        Busy workers that are too many end after their task. Raises OSError, with nothing changed.
        """
        slots, now = self._fleet.slots, time.monotonic()
        there = [i for i, slot in enumerate(slots) if not slot.closed]
        back = placing.to_open(slots, size - len(there))
        self._loans.open([*back, *range(len(slots), len(slots) + size - len(there) - len(back))])
        self.processes.settings = settings
        self.memory.resize(size, host)
        self._tasks.resized()
        self._obey(self._fleet.resize(size, now))
        self._tick()

    async def stop(self) -> None:
        """Let busy workers finish, stop the rest, and free the memory. Call it when no task is left."""
        self._obey(self._fleet.drain(time.monotonic()))
        self._tick()
        await self.processes.gone()
        self._alarm.cancel()
        self._loans.close()

    # --- orders

    def _obey(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Spawn(slot):
                    self._spawn(slot)
                case Stop(slot):
                    self.processes[slot].stop()
                case Kill(slot, why):
                    self.processes.kill(slot, why)
                case Lost(slot, number, why):
                    self._lose(slot, number, why)
                case Halt(why):
                    self._halt(why)

    def _spawn(self, slot: int) -> None:
        self._loans.forget_worker(slot)
        try:
            self.processes.spawn(
                slot,
                on_message=lambda message: self._said(slot, message),
                on_wrong=lambda why: self._obey(self._fleet.condemn(slot, why)),
                on_exit=lambda how: self._exited(slot, how),
            )
        except (OSError, MemoryError) as error:
            if not self._fleet.refusal:
                log.warning("worker processes cannot be started, it is tried again: %s", error)
            self._fleet.not_spawned(slot, str(error), time.monotonic())
            if self.refusal:
                self._tasks.fail_waiting(self._host.refused(f"a worker process: {error}"))

    def _lose(self, slot: int, number: int, why: str) -> None:
        task = self._tasks.running.pop(number)
        task.fail(self._deaths.error(task, slot, why))

    def _halt(self, why: str) -> None:
        error = FleetHalted(why)
        if not self.halted.done():
            self.halted.set_exception(error)
        self._tasks.fail_waiting(error)

    # --- facts

    def _said(self, slot: int, message: FromWorker) -> None:
        if self._fleet.slots[slot].doomed:
            # It was caught lying, or is too late; what it says until it is dead is not believed.
            return
        task = self._tasks.running.get(self._fleet.slots[slot].task)
        match message:
            case Ready() if self._fleet.slots[slot].state is State.STARTING:
                self.greeting, refused = message, self._fleet.refusal
                self._deaths.versions = message.versions
                self._obey(self._fleet.ready(slot, time.monotonic()))
                if refused and not self._fleet.refusal:
                    log.warning("worker processes can be started again")
                self.ready.set()
                self._dispatch()
            case Progress(stage=stage, pixels=pixels) if task and task.expects(stage):
                if stage == GATE:
                    self._allow(slot, task, pixels)
                task.passed(stage)
            case Progress(stage=stage) if self._fleet.slots[slot].state is State.STARTING:
                self._deaths.passed[slot] = stage
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
        del self._tasks.running[task.number]
        self.memory.done(task)
        task.succeed(Result(report, bodies))
        self._free(slot)

    def _failed(self, slot: int, task: PendingTask, failed: Failed) -> None:
        try:
            error = failure_of(failed, self._stages)
        except Distrust as wrong:
            self._obey(self._fleet.condemn(slot, f"its answer is wrong: {wrong}"))
            return
        if error.code in DEADLY:
            error.death = self._deaths.evidence(task, slot, "it says so itself, and lives")
        del self._tasks.running[task.number]
        task.fail(error)
        # What is left of a memory that was once full is in pieces: the next photo gets a new process.
        self._free(slot, spent=isinstance(error, WorkerOutOfMemory))

    def _free(self, slot: int, *, spent: bool = False) -> None:
        self._obey(self._fleet.finished(slot, time.monotonic(), spent=spent))
        self._dispatch()

    def _exited(self, slot: int, how: str) -> None:
        about = self._fleet.slots[slot]
        asked = self._fleet.draining or about.state is State.RETIRING or about.doomed == ABANDONED
        end = self._deaths.seen(slot, how, starting=about.state is State.STARTING, ordered=about.doomed)
        if not asked:
            self._deaths.add(slot, f"{about.doomed}{end.where}" if about.doomed else end.how)
        self._obey(self._fleet.exited(slot, end.how, time.monotonic(), by_kernel=end.by_kernel))
        self._tick()

    # --- time and work

    def _dispatch(self) -> None:
        self._obey(self._fleet.limit(self._tasks.most_workers(), time.monotonic()))
        while choice := self._tasks.next(self._fleet):
            self._assign(*choice)
        self.idleness.look()
        self._set_alarm()

    def _assign(self, task: PendingTask, slot: int) -> None:
        now = time.monotonic()
        task.allowed_s = allowance_s(0, self._timeout_s)
        self._fleet.assign(slot, task.number, now + task.allowed_s, now)
        fresh = self._loans.show(task.loan)
        try:
            self.processes[slot].send(task.order(fresh), [lane.blob.fd for lane in fresh])
        except OSError as error:
            # The worker never saw the photo: it died before, or the kernel has no room for the message.
            del self._tasks.running[task.number]
            task.fail(NeighbourAway(f"its worker takes no task: {error}", ASIDE_S))
            self._obey(self._fleet.not_sent(slot, f"it takes no task: {error}"))
        except ValueError as error:
            # The task itself cannot be encoded. The slot must not stay busy with nothing.
            self._obey(self._fleet.condemn(slot, f"it takes no task: {error}"))

    def tend(self) -> list[str]:
        """Look for what must never be, mend it, and return what it was. Call it once a second."""
        found = self._tasks.mend()
        for slot, about in enumerate(self._fleet.slots):
            if about.state is not State.GONE and not self.processes.lives(slot):
                found.append(f"worker {slot} was {about.state.value} without a process")
                self._exited(slot, "it has no process")
            elif why := self.processes.excess(slot):
                self._obey(self._fleet.condemn(slot, why))
            if about.closed and about.state is State.GONE:
                self._loans.free(slot)
        if self._fleet.is_overdue(time.monotonic()):
            found.append("an order to the workers was forgotten")
            self._tick()
        self._dispatch()  # The number of workers that may exist grows with time alone.
        return found

    def _tick(self) -> None:
        self._obey(self._fleet.tick(time.monotonic()))
        self._dispatch()

    def _set_alarm(self) -> None:
        dues = self._fleet.due(), self._tasks.carry_at
        self._alarm.ask(min([at for at in dues if at is not None], default=None))
