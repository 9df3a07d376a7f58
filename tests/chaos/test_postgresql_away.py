"""PostgreSQL is stopped, or says nothing, under jobs with one attempt: none of them fails, and each has one row."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fastproc.backends.metadata_postgresql import PostgresMetadataStore
from fastproc.embedded.child import ServerFailed
from fastproc.embedded.postgresql import PostgreSQL
from fastproc.embedded.trial.faults import Hang
from fastproc.embedded.trial.place import Place
from fastproc.embedded.trial.proxy import Proxy, always
from fastproc.embedded.trial.rows import PostgresDatabase
from fastproc.embedded.trial.wire import Stream
from tests.chaos.conftest import Make, Wrong
from tests.chaos.outage import endure

ABOUT_S = 20.0


def scenario(make: Make, name: str) -> list[str]:
    with (
        tempfile.TemporaryDirectory(prefix="fastproc-pg-") as folder,
        PostgreSQL(Path(folder)) as server,
        Proxy(server.port, Stream) as proxy,
    ):
        asyncio.run(create(server.url()))
        rows = PostgresDatabase(server.url(), through=server.url(port=proxy.port))
        with make(rows=rows) as place:
            return CASES[name](place, server, proxy)


async def create(url: str) -> None:
    store = PostgresMetadataStore(url)
    try:
        await store.create_schema()
    finally:
        await store.close()


def stopped(place: Place, server: PostgreSQL, _: Proxy) -> list[str]:
    """The server is stopped for some seconds and comes back, as in an update."""

    def back() -> None:
        server.start()
        server.wait_ready()

    return endure(place, place.start(), server.stop, back, seconds=4.0, not_ready="database")


def silent(place: Place, _: PostgreSQL, proxy: Proxy) -> list[str]:
    """What is sent gets no answer, as behind a network that drops packets."""

    def drop() -> None:
        proxy.rule = always(Hang())

    def pass_on() -> None:
        proxy.rule = None

    return endure(place, place.start(), drop, pass_on, seconds=4.0, not_ready="database")


CASES: dict[str, Callable[[Place, PostgreSQL, Proxy], list[str]]] = {
    "stopped and started": stopped,
    "silent": silent,
}


@pytest.mark.parametrize("name", CASES)
def test_no_job_fails_because_of_postgresql(name: str, wrong: Wrong) -> None:
    try:
        assert wrong(name) == []
    except ServerFailed as error:
        pytest.skip(str(error))
