"""Gathers a supervisor's snapshot: asks every part how it stands, and keeps the last ten minutes in ticks.

Rule 1: parts are asked when a snapshot is wanted, not told when something happens: a job pays for its counters alone.
Rule 2: monotonic times become wall times here (`core.snapshot`, rule 1).
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from fastproc.core.control import Place
from fastproc.core.snapshot import (
    LATELY_S,
    TICK_S,
    TICKS,
    LimiterNow,
    NeighbourNow,
    Snapshot,
    Tick,
    WorkerNow,
)
from fastproc.supervisor.neighbours import Neighbour
from fastproc.supervisor.readiness import Readiness
from fastproc.supervisor.service import Service
from fastproc.supervisor.watchdog import Watchdog
from fastproc.supervisor.workers.pool import Pool


class Parts(Struct, frozen=True, kw_only=True):
    """What is asked. `outside`: neighbours that are no breaker's, each with its own word; `wheres`: by name."""

    pool: Pool
    service: Service
    watchdog: Watchdog
    readiness: Readiness
    outside: Callable[[], Sequence[NeighbourNow]] = tuple
    wheres: Mapping[str, str] = {}
    changed: Callable[[], Mapping[str, str]] = dict
    holes: Callable[[], tuple[str, ...]] = tuple


class Gatherer:
    """Snapshots of the supervisor `place`, of `of` on its host."""

    def __init__(self, place: Place, of: int, version: str, parts: Parts) -> None:
        self._place, self._of, self._version, self._parts = place, of, version, parts
        self._started_at_ms = _wall_ms()
        self._ticks: deque[Tick] = deque(maxlen=TICKS)
        #: Jobs that failed in each tick of the last LATELY_S, by code; and all of them until the last one.
        self._failed: deque[Counter[str]] = deque(maxlen=round(LATELY_S / TICK_S))
        self._codes: Counter[str] = Counter()
        #: Of the tick that goes on: when it began, and the counts at that moment.
        self._tick_at, self._counted = time.monotonic(), (0, 0, 0)

    def now(self) -> Snapshot:
        """Return the snapshot of this moment. Cost: tuning.md, "snapshots"."""
        parts, (host, number) = self._parts, self._place
        tally = parts.service.tally
        self._tick()
        p50_s, p95_s = tally.percentiles()
        rate = parts.service.rate
        return Snapshot(
            host=host,
            number=number,
            of=self._of,
            pid=os.getpid(),
            version=self._version,
            at_ms=_wall_ms(),
            started_at_ms=self._started_at_ms,
            state=self._state(),
            in_hand=parts.service.in_hand,
            max_in_hand=parts.service.max_in_hand,
            concurrency=parts.pool.size,
            workers=self._workers(),
            neighbours=self._neighbours(),
            limiter=LimiterNow(max=rate.max, duration_ms=rate.duration_ms, held_s=tally.held_s()),
            completed=tally.completed,
            failed=tally.failed,
            retried=tally.retried,
            given_back=tally.given_back,
            lost=tally.lost,
            p50_s=p50_s,
            p95_s=p95_s,
            ticks=tuple(self._ticks),
            changed=parts.changed(),
            decoders=parts.pool.greeting.versions if parts.pool.greeting else {},
            holes=parts.holes(),
            problems=self._problems(),
            codes=self._lately(),
            pace=parts.service.health.pace,
            health=str(parts.service.health.answer()[1]["status"]),
        )

    def _state(self) -> str:
        service = self._parts.service
        if service.stopping:
            return "stopping"
        if not self._parts.readiness.started:
            return "starting"
        return "paused" if service.paused else "serving"

    def _problems(self) -> tuple[str, ...]:
        readiness = self._parts.readiness
        found = [
            f"{name}: {problem}" for name, problem in readiness.now().problems.items() if name != "started"
        ]
        return (*readiness.stuck(), *found)

    def _workers(self) -> tuple[WorkerNow, ...]:
        jobs = {job.photo_id: job.id for job, _ in self._parts.watchdog.jobs()}
        return tuple(
            structs.replace(each, job=jobs.get(each.photo, "")) if each.photo else each
            for each in self._parts.pool.workers()
        )

    def _neighbours(self) -> tuple[NeighbourNow, ...]:
        guards = self._parts.service.guards
        own = (
            ("storage", guards.reads),
            ("uploads", guards.writes),
            ("database", guards.rows),
            ("kernel", self._parts.service.kernel),
        )
        return (*self._parts.outside(), *(self._neighbour(name, each) for name, each in own))

    def _neighbour(self, name: str, of: Neighbour) -> NeighbourNow:
        return NeighbourNow(
            name=name,
            where=self._parts.wheres.get(name, ""),
            away=of.away,
            away_since_ms=wall_ms_of(of.away_since) if of.away else 0,
            latency_s=of.latency_s,
            last_error=of.last_error,
            last_error_at_ms=of.last_error_at_ms,
        )

    def _lately(self) -> Mapping[str, int]:
        return sum(self._failed, Counter())

    def _tick(self) -> None:
        """End the tick that goes on, and any after it in which nobody looked."""
        tally, now = self._parts.service.tally, time.monotonic()
        while now - self._tick_at >= TICK_S:
            at_ms = wall_ms_of(self._tick_at)
            counts = (tally.completed, tally.failed, self._parts.pool.deaths)
            completed, failed, deaths = (new - old for new, old in zip(counts, self._counted, strict=True))
            self._ticks.append(Tick(at_ms=at_ms, completed=completed, failed=failed, deaths=deaths))
            self._failed.append(tally.codes - self._codes)
            self._tick_at, self._counted, self._codes = self._tick_at + TICK_S, counts, tally.codes.copy()


def wall_ms_of(moment: float | None) -> int:
    """Return the wall time, in ms, of a moment in monotonic seconds; 0 for none."""
    return 0 if moment is None else _wall_ms() - round((time.monotonic() - moment) * 1000)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
