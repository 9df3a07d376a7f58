"""The straight line of one job against in-memory ports: order of effects, and what every kind of trouble leaves."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace

import pytest
from msgspec import structs

from fastproc.core.errors import (
    DatabaseUnavailable,
    FileCorrupted,
    FleetHalted,
    LockLost,
    NeighbourAway,
    ProcessingError,
    QueueUnavailable,
    RowRefused,
    StorageUnavailable,
    TaskError,
    WorkerCrashed,
    WorkerTimeout,
)
from fastproc.core.model import Backoff, Fault, Job, Report
from fastproc.supervisor import locks as locks_module
from fastproc.supervisor.all_neighbours import Neighbours
from fastproc.supervisor.budget import ByteBudget
from fastproc.supervisor.job import JobLine
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.metrics import Metrics
from tests.unit.supervisor.fakes import JOB, REPORT, STAGES, World

STRAIGHT = [
    "metadata.begin p-1",
    "events.post started",
    "objects.get_into photos/photos/p-1.jpg",
    "workers.run",
    "objects.put_all photos",
    "metadata.complete p-1",
    "events.publish completed",
    "queue.complete 7",
]
#: The effects that wait for somebody: at each of them anything may happen.
POINTS = [effect.partition(" ")[0] for effect in STRAIGHT if not effect.startswith("events.post")]


class Line(World):
    """The line with its real lock keeper, budget and metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics = Metrics()
        self.budget = ByteBudget(1 << 20)
        self.locks = LockKeeper(self.queue, 30.0, 30.0, lambda _ids: None)
        self.line = JobLine(self.ports, self.guards, self.locks, self.budget, STAGES, self.metrics)

    async def run(self, job: Job = JOB, may_fetch: Callable[[], bool] = lambda: False) -> Job | None:
        return await self.line.run(job, may_fetch)

    def count(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("fastproc_jobs_total", {"outcome": outcome}) or 0.0

    def nothing_is_held(self) -> bool:
        return self.workers.lent == 0 and self.budget.held == 0 and not self.locks._held


@pytest.fixture
async def line(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Line]:
    caplog.set_level(logging.INFO)
    line = Line()
    watch = asyncio.create_task(Neighbours(line.guards.all).watch())
    yield line
    watch.cancel()
    await asyncio.wait([watch])


async def test_the_effects_of_a_job_come_in_the_contracts_order(line: Line) -> None:
    assert await line.run() is None
    assert line.effects.done == STRAIGHT
    assert line.nothing_is_held()
    assert line.count("completed") == 1


async def test_progress_runs_through_the_contracts_marks_and_never_falls(line: Line) -> None:
    await line.run()
    assert line.queue.percents == [10, 25, 35, 45, 75, 90, 95, 100]
    said = [event.data["progress"] for event in line.events.events if event.type.endswith("progress")]
    assert said == line.queue.percents


async def test_the_photo_reaches_the_worker_and_the_renditions_the_store(line: Line) -> None:
    await line.run()
    assert line.workers.got == [(b"a photo", "image/jpeg")]
    assert [(upload.key, upload.body) for upload in line.objects.uploads] == [
        ("thumbnails/p-1/thumb_sm_1700000000000.jpg", b"small"),
        ("thumbnails/p-1/thumb_lg_1700000000000.jpg", b"large"),
    ]
    assert line.objects.uploads[0].metadata == {"size": "thumb_sm", "width": "150", "photo-id": "p-1"}
    assert line.queue.logs == ["validation: 1.0 ms", "thumbnails: 2.5 ms"]


@pytest.mark.parametrize("end", ["completed", "failed"])
async def test_no_row_may_be_written_after_the_lock_has_run_out(line: Line, end: str) -> None:
    if end == "failed":
        line.effects.fail_at("workers.run", FileCorrupted("half"))
    before = time.monotonic()
    await line.run()
    assert len(line.metadata.by) == 2
    assert all(before + 30.0 <= by <= time.monotonic() + 30.0 for by in line.metadata.by)


async def test_row_event_and_return_value_agree(line: Line) -> None:
    await line.run()
    status, error, row = line.metadata.rows["p-1"]
    value = json.loads(str(line.queue.said["return_value"]))
    completed = line.events.events[-2]
    assert (status, error) == ("completed", None)
    assert row is not None
    assert (row.width, row.height) == (640, 480)
    stored = json.loads(row.processing_metadata)["thumbnails"]
    assert completed.type == "photo.processing.completed"
    assert stored == value["thumbnails"] == completed.data["thumbnails"]
    assert value["thumbnailCount"] == len(stored) == 2
    assert stored[0]["url"] == "http://s3/photos/thumbnails/p-1/thumb_sm_1700000000000.jpg"


async def test_a_return_value_is_strict_json_whatever_a_stage_measured(line: Line) -> None:
    facts = {"metadata": {"brightness": math.nan, "density": math.inf}}
    line.workers.report = structs.replace(REPORT, facts=facts)
    await line.run()
    value = json.loads(str(line.queue.said["return_value"]), parse_constant=pytest.fail)
    assert value["metadata"] == {"brightness": None, "density": None}


async def test_a_photos_bytes_count_until_its_worker_is_done_and_no_longer(line: Line) -> None:
    held: list[int] = []
    line.queue.add_log = lambda job, row: held.append(line.budget.held)  # type: ignore[method-assign]
    task = await interrupted_at(
        line, "workers.run", lambda task: held.append(line.budget.held) or task.cancel()
    )
    assert isinstance(task, asyncio.Task)
    await line.run()
    assert held == [len(b"a photo"), 0, 0]


async def test_the_next_job_comes_along_only_where_there_is_room_for_it(line: Line) -> None:
    line.queue.following = structs.replace(JOB, id="8")
    assert await line.run(may_fetch=lambda: True) is line.queue.following
    assert await line.run(may_fetch=lambda: False) is None


# --- failures


async def test_a_photo_that_cannot_be_processed_fails_at_once_with_row_event_and_queue_in_that_order(
    line: Line,
) -> None:
    line.effects.fail_at("workers.run", FileCorrupted("cut short"))
    await line.run()
    assert line.effects.done[3:] == ["metadata.fail p-1", "events.publish failed", "queue.fail 7"]
    assert line.metadata.rows["p-1"] == ("failed", "FILE_CORRUPTED: cut short", None)
    assert line.queue.said["reason"] == "FILE_CORRUPTED: cut short"
    assert line.events.events[-1].data["error"] == {
        "message": "cut short",
        "code": "FILE_CORRUPTED",
        "retryable": False,
        "attempt": 1,
        "willRetry": False,
    }
    assert line.count("failed") == 1
    assert line.nothing_is_held()


async def test_an_attempt_that_may_be_repeated_is_retried_and_its_row_stays_in_processing(line: Line) -> None:
    job = structs.replace(JOB, backoff=Backoff("exponential", 1000), attempt=2)
    line.effects.fail_at("workers.run", WorkerTimeout("no result"))
    await line.run(job)
    assert line.effects.done[3:] == ["metadata.fail p-1", "events.publish failed", "queue.retry 7"]
    assert line.metadata.rows["p-1"] == ("processing", "WORKER_TIMEOUT: no result", None)
    assert line.queue.said["delay_ms"] == 2000
    assert line.events.events[-1].data["error"]["willRetry"] is True
    assert line.count("retried") == 1


async def test_the_last_attempt_fails_for_good(line: Line) -> None:
    line.effects.fail_at("workers.run", WorkerTimeout("no result"))
    await line.run(structs.replace(JOB, attempt=3))
    assert line.effects.done[3:] == ["metadata.fail p-1", "events.publish failed", "queue.fail 7"]


async def test_a_photo_that_killed_its_worker_twice_is_poison(line: Line) -> None:
    line.effects.fail_at("workers.run", WorkerCrashed("SIGSEGV"))
    await line.run(structs.replace(JOB, attempt=2, deaths=1, attempts=9))
    assert line.effects.done[-1] == "queue.fail 7"
    assert str(line.queue.said["reason"]).startswith("POISON_PHOTO: ")


async def test_the_stack_of_a_death_begins_with_the_code_that_the_next_attempt_counts(line: Line) -> None:
    line.effects.fail_at("workers.run", WorkerCrashed("SIGSEGV"))
    await line.run()
    assert line.effects.done[-1] == "queue.retry 7"
    assert str(line.queue.said["stack"]).startswith("WORKER_CRASHED: ")


@pytest.mark.parametrize("point", [point for point in POINTS if point != "queue.complete"])
@pytest.mark.parametrize("error", [ProcessingError("boom"), RuntimeError("boom"), MemoryError()])
async def test_an_error_at_any_point_is_recorded_announced_and_then_ends_the_attempt(
    line: Line, point: str, error: Exception
) -> None:
    line.effects.fail_at(point, error)
    await line.run()
    before = [effect for effect in STRAIGHT if POINTS_ORDER[effect.partition(" ")[0]] < POINTS_ORDER[point]]
    assert line.effects.done == [*before, "metadata.fail p-1", "events.publish failed", "queue.retry 7"]
    code = error.code if isinstance(error, TaskError) else "PROCESSING_ERROR"
    assert str(line.queue.said["reason"]).startswith(f"{code}: ")
    assert line.nothing_is_held()


POINTS_ORDER = {effect.partition(" ")[0]: number for number, effect in enumerate(STRAIGHT)}


async def test_an_exception_that_nobody_expected_is_a_processing_error_that_names_it(line: Line) -> None:
    line.effects.fail_at("workers.run", KeyError("thumb_xx"))
    await line.run()
    assert line.queue.said["reason"] == "PROCESSING_ERROR: KeyError: 'thumb_xx'"


async def test_a_report_that_cannot_be_told_is_a_processing_error(line: Line) -> None:
    line.workers.report = Report(width=1, height=1, format="jpeg", facts={}, renditions=REPORT.renditions[:1])
    await line.run()  # One rendition for two bodies.
    assert str(line.queue.said["reason"]).startswith("PROCESSING_ERROR: ValueError")
    assert "objects.put_all photos" not in line.effects.done


# --- neighbours that are away

AWAY = {
    "metadata.begin": DatabaseUnavailable("locked"),
    "objects.get_into": StorageUnavailable("503"),
    "objects.put_all": StorageUnavailable("503"),
    "metadata.complete": DatabaseUnavailable("locked"),
    "metadata.fail": DatabaseUnavailable("locked"),
}


@pytest.mark.parametrize("point", ["metadata.begin", "objects.get_into"])
async def test_a_job_that_cannot_begin_while_a_neighbour_is_away_goes_back_uncounted(
    line: Line, point: str
) -> None:
    line.effects.broken[point], line.effects.away = AWAY[point], {point}
    assert await line.run(structs.replace(JOB, attempts=1), may_fetch=lambda: True) is None
    assert line.effects.of("queue", "events.publish", "metadata.fail") == ["queue.give_back 7"]
    assert (line.count("given_back"), line.count("failed")) == (1, 0)
    assert line.nothing_is_held()


@pytest.mark.parametrize("seen", [True, False], ids=["the probe sees it", "the probe does not see it"])
@pytest.mark.parametrize("point", ["objects.put_all", "metadata.complete", "metadata.fail"])
async def test_finished_work_waits_for_a_neighbour_and_is_not_done_twice(
    line: Line, point: str, seen: bool
) -> None:
    if point == "metadata.fail":
        line.effects.fail_at("workers.run", FileCorrupted())
    if point.startswith("metadata"):
        seen = True
    line.effects.broken[point] = AWAY[point]
    line.effects.away = {point} if seen else set()
    task = asyncio.create_task(line.run(structs.replace(JOB, attempts=1)))
    await asyncio.sleep(0.2)
    assert not task.done()
    assert line.effects.of("queue") == []
    line.effects.broken.clear()
    line.effects.away.clear()
    async with asyncio.timeout(5):
        await task
    assert line.effects.of("workers", "metadata.begin").count("workers.run") == (point != "metadata.fail")
    assert line.effects.done[-1] == ("queue.fail 7" if point == "metadata.fail" else "queue.complete 7")


@pytest.mark.parametrize("point", ["metadata.begin", "objects.get_into"])
async def test_a_photo_whose_own_requests_fail_counts_though_the_neighbour_is_there(
    line: Line, point: str
) -> None:
    line.effects.broken[point] = AWAY[point]
    await line.run(structs.replace(JOB, backoff=Backoff("fixed", 1000)))
    assert line.effects.done[-3:] == ["metadata.fail p-1", "events.publish failed", "queue.retry 7"]
    assert line.queue.said["delay_ms"] == 1000
    assert line.count("retried") == 1


async def test_an_upload_that_fails_while_others_pass_counts(line: Line) -> None:
    line.effects.broken["objects.put_all"] = AWAY["objects.put_all"]
    task = asyncio.create_task(line.run())
    while not task.done():
        line.guards.writes._passed("p-2", time.monotonic())
        await asyncio.sleep(0.001)
    assert line.effects.done[-1] == "queue.retry 7"


async def test_a_failure_that_one_photos_row_does_not_take_is_not_waited_for(line: Line) -> None:
    line.effects.fail_at("workers.run", FileCorrupted())
    line.effects.broken["metadata.fail"] = AWAY["metadata.fail"]
    async with asyncio.timeout(5):
        await line.run()
    assert line.effects.done[-1] == "queue.fail 7"


@pytest.mark.parametrize("point", ["objects.put_all", "metadata.complete"])
async def test_a_job_that_waits_for_a_neighbour_can_be_interrupted(line: Line, point: str) -> None:
    line.effects.broken[point], line.effects.away = AWAY[point], {point}
    task = asyncio.create_task(line.run())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    assert line.effects.done[-1] == "queue.give_back 7"
    assert line.nothing_is_held()


@pytest.mark.parametrize("point", ["metadata.begin", "metadata.complete"])
async def test_a_row_that_the_database_refuses_fails_its_job_for_good_and_holds_nothing(
    line: Line, point: str
) -> None:
    refused = RowRefused("the row of photo p-1 was refused: not this one")
    line.effects.fail_at(point, refused)
    line.effects.fail_at("metadata.fail", refused)
    await line.run()
    assert line.effects.of("events.publish", "queue") == ["events.publish failed", "queue.fail 7"]
    assert line.queue.said["reason"] == f"ROW_REFUSED: {refused.message}"
    assert line.nothing_is_held()


# --- jobs that cannot be run


async def test_a_job_with_a_fault_is_failed_in_its_own_words_and_touches_nothing(line: Line) -> None:
    fault = Fault("PROCESSING_ERROR", "job stalled more than allowable limit")
    await line.run(structs.replace(JOB, fault=fault))
    assert line.effects.done == ["metadata.fail p-1", "events.publish failed", "queue.fail 7"]
    assert line.queue.said["reason"] == "job stalled more than allowable limit"
    assert line.metadata.rows["p-1"][0] == "failed"


async def test_a_job_whose_photo_is_unknown_has_no_row_to_tell(line: Line) -> None:
    await line.run(structs.replace(JOB, photo_id="", fault=Fault("INVALID_JOB", "INVALID_JOB: x")))
    assert line.effects.done == ["events.publish failed", "queue.fail 7"]


async def test_a_fault_is_not_tried_again_though_attempts_are_left(line: Line) -> None:
    await line.run(structs.replace(JOB, attempts=9, fault=Fault("PROCESSING_ERROR", "x")))
    assert line.effects.done[-1] == "queue.fail 7"


# --- interruption


async def interrupted_at(line: Line, point: str, interrupt: Callable[[asyncio.Task[object]], None]) -> object:
    line.effects.hang_at = point
    task = asyncio.create_task(line.run())
    async with asyncio.timeout(5):
        await line.effects.hanging.wait()
        line.effects.hang_at = ""
        interrupt(task)
        await asyncio.wait([task])
    return task


@pytest.mark.parametrize("point", POINTS)
async def test_a_job_that_is_cancelled_at_any_point_goes_back_to_the_queue(line: Line, point: str) -> None:
    task = await interrupted_at(line, point, lambda task: task.cancel())
    assert isinstance(task, asyncio.Task)
    assert task.cancelled()
    before = [effect for effect in STRAIGHT if POINTS_ORDER[effect.partition(" ")[0]] < POINTS_ORDER[point]]
    assert line.effects.done == [*before, "queue.give_back 7"]
    assert line.count("given_back") == 1
    assert line.nothing_is_held()


@pytest.mark.parametrize("error", [LockLost("gone"), QueueUnavailable("away")])
async def test_giving_back_that_fails_does_not_hide_the_cancelling(line: Line, error: Exception) -> None:
    line.effects.fail_at("queue.give_back", error)
    task = await interrupted_at(line, "workers.run", lambda task: task.cancel())
    assert isinstance(task, asyncio.Task)
    assert task.cancelled()
    assert line.count("given_back") == 0


async def test_a_fleet_that_halts_gives_the_job_back_and_is_told_upwards(line: Line) -> None:
    line.effects.fail_at("workers.run", FleetHalted("no worker starts"))
    with pytest.raises(FleetHalted):
        await line.run()
    assert line.effects.done[-1] == "queue.give_back 7"
    assert "metadata.fail p-1" not in line.effects.done


def lose_the_lock(line: Line) -> Callable[[asyncio.Task[object]], None]:
    def lose(_task: asyncio.Task[object]) -> None:
        [held] = line.locks._held.values()
        line.locks._interrupt([held], "it is somebody else's")

    return lose


@pytest.mark.parametrize("point", [point for point in POINTS if point != "queue.complete"])
async def test_a_job_whose_lock_was_lost_is_abandoned_in_silence(line: Line, point: str) -> None:
    task = await interrupted_at(line, point, lose_the_lock(line))
    assert isinstance(task, asyncio.Task)
    assert task.result() is None
    before = [effect for effect in STRAIGHT if POINTS_ORDER[effect.partition(" ")[0]] < POINTS_ORDER[point]]
    assert line.effects.done == before
    assert line.count("lost") == 1
    assert line.nothing_is_held()


@pytest.mark.parametrize("error", [LockLost("gone"), QueueUnavailable("away")])
@pytest.mark.parametrize("end", ["queue.complete", "queue.fail", "queue.retry"])
async def test_a_job_that_cannot_be_finished_is_left_to_the_sweep(
    line: Line, end: str, error: Exception
) -> None:
    trouble = {"queue.fail": FileCorrupted(), "queue.retry": StorageUnavailable()}.get(end)
    if trouble:
        line.effects.fail_at("workers.run", trouble)
    line.effects.fail_at(end, error)
    assert await line.run(may_fetch=lambda: True) is None
    assert not line.effects.of("queue")
    assert line.count("lost") == 1
    assert line.count("completed") == line.count("failed") == line.count("retried") == 0


# --- what is said of it


async def test_each_job_is_one_line_in_the_log(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    await line.run()
    line.effects.fail_at("workers.run", FileCorrupted("cut short"))
    await line.run(structs.replace(JOB, id="8"))
    line.effects.fail_at("workers.run", StorageUnavailable("away"))
    await line.run(structs.replace(JOB, id="9"))
    lines = [(record.getMessage(), record.fields) for record in caplog.records]  # At info: nothing else.
    assert [(words, found["jobId"], found["outcome"]) for words, found in lines] == [
        ("completed", "7", "completed"), ("failed", "8", "failed"), ("retrying", "9", "retried"),
    ]  # fmt: skip
    completed, failed, retrying = (found for _, found in lines)
    assert set(completed) == {
        "jobId", "photoId", "attempt", "attempts", "outcome", "ms", "fetchMs", "workMs", "storeMs", "bytes",
    }  # fmt: skip
    assert (completed["photoId"], completed["bytes"], completed["attempt"]) == ("p-1", len(b"a photo"), 1)
    assert (failed["code"], failed["reason"], failed["why"]) == (
        "FILE_CORRUPTED",
        "cut short",
        "not retryable",
    )
    assert "storeMs" not in failed
    assert retrying["code"] == "STORAGE_UNAVAILABLE"
    assert retrying["delayMs"] is not None


async def test_a_job_that_goes_back_is_no_line_of_its_own(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.effects.fail_at("workers.run", NeighbourAway("the kernel refuses shared memory"))
    await line.run()
    assert line.count("given_back") == 1
    assert caplog.records == []


async def test_events_say_the_same_id_when_a_job_is_run_again(line: Line) -> None:
    await line.run()
    first = [event.id for event in line.events.events]
    line.events.events.clear()
    await line.run()
    assert [event.id for event in line.events.events] == first
    assert len(set(first)) == len(first)


# Behind the last of these only the job's end is left, and BullMQ's script looks at the lock itself.
@pytest.mark.parametrize("point", POINTS[:-2])
async def test_a_process_that_was_stopped_past_its_lock_goes_on_with_nothing(
    line: Line, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(locks_module, "time", SimpleNamespace(monotonic=lambda: now))
    really = line.effects.at

    async def stopped_after(name: str, about: str = "") -> None:
        nonlocal now
        await really(name, about)
        if name == point:
            now += 30.1

    monkeypatch.setattr(line.effects, "at", stopped_after)
    await line.run()
    # What needs no neighbour but the host's own worker may still run; nobody outside hears or sees more of the job.
    behind = line.effects.done[1 + [each.partition(" ")[0] for each in line.effects.done].index(point) :]
    assert [each for each in behind if each != "workers.run"] == []
    assert line.nothing_is_held()
