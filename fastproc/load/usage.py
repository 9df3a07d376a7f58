"""What the services' processes use while jobs run: CPU of supervisors and workers apart, memory without counting twice.

Rule 1: seen from outside: processes of this machine by the kernel's books, those of elsewhere by their metrics.
Rule 2: a process that has ended counts by its parent's books, so that a worker that was replaced is not forgotten.
"""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import psutil
from msgspec import Struct

from fastproc.core.errors import Unreachable

#: Seconds between two looks at the memory. Each takes the kernel a walk through the pages of every process.
_LOOK_S: Final = 2.0
_TIMEOUT_S: Final = 10.0
_WORKER: Final = "fastproc.worker.main"
_SUPERVISOR_CPU: Final = "fastproc_supervisor_process_cpu_seconds_total"
_WORKERS_CPU: Final = "fastproc_worker_cpu_seconds_total"


class Cpu(Struct, frozen=True):
    """Seconds of CPU, user and system."""

    supervisor_s: float
    workers_s: float

    def since(self, before: Cpu) -> Cpu:
        return Cpu(self.supervisor_s - before.supervisor_s, self.workers_s - before.workers_s)


class Processes:
    """The services of this machine, by the process id of each one's first process."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._largest = 0
        self._is_hidden = False

    @property
    def pss_bytes(self) -> int | None:
        """The largest PSS seen; None where the kernel shows it to root alone, as of workers in their jail."""
        return None if self._is_hidden else self._largest or None

    def cpu(self) -> Cpu:
        """What they have used until now."""
        supervisor_s = workers_s = 0.0
        for process, is_worker in self._all():
            times = process.cpu_times()
            if is_worker:
                workers_s += times.user + times.system
            else:
                supervisor_s += times.user + times.system
                # Those that it has waited for: workers that have ended.
                workers_s += times.children_user + times.children_system
        return Cpu(supervisor_s, workers_s)

    async def watch_memory(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.look_at_memory()
            await asyncio.sleep(_LOOK_S)

    def look_at_memory(self) -> None:
        """Take in the proportional set size now: memory that processes share is counted once."""
        total = 0
        for process, _ in self._all():
            try:
                rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            except PermissionError:
                self._is_hidden = True
                return
            except OSError:
                continue
            total += sum(
                int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")
            )
        self._largest = max(self._largest, total)

    def _all(self) -> Iterator[tuple[psutil.Process, bool]]:
        for pid in self._pids:
            try:
                first = psutil.Process(pid)
                for process in (first, *first.children(recursive=True)):
                    with process.oneshot():
                        yield process, _WORKER in process.cmdline()
            except psutil.Error:
                continue


class Scraped:
    """Services by their metrics. `urls` are those of each: behind one address for several, each look sees another."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls

    async def cpu(self) -> Cpu:
        """What they have used until now. Raises Unreachable."""
        texts = [await asyncio.to_thread(_get, url) for url in self._urls]
        return Cpu(
            sum(series_sum(text, _SUPERVISOR_CPU) for text in texts),
            sum(series_sum(text, _WORKERS_CPU) for text in texts),
        )


def series_sum(text: str, name: str) -> float:
    """Return the sum of a series over its labels, in Prometheus' text format. Raises Unreachable if it is not there."""
    values = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)", text, re.MULTILINE)
    if not values:
        raise Unreachable(f"--metrics: there is no {name}: it is not fastproc's /metrics")
    return sum(map(float, values))


def _get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            body: bytes = answer.read()
            return body.decode(errors="replace")
    except (OSError, ValueError) as error:
        raise Unreachable(f"--metrics {url}: {error}") from None
