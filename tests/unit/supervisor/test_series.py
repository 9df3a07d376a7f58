"""What is read at a scrape: bounded labels, absent where nobody knows, and nothing asked of a server."""

from __future__ import annotations

import asyncio
import time

from fastproc import __version__
from fastproc.core.errors import QueueUnavailable
from fastproc.core.health import Backlog
from fastproc.core.model import Completed
from fastproc.core.slot import Slot, State, task_ages
from fastproc.supervisor import series
from fastproc.supervisor.health import Health
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.readiness import Readiness
from tests.unit.supervisor.fakes import Effects, FakeQueue

QUEUE = "bull:photos"


class Scene:
    """A ready service that has looked at its queue."""

    def __init__(self) -> None:
        self.metrics, self.readiness, self.queue = Metrics(), Readiness(), FakeQueue(Effects())
        self.readiness.started = True
        self.health = Health(self.readiness)
        series.watch_service(self.metrics, self.readiness, 2)
        series.watch_queue(self.metrics, QUEUE, self.health)

    async def look(self) -> None:
        await self.health.look(self.queue)  # type: ignore[arg-type]

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"fastproc_{name}", labels)


async def test_the_queues_states_and_its_oldest_job_are_shown() -> None:
    scene = Scene()
    since_ms = time.time_ns() // 1_000_000 - 5000
    scene.queue.waits = Backlog(3, counts={"waiting": 3, "failed": 7}, oldest_ms=since_ms)
    await scene.look()
    assert scene.value("queue_jobs", queue=QUEUE, state="waiting") == 3
    assert scene.value("queue_jobs", queue=QUEUE, state="failed") == 7
    assert scene.value("queue_paused", queue=QUEUE) == 0
    oldest_s = scene.value("queue_oldest_job_seconds", queue=QUEUE)
    assert oldest_s is not None
    assert 5 <= oldest_s < 60


async def test_nothing_that_waits_is_no_backlog_and_what_nobody_knows_is_absent() -> None:
    scene = Scene()
    assert scene.value("backlog_seconds", queue=QUEUE) is None
    await scene.look()
    assert scene.value("backlog_seconds", queue=QUEUE) == 0
    assert scene.value("queue_oldest_job_seconds", queue=QUEUE) == 0
    scene.queue.waits = Backlog(3)
    await scene.look()
    assert scene.value("backlog_seconds", queue=QUEUE) is None
    assert scene.value("queue_oldest_job_seconds", queue=QUEUE) is None
    scene.queue.effects.broken["queue.backlog"] = QueueUnavailable("away")
    await scene.look()
    assert b"fastproc_queue_jobs{" not in scene.metrics.text()
    assert scene.value("queue_oldest_job_seconds", queue=QUEUE) is None


async def test_what_waits_takes_what_it_takes_at_the_pace_until_the_queue_is_paused_or_a_neighbour_away() -> (
    None
):
    scene = Scene()
    away = ""
    scene.readiness.watch("storage", lambda: away)
    scene.queue.waits = Backlog(30)
    await scene.look()
    for _ in range(10):
        scene.health.ended(Completed("{}"), 0.1)
    [mark] = scene.health._marks
    scene.health._marks = (type(mark)(mark.at - 5, mark.ended, waits=True),)
    seconds = scene.value("backlog_seconds", queue=QUEUE)
    assert seconds is not None
    assert 15 <= seconds < 16
    away = "503"
    assert scene.value("backlog_seconds", queue=QUEUE) is None
    away, scene.queue.waits = "", Backlog(30, "the queue is paused", paused=True)
    await scene.look()
    assert scene.value("backlog_seconds", queue=QUEUE) is None


async def test_a_scrape_asks_nobody() -> None:
    scene = Scene()
    scene.queue.effects.hang_at = "queue.backlog"
    looking = asyncio.create_task(scene.look())
    await scene.queue.effects.hanging.wait()
    assert b"fastproc_jobs_taken_total 0.0" in scene.metrics.text()
    looking.cancel()
    await asyncio.wait([looking])


def test_every_breaker_has_one_state_and_receivers_are_counted_by_theirs() -> None:
    metrics, storage = Metrics(), ["closed"]
    series.watch_breakers(metrics, {"storage_reads": lambda: storage[0], "redis": lambda: "open"})

    def states(neighbour: str) -> list[float | None]:
        get = metrics.registry.get_sample_value
        return [
            get("fastproc_breaker_state", {"neighbour": neighbour, "state": state})
            for state in ("closed", "trial", "open")
        ]

    assert (states("storage_reads"), states("redis")) == ([1, 0, 0], [0, 0, 1])
    assert states("webhooks") == [None, None, None]
    storage[0] = "trial"
    for name, state in {"a": "open", "b": "open", "c": "closed"}.items():
        metrics.webhook_receiver(name, lambda state=state: state)
    assert (states("storage_reads"), states("webhooks")) == ([0, 1, 0], [1, 0, 2])


def test_what_runs_is_named_and_whether_it_is_ready() -> None:
    scene = Scene()
    assert 'fastproc_build_info{python="3.' in scene.metrics.text().decode()
    assert f'version="{__version__}"' in scene.metrics.text().decode()
    assert (scene.value("supervisors_ready"), scene.value("supervisors_configured")) == (1, 2)
    scene.readiness.started = False
    assert scene.value("supervisors_ready") == 0


def test_the_age_of_a_task_is_that_of_busy_slots() -> None:
    slots = [Slot(state=State.BUSY, since=3.0), Slot(state=State.IDLE, since=1.0), Slot()]
    assert task_ages(slots, 10.0) == [7.0, 0.0, 0.0]
