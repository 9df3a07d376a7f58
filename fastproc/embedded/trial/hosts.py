"""Several hosts that share a queue, a store and a database: each runs a service in a network namespace of its own.

Rule 1: the block runs in a thread that lives as long as the servers must (`child`, rule 1); this thread is in the
        middle of the network, and so is what it starts.
Rule 2: the servers listen on all addresses of the middle, and the queue's without a password: nothing else can reach
        that network.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from fastproc.backends.metadata_postgresql import PostgresMetadataStore
from fastproc.config.s3 import S3Config
from fastproc.embedded.postgresql import PostgreSQL
from fastproc.embedded.seaweedfs import SeaweedFS
from fastproc.embedded.together import together
from fastproc.embedded.trial.ground import Ground
from fastproc.embedded.trial.network import SERVERS, Host, network
from fastproc.embedded.trial.process import Service
from fastproc.embedded.trial.rows import PostgresDatabase
from fastproc.embedded.valkey import Valkey

#: The addresses at which hosts know the servers.
QUEUE_SERVER, STORE, DATABASE = SERVERS
_ANYWHERE = "0.0.0.0"


class Hosts(Ground):
    """Running servers, and hosts that reach them. `with hosts(...)` makes them."""

    def __init__(
        self, folder: Path, valkey: Valkey, s3: S3Config, s3_client: Any, rows: PostgresDatabase
    ) -> None:
        super().__init__(folder, valkey, s3, s3_client, rows)
        #: The database, from the middle and from a host.
        self.url, self.url_on_hosts = rows.url, rows.environment["DATABASE_URL"]
        self.all: list[Host] = []
        self._on: dict[Host, Service] = {}

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a service, the same on each host."""
        return {
            **super().environment,
            "REDIS_HOST": QUEUE_SERVER,
            "REDIS_PORT": str(self.valkey.port),
            "MINIO_ENDPOINT": STORE,
            "MINIO_PORT": str(self.s3.port),
        }

    def service(self, host: Host) -> Service:
        """The newest service of a host."""
        return self._on[host]

    def runs(self, host: Host) -> bool:
        """Whether the host has a service that has not ended."""
        return host in self._on and self._on[host].ended is None

    def start(self, host: Host, settings: Mapping[str, str]) -> Service:
        """Start a service on a host; it is not ready yet."""
        service = self._on[host] = Service({**self.environment, **settings}, self.folder, host.inside)
        self.services.append(service)
        return service

    def kill(self, host: Host) -> None:
        """End all processes of a host's service at once, as SIGKILL to its group or a loss of power does."""
        service = self.service(host)
        workers = service.workers()
        service.kill()
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        service.wait()

    def completed_by(self, host: Host) -> int:
        """How many jobs the newest service of a host has completed, by its log."""
        return sum("outcome=completed" in line for line in self._on[host].lines) if host in self._on else 0

    def open_transactions(self) -> list[str]:
        """What the database has had open for longer than any transaction of a service lasts."""
        with psycopg.connect(self.url, connect_timeout=10) as connection:
            found = connection.execute(
                "SELECT query FROM pg_stat_activity WHERE xact_start < now() - interval '5 s'"
                " AND backend_type = 'client backend'"
            )
            return [query for (query,) in found]

    def forget(self, photos: Sequence[str]) -> None:
        """Remove rows that are no job's."""
        with psycopg.connect(self.url, connect_timeout=10) as connection:
            connection.execute("DELETE FROM photos WHERE id = ANY(%s)", (list(photos),))


@contextlib.contextmanager
def hosts(folder: Path, count: int) -> Iterator[Hosts]:
    """Start the servers in `folder`, and make so many hosts. Raises NetworkRefused, ServerFailed."""
    valkey = Valkey(folder / "valkey", options=("--bind", _ANYWHERE, "--protected-mode", "no"))
    seaweedfs = SeaweedFS(folder / "seaweedfs", listen=_ANYWHERE)
    postgresql = PostgreSQL(folder / "postgresql", listen=_ANYWHERE)
    with (
        network(count) as made,
        together(valkey, seaweedfs, postgresql),
        contextlib.closing(seaweedfs.client()) as client,
        contextlib.ExitStack() as stack,
    ):
        asyncio.run(_create_table(postgresql.url()))
        rows = PostgresDatabase(postgresql.url(), through=postgresql.url(host=DATABASE))
        ground = Hosts(folder, valkey, seaweedfs.config, client, rows)
        ground.all += made
        stack.enter_context(ground.redis)
        stack.enter_context(ground.listener)
        stack.callback(ground.close)
        yield ground


async def _create_table(url: str) -> None:
    store = PostgresMetadataStore(url)
    try:
        await store.create_schema()
    finally:
        await store.close()
