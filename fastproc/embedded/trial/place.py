"""Where one service is tried: a queue server and a database of its own, a bucket, and a proxy before each server.

Rule 1: the service reaches both servers through the proxies; whoever adds jobs and looks does not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastproc.config.s3 import S3Config
from fastproc.embedded.child import HOST
from fastproc.embedded.trial.ground import Ground
from fastproc.embedded.trial.process import Service
from fastproc.embedded.trial.proxy import Proxy
from fastproc.embedded.trial.rows import Database, SqliteDatabase
from fastproc.embedded.trial.wire import Commands, Requests
from fastproc.embedded.valkey import Valkey

#: The database, where no other one is given.
FILE = "database/photos.db"


class Place(Ground):
    """All that a service needs; `environment` leads there. `with place(...)` makes one."""

    def __init__(self, folder: Path, valkey: Valkey, s3: S3Config, s3_client: Any, rows: Database) -> None:
        super().__init__(folder, valkey, s3, s3_client, rows)
        self.database = folder / FILE
        self.redis_proxy = Proxy(valkey.port, Commands)
        self.s3_proxy = Proxy(s3.port or 0, Requests)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a service."""
        return {
            **super().environment,
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(self.redis_proxy.port),
            "MINIO_ENDPOINT": HOST,
            "MINIO_PORT": str(self.s3_proxy.port),
        }

    def start(self, *, ready: bool = True, **settings: str) -> Service:
        """Start a service, which ends with this place at the latest."""
        service = Service({**self.environment, **settings}, self.folder)
        self.services.append(service)
        if ready:
            service.wait_ready()
        return service


@contextlib.contextmanager
def place(
    folder: Path, s3: S3Config, s3_client: Any, *, valkey: Sequence[str] = (), rows: Database | None = None
) -> Iterator[Place]:
    """Make a place in `folder`, with the bucket of `s3`; `valkey` are options of its server. Raises ServerFailed.

    `rows`: a database that has the table `photos`; by default a file is made.
    """
    with Valkey(folder / "valkey", options=tuple(valkey)) as server, contextlib.ExitStack() as stack:
        made = Place(folder, server, s3, s3_client, rows or SqliteDatabase.made(folder / FILE))
        stack.enter_context(made.redis)
        for part in (made.redis_proxy, made.s3_proxy, made.listener):
            stack.enter_context(part)
        stack.callback(made.close)
        yield made
