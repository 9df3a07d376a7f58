"""A job's timeline: every step of its line, in order, with what it failed with; and nothing of it without a tracer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from msgspec import structs

from fastproc.core.errors import FileCorrupted, StorageUnavailable
from fastproc.core.timeline import Timeline
from fastproc.supervisor import tracing
from fastproc.supervisor.all_neighbours import Neighbours
from fastproc.supervisor.budget import ByteBudget
from fastproc.supervisor.job import JobLine
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.metrics import Metrics
from tests.unit.supervisor.fakes import JOB, REPORT, STAGES, World


class Kept:
    """A tracer that keeps what it gets."""

    def __init__(self) -> None:
        self.timelines: list[Timeline] = []

    def ended(self, timeline: Timeline) -> None:
        self.timelines.append(timeline)

    async def close(self) -> None:
        return


class Line(World):
    """The line of a job behind traced ports, as the service puts it together."""

    def __init__(self) -> None:
        super().__init__()
        self.tracer = Kept()
        locks = LockKeeper(self.queue, 30.0, 30.0, lambda _ids: None)
        ports = tracing.traced(structs.replace(self.ports, tracer=self.tracer))
        line = JobLine(ports, self.guards, locks, ByteBudget(1 << 20), STAGES, Metrics())
        self.run = tracing.followed(line.run, self.tracer)

    async def timeline(self) -> Timeline:
        await self.run(JOB, lambda: False)
        [found] = self.tracer.timelines
        return found


@pytest.fixture
async def line(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Line]:
    caplog.set_level(logging.INFO)
    made = Line()
    watch = asyncio.create_task(Neighbours(made.guards.all).watch())
    yield made
    watch.cancel()
    await asyncio.wait([watch])


def names(timeline: Timeline) -> list[str]:
    return [step.name for step in timeline.steps]


async def test_every_step_and_stage_is_there_in_order(line: Line) -> None:
    found = await line.timeline()
    assert found.outcome == "completed"
    assert names(found) == ["row", "fetch", "work", *STAGES, "upload", "row", "event"]
    assert [step.name for step in found.steps if step.stage] == list(STAGES)
    ends = [step.ended_ns for step in found.steps if not step.stage]
    assert ends == sorted(ends)
    assert found.began_ns <= min(step.began_ns for step in found.steps)
    assert max(ends) <= found.ended_ns
    upload = next(step for step in found.steps if step.name == "upload")
    assert upload.about == {
        "bucket": "photos",
        "objects": len(REPORT.renditions),
        "bytes": len(b"smalllarge"),
    }


async def test_a_step_that_failed_has_its_code_and_the_try_that_passed_is_another_step(line: Line) -> None:
    line.effects.fail_at("objects.get_into", StorageUnavailable("503 at http://secret/"))
    found = await line.timeline()
    fetches = [step.problem for step in found.steps if step.name == "fetch"]
    assert fetches == ["STORAGE_UNAVAILABLE", ""]
    assert found.outcome == "completed"
    assert "secret" not in repr(found.steps)


async def test_a_photo_that_fails_ends_its_timeline_as_failed(line: Line) -> None:
    line.effects.fail_at("workers.run", FileCorrupted("cut"))
    found = await line.timeline()
    assert (found.outcome, found.end and getattr(found.end, "code", "")) == ("failed", "FILE_CORRUPTED")
    assert [(step.name, step.problem) for step in found.steps] == [
        ("row", ""), ("fetch", ""), ("work", "FILE_CORRUPTED"), ("row", ""), ("event", ""),
    ]  # fmt: skip


async def test_an_interrupted_job_has_a_timeline_without_an_end(line: Line) -> None:
    line.effects.hang_at = "objects.put_all"
    running = asyncio.create_task(line.run(JOB, lambda: False))  # type: ignore[arg-type]
    await line.effects.hanging.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    [found] = line.tracer.timelines
    assert found.outcome == "unfinished"
    assert (found.steps[-1].name, found.steps[-1].problem) == ("upload", "CancelledError")


async def test_two_jobs_at_once_have_a_timeline_each(line: Line) -> None:
    other = structs.replace(JOB, id="8", photo_id="p-2")
    await asyncio.gather(line.run(JOB, lambda: False), line.run(other, lambda: False))
    assert {found.job.id for found in line.tracer.timelines} == {"7", "8"}
    assert {len(found.steps) for found in line.tracer.timelines} == {6 + len(STAGES)}


async def test_calls_of_no_job_are_not_noted(line: Line) -> None:
    ports = tracing.traced(line.ports)
    await ports.metadata.begin("p-9", "now")
    assert line.tracer.timelines == []
    found = await line.timeline()
    noted = len(found.steps)
    await ports.metadata.begin("p-9", "now")
    assert len(found.steps) == noted


async def test_without_a_tracer_the_ports_are_the_ports_themselves(line: Line) -> None:
    assert line.ports.tracer is None
    assert line.ports.objects is line.objects
