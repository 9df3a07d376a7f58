"""What a worker's end means: the words for the log, whether the kernel's lack of memory explains it, its task's error.

Rule 1: a SIGKILL that the fleet did not order is no evidence against a photo, and is not kept as such.
Rule 2: lack of memory is named only for such a SIGKILL: as the reason where the kernel's counter rose, as a guess where
        there is no counter.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from msgspec import Struct

from fastproc.core.errors import NeighbourAway, TaskError, WorkerKilled
from fastproc.core.evidence import Death
from fastproc.core.fields import fields
from fastproc.core.orders import DRAINED
from fastproc.supervisor.workers.memory import Memory
from fastproc.supervisor.workers.roster import Roster
from fastproc.supervisor.workers.task import KILLED, PendingTask

log = logging.getLogger(__name__)

#: Longest reason that is kept of a worker that cannot start.
MAX_REASON_CHARS: Final = 300
#: How a process ended whose cgroup had no memory left.
OUT_OF_MEMORY: Final = f"{KILLED}: the kernel had no memory left for the service (oom_kill)"

#: One that no counter explains; the second where there is no counter to look at.
NOT_BY_KERNEL: Final = f"{KILLED}, and not by the kernel for lack of memory (oom_kill did not rise)"
MAYBE_BY_KERNEL: Final = f"{KILLED}, perhaps the container is out of memory"


class Exit(Struct, frozen=True):
    """How a process ended, in words for the fleet, and whether the kernel killed it for lack of memory.

    `where`: the stage that it was trying before it was ready, as a part of words.
    """

    how: str
    by_kernel: bool
    where: str = ""


class Fate(Struct, frozen=True):
    """Processes of a slot that ended unasked: how many, how the last one did, and its wall time in ms."""

    count: int = 0
    how: str = ""
    at_ms: int = 0


class Deaths:
    """The ends of a pool's workers. `fates`: by slot, of those that ended unasked.

    `passed`: by slot, the stage that a worker which is not yet ready has tried last.
    """

    def __init__(self, memory: Memory, processes: Roster, stages: tuple[str, ...]) -> None:
        self._memory, self._processes, self._stages = memory, processes, stages
        self.passed: dict[int, str] = {}
        self.fates: dict[int, Fate] = {}
        #: Of the libraries in the workers, as the last one said that was ready.
        self.versions: dict[str, str] = {}

    def seen(self, slot: int, how: str, *, starting: bool, ordered: str) -> Exit:
        """Log the end of the slot's process, and return what it was. `ordered`: why the fleet wanted it, if it did."""
        by_kernel = how == KILLED and not ordered and self._memory.killed_by_kernel()
        if how == KILLED and not ordered:
            how = (
                OUT_OF_MEMORY if by_kernel else NOT_BY_KERNEL if self._memory.sees_kills else MAYBE_BY_KERNEL
            )
        said, place = self._processes.said(slot), self._place(slot)
        where = place if starting else ""
        if how != "exit code 0":
            # Ctrl-C reaches one that is not yet in a process group of its own; the service ends then as well.
            is_end = ordered == DRAINED or (starting and how == "SIGINT")
            self._log(logging.DEBUG if is_end else logging.WARNING, slot, f"{how}{where}", said)
        if starting:
            # No photo had a hand in it yet, and the operator needs the reason: the jail's, a stage's, a library's.
            how = f"{how}{where}" + (f": {said.splitlines()[-1][:MAX_REASON_CHARS]}" if said else "")
        return Exit(how, by_kernel, where)

    def _place(self, slot: int) -> str:
        """The stage that a worker was trying before it was ready: the one behind the last that it passed."""
        passed = self.passed.pop(slot, "")
        if passed not in self._stages:
            return ""
        following = self._stages[self._stages.index(passed) + 1 :] or self._stages
        return f" (in {following[0]})"

    @property
    def count(self) -> int:
        """Processes that ended unasked."""
        return sum(fate.count for fate in self.fates.values())

    def add(self, slot: int, how: str) -> None:
        """The slot's process has ended unasked."""
        before = self.fates.get(slot, Fate())
        self.fates[slot] = Fate(before.count + 1, how[:MAX_REASON_CHARS], time.time_ns() // 1_000_000)

    def error(self, task: PendingTask, slot: int, why: str) -> TaskError | NeighbourAway:
        """Return what the task of a worker that has ended ends with; `why` is the fleet's word for it."""
        if why == OUT_OF_MEMORY:
            return self._memory.lost(task)
        error = task.lost(why)
        if not isinstance(error, WorkerKilled):
            error.death = self.evidence(task, slot, why)
        return error

    def _log(self, level: int, slot: int, how: str, said: str) -> None:
        about = fields(slot=slot, pid=self._processes.pid(slot), how=how, stderr=said or None)
        log.log(level, "worker %d: %s", slot, how, extra=about)

    def evidence(self, task: PendingTask, slot: int, how: str) -> Death:
        """What is known of a worker whose task did not end: call it before the slot's next process is spawned."""
        return Death(stage=task.stage, how=how, said=self._processes.said(slot), versions=self.versions)
