"""An operator's order to end a job: at every point of its line, and wherever the job is."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest
from msgspec import structs

from fastproc.core.cancellation import Mark
from fastproc.core.errors import QueueRefused, QueueUnavailable
from fastproc.core.model import Fault, Job
from fastproc.supervisor import cancellations
from fastproc.supervisor.budget import ByteBudget
from fastproc.supervisor.cancellations import Cancellations
from fastproc.supervisor.job import JobLine
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.metrics import Metrics
from tests.unit.supervisor.fakes import JOB, STAGES, World

MARK = Mark("so", "an operator")
REASON = "CANCELLED: an operator has cancelled the job: so"
#: Where an order still counts, and where the job ends as it would have.
EARLY = ["metadata.begin", "objects.get_into", "workers.run", "objects.put_all"]
LATE = ["metadata.complete", "events.publish", "queue.complete"]


class Line(World):
    """The line of jobs, which stands still at an effect until it is let go; and who obeys orders."""

    def __init__(self) -> None:
        super().__init__()
        self.locks = LockKeeper(self.queue, 30.0, 30.0, lambda _ids: None)
        self.line = JobLine(self.ports, self.guards, self.locks, ByteBudget(1 << 20), STAGES, Metrics())
        self.may_take = True
        self.orders = Cancellations(self.queue, self.locks, self._begin, lambda: self.may_take)
        self.tasks: list[asyncio.Task[Job | None]] = []
        self.there, self.go_on = asyncio.Event(), asyncio.Event()
        self._at = self.effects.at

    def _begin(self, job: Job) -> None:
        self.tasks.append(asyncio.create_task(self.line.run(job, lambda: False)))

    async def stopped_at(self, point: str) -> asyncio.Task[Job | None]:
        """Run the job until it is at that effect."""

        async def at(name: str, about: str = "") -> None:
            if name == point:
                self.there.set()
                await self.go_on.wait()
            await self._at(name, about)

        self.effects.at = at  # type: ignore[method-assign]
        self._begin(JOB)
        async with asyncio.timeout(5):
            await self.there.wait()
        return self.tasks[0]

    def said(self) -> list[str]:
        return [event.type.rpartition(".")[2] for event in self.events.events if "progress" not in event.type]


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    made = Line()
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


@pytest.mark.parametrize("point", EARLY)
async def test_a_job_is_interrupted_where_nothing_final_is_written(line: Line, point: str) -> None:
    task = await line.stopped_at(point)
    line.queue.to_cancel = {"7": MARK}
    await line.orders.look()
    await line.orders.look()
    async with asyncio.timeout(5):
        assert await task is None
    assert line.effects.done[-3:] == ["metadata.fail p-1", "events.publish failed", "queue.fail 7"]
    assert line.metadata.rows["p-1"] == ("failed", REASON, None)
    assert "completed" not in line.said()
    assert line.events.events[-1].data["error"]["code"] == "CANCELLED"
    assert json.dumps(line.events.events[-1].data["error"]["willRetry"]) == "false"
    assert line.queue.said["reason"] == REASON
    assert line.workers.lent == 0
    assert task.cancelling() == 0


@pytest.mark.parametrize("point", LATE)
async def test_a_job_that_has_all_but_ended_completes_and_never_does_both(line: Line, point: str) -> None:
    task = await line.stopped_at(point)
    line.queue.to_cancel = {"7": MARK}
    await line.orders.look()
    line.go_on.set()
    async with asyncio.timeout(5):
        await task
    assert line.effects.of("metadata.", "events.publish", "queue.complete", "queue.fail") == [
        "metadata.begin p-1",
        "metadata.complete p-1",
        "events.publish completed",
        "queue.complete 7",
    ]
    assert line.said() == ["started", "completed"]


async def test_a_lost_lock_goes_before_an_order(line: Line) -> None:
    task = await line.stopped_at("workers.run")
    line.queue.to_cancel = {"7": MARK}
    await line.orders.look()
    line.locks._interrupt(list(line.locks._held.values()), "it is somebody else's")
    async with asyncio.timeout(5):
        assert await task is None
    assert line.said() == ["started"]
    assert line.effects.of("queue.fail", "metadata.fail") == []


async def test_a_stop_goes_before_an_order_and_the_next_service_obeys(line: Line) -> None:
    task = await line.stopped_at("workers.run")
    line.queue.to_cancel = {"7": MARK}
    await line.orders.look()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert line.effects.of("queue") == ["queue.cancelled", "queue.give_back 7"]


async def test_other_jobs_in_hand_are_not_touched(line: Line) -> None:
    await line.stopped_at("workers.run")
    line._begin(structs.replace(JOB, id="8"))
    await asyncio.sleep(0)
    line.queue.to_cancel = {"8": MARK}
    await line.orders.look()
    async with asyncio.timeout(5):
        await line.tasks[1]
        line.go_on.set()
        await line.tasks[0]
    assert line.effects.of("queue.fail", "queue.complete") == ["queue.fail 8", "queue.complete 7"]


async def test_a_job_that_waits_is_taken_and_ended_once_where_jobs_may_be_taken(line: Line) -> None:
    line.queue.to_cancel = {"9": MARK}
    line.queue.cancellable = {"9": structs.replace(JOB, id="9", fault=Fault("CANCELLED", REASON))}
    line.may_take = False
    await line.orders.look()
    assert line.tasks == []
    line.may_take = True
    await line.orders.look()
    await line.orders.look()
    [task] = line.tasks
    await task
    assert line.effects.of("metadata", "events", "queue.fail") == [
        "metadata.fail p-1",
        "events.publish failed",
        "queue.fail 9",
    ]


async def test_the_note_of_a_job_that_has_ended_is_looked_at_though_the_job_runs_again(line: Line) -> None:
    await line.stopped_at("workers.run")
    line.queue.to_cancel = {"7": None}
    await line.orders.look()
    assert line.effects.of("queue.take") == ["queue.take_cancelled 7"]
    line.go_on.set()
    await line.tasks[0]
    assert line.said() == ["started", "completed"]


async def test_what_redis_refuses_is_one_warning_and_an_outage_none(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    refused = QueueRefused("NOPERM this user has no permissions")
    line.effects.fail_at("queue.cancelled", QueueUnavailable("away"), refused, refused)
    for _ in range(3):
        await line.orders.look()
    assert [record.message for record in caplog.records] == [
        "orders to cancel jobs are not seen, it is tried again: NOPERM this user has no permissions"
    ]


async def test_an_order_that_is_heard_is_obeyed_before_the_next_look(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancellations, "LOOK_S", 3600.0)
    task = await line.stopped_at(EARLY[0])
    line.queue.to_cancel = {"7": MARK}
    running = asyncio.create_task(line.orders.run())
    line.orders.soon()
    async with asyncio.timeout(5):
        assert await task is None
    running.cancel()
    await asyncio.wait([running])
    assert line.metadata.rows["p-1"] == ("failed", REASON, None)
