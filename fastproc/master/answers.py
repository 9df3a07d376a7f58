"""What the master knows of its supervisors: asks all of them at once, and counts what those that ended have done.

Rule 1: `core.combined` and `metrics` put together; here supervisors are asked, and what they told last is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import Metric

from fastproc.core import combined
from fastproc.core.combined import Body, Past, Ready
from fastproc.ipc.link import Told
from fastproc.master import metrics
from fastproc.master.process import SupervisorProcess

#: The supervisors that have a process, by number.
Living = Callable[[], Mapping[int, SupervisorProcess]]


class Answers:
    """/health, /ready and /metrics of `count` supervisors. `serves` says whether one has begun to take jobs.

    `registry`: the master's own series.
    """

    def __init__(self, count: int, living: Living, serves: Callable[[int], bool]) -> None:
        self._count, self._living, self._serves = count, living, serves
        self._past, self._kept = Past(), metrics.Kept()
        self._began_at = time.monotonic()
        self.registry = CollectorRegistry()
        self.restarts = Counter(
            "fastproc_supervisors_restarted", "Supervisors that were started again", registry=self.registry
        )
        meaning = "Supervisors that take jobs, and answer"
        self._alive = Gauge("fastproc_supervisors_alive", meaning, registry=self.registry)

    def ended(self, number: int, told: Told | None) -> None:
        """A supervisor has ended; `told` is what it told last."""
        if told:
            self._past = self._past.plus(told.health)
            self._kept.add(number, metrics.parsed(told.metrics))

    async def health(self) -> tuple[bool, Body]:
        """Return whether an orchestrator shall restart the service, and the body of /health."""
        told = await self._ask()
        # One that starts has nothing to answer with; one that served and says nothing stands still.
        silent = [number for number in self._living() if number not in told and self._serves(number)]
        bodies = {number: each.health for number, each in told.items()}
        uptime_ms = round((time.monotonic() - self._began_at) * 1000)
        body = combined.health(bodies, silent, self._past, uptime_ms, time.time_ns() // 1_000_000)
        return bool(silent) or any(each.failing for each in told.values()), body

    async def ready(self) -> tuple[bool, Body]:
        """Return whether enough supervisors can process jobs now, and the body of /ready."""
        told = await self._ask()
        answers = {number: Ready(each.conditions, each.problems) for number, each in told.items()}
        return combined.ready(answers, self._count)

    async def metrics(self) -> bytes:
        """Return all series in Prometheus' text format."""
        now = await self._ask()
        told: dict[int, list[Metric]] = {}
        for number, process in self._living().items():
            if process.told:
                told[number] = list(metrics.parsed(process.told.metrics))
        silent = [number for number in told if number not in now]
        # One that stands still serves by its own last word: its silence is what an alert has to go by.
        self._alive.set(sum(map(self._serves, now)))
        return metrics.text(metrics.merged(told, silent, self._kept), self.registry)

    async def _ask(self) -> dict[int, Told]:
        living = dict(self._living())
        answers = await asyncio.gather(*(process.ask() for process in living.values()))
        return {number: told for number, told in zip(living, answers, strict=True) if told}
