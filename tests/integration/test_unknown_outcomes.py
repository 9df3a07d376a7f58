"""A reply of Redis that never comes loses no job and doubles none: the state is read, then the move is done or not.

A proxy stands between the queue and a real Valkey, and cuts the connection before a command reaches the server, or
after the server has done it and before its reply gets back: the two cannot be told apart from this side.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis import Redis

from fastproc.bullmq.opening import open_pipe, open_queue
from fastproc.bullmq.producer import producer
from fastproc.bullmq.queue import BullQueue
from fastproc.config.settings import Config, load
from fastproc.core.errors import LockLost
from fastproc.core.model import Job
from fastproc.embedded.valkey import Valkey
from tests.integration.proxy import Cut, Proxy


class Place:
    """A queue opened through the proxy, and Redis itself beside it."""

    def __init__(self, config: Config, queue: BullQueue, proxy: Proxy, redis: Redis) -> None:
        self.config, self.queue, self.proxy, self.redis = config, queue, proxy, redis
        self.base = f"bull:{config.queue.name}:"

    async def add(self, photo_id: str, **options: object) -> None:
        async with producer(self.config.redis, self.config.queue) as queue:
            await queue.add({"photoId": photo_id, "s3Key": "photos/x.jpg"}, options)

    async def take(self) -> Job:
        async with asyncio.timeout(20):
            job = await self.queue.take()
        assert job is not None
        return job

    def counts(self) -> dict[str, int]:
        lists = {name: self.redis.llen(self.base + name) for name in ("wait", "active")}
        return lists | {n: self.redis.zcard(self.base + n) for n in ("completed", "failed", "delayed")}

    def events(self, kind: str) -> int:
        stream = self.redis.xrange(self.base + "events")
        return sum(entry[b"event"] == kind.encode() for _, entry in stream)

    def sha(self, script: str) -> bytes:
        from fastproc.bullmq.scripts import load as scripts

        return scripts()[script].sha1.encode()


@pytest.fixture
async def place(valkey: Valkey, unique: str) -> AsyncIterator[Place]:
    proxy = Proxy(valkey.host, valkey.port)
    async with proxy.listening() as port:
        config = load({"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(port), "QUEUE_NAME": unique}, 1)
        async with open_pipe(config) as pipe, open_queue(config, pipe, "tester") as queue:
            with Redis(port=valkey.port) as redis:
                yield Place(config, queue, proxy, redis)


@pytest.mark.parametrize("side", ["request", "reply"])
async def test_a_completion_without_a_reply_completes_the_job_once(place: Place, side: Cut) -> None:
    await place.add("one")
    job = await place.take()
    place.proxy.cut(side, place.sha("moveToFinished"))
    assert await place.queue.complete(job, '{"success":true}', fetch_next=False) is None
    assert place.proxy.cuts == 1
    assert place.counts() == {"wait": 0, "active": 0, "completed": 1, "failed": 0, "delayed": 0}
    assert place.events("completed") == 1


@pytest.mark.parametrize("side", ["request", "reply"])
async def test_a_completion_of_a_job_that_is_not_kept_is_settled_too(place: Place, side: Cut) -> None:
    await place.add("one", removeOnComplete=True)
    job = await place.take()
    place.proxy.cut(side, place.sha("moveToFinished"))
    assert await place.queue.complete(job, "null", fetch_next=False) is None
    assert place.counts() == {"wait": 0, "active": 0, "completed": 0, "failed": 0, "delayed": 0}
    assert place.events("completed") == 1


@pytest.mark.parametrize("side", ["request", "reply"])
async def test_the_job_that_an_unseen_reply_brought_along_is_taken_again(place: Place, side: Cut) -> None:
    await place.add("one")
    await place.add("two")
    job = await place.take()
    place.proxy.cut(side, place.sha("moveToFinished"))
    assert await place.queue.complete(job, "null", fetch_next=True) is None
    following = await place.take()
    assert following.photo_id == "two"
    assert following.attempt == 1
    await place.queue.complete(following, "null", fetch_next=False)
    assert place.counts() == {"wait": 0, "active": 0, "completed": 2, "failed": 0, "delayed": 0}
    assert place.events("completed") == 2


@pytest.mark.parametrize("side", ["request", "reply"])
async def test_a_fetch_without_a_reply_leaves_no_job_orphaned(place: Place, side: Cut) -> None:
    await place.add("one")
    place.proxy.cut(side, place.sha("moveToActive"))
    job = await place.take()
    assert place.proxy.cuts == 1
    assert (job.photo_id, job.attempt) == ("one", 1)
    assert place.counts()["active"] == 1
    await place.queue.complete(job, "null", fetch_next=False)
    assert place.counts() == {"wait": 0, "active": 0, "completed": 1, "failed": 0, "delayed": 0}


async def test_strays_are_told_from_the_jobs_in_hand(place: Place) -> None:
    await place.add("kept")
    await place.add("stray")
    kept = await place.take()
    place.proxy.cut("reply", place.sha("moveToActive"))
    stray = await place.take()
    assert stray.photo_id == "stray"
    assert await place.queue.extend_locks([kept, stray]) == []


async def test_an_id_that_is_in_hand_twice_is_two_jobs(place: Place) -> None:
    """A queue that was emptied while a job ran, and filled again with the same ids."""
    await place.add("one", jobId="same")
    old = await place.take()
    place.redis.delete(*place.redis.keys(f"{place.base}*"))
    await place.add("two", jobId="same")
    new = await place.take()
    assert (old.id, new.id, new.photo_id) == ("same", "same", "two")
    assert await place.queue.extend_locks([old, new]) == [old]
    with pytest.raises(LockLost):
        await place.queue.complete(old, "null", fetch_next=False)
    # What looks for strays must not take the second job for one.
    await place.add("stray")
    place.proxy.cut("reply", place.sha("moveToActive"))
    assert (await place.take()).photo_id == "stray"
    assert await place.queue.extend_locks([new]) == []
    assert await place.queue.complete(new, "null", fetch_next=False) is None
    assert place.counts()["completed"] == 1


@pytest.mark.parametrize("side", ["request", "reply"])
@pytest.mark.parametrize("delay_ms", [0, 50])
async def test_a_retry_without_a_reply_counts_one_attempt(place: Place, side: Cut, delay_ms: int) -> None:
    await place.add("one", attempts=5)
    job = await place.take()
    place.proxy.cut(side, place.sha("moveToDelayed" if delay_ms else "retryJob"))
    await place.queue.retry(job, delay_ms, "WORKER_CRASHED: x", "stack", fetch_next=False)
    assert place.proxy.cuts == 1
    again = await place.take()
    assert (again.attempt, again.deaths) == (2, 1)
    await place.queue.complete(again, "null", fetch_next=False)
    assert place.counts() == {"wait": 0, "active": 0, "completed": 1, "failed": 0, "delayed": 0}


async def test_scripts_that_the_server_has_forgotten_are_loaded_again(place: Place) -> None:
    await place.add("one")
    place.redis.script_flush()
    job = await place.take()
    place.redis.script_flush()
    await place.queue.complete(job, "null", fetch_next=False)
    assert place.counts()["completed"] == 1
