"""The kernel as a neighbour: while it refuses memory, descriptors or processes, no jobs are taken.

Rule 1: the probe makes what a job needs: shared memory and a descriptor; and it fails while no worker can be spawned.
Rule 2: what the kernel refuses is never a job's failure.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from typing import ClassVar

from fastproc.core.breaker import Rules
from fastproc.core.errors import KernelRefuses, NeighbourAway
from fastproc.supervisor.neighbours import Neighbour
from fastproc.supervisor.outage_log import OutageLog
from fastproc.supervisor.workers.host import ASIDE_S

#: Descriptors that must be free for a job: its connections to the store, shared memory, the database.
SPARE_DESCRIPTORS = 8


class Kernel(Neighbour):
    """What the host gives. `spawning` says why no worker can be spawned; "" where one can."""

    gone: ClassVar[str] = "refuses what a job needs"

    def __init__(self, rules: Rules | None = None) -> None:
        self.spawning: Callable[[], str] = lambda: ""
        super().__init__("the kernel", KernelRefuses, self._try, rules, outages=OutageLog("kernel"))

    def refused(self, why: str) -> NeighbourAway:
        """The kernel refused `why`: pause, and return what the job ends with."""
        return self.seen_away(why, ASIDE_S)

    async def _try(self, _deep: bool) -> bool:
        if why := self.spawning():
            raise KernelRefuses(why)
        held: list[int] = []
        try:
            held.append(os.memfd_create("fastproc-probe", os.MFD_CLOEXEC))
            os.ftruncate(held[0], mmap.PAGESIZE)
            mmap.mmap(held[0], mmap.PAGESIZE).close()
            while len(held) < SPARE_DESCRIPTORS:
                held.append(os.dup(held[0]))
        except OSError as error:
            raise KernelRefuses(f"shared memory or a descriptor: {error}") from None
        finally:
            for fd in held:
                os.close(fd)
        return True
