"""Admits tasks by the memory that they need, and remembers what the kernel killed for lack of it.

Rule 1: `core.admission` decides; here the header is read, the kernel's counter is looked at, and photos are remembered.
Rule 2: a photo whose worker the kernel killed runs alone at its next try, which does not count; killed alone, it does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from fastproc.core.admission import Easing, Need, admitted, need_of
from fastproc.core.errors import NeighbourAway, WorkerKilled
from fastproc.core.gate.judge import glance
from fastproc.core.model import Header, Options
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
        self._easing = Easing(size)
        self._alone: dict[str, None] = {}
        self._kills, self._risen_at = host.oom_kills(), float("-inf")
        self.kernel_kills = 0

    def need(self, loan: Loan) -> Need:
        """Return what the photo on loan needs. Cost: as `core.gate.judge.glance`."""
        with loan.target[: loan.size] as data:
            need = need_of(self._header(data), loan.size, self._options.optimize_threshold_bytes)
        return Need(need.bytes, alone=loan.photo in self._alone)

    def admitted(self, waiting: Iterable[PendingTask], running: Iterable[PendingTask]) -> int:
        """Return how many of the waiting tasks, the oldest first, may start now."""
        return admitted(
            [task.need for task in waiting],
            [task.need for task in running],
            self._host.budget_bytes,
            self._easing.most(time.monotonic()),
        )

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
            return WorkerKilled("the kernel killed the worker for lack of memory, while no other task ran")
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
