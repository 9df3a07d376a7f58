"""A job that goes back is as if it had not been taken: no attempt is counted, whether it may run at once or later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis import Redis

from fastproc.bullmq.opening import open_pipe, open_queue
from fastproc.bullmq.producer import producer
from fastproc.bullmq.queue import BullQueue
from fastproc.config.settings import Config, load
from fastproc.core.errors import LockLost
from fastproc.core.model import Job
from fastproc.embedded.valkey import Valkey

GoBack = Callable[[BullQueue, Job], Coroutine[Any, Any, None]]


async def give_back(queue: BullQueue, job: Job) -> None:
    await queue.give_back(job)


async def put_aside(queue: BullQueue, job: Job) -> None:
    await queue.put_aside(job, 300)


@pytest.fixture
def config(valkey: Valkey, unique: str) -> Config:
    return load({"REDIS_HOST": valkey.host, "REDIS_PORT": str(valkey.port), "QUEUE_NAME": unique}, 1)


@asynccontextmanager
async def opened(config: Config, name: str) -> AsyncIterator[BullQueue]:
    async with open_pipe(config) as pipe, open_queue(config, pipe, name) as queue:
        yield queue


async def add(config: Config, *photo_ids: str, **options: object) -> None:
    async with producer(config.redis, config.queue) as queue:
        for photo_id in photo_ids:
            await queue.add({"photoId": photo_id, "s3Key": "photos/x.jpg"}, options)


async def take(queue: BullQueue) -> Job:
    async with asyncio.timeout(20):
        job = await queue.take()
    assert job is not None
    return job


@pytest.mark.parametrize("go_back", [give_back, put_aside])
async def test_a_job_that_goes_back_often_is_still_at_its_first_attempt(
    config: Config, go_back: GoBack
) -> None:
    await add(config, "one", attempts=1)
    async with opened(config, "tester") as queue:
        for _ in range(4):
            job = await take(queue)
            assert (job.photo_id, job.attempt, job.attempts) == ("one", 1, 1)
            await go_back(queue, job)
        job = await take(queue)
        await queue.complete(job, "null", fetch_next=False)
    with Redis(host=config.redis.host, port=config.redis.port, decode_responses=True) as redis:
        key = f"bull:{config.queue.name}:"
        kept = redis.hgetall(f"{key}{job.id}")
        assert int(kept["atm"]) == 1, "the attempt that completed it"
        assert "stacktrace" not in kept
        assert "failedReason" not in kept
        assert redis.zcard(f"{key}completed") == 1
        assert redis.keys(f"{key}*:lock") == []


async def test_a_job_that_is_put_aside_lets_the_others_pass(config: Config) -> None:
    await add(config, "first", "second")
    async with opened(config, "tester") as queue:
        first = await take(queue)
        begun = time.monotonic()
        await queue.put_aside(first, 1000)
        second = await take(queue)
        assert (first.photo_id, second.photo_id) == ("first", "second")
        await queue.complete(second, "null", fetch_next=False)
        again = await take(queue)
        assert again.photo_id == "first"
        assert time.monotonic() - begun >= 0.9
        await queue.complete(again, "null", fetch_next=False)


async def test_a_job_that_is_given_back_is_the_next_for_whoever_asks(config: Config) -> None:
    await add(config, "first", "second")
    async with opened(config, "one") as one, opened(config, "other") as other:
        job = await take(one)
        await one.give_back(job)
        again = await take(other)
        assert again.photo_id == "first"
        await other.complete(again, "null", fetch_next=False)


@pytest.mark.parametrize("go_back", [give_back, put_aside])
async def test_a_job_that_is_not_ours_any_more_cannot_go_back(config: Config, go_back: GoBack) -> None:
    await add(config, "one")
    async with opened(config, "tester") as queue:
        job = await take(queue)
        with Redis(host=config.redis.host, port=config.redis.port) as redis:
            redis.delete(f"bull:{config.queue.name}:{job.id}:lock")
        with pytest.raises(LockLost):
            await go_back(queue, job)
