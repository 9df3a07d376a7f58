"""Fixtures that several modules of this room share: services that are ended, a scripted S3 server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.service import Place, Service, Start
from tests.scripted_s3 import Scripted


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
