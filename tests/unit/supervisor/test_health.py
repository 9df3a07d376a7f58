"""The service's health over a queue that answers, refuses or hangs."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fastproc.core.errors import QueueUnavailable
from fastproc.core.health import Backlog
from fastproc.core.model import Completed
from fastproc.supervisor import health
from fastproc.supervisor.health import Health, Rules
from fastproc.supervisor.readiness import Readiness
from tests.unit.supervisor.fakes import Effects, FakeQueue


class Scene:
    """A ready service that is stale at once where jobs wait without a reason."""

    def __init__(self, stale_s: float = 1e-9, log_s: float = 0.0) -> None:
        self.readiness = Readiness()
        self.readiness.started = True
        self.problem = ""
        self.readiness.watch("storage", lambda: self.problem)
        self.queue = FakeQueue(Effects())
        self.health = Health(self.readiness, Rules(stale_s, log_s))

    async def look(self) -> tuple[bool, str, str]:
        await self.health.look(self.queue)  # type: ignore[arg-type]
        await asyncio.sleep(0.001)
        failing, body = self.health.answer()
        return failing, body["status"], body.get("held", "")


async def test_an_intake_that_stands_still_fails_the_check() -> None:
    scene = Scene()
    scene.queue.waits = Backlog(3)
    assert await scene.look() == (True, "stale", "")
    scene.health.in_hand = lambda: 1
    assert await scene.look() == (False, "stale", "")


async def test_whatever_holds_the_jobs_is_named_and_is_not_stale() -> None:
    scene = Scene()
    scene.queue.waits = Backlog(3)
    assert (await scene.look())[1] == "stale"
    scene.problem = "503 SlowDown"
    assert await scene.look() == (False, "healthy", "storage: 503 SlowDown")
    scene.problem, scene.queue.waits = "", Backlog(3, "the queue is paused")
    assert await scene.look() == (False, "healthy", "the queue is paused")
    scene.health.paused = lambda: "an operator has paused this host"
    assert await scene.look() == (False, "healthy", "an operator has paused this host")
    scene.readiness.started = False
    assert (await scene.look())[1:] == ("healthy", "started: the service is starting or stopping")


async def test_an_outage_that_has_just_begun_is_seen_without_another_look() -> None:
    scene = Scene()
    scene.queue.waits = Backlog(3)
    assert (await scene.look())[1] == "stale"
    scene.problem = "503 SlowDown"
    assert scene.health.answer()[1]["status"] == "healthy"


async def test_the_end_of_an_outage_gives_the_service_its_time() -> None:
    scene = Scene(stale_s=0.2)
    scene.queue.waits, scene.problem = Backlog(3), "503 SlowDown"
    await scene.look()
    await asyncio.sleep(0.25)
    scene.problem = ""
    assert (await scene.look())[1] == "healthy"


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_queue_that_does_not_answer_leaves_the_number_unknown(
    hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ANSWER_S", 0.01)
    scene = Scene()
    scene.queue.waits = Backlog(3)
    await scene.look()
    if hangs:
        scene.queue.effects.hang_at = "queue.backlog"
    else:
        scene.queue.effects.broken["queue.backlog"] = QueueUnavailable("away")
    assert await scene.look() == (False, "healthy", "")
    assert scene.health.answer()[1]["jobsWaiting"] is None


async def test_the_line_comes_at_its_interval_and_is_a_warning_where_the_service_is_stale(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(log_s=0.02)
    scene.health.ended(Completed("{}"), 0.5)
    with caplog.at_level(logging.INFO):
        running = asyncio.create_task(scene.health.run(scene.queue))  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        scene.queue.waits = Backlog(3)
        await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.wait([running])
    first, last = caplog.records[0], caplog.records[-1]
    assert (first.levelno, last.levelno) == (logging.INFO, logging.WARNING)
    assert first.getMessage().startswith("health status=healthy processed=1 ")
    assert last.getMessage().startswith("health status=stale ")


async def test_without_an_interval_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    with caplog.at_level(logging.INFO):
        running = asyncio.create_task(scene.health.run(scene.queue))  # type: ignore[arg-type]
        await asyncio.sleep(0.03)
        running.cancel()
        await asyncio.wait([running])
    assert caplog.records == []
