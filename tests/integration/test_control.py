"""The control channel over a real server: orders reach services, and nothing that is published breaks one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import redis

from fastproc.bullmq import control, hosts
from fastproc.bullmq.address import connector
from fastproc.bullmq.control import Handler, Receiver
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Keys
from fastproc.config.redis import RedisConfig
from fastproc.core.acts import Cancel, Pause, Set
from fastproc.core.control import Order, Refusal
from fastproc.core.errors import QueueRefused, QueueUnavailable
from fastproc.core.snapshot import Snapshot
from fastproc.embedded.valkey import Valkey


def service(host: str, number: int = 1, of: int = 1) -> Snapshot:
    return Snapshot(
        host=host, number=number, of=of, pid=1, version="1", at_ms=0, started_at_ms=0, state="serving"
    )


async def soon(condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 10 s")


@pytest.fixture
def keys(unique: str) -> Keys:
    return Keys("bull", unique)


@contextlib.asynccontextmanager
async def listening(
    config: RedisConfig, pipe: Pipe, keys: Keys, host: str, handlers: Mapping[type, Handler], number: int = 1
) -> AsyncIterator[Receiver]:
    receiver = Receiver(connector(config, keys.base), pipe.call, keys, (host, number), handlers)
    task = asyncio.create_task(receiver.run())
    try:
        await asyncio.wait_for(receiver.listening.wait(), 10)
        yield receiver
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Obeying:
    """Handlers that remember what they were told."""

    def __init__(self) -> None:
        self.told: list[Order] = []
        self.handlers: dict[type, Handler] = {Set: self.set, Pause: self.pause, Cancel: self.cancel}

    async def set(self, order: Order) -> str:
        self.told.append(order)
        if order.act.value == "0":  # type: ignore[union-attr]
            raise Refusal("0 is refused")
        return f"now {order.act.value}"  # type: ignore[union-attr]

    async def pause(self, order: Order) -> str:
        raise RuntimeError("a defect")

    async def cancel(self, order: Order) -> None:
        self.told.append(order)


def where(server: Valkey) -> RedisConfig:
    return RedisConfig(host=server.host, port=server.port)


async def test_hosts_answer_refuse_break_or_say_nothing(
    own: Valkey, pipe: Pipe, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    a, a2, b = Obeying(), Obeying(), Obeying()
    async with (
        listening(where(own), pipe, keys, "a", a.handlers),
        listening(where(own), pipe, keys, "a", a2.handlers, 2),
        listening(where(own), pipe, keys, "b", b.handlers),
    ):
        there = [service("a", 1, 2), service("a", 2, 2), service("b")]

        async def ordered(act: Any) -> Any:
            return await control.order(pipe.call, keys, act, there, by="me@here", wait_s=0.5)

        outcome = await ordered(Set(name="concurrency", value="2"))
        assert (outcome.ok, outcome.count, outcome.hosts) == (True, 2, {"a": "now 2", "b": "now 2"})
        outcome = await ordered(Set(name="concurrency", value="0", host="b"))
        assert (outcome.ok, outcome.text) == (False, "0 is refused")
        assert [len(each.told) for each in (a, a2, b)] == [1, 1, 2]
        outcome = await ordered(Pause(host="b"))
        assert (outcome.ok, outcome.text) == (False, "unexpected error: RuntimeError")
        outcome = await ordered(Cancel(job="1"))
        assert outcome.hosts == dict.fromkeys("ab", "no answer in 0.5 s")
        assert [len(each.told) for each in (a, a2, b)] == [2, 2, 3]
        lists = list(await pipe.call("KEYS", keys("fastproc:control:*")))
        assert len(lists) == 3
        assert all([0 < await pipe.call("PTTL", key) <= control.ANSWERS_MS for key in lists])
    said = [record.getMessage() for record in caplog.records]
    assert said.count("order of me@here: set concurrency 2: now 2") == 3
    assert said.count("order of me@here: set concurrency 0: 0 is refused") == 1


async def test_what_is_no_order_is_said_once_and_harms_nobody(
    own: Valkey, pipe: Pipe, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    told = Obeying()
    async with listening(where(own), pipe, keys, "a", told.handlers):
        for hostile in (b"", b"\xff\x00", b"{", b'{"act": {"type": "rm"}}', b"x" * 100_000, b"[" * 60_000):
            await pipe.call("PUBLISH", control.channel(keys), hostile)
        order = {"act": {"type": "set", "name": "rate", "value": "off"}, "future": {"field": 1}}
        await pipe.call("PUBLISH", control.channel(keys), json.dumps(order))
        await soon(lambda: told.told)
    assert [record.levelname for record in caplog.records if "no order" in record.message] == ["WARNING"]


async def test_a_connection_that_is_lost_is_made_again(own: Valkey, pipe: Pipe, keys: Keys) -> None:
    told = Obeying()
    async with listening(where(own), pipe, keys, "a", told.handlers) as receiver:
        await pipe.call("CLIENT", "KILL", "TYPE", "pubsub")
        await soon(lambda: not receiver.listening.is_set())
        await soon(receiver.listening.is_set)
        outcome = await control.order(
            pipe.call, keys, Set(name="rate", value="off"), [service("a")], by="me", wait_s=5
        )
    assert outcome.ok


async def test_a_silent_connection_is_asked_whether_it_lives(
    own: Valkey, pipe: Pipe, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "SILENT_S", 0.1)
    told = Obeying()
    async with listening(where(own), pipe, keys, "a", told.handlers) as receiver:
        before = await pipe.call("CLIENT", "LIST", "TYPE", "pubsub")
        await asyncio.sleep(0.5)
        assert receiver.listening.is_set()
        after = await pipe.call("CLIENT", "LIST", "TYPE", "pubsub")
        assert before.split()[0] == after.split()[0]
        assert b"cmd=ping" in after


async def test_without_the_right_to_listen_there_is_one_warning(
    own: Valkey,
    pipe: Pipe,
    keys: Keys,
    unique: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control, "REFUSED_S", 0.05)
    with redis.Redis(host=own.host, port=own.port, protocol=2) as operator:
        operator.execute_command("ACL", "SETUSER", unique, "on", ">p", "~*", "resetchannels", "+@all")
    config = RedisConfig(url=f"redis://{unique}:p@{own.host}:{own.port}")
    receiver = Receiver(connector(config, keys.base), pipe.call, keys, ("a", 1), {})
    task = asyncio.create_task(receiver.run())
    await asyncio.sleep(0.4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    said = [record for record in caplog.records if "live control is off" in record.message]
    assert [record.levelname for record in said] == ["WARNING"]
    assert "NOPERM" in said[0].message
    assert not task.done() or task.cancelled()


async def test_snapshots_are_there_while_their_services_run(own: Valkey, pipe: Pipe, keys: Keys) -> None:
    one, two = hosts.Board(pipe.call, keys), hosts.Board(pipe.call, keys)
    assert await hosts.read(pipe.call, keys) == []
    assert await two.show(service("a", 2, 2)) > 0
    await one.show(service("a", 1, 2))
    assert await hosts.read(pipe.call, keys) == [service("a", 1, 2), service("a", 2, 2)]
    assert 0 < await pipe.call("PTTL", keys("fastproc:host:a:1")) <= hosts.LIFE_MS
    # What somebody else has put there is left out, and what has expired is taken out.
    await pipe.call("SET", keys("fastproc:host:x:1"), '{"host": 7}')
    await pipe.call("SADD", keys("fastproc:hosts"), "x:1", "gone:1")
    await one.leave()
    assert await hosts.read(pipe.call, keys) == [service("a", 2, 2)]
    assert set(await pipe.call("SMEMBERS", keys("fastproc:hosts"))) == {b"a:2", b"x:1"}


async def test_a_server_that_takes_no_writes_is_an_outage_and_a_missing_right_is_not(
    own: Valkey, pipe: Pipe, keys: Keys, unique: str
) -> None:
    with redis.Redis(host=own.host, port=own.port, protocol=2) as operator:
        operator.execute_command("ACL", "SETUSER", unique, "on", ">p", "~*", "&*", "+@all", "-sadd")
        other = Pipe(connector(RedisConfig(url=f"redis://{unique}:p@{own.host}:{own.port}"), keys.base))
        await other.open()
        with pytest.raises(QueueRefused, match="NOPERM"):
            await hosts.Board(other.call, keys).show(service("a"))
        await other.close()
        operator.config_set("min-replicas-to-write", 1)
        try:
            with pytest.raises(QueueUnavailable, match="NOREPLICAS") as caught:
                await hosts.Board(pipe.call, keys).show(service("a"))
            assert not isinstance(caught.value, QueueRefused)
        finally:
            operator.config_set("min-replicas-to-write", 0)
