"""The processes of a pool by slot: spawned, asked to stop, killed, awaited. What becomes of their tasks is the pool's.

Rule 1: an ended process stays in its slot until the next one is spawned: what it said belongs to the slot's task.
Rule 2: no worker of ours has more than MAX_THREADS: one that has is taken over, and threads are the whole host's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from fastproc.core.fields import fields
from fastproc.core.masking import masked
from fastproc.core.orders import DRAINED
from fastproc.ipc.messages import FromWorker, Settings
from fastproc.supervisor.workers.process import WorkerProcess

log = logging.getLogger(__name__)

#: A worker has 4 to 8 threads; decoders of AVIF and HEIC may start one for each core. Workers of a user of their own
#: cannot even start as many (`worker.jail`); this is for the others.
MAX_THREADS: Final = 200


class Roster:
    """Processes by slot."""

    def __init__(self, settings: Settings) -> None:
        #: What processes get that are spawned from now on.
        self.settings = settings
        self._by_slot: dict[int, WorkerProcess] = {}
        #: How many processes each slot has had.
        self.starts: Counter[int] = Counter()

    def __getitem__(self, slot: int) -> WorkerProcess:
        return self._by_slot[slot]

    def spawn(
        self,
        slot: int,
        on_message: Callable[[FromWorker], None],
        on_wrong: Callable[[str], None],
        on_exit: Callable[[str], None],
    ) -> None:
        """Start a process for the slot. Raises OSError, with nothing left behind."""
        self._by_slot.pop(slot, None)
        self._by_slot[slot] = WorkerProcess(slot, self.settings, on_message, on_wrong, on_exit)
        self.starts[slot] += 1

    def kill(self, slot: int, why: str) -> None:
        """SIGKILL; its exit follows."""
        # At the end of the service nobody asks why.
        level = logging.DEBUG if why == DRAINED else logging.WARNING
        pid = self._by_slot[slot].pid
        log.log(level, "worker %d is killed: %s", slot, why, extra=fields(slot=slot, pid=pid, why=why))
        self._by_slot[slot].kill()

    @property
    def pids(self) -> list[int]:
        """The processes, for profilers and tests."""
        return [process.pid for process in self._by_slot.values()]

    @property
    def living(self) -> dict[int, int]:
        """Slot -> process id, of the processes that have not been seen to end."""
        return {slot: process.pid for slot, process in self._by_slot.items() if not process.gone.is_set()}

    def pid(self, slot: int) -> int:
        """The slot's process id; 0 where it has had none."""
        return self._by_slot[slot].pid if slot in self._by_slot else 0

    def lives(self, slot: int) -> bool:
        """Whether the slot has a process that has not been seen to end."""
        process = self._by_slot.get(slot)
        return process is not None and not process.gone.is_set()

    def rss_bytes(self, slot: int) -> int:
        """Resident memory of the slot's process; 0 where it has none."""
        return self._by_slot[slot].rss_bytes if self.lives(slot) else 0

    def excess(self, slot: int) -> str:
        """Why the slot's process must end, where it has too many threads; else ""."""
        threads = self._by_slot[slot].threads if self.lives(slot) else 0
        return f"it has {threads} threads" if threads > MAX_THREADS else ""

    def said(self, slot: int) -> str:
        """The end of what the slot's process wrote to stderr, without secrets: the page and Redis show it too."""
        return masked(self._by_slot[slot].said) if slot in self._by_slot else ""

    async def gone(self) -> None:
        """Wait until every process has ended."""
        await asyncio.gather(*(process.gone.wait() for process in list(self._by_slot.values())))
