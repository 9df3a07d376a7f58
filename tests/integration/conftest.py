"""Fixtures that several modules of this room share: services that are ended, a scripted S3 server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fastproc.bullmq.address import connector
from fastproc.bullmq.pipe import Pipe
from fastproc.config.redis import RedisConfig
from fastproc.config.s3 import S3Config
from fastproc.embedded.valkey import Valkey
from tests.integration.service import Place, Service, Start
from tests.scripted_s3 import Scripted


@pytest.fixture
def place(valkey: Valkey, s3: S3Config, s3_client: Any, sqlite_path: str, unique: str) -> Iterator[Place]:
    """A queue, a bucket and a database of the test's own. A module that needs another has its own fixture."""
    opened = Place(valkey, s3, s3_client, sqlite_path, unique)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, valkey: Valkey) -> Iterator[Valkey]:
    """A Valkey that tests may break; `valkey` decides whether there is one at all."""
    with Valkey(tmp_path_factory.mktemp("own")) as server:
        yield server


@pytest.fixture
def start(place: Place, tmp_path: Path) -> Iterator[Start]:
    """Starts services in the module's `place`; those that still run at the end are killed."""
    services: list[Service] = []

    def go(*, ready: bool = True, **settings: str) -> Service:
        services.append(Service(place, tmp_path, settings))
        if ready:
            services[-1].wait_ready()
        return services[-1]

    yield go
    for service in services:
        service.close()


@pytest_asyncio.fixture
async def scripted() -> AsyncIterator[Scripted]:
    """A server that is not started yet."""
    server = Scripted()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def pipe(own: Valkey) -> AsyncIterator[Pipe]:
    opened = Pipe(connector(RedisConfig(host=own.host, port=own.port), "any-key"))
    await opened.open()
    yield opened
    await opened.close()
