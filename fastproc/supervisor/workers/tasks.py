"""The tasks of a pool: those that wait for a worker, those that one has, and which of them may start next.

Rule 1: a task is in one of the two lists from `add` until it has its result or its job gives it up (`drop`).
Rule 2: it leaves the waiting ones only for a worker: where its photo cannot be carried there, it stays where it is.
"""

from __future__ import annotations

import time

from fastproc.core.errors import NeighbourAway
from fastproc.core.fleet import Fleet
from fastproc.supervisor.workers.host import ASIDE_S, Host
from fastproc.supervisor.workers.loans import Loans
from fastproc.supervisor.workers.memory import Memory
from fastproc.supervisor.workers.task import PendingTask

#: Until a photo that the kernel had no memory to carry is carried, if nothing happens before.
CARRY_AGAIN_S = 1.0


class TaskLists:
    """Tasks in the order of their coming; `moves` counts photos that changed their slot."""

    def __init__(self, memory: Memory, loans: Loans, host: Host) -> None:
        self._memory, self._loans, self._host = memory, loans, host
        self.waiting: list[PendingTask] = []
        self.running: dict[int, PendingTask] = {}
        self._all: set[PendingTask] = set()
        self.moves = 0
        #: When a photo may be carried again, in monotonic seconds; None: now.
        self.carry_at: float | None = None

    def add(self, task: PendingTask) -> None:
        """The task waits."""
        task.need = self._memory.need(task.loan)
        self._all.add(task)
        self.waiting.append(task)

    def resized(self) -> None:
        """The number of workers has changed: what each task needs of it is worked out anew."""
        for task in self._all:
            task.need = self._memory.need(task.loan)

    def drop(self, task: PendingTask) -> bool:
        """Its job has the result, or wants none; return whether a worker still has the task."""
        self._all.discard(task)
        if task in self.waiting:
            self.waiting.remove(task)
        return task.number in self.running

    def most_workers(self) -> int:
        """Return how many workers may exist while these tasks wait or run."""
        return self._memory.most_workers((*self.waiting, *self.running.values()))

    def fail_waiting(self, error: Exception) -> None:
        """No waiting task will run now."""
        for task in self.waiting:
            task.fail(error)

    def next(self, fleet: Fleet) -> tuple[PendingTask, int] | None:
        """Return the task to start and its slot, where its photo lies now; None when none may start."""
        if self.carry_at is not None and self.carry_at <= time.monotonic():
            self.carry_at = None
        if not self.waiting:
            return None
        count = self._memory.admitted(self.waiting, self.running.values(), fleet)
        homes = [task.loan.slot for task in self.waiting[:count]]
        choice = fleet.pick(homes, may_carry=self.carry_at is None)
        if choice is None:
            return None
        task, slot = self.waiting[choice[0]], choice[1]
        if task.loan.slot != slot:
            try:
                self._loans.carry(task.loan, slot)
            except OSError as error:
                self._host.refused(f"shared memory: {error}")
                self.carry_at = time.monotonic() + CARRY_AGAIN_S
                return self.next(fleet)
            self.moves += 1
        self.waiting.remove(task)
        self.running[task.number] = task
        return task, slot

    def mend(self) -> list[str]:
        """Give the jobs of tasks that are in no list back; return what was found."""
        strays = [
            task
            for task in self._all
            if task not in self.waiting and task.number not in self.running and not task.result.done()
        ]
        for task in strays:
            task.fail(NeighbourAway("its task was in no list", ASIDE_S))
        return [f"task {task.number} was in no list" for task in strays]
