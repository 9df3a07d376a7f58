"""What others ask of a pool of workers: how many work, which processes there are, what each of them is doing.

Rule 1: nothing is changed here; the pool's own file has the moves.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastproc.core.fleet import Fleet
from fastproc.core.slot import State
from fastproc.core.snapshot import WorkerNow
from fastproc.supervisor.workers.deaths import Deaths, Fate
from fastproc.supervisor.workers.roster import Roster
from fastproc.supervisor.workers.tasks import TaskLists


class Looks:
    """The questions; the pool sets what they look at."""

    processes: Roster
    _fleet: Fleet
    _tasks: TaskLists
    _deaths: Deaths

    @property
    def size(self) -> int:
        """How many workers there shall be."""
        return sum(not slot.closed for slot in self._fleet.slots)

    @property
    def busy(self) -> int:
        """Workers that have a task."""
        return self._fleet.count(State.BUSY)

    @property
    def alive(self) -> int:
        """Workers that have, or could take, a task."""
        return self.busy + self._fleet.count(State.IDLE)

    @property
    def deaths(self) -> int:
        """Processes that ended and were not asked to."""
        return self._deaths.count

    @property
    def pids(self) -> list[int]:
        """The processes, for profilers and tests."""
        return self.processes.pids

    @property
    def moves(self) -> int:
        """Photos that changed their slot while they waited."""
        return self._tasks.moves

    @property
    def refusal(self) -> str:
        """Why no worker can run: the kernel refuses processes; "" where one can."""
        return self._fleet.refusal if not self.alive + self._fleet.count(State.STARTING) else ""

    def workers(self) -> Sequence[WorkerNow]:
        """Return every slot as it is now. Cost: some 0.02 ms a worker, to read its memory."""
        now = time.monotonic()
        slots = enumerate(self._fleet.slots)
        return [self._worker(i, now) for i, slot in slots if not slot.closed or slot.state is not State.GONE]

    def _worker(self, slot: int, now: float) -> WorkerNow:
        about = self._fleet.slots[slot]
        task, fate = self._tasks.running.get(about.task), self._deaths.fates.get(slot, Fate())
        return WorkerNow(
            slot=slot,
            state=about.state.value,
            pid=self.processes.pid(slot) if self.processes.lives(slot) else 0,
            photo=task.loan.photo if task else "",
            stage=task.stage if task else "",
            task_s=round(now - about.since, 3) if task else 0.0,
            rss_bytes=self.processes.rss_bytes(slot),
            deaths=fate.count,
            last_death=fate.how,
            last_death_at_ms=fate.at_ms,
        )
