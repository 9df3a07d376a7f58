"""Socket.IO's own servers and clients in a Node process, beside our sinks or our whole service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis

from fastproc.backends import factories
from fastproc.bullmq.address import connector
from fastproc.bullmq.pipe import Pipe
from fastproc.config.redis import RedisConfig
from fastproc.config.s3 import S3Config
from fastproc.config.settings import load
from fastproc.embedded.valkey import Valkey
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.ports import EventSink
from tests.conformance import peer as peers
from tests.conformance.peer import Peer
from tests.integration.conftest import start  # noqa: F401  # pytest finds it here
from tests.integration.service import Place

HERE = Path(__file__).parent
PATIENCE_S = 20.0


@pytest.fixture(scope="session")
def peer(valkey: Valkey) -> Iterator[Peer]:
    """The official packages, in a process that all tests share."""
    peers.require(HERE)
    peer = Peer(valkey.port, folder=HERE)
    yield peer
    peer.close()


@pytest.fixture
def operator(valkey: Valkey) -> Iterator[redis.Redis]:
    """A look at the server from outside; replies are bytes."""
    with redis.Redis(port=valkey.port, protocol=2) as client:
        client.ping()
        yield client


class Rooms:
    """Socket.IO servers of one test, on one Redis, and their clients."""

    def __init__(self, peer: Peer, key: str) -> None:
        self.key = key
        self._peer, self._servers = peer, list[str]()

    async def serve(
        self, server: str, adapter: str, *, client: str = "redis", nsp: str = "/", recovery: bool = False
    ) -> None:
        self._servers.append(self._named(server))
        await self._peer(
            "serve", server=self._named(server), adapter=adapter, client=client, key=self.key, nsp=nsp,
            recovery=recovery,
        )  # fmt: skip

    async def connect(self, name: str, server: str, *rooms: str | int, nsp: str = "/") -> None:
        await self._peer("connect", name=self._named(name), server=self._named(server), rooms=rooms, nsp=nsp)

    async def heard(self, name: str) -> list[tuple[str, list[Any]]]:
        return [(event, said) for event, said in await self._peer("heard", name=self._named(name))]

    async def events(self, name: str) -> list[dict[str, Any]]:
        """The events that a client has heard, each under its own type."""
        found = await self.heard(name)
        assert all(len(said) == 1 and event == said[0]["type"] for event, said in found), found
        return [said[0] for _, said in found]

    async def until(
        self, name: str, happened: Callable[[list[dict[str, Any]]], bool]
    ) -> list[dict[str, Any]]:
        """Return a client's events as soon as they are as told."""
        deadline = time.monotonic() + PATIENCE_S
        while not happened(found := await self.events(name)):
            assert time.monotonic() < deadline, f"{name} has heard {found}"
            await asyncio.sleep(0.02)
        return found

    async def until_heard(self, name: str, count: int) -> list[tuple[str, list[Any]]]:
        """Return all that a client has heard, as soon as that is so much."""
        deadline = time.monotonic() + PATIENCE_S
        while len(found := await self.heard(name)) < count:
            assert time.monotonic() < deadline, f"{name} has heard {found}"
            await asyncio.sleep(0.02)
        return found

    async def tell(self, op: str, **command: Any) -> Any:
        for each in ("server", "name"):
            if each in command:
                command[each] = self._named(command[each])
        return await self._peer(op, **command)

    async def leave(self) -> None:
        for server in self._servers:
            await self._peer("stop", server=server)

    def _named(self, name: str) -> str:
        return f"{self.key} {name}"


@pytest_asyncio.fixture
async def rooms(peer: Peer, unique: str, operator: redis.Redis) -> AsyncIterator[Rooms]:
    made = Rooms(peer, unique)
    yield made
    await made.leave()
    operator.delete(unique)


@pytest_asyncio.fixture
async def sink(valkey: Valkey, unique: str) -> AsyncIterator[Callable[..., EventSink]]:
    """Makes the sink of all events by further variables; Socket.IO's key is the test's own."""
    pipe = Pipe(connector(RedisConfig(host=valkey.host, port=valkey.port), "any-key"))
    await pipe.open()
    yield lambda **env: factories.event_sink(
        pipe.call, load({"EVENTS_SOCKETIO_KEY": unique, **env}, 1), Metrics()
    )
    await pipe.close()


@pytest.fixture
def place(valkey: Valkey, s3: S3Config, s3_client: Any, sqlite_path: str, unique: str) -> Iterator[Place]:
    made = Place(valkey, s3, s3_client, sqlite_path, unique)
    yield made
    made.close()
