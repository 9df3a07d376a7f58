"""What a service reads of its queue, on a real Valkey with jobs that BullMQ's own producer has added."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis

from fastproc.bullmq.address import connector
from fastproc.bullmq.backlog import read_backlog
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.producer import producer
from fastproc.bullmq.protocol import Keys
from fastproc.config.queue import QueueConfig
from fastproc.config.redis import RedisConfig
from fastproc.core.health import Backlog
from fastproc.embedded.valkey import Valkey

#: A wall time, in ms, from which on the jobs of a test are added.
SINCE = 1_700_000_000_000


class Shop:
    """A queue with a producer and a reader."""

    def __init__(self, valkey: Valkey, queue: str) -> None:
        self.where, self.queue = RedisConfig(host=valkey.host, port=valkey.port), QueueConfig(name=queue)
        self.keys = Keys(self.queue.prefix, queue)
        self.redis = redis.Redis(host=valkey.host, port=valkey.port, protocol=2)

    async def add(self, *jobs: dict[str, Any]) -> None:
        async with producer(self.where, self.queue) as queue:
            for options in jobs:
                await queue.add({"photoId": "p", "s3Key": "k"}, {"timestamp": SINCE, **options})

    async def read(self) -> Backlog:
        pipe = Pipe(connector(self.where, self.keys.base))
        await pipe.open()
        try:
            return await read_backlog(pipe.call, self.keys)
        finally:
            await pipe.close()


@pytest.fixture
def shop(valkey: Valkey, unique: str) -> Any:
    made = Shop(valkey, unique)
    yield made
    made.redis.close()


async def test_jobs_are_counted_in_each_of_bullmqs_states(shop: Shop) -> None:
    hour = {"delay": 3_600_000, "timestamp": time.time_ns() // 1_000_000}
    await shop.add({}, {}, {"priority": 5}, hour, hour, hour)
    for state, count in {"waiting-children": 4, "completed": 5, "failed": 6}.items():
        shop.redis.zadd(shop.keys(state), {f"{state}-{n}": n for n in range(count)})
    shop.redis.rpush(shop.keys("active"), *(f"active-{n}" for n in range(7)))
    shop.redis.rpush(shop.keys("paused"), *(f"paused-{n}" for n in range(8)))
    found = await shop.read()
    assert found.counts == {
        "waiting": 2,
        "active": 7,
        "delayed": 3,
        "prioritized": 1,
        "paused": 8,
        "waiting-children": 4,
        "completed": 5,
        "failed": 6,
    }
    assert (found.waiting, found.paused) == (11, False)


async def test_an_empty_queue_has_no_oldest_job(shop: Shop) -> None:
    found = await shop.read()
    assert found.oldest_ms is None
    assert not any(found.counts.values())


@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param([{}, {"timestamp": SINCE + 9}], id="in order"),
        pytest.param([{"lifo": True}, {"lifo": True, "timestamp": SINCE + 9}], id="the last first"),
        pytest.param(
            [{"timestamp": SINCE + 9}, {"priority": 9}, {"priority": 1, "timestamp": SINCE + 5}],
            id="priority",
        ),
        pytest.param(
            [
                {"priority": 9},
                {"priority": 9, "timestamp": SINCE + 5},
                {"priority": 9, "timestamp": SINCE + 7},
            ],
            id="the oldest of the lowest priority",
        ),
    ],
)
async def test_the_oldest_job_that_waits_is_found(shop: Shop, jobs: list[dict[str, Any]]) -> None:
    await shop.add(*jobs)
    assert (await shop.read()).oldest_ms == SINCE


async def test_a_delay_that_was_asked_for_is_no_waiting(shop: Shop) -> None:
    await shop.add({"delay": 1000})
    [job_id] = shop.redis.zrange(shop.keys("delayed"), 0, -1)
    # As BullMQ's promotion does.
    shop.redis.zrem(shop.keys("delayed"), job_id)
    shop.redis.lpush(shop.keys("wait"), job_id)
    assert (await shop.read()).oldest_ms == SINCE + 1000


@pytest.mark.parametrize("field", ["atm", "attemptsMade"])
async def test_a_job_that_was_put_back_after_an_attempt_does_not_wait_since_it_was_added(
    shop: Shop, field: str
) -> None:
    await shop.add({}, {"timestamp": SINCE + 9})
    newest, next_one = shop.redis.lrange(shop.keys("wait"), 0, -1)
    shop.redis.hset(shop.keys(next_one.decode()), field, 1)
    assert (await shop.read()).oldest_ms == SINCE + 9
    shop.redis.hset(shop.keys(newest.decode()), field, 1)
    assert (await shop.read()).oldest_ms is None


@pytest.mark.parametrize("opts", ['{"delay":"soon"}', "{", "[]"])
async def test_options_that_make_no_sense_are_no_delay(shop: Shop, opts: str) -> None:
    await shop.add({})
    [job_id] = shop.redis.lrange(shop.keys("wait"), 0, -1)
    shop.redis.hset(shop.keys(job_id.decode()), "opts", opts)
    assert (await shop.read()).oldest_ms == SINCE


async def test_a_paused_queue_says_so_and_a_job_that_is_gone_has_no_age(shop: Shop) -> None:
    await shop.add({})
    shop.redis.rpush(shop.keys("wait"), "gone")
    shop.redis.hset(shop.keys("meta"), "paused", 1)
    found = await shop.read()
    assert (found.paused, found.held, found.waiting, found.oldest_ms) == (
        True,
        "the queue is paused",
        2,
        SINCE,
    )
