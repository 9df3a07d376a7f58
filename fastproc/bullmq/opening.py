"""Opens a queue from the configuration: the connection, the check of its server, the queue over it.

Rule 1: what is opened here is closed here, when the block ends.
Rule 2: a server that cannot be used is Unreachable, with a message that says where it is and why.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastproc.bullmq import scripts, server_check
from fastproc.bullmq.address import connector
from fastproc.bullmq.client import Client, greeting
from fastproc.bullmq.decode import Defaults
from fastproc.bullmq.desk.queue_desk import QueueDesk
from fastproc.bullmq.failures import SharedFailures
from fastproc.bullmq.fetcher import Fetcher
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Keys
from fastproc.bullmq.queue import BullQueue, Sweep
from fastproc.bullmq.series import Series
from fastproc.bullmq.server_check import ServerCheck
from fastproc.bullmq.settle import JobsInHand
from fastproc.bullmq.waiter import Waiter
from fastproc.bullmq.watch import Watch
from fastproc.config.host import local_zone
from fastproc.config.settings import Config
from fastproc.core.errors import QueueUnavailable, Unreachable


@asynccontextmanager
async def open_pipe(config: Config) -> AsyncIterator[Pipe]:
    """Connect to the server that holds the configured queue, with BullMQ's scripts loaded into it.

    Raises: ConfigError when the scripts are not there or not known; Unreachable.
    """
    pipe = Pipe(connector(config.redis, _keys(config).base), greeting(scripts.load()))
    pipe.outage.endpoint = config.redis.where
    try:
        await pipe.open()
    except QueueUnavailable as error:
        raise Unreachable(f"Redis at {config.redis.where} cannot be used: {error}") from None
    try:
        yield pipe
    finally:
        await pipe.close()


async def checked_server(pipe: Pipe, where: str) -> ServerCheck:
    """Return what the server is, with warnings for its operator. Raises Unreachable when it cannot carry a queue."""
    try:
        check = server_check.judge(server_check.parse(await pipe.call("INFO")))
    except QueueUnavailable as error:
        # An ACL may keep INFO from us; what the server is then shows when it is used.
        return ServerCheck("Redis", warnings=(f"it does not tell what it is: {error}",))
    if check.refusal:
        raise Unreachable(f"Redis at {where} cannot be used: {check.refusal}")
    return check


@asynccontextmanager
async def open_queue(config: Config, pipe: Pipe, name: str) -> AsyncIterator[BullQueue]:
    """Open the configured queue over the pipe, as the worker `name`. Raises ConfigError, as `open_pipe`."""
    rules, keys = config.queue, _keys(config)
    client = Client(pipe, keys, scripts.load(), name, rules.lock_duration_ms)
    waiter = Waiter(connector(config.redis, keys.base), keys("marker"), f"{keys.client_name}:w:{name}")
    in_hand = JobsInHand(client, str(uuid.uuid4()))
    pipe.outage.in_hand = lambda: in_hand.count
    series = Series(client, local_zone())
    defaults = Defaults(bucket=config.s3.bucket, buckets=config.s3.buckets, attempts=rules.max_retries)
    sweep = Sweep(interval_ms=rules.stalled_interval_ms, max_stalled_count=rules.max_stalled_count)
    try:
        # The worker's name is to be seen before the queue is empty for the first time.
        await waiter.tend()
        fetcher = Fetcher(client, waiter, in_hand, series, defaults)
        yield BullQueue(client, fetcher, in_hand, series, sweep, Watch(client, waiter, fetcher.rest))
    finally:
        await series.close()
        await waiter.close()


def shared_failures(config: Config, pipe: Pipe) -> SharedFailures:
    """Return the failures by code of all services of the configured queue, over the pipe."""
    return SharedFailures(pipe.call, _keys(config))


def queue_desk(config: Config, pipe: Pipe) -> QueueDesk:
    """Return the configured queue's desk, over the pipe. Raises ConfigError, as `open_pipe`."""
    return QueueDesk(pipe.call, _keys(config), scripts.load())


def _keys(config: Config) -> Keys:
    return Keys(config.queue.prefix, config.queue.name)
