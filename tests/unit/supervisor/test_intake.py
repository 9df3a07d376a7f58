"""Place, token, job: no more in hand than allowed, no faster than the limit, and a clean end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from msgspec import structs

from fastproc.core.errors import FleetHalted, LockLost, QueueUnavailable
from fastproc.core.limit import TokenBucket
from fastproc.core.model import Job
from fastproc.core.rates import Rate
from fastproc.supervisor.all_neighbours import Neighbours
from fastproc.supervisor.intake import Intake
from fastproc.supervisor.metrics import Metrics
from tests.unit.supervisor.fakes import JOB, World


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Shop:
    """An intake whose jobs run until they are told to end."""

    def __init__(self, max_in_hand: int = 2, bucket: TokenBucket | None = None) -> None:
        world = World()
        self.queue, self.rows = world.queue, world.guards.rows
        self.metrics = Metrics()
        self.running: dict[str, asyncio.Future[Job | None]] = {}
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.asks = False
        self.answers: list[bool] = []
        self.intake = Intake(
            self.queue, self._job, max_in_hand, bucket, Neighbours(world.guards.all), self.metrics
        )
        self.task = asyncio.create_task(self.intake.run())

    async def _job(self, job: Job, may_fetch: Callable[[], bool]) -> Job | None:
        self.begun.append(job.id)
        self.running[job.id] = asyncio.get_running_loop().create_future()
        try:
            following = await self.running[job.id]
        except asyncio.CancelledError:
            self.cancelled.append(job.id)
            raise
        finally:
            del self.running[job.id]
        if self.asks:
            self.answers.append(may_fetch())
        return following

    def add(self, *ids: str) -> None:
        for job_id in ids:
            self.queue.jobs.put_nowait(structs.replace(JOB, id=job_id))

    async def end(self, job_id: str, following: str | None = None) -> None:
        self.running[job_id].set_result(structs.replace(JOB, id=following) if following else None)
        await settled()

    async def close(self) -> None:
        self.intake.stop()
        await self.intake.interrupt()
        async with asyncio.timeout(5):
            await self.task


def frozen(most: int) -> TokenBucket:
    """A bucket that gets no new token for an hour."""
    return TokenBucket(most, 3600.0 * most, time.monotonic())


async def test_no_more_jobs_are_in_hand_than_are_allowed() -> None:
    shop = Shop(max_in_hand=2)
    shop.add("1", "2", "3")
    await settled()
    assert shop.begun == ["1", "2"]
    assert shop.intake.in_hand == 2
    assert shop.queue.jobs.qsize() == 1  # It was not even taken: another service may have it.
    await shop.end("1")
    assert shop.begun == ["1", "2", "3"]
    await shop.close()


async def test_a_job_that_brings_the_next_one_keeps_its_slot() -> None:
    shop = Shop(max_in_hand=1)
    shop.add("1", "9")
    await settled()
    await shop.end("1", following="2")
    await shop.end("2", following="3")
    assert shop.begun == ["1", "2", "3"]
    assert shop.intake.in_hand == 1
    await shop.end("3")
    assert shop.begun == ["1", "2", "3", "9"]
    assert shop.metrics.registry.get_sample_value("fastproc_jobs_taken_total") == 4
    await shop.close()


async def test_no_more_jobs_start_than_there_are_tokens() -> None:
    shop = Shop(max_in_hand=10, bucket=frozen(3))
    shop.add(*"12345")
    await settled()
    assert shop.begun == ["1", "2", "3"]
    assert shop.queue.jobs.qsize() == 2
    await shop.close()


async def test_a_waiting_token_does_not_hinder_the_stop() -> None:
    shop = Shop(max_in_hand=10, bucket=frozen(1))
    shop.add("1", "2")
    await settled()
    await shop.close()
    assert shop.task.done()


async def test_a_job_is_begun_when_its_token_comes() -> None:
    shop = Shop(max_in_hand=10, bucket=TokenBucket(1, 0.06, time.monotonic()))
    shop.add("1", "2", "3")
    async with asyncio.timeout(5):
        while len(shop.begun) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    held = shop.metrics.registry.get_sample_value("fastproc_rate_limit_held_seconds_total")
    assert held is not None
    assert held > 0.05
    await shop.close()


async def test_the_next_job_comes_along_only_for_a_token() -> None:
    shop = Shop(max_in_hand=1, bucket=frozen(2))
    shop.asks = True
    shop.add("1")
    await settled()
    await shop.end("1", following="2")
    await shop.end("2")
    assert shop.answers == [True, False]
    await shop.close()


async def test_a_token_that_brought_no_job_is_given_back() -> None:
    shop = Shop(max_in_hand=3, bucket=frozen(3))  # One for the job, one for the wait for a further one.
    shop.asks = True
    shop.add("1")
    await settled()
    await shop.end("1")  # It asked and took the third token, but there was no further job.
    assert shop.answers == [True]
    shop.add("2", "3", "4")
    await settled()
    assert shop.begun == ["1", "2", "3"]
    await shop.close()


async def test_a_burst_after_idle_time_is_no_larger_than_the_bucket() -> None:
    bucket = TokenBucket(3, 3 * 3600.0, time.monotonic())
    shop = Shop(max_in_hand=10, bucket=bucket)
    await settled()
    # The intake holds a token and waits for a job; meanwhile the bucket fills again.
    bucket.give_back(time.monotonic())
    shop.add(*"12345")
    await settled()
    assert shop.begun == ["1", "2", "3"]
    await shop.close()


async def test_a_token_whose_job_was_begun_is_not_given_back_when_that_is_interrupted() -> None:
    bucket = frozen(2)
    shop = Shop(max_in_hand=1, bucket=bucket)
    shop.asks = True
    shop.add("1")
    await settled()
    await shop.end("1", following="2")
    shop.intake.stop()
    assert await shop.intake.interrupt() == 1
    assert shop.cancelled == ["2"]
    assert bucket.take(time.monotonic()) > 0
    await shop.close()


async def test_without_a_limit_the_next_job_always_comes_along_until_the_stop() -> None:
    shop = Shop(max_in_hand=1)
    shop.asks = True
    shop.add("1")
    await settled()
    await shop.end("1", following="2")
    shop.intake.stop()
    await shop.end("2")
    assert shop.answers == [True, False]
    await shop.close()


async def test_stopping_takes_no_more_and_lets_those_in_hand_end() -> None:
    shop = Shop(max_in_hand=2)
    shop.add("1")
    await settled()
    shop.intake.stop()
    shop.add("2")
    async with asyncio.timeout(5):
        await shop.task
    assert shop.begun == ["1"]
    idle = asyncio.create_task(shop.intake.idle())
    await settled()
    assert not idle.done()
    await shop.end("1")
    assert idle.done()
    assert shop.intake.in_hand == 0


async def test_stopping_while_all_slots_are_taken_ends_the_intake() -> None:
    shop = Shop(max_in_hand=1)
    shop.add("1", "2")
    await settled()
    shop.intake.stop()
    async with asyncio.timeout(5):
        await shop.task
    assert shop.begun == ["1"]
    await shop.close()


async def test_a_job_that_came_too_late_to_be_begun_goes_back() -> None:
    shop = Shop()
    await settled()
    shop.add("1")  # Before the None of `stop` in the queue's list: the fetch was under way.
    shop.intake.stop()
    async with asyncio.timeout(5):
        await shop.task
    assert shop.begun == []
    assert shop.queue.effects.done == ["queue.give_back 1"]


@pytest.mark.parametrize("error", [LockLost("gone"), QueueUnavailable("away")])
async def test_a_late_job_that_cannot_go_back_does_not_break_the_stop(error: Exception) -> None:
    shop = Shop()
    await settled()
    shop.queue.effects.fail_at("queue.give_back", error)
    shop.add("1")
    shop.intake.stop()
    async with asyncio.timeout(5):
        await shop.task


async def test_interrupting_ends_all_jobs_and_says_how_many_they_were() -> None:
    shop = Shop(max_in_hand=3)
    shop.add("1", "2", "3")
    await settled()
    await shop.end("2")
    shop.intake.stop()
    assert await shop.intake.interrupt() == 2
    assert sorted(shop.cancelled) == ["1", "3"]
    assert shop.intake.in_hand == 0
    await shop.close()


@pytest.mark.parametrize("error", [RuntimeError("boom"), FleetHalted("none starts")])
async def test_a_job_whose_line_broke_frees_its_slot(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(max_in_hand=1)
    shop.add("1", "2")
    await settled()
    shop.running["1"].set_exception(error)
    await settled()
    assert shop.begun == ["1", "2"]
    assert ("a job's line broke" in caplog.text) == isinstance(error, RuntimeError)
    await shop.close()


# --- neighbours that are away


def away(shop: Shop) -> None:
    shop.rows._breaker.probed(False, time.monotonic(), 0.5, "locked")
    shop.rows._stir()


def back(shop: Shop) -> None:
    shop.rows._breaker.probed(True, time.monotonic(), 0.5)
    shop.rows._stir()


async def test_no_job_is_taken_while_a_neighbour_is_away_and_all_are_when_it_is_back() -> None:
    shop = Shop()
    await settled()
    shop.add("1")
    await settled()
    away(shop)
    await shop.end("1")
    shop.add("2")
    await settled()
    # The fetch that waited when the outage began brought one: it went back, and none after it was asked for.
    assert shop.queue.effects.done == ["queue.give_back 2"]
    shop.add("3")
    await settled()
    assert shop.begun == ["1"]
    back(shop)
    await settled()
    assert shop.begun == ["1", "3"]
    await shop.close()


async def test_the_job_that_ends_brings_no_other_along_while_a_neighbour_is_away() -> None:
    shop = Shop(max_in_hand=1)
    shop.asks = True
    shop.add("1")
    await settled()
    away(shop)
    await shop.end("1")
    assert shop.answers == [False]
    await shop.close()


async def test_a_token_is_not_spent_on_a_job_that_goes_back() -> None:
    shop = Shop(max_in_hand=1, bucket=frozen(1))
    await settled()
    away(shop)
    shop.add("1")
    await settled()
    assert shop.queue.effects.done == ["queue.give_back 1"]
    back(shop)
    shop.add("2")
    await settled()
    assert shop.begun == ["2"]
    await shop.close()


async def test_an_intake_that_waits_for_a_neighbour_stops_at_once() -> None:
    shop = Shop()
    await settled()
    away(shop)
    shop.add("1")
    await settled()
    shop.intake.stop()
    async with asyncio.timeout(1):
        await shop.task
    await shop.close()


async def test_a_paused_host_takes_nothing_and_gives_back_what_comes_at_that_moment() -> None:
    shop = Shop()
    await settled()  # It waits for a job already.
    shop.intake.pause(True)
    shop.add("1", "2")
    await settled()
    assert (shop.begun, shop.intake.in_hand) == ([], 0)
    assert shop.queue.effects.of("queue.give_back") == ["queue.give_back 1"]
    shop.intake.pause(False)
    await settled()
    assert shop.begun == ["2"]
    # What is in hand goes on, and its end brings nothing along.
    shop.asks = True
    shop.intake.pause(True)
    await shop.end("2")
    assert shop.answers == [False]
    await shop.close()


@pytest.mark.parametrize("turns", range(6))
async def test_a_pause_that_ends_is_never_missed(turns: int) -> None:
    shop = Shop()
    shop.intake.pause(True)
    for _ in range(turns):
        await asyncio.sleep(0)
    shop.intake.pause(False)
    shop.add("1")
    await settled()
    assert shop.begun == ["1"]
    await shop.close()


async def test_places_come_at_once_and_go_when_jobs_end() -> None:
    shop = Shop(max_in_hand=1)
    shop.add(*"12345")
    await settled()
    assert shop.begun == ["1"]
    shop.intake.places.resize(3)
    await settled()
    assert shop.begun == ["1", "2", "3"]
    shop.intake.places.resize(1)
    shop.asks = True
    await shop.end("1")
    await shop.end("2")
    # Nobody who is too many may bring a job along, and none was taken.
    assert (shop.answers, shop.begun) == ([False, False], ["1", "2", "3"])
    await shop.end("3")
    assert (shop.answers[2], shop.begun) == (True, ["1", "2", "3", "4"])
    await shop.close()


async def test_another_rate_holds_at_once_also_for_one_who_waits_by_the_old_one() -> None:
    bucket = TokenBucket(1, 3600, time.monotonic())
    shop = Shop(max_in_hand=9, bucket=bucket)
    shop.add(*"123")
    await settled()
    assert shop.begun == ["1"]
    shop.intake.limit(Rate(1, 3_600_000))
    await settled()
    assert shop.begun == ["1"]
    shop.intake.limit(Rate())
    await settled()
    assert shop.begun == ["1", "2", "3"]
    # It waits for a job already, which is one that the limit does not hold.
    shop.intake.limit(Rate(5, 3_600_000))
    shop.add(*"456")
    await settled()
    assert shop.begun == ["1", "2", "3", "4"]
    await shop.close()


async def test_the_wait_in_the_queue_is_that_of_first_attempts() -> None:
    shop = Shop(max_in_hand=5)
    now_ms = time.time_ns() // 1_000_000
    waited = structs.replace(JOB, attempt=1, timestamp_ms=now_ms - 65_000, delay_ms=5_000)
    for job in (
        waited,
        structs.replace(waited, attempt=2),
        structs.replace(waited, timestamp_ms=now_ms + 9_000),
    ):
        shop.queue.jobs.put_nowait(job)
        await settled()
    get = shop.metrics.registry.get_sample_value
    assert get("fastproc_queue_wait_seconds_count") == 2
    # 60 s, and one from a producer whose clock is ahead, which has waited for no time.
    assert get("fastproc_queue_wait_seconds_bucket", {"le": "0.05"}) == 1
    assert 60 <= (get("fastproc_queue_wait_seconds_sum") or 0) < 90
    await shop.close()


async def test_whether_the_limit_is_waited_for_can_be_seen() -> None:
    shop = Shop(max_in_hand=5, bucket=frozen(1))
    assert not shop.intake.rate.waits
    shop.add("1", "2")
    await settled()
    assert shop.intake.rate.waits
    await shop.close()
    await settled()
    assert not shop.intake.rate.waits
