"""The watchdog over jobs: interrupts one that stands still, leaves one that waits, says what does not end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fastproc.core import stuck
from fastproc.core.model import Job
from fastproc.supervisor import standing, watchdog
from fastproc.supervisor.watchdog import Watchdog
from tests.unit.supervisor.fakes import JOB


def idle() -> list[str]:
    return []


async def under(dog: Watchdog, run: object) -> asyncio.Task[Job | None]:
    task = asyncio.ensure_future(dog.watched(run)(JOB, lambda: False))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    return task


async def hang(_job: Job, _may_fetch: object) -> None:
    standing.step("asking nobody")
    await asyncio.Event().wait()


async def test_a_job_without_progress_is_interrupted_once_and_named(caplog: pytest.LogCaptureFixture) -> None:
    dog = Watchdog(idle, step_s=0.0)
    task = await under(dog, hang)
    with caplog.at_level(logging.ERROR):
        dog.look(0.0)
        dog.look(0.0)
        await asyncio.wait([task])
        dog.look(0.0)
    assert task.cancelled()
    assert [record.getMessage() for record in caplog.records] == [
        "watchdog: job 7 made no progress for 0 s: asking nobody"
    ]
    assert dog.finds == 1
    assert len(dog.found()) == 1
    assert dog.stuck() == ()


async def test_a_job_that_says_what_it_waits_for_is_left_alone() -> None:
    async def wait(_job: Job, _may_fetch: object) -> None:
        with standing.waiting("the database"):
            await asyncio.Event().wait()

    dog = Watchdog(idle, step_s=0.0)
    task = await under(dog, wait)
    dog.look(0.0)
    await asyncio.sleep(0)
    assert not task.done()
    assert dog.finds == 0
    task.cancel()
    await asyncio.wait([task])


async def test_a_job_that_does_not_end_when_interrupted_is_stuck_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stuck, "INTERRUPTED_S", 0.0)
    end = asyncio.Event()

    async def deaf(_job: Job, _may_fetch: object) -> None:
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue

    dog = Watchdog(idle, step_s=0.0)
    task = await under(dog, deaf)
    dog.look(0.0)
    await asyncio.sleep(0.01)
    dog.look(0.0)
    assert dog.stuck() == ("job 7 does not end: begun",)
    end.set()
    await task
    dog.look(0.0)
    assert dog.stuck() == ()


async def test_progress_and_waits_that_end_begin_the_time_anew() -> None:
    with standing.standing() as at:
        at.since -= 1000
        standing.step("next")
        assert (at.step, at.waits_for) == ("next", "")
        fresh = at.since
        at.since -= 1000
        with standing.waiting("the store"):
            assert at.waits_for == "the store"
        assert at.since >= fresh
        assert at.waits_for == ""
    with standing.waiting("nothing"):
        standing.step("outside of any job")


async def test_a_loop_that_lags_and_what_the_pool_mended_are_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = [["task 3 was in no list"], []]
    dog = Watchdog(lambda: found.pop(0), step_s=100.0)
    with caplog.at_level(logging.ERROR):
        dog.look(2.5)
        dog.look(0.1)
    assert list(dog.found()) == ["the event loop was 2.5 s late", "task 3 was in no list"]
    assert len(caplog.records) == 2
    assert dog.lag_s == 0.1


async def test_what_was_found_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "KEEP_S", -1.0)
    dog = Watchdog(lambda: ["x"], step_s=100.0)
    dog.look(0.0)
    assert list(dog.found()) == []


async def test_it_looks_by_itself_until_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOOK_S", 0.01)
    looks = []
    dog = Watchdog(lambda: looks.append(1) or [], step_s=100.0)  # type: ignore[func-returns-value]
    task = asyncio.create_task(dog.run())
    async with asyncio.timeout(5):
        while len(looks) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
