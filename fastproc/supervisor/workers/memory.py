"""Admits tasks and workers by the memory that tasks need, and remembers what the kernel killed for lack of it.

Rule 1: `core.admission` decides; here the header is read, the kernel's counter is looked at, and photos are remembered.
Rule 2: a photo whose worker the kernel killed runs alone at its next try, which does not count; killed alone, it does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from fastproc.core.admission import Easing, Fewer, Need, admitted, most_workers, need_of
from fastproc.core.errors import NeighbourAway, WorkerKilled
from fastproc.core.fleet import Fleet
from fastproc.core.gate.judge import glance
from fastproc.core.header import Header
from fastproc.core.model import Options
from fastproc.supervisor.workers.host import ASIDE_S, Host
from fastproc.supervisor.workers.loans import Loan
from fastproc.supervisor.workers.task import PendingTask

#: Most photos that are remembered; the oldest are forgotten first, and would run beside others once more.
MAX_ALONE = 1000
#: The kernel counts before it kills, and one look may see two kills: how long a rise explains a SIGKILL, in seconds.
RISE_S = 5.0


class Memory:
    """What all tasks of a pool of `size` workers may take together."""

    def __init__(self, size: int, options: Options, host: Host) -> None:
        self._options, self._host = options, host
        self._size, self._easing, self._fewer = size, Easing(size), Fewer(size)
        self._alone: dict[str, None] = {}
        self._kills, self._risen_at = host.oom_kills(), float("-inf")
        self.kernel_kills = 0

    def resize(self, size: int, host: Host) -> None:
        """There are so many workers from now on, and `host` has the budget for them."""
        self._size, self._host = size, host
        self._easing.resize(size)
        self._fewer.resize(size)

    def need(self, loan: Loan) -> Need:
        """Return what the photo on loan needs. Cost: as `core.gate.judge.glance`."""
        with loan.target[: loan.size] as data:
            need = need_of(self._header(data), loan.size, self._options.optimize_threshold_bytes)
        if loan.photo in self._alone:
            return Need(need.bytes, alone=True, most_workers=1)
        return Need(need.bytes, most_workers=most_workers(need.bytes, self._size, self._host.budget_of))

    def most_workers(self, tasks: Iterable[PendingTask]) -> int:
        """Return how many workers may exist while these tasks wait or run."""
        now = time.monotonic()
        return min(self._easing.most(now), self._fewer.most(now, (task.need.most_workers for task in tasks)))

    def admitted(self, waiting: Iterable[PendingTask], running: Iterable[PendingTask], fleet: Fleet) -> int:
        """Return how many of the waiting tasks, the oldest first, may start now: none before excess workers ended."""
        if fleet.processes > fleet.most:
            return 0
        budget = self._host.budget_of(fleet.most + fleet.closing)
        return admitted([task.need for task in waiting], [task.need for task in running], budget, fleet.most)

    @property
    def sees_kills(self) -> bool:
        """Whether the kernel's kills can be seen: else one may be behind any SIGKILL that is not ours."""
        return self._host.sees_kills

    def killed_by_kernel(self) -> bool:
        """Whether the kernel, for lack of memory, explains a SIGKILL that was seen now; then fewer tasks run."""
        now, kills = time.monotonic(), self._host.oom_kills()
        if kills > self._kills:
            self._risen_at = now
        self._kills = kills
        if now - self._risen_at > RISE_S:
            return False
        self.kernel_kills += 1
        self._easing.killed(now)
        return True

    def lost(self, task: PendingTask) -> NeighbourAway | WorkerKilled:
        """Return what a task ends with whose worker the kernel killed for lack of memory."""
        if task.need.alone:
            return WorkerKilled(
                "the kernel killed the worker for lack of memory, while no other existed: the photo needs some"
                f" {task.need.bytes >> 20} MiB beside the service's own (the container's memory limit)"
            )
        while len(self._alone) >= MAX_ALONE:
            del self._alone[next(iter(self._alone))]
        self._alone[task.loan.photo] = None
        return NeighbourAway("the kernel killed the worker for lack of memory; next it runs alone", ASIDE_S)

    def done(self, task: PendingTask) -> None:
        """The task has ended with an answer."""
        self._alone.pop(task.loan.photo, None)

    def _header(self, data: memoryview) -> Header | None:
        try:
            return glance(data, self._options.limits)
        except Exception:
            # Hostile bytes: the verdict is the worker's, in its jail.
            return None
