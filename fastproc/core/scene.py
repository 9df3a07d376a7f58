"""What a verdict is about: all services of a queue and the queue itself at one moment, and what goes on there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from fastproc.core.failures import Failure
from fastproc.core.snapshot import TICK_S, QueueNow, Snapshot, WorkerNow
from fastproc.core.spans import span

Level = Literal["good", "warn", "bad"]

#: The pace is that of the last minute.
PACE_S: Final = 60.0


class Verdict(Struct, frozen=True):
    """One line: `good`, `warn` or `bad`, the words, and what to do ("" where nothing is to be done)."""

    level: Level
    text: str
    remedy: str = ""


class Scene(Struct, frozen=True):
    """What is judged, at `now_ms` of the wall clock."""

    services: Sequence[Snapshot]
    queue: QueueNow | None
    failures: Sequence[Failure]
    now_ms: int

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return self.queue.waiting if self.queue else 0

    @property
    def workers(self) -> list[WorkerNow]:
        """The workers of all services."""
        return [worker for service in self.services for worker in service.workers]

    @property
    def pace(self) -> float:
        """Jobs a second that have ended in the last minute, in which services were there."""
        ages = (self._now_of(service) - service.started_at_ms for service in self.services)
        seconds = max(TICK_S, min(PACE_S, max(ages, default=0) / 1000))
        return (self.lately("completed", PACE_S) + self.lately("failed", PACE_S)) / seconds

    def lately(self, kind: str, seconds: float) -> int:
        """Events of a kind (a field of Tick) in the last seconds."""
        back = (seconds + TICK_S) * 1000
        return sum(
            int(getattr(tick, kind))
            for service in self.services
            for tick in service.ticks
            if tick.at_ms > self._now_of(service) - back
        )

    def _now_of(self, service: Snapshot) -> int:
        """This moment by the clock of the service's host."""
        return self.now_ms - service.behind_ms(self.now_ms)

    def on(self, some: Sequence[Snapshot]) -> str:
        """Where: "" for all services, else the hosts' names."""
        if len(some) == len(self.services):
            return ""
        return " on " + ", ".join(dict.fromkeys(each.host for each in some))

    def flow(self) -> Verdict:
        """What goes on, whatever is wrong."""
        busy = sum(worker.state == "busy" for worker in self.workers)
        if not self.workers or all(service.state == "starting" for service in self.services):
            return Verdict("good", "starting")
        if self.queue is None:
            return Verdict("good", f"{busy} of {len(self.workers)} workers busy; the queue is not known")
        if not busy and not self.waiting:
            ready = sum(worker.state == "idle" for worker in self.workers)
            return Verdict("good", f"idle: nothing waits, {count(ready, 'worker')} ready")
        parts = [f"{count(busy, 'worker')} busy", f"{self.waiting} waiting"]
        if self.waiting and self.queue.oldest_s is not None:
            parts.append(f"oldest {span(self.queue.oldest_s)}")
        if self.waiting and self.queue.backlog_s is not None:
            parts.append(f"clears in {span(self.queue.backlog_s)}")
        return Verdict("good", ", ".join(parts))


def with_backlog(queue: QueueNow, services: Sequence[Snapshot], now_ms: int) -> QueueNow:
    """Return the queue with the seconds that its services together take for what waits; None where nobody knows.

    It is never less than the limits ask for: the pace of the last minute says nothing of one that has just been set.
    """
    if not queue.waiting:
        return replace(queue, backlog_s=0.0)
    able = [service for service in services if _takes_jobs(service)]
    since_ms = now_ms - min(PACE_S, queue.oldest_s or 0.0) * 1000
    paces = [_pace(service, since_ms - service.behind_ms(now_ms)) for service in able]
    known = [pace for pace in paces if pace is not None]
    # Of two that have begun together one knows its pace first: alone it would need twice as long.
    if queue.paused or queue.held or len(known) < len(able) or not sum(known):
        return replace(queue, backlog_s=None)
    limits = [service.limiter.per_s for service in able]
    least_s = queue.waiting / sum(limits) if all(limits) else 0.0
    return replace(queue, backlog_s=max(queue.waiting / sum(known), least_s))


def _takes_jobs(service: Snapshot) -> bool:
    """Whether it takes jobs that wait. Receivers of webhooks hold nobody up."""
    return service.state == "serving" and not any(
        each.away and each.name != "webhook" for each in service.neighbours
    )


def _pace(service: Snapshot, since_ms: float) -> float | None:
    """Return a service's jobs a second while jobs wait: as it says, or those of the ticks since the oldest waits."""
    if service.pace is not None:
        return service.pace
    ticks = [tick for tick in service.ticks if tick.at_ms >= since_ms]
    return sum(tick.completed + tick.failed for tick in ticks) / (len(ticks) * TICK_S) if ticks else None


def count(number: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"
