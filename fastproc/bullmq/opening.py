"""Opens a queue from the configuration: connection, scripts, the server's verdict, fetcher, queue."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from fastproc.bullmq import scripts
from fastproc.bullmq import server_check as server
from fastproc.bullmq.address import connector
from fastproc.bullmq.client import Client, greeting
from fastproc.bullmq.decode import Defaults
from fastproc.bullmq.fetcher import FetchedBy, Fetcher
from fastproc.bullmq.pipe import Pipe, Waiter
from fastproc.bullmq.protocol import Keys
from fastproc.bullmq.queue import BullQueue, Sweep
from fastproc.config.settings import Config
from fastproc.core.errors import QueueUnavailable, Unreachable


class Opened(Struct, frozen=True):
    """An open queue, the pipe below it, and what was found out about the server."""

    queue: BullQueue
    pipe: Pipe
    server: server.Verdict


@asynccontextmanager
async def opened(config: Config, name: str) -> AsyncIterator[Opened]:
    """Open the configured queue as the worker `name`, and close it after the block.

    Raises: ConfigError when the scripts are not there or not known; Unreachable when the server cannot be used.
    """
    keys, commands, where = Keys(config.queue.prefix, config.queue.name), scripts.load(), config.redis.where
    pipe = Pipe(connector(config.redis, keys.base), greeting(commands))
    try:
        await pipe.open()
    except QueueUnavailable as error:
        raise Unreachable(f"Redis at {where} cannot be used: {error}") from None
    waiter = Waiter(connector(config.redis, keys.base, f"{keys.client_name}:w:{name}"))
    try:
        verdict = await _verdict(pipe)
        if verdict.refusal:
            raise Unreachable(f"Redis at {where} cannot be used: {verdict.refusal}")
        client = Client(pipe, keys, commands, lambda: time.time_ns() // 1_000_000)
        yield Opened(_queue(config, client, waiter, keys, name), pipe, verdict)
    finally:
        await waiter.close()
        await pipe.close()


def _queue(config: Config, client: Client, waiter: Waiter, keys: Keys, name: str) -> BullQueue:
    rules = config.queue
    by = FetchedBy(worker_id=str(uuid.uuid4()), name=name, lock_duration_ms=rules.lock_duration_ms)
    defaults = Defaults(bucket=config.s3.bucket, buckets=config.s3.buckets, attempts=rules.max_retries)
    fetcher = Fetcher(client, waiter, keys("marker"), by, defaults)
    sweep = Sweep(interval_ms=rules.stalled_interval_ms, max_stalled_count=rules.max_stalled_count)
    return BullQueue(client, fetcher, by, sweep)


async def _verdict(pipe: Pipe) -> server.Verdict:
    try:
        return server.judge(server.parse(await pipe.call("INFO")))
    except QueueUnavailable as error:
        # An ACL may keep INFO from us; what the server is then shows when it is used.
        return server.Verdict("Redis", warnings=(f"it does not say what it is: {error}",))
