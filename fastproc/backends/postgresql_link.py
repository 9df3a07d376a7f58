"""One connection to PostgreSQL, opened when it is needed and replaced when it is broken.

Rule 1: every wait has a limit of this side, because a server that hangs, or packets that are dropped, end nothing.
Rule 2: what the URL says counts; defaults are only for what it does not say.
Rule 3: nothing lasts longer than a transaction and no statement is prepared in the server, so that PgBouncer may give
        each transaction another server connection.
Rule 4: no pool with threads or tasks of its own: three connections with one user each need none, and a reconnect
        belongs to whoever asks, because the breaker sets the pace.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from fastproc.core.errors import ConfigError, DatabaseUnavailable

#: It warns of what it could not say on a connection that has failed; what failed reaches us as an exception.
logging.getLogger("psycopg").setLevel(logging.ERROR)

T = TypeVar("T")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]

#: Longest wait for the answer to one transaction, and for a connection.
ANSWER_S = 5.0
CONNECT_S: Final = 5

#: What libpq gets where the URL says nothing. A peer that is gone without a word is noticed after about 10 s.
_DEFAULTS: Final = {
    "connect_timeout": CONNECT_S,
    "fallback_application_name": "fastproc",
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

#: Parameters that Prisma and its like add to the URL they share with us, and that concern only their own pools.
_OTHERS: Final = frozenset(
    {"connection_limit", "pool_timeout", "pgbouncer", "statement_cache_size", "socket_timeout"}
)


class Target:
    """Where a URL leads: libpq's parameters, the schema that it names, and how messages call it."""

    def __init__(self, url: str, variable: str = "DATABASE_URL") -> None:
        """Raises ConfigError."""
        self.variable = variable
        base, _, query = url.partition("?")
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        schemas = [value for name, _, value in pairs if name == "schema"]
        kept = "&".join(f"{name}={value}" for name, _, value in pairs if name not in _OTHERS | {"schema"})
        try:
            given = conninfo_to_dict(f"{base}?{kept}" if kept else base)
            self.schema = str(conninfo_to_dict(f"postgresql:///{schemas[-1]}")["dbname"]) if schemas else ""
            several = "," in str(given.get("host", ""))
            defaults = {"target_session_attrs": "read-write", **_DEFAULTS} if several else _DEFAULTS
            self.parameters: dict[str, Any] = {**defaults, **given, "client_encoding": "UTF8"}
            make_conninfo("", **self.parameters)
            if "%" in self.schema:
                raise ConfigError([f"{variable}: a schema has no '%' in its name here"])
        except (psycopg.Error, KeyError) as error:
            raise ConfigError([f"{variable}: {_parse_problem(error, kept)}"]) from None
        name = given.get("dbname") or given.get("user") or ""
        self.where = f"PostgreSQL at {_hosts(given)}/{name}"

    @property
    def table(self) -> str:
        """The table as statements name it: where the URL names no schema, the server's search path finds it."""
        return f"{_quoted(self.schema)}.photos" if self.schema else "photos"

    async def connect(self) -> Connection:
        """Raises psycopg.Error, OSError."""
        return await psycopg.AsyncConnection.connect(
            autocommit=True, prepare_threshold=None, **self.parameters
        )


def _parse_problem(error: Exception, query: str) -> str:
    # libpq's text may have a part of the password in it, where that is not quoted; a parameter's name has none.
    for name in (pair.partition("=")[0] for pair in query.split("&")):
        if name and f'"{name}"' in str(error):
            return f"PostgreSQL's library does not take the parameter {name!r}"
    return "PostgreSQL's library cannot read this URL; special characters of user and password need %-escapes"


def _hosts(given: Mapping[str, Any]) -> str:
    hosts = str(given.get("host") or given.get("hostaddr") or "localhost").split(",")
    ports = str(given.get("port") or "5432").split(",")
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    return ",".join(
        host if host.startswith("/") else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        for host, port in zip(hosts, ports, strict=True)
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class Link:
    """A connection that one at a time uses; `run` opens it, and opens it again after it broke."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection: Connection | None = None
        self._in_use = asyncio.Lock()

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work`, which may be repeated, on the connection. Raises what it raises, and OSError, TimeoutError.

        What was open before may have ended while nobody looked, or lead to a server that has become read-only: then
        `work` is run again on a new connection, once, unless this process itself has stood still meanwhile: what it
        wanted then may be out of date.
        """
        async with self._in_use:
            was_open, began = self._connection is not None, time.monotonic()
            try:
                return await self._run(work)
            except (psycopg.Error, DatabaseUnavailable):
                if not was_open or time.monotonic() > began + ANSWER_S:
                    raise
            return await self._run(work)

    async def close(self) -> None:
        """Idempotent."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        if self._connection is None:
            self._connection = await self._target.connect()
        connection = self._connection
        # A task, because psycopg answers a cancellation with a question to the server, and waits for its answer.
        task = asyncio.ensure_future(work(connection))
        try:
            await asyncio.wait((task,), timeout=ANSWER_S)
            if not task.done():
                raise TimeoutError(f"no answer in {ANSWER_S:g} s")
            return task.result()
        finally:
            if not task.done() or task.cancelled() or task.exception():
                await self._drop(connection, task)

    async def _drop(self, connection: Connection, task: asyncio.Future[T]) -> None:
        """End a connection on which something has failed, and what still waits for its answer."""
        self._connection = None
        if not task.done():
            _hang_up(connection)
            await asyncio.wait((task,))
            task.cancelled() or task.exception()  # Nobody waits for it any more.
        await connection.close()


def _hang_up(connection: Connection) -> None:
    """End the connection without a word to the server: whoever waits for an answer gets an error at once."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as raw:
        raw.shutdown(socket.SHUT_RDWR)
