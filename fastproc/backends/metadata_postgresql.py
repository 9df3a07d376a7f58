"""Writes photos' rows to the PostgreSQL that the API reads: for services on more hosts than one.

Rule 1: the API owns the schema. Only the contract's columns are written; others may exist.
Rule 2: a row that was confirmed survives a crash of the server: a commit waits for its disk.
Rule 3: rows that wait are written together, on one connection. One that another session has locked waits on a second
        one, so that it holds up nobody else. A probe has a third.
Rule 4: what the server says of a row and what it says of itself are told apart by `postgresql_errors` alone.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import psycopg

from fastproc.backends import photo_row, postgresql_schema
from fastproc.backends.group_commit import GroupCommit, RowBusy, Write
from fastproc.backends.photo_row import Value
from fastproc.backends.postgresql_link import Connection, Link, Target
from fastproc.backends.postgresql_rows import RowWriter, said_by
from fastproc.config.database import DatabaseConfig
from fastproc.core.errors import DatabaseUnavailable
from fastproc.supervisor.ports import MetadataStore, Row

T = TypeVar("T")

#: How long a row that another session has locked is tried before its caller hears of it, and the pause between tries.
_BUSY_S, _BUSY_PAUSE_S = 20.0, 0.2

#: Rows of one transaction, at most.
_MOST = 256

#: What the driver and the network raise.
_ERRORS = (psycopg.Error, OSError)


def create(config: DatabaseConfig) -> MetadataStore:
    """Return the store of this scheme, not opened yet. Raises ConfigError."""
    return PostgresMetadataStore(config.location)


class PostgresMetadataStore:
    """Rows in the table `photos` of the server that a URL names. Satisfies the port MetadataStore."""

    def __init__(self, url: str) -> None:
        """Raises ConfigError."""
        self.missing_rows, self._most = 0, _MOST
        self._target = Target(url)
        self.endpoint = self._target.where
        self._writer = RowWriter(self._target.table, self._missing)
        self._links = tuple(Link(self._target) for _ in range(3))
        main, late, self._probing = self._links
        self._rows = GroupCommit(partial(self._commit, main), self._describe)
        self._late = GroupCommit(partial(self._commit, late), self._describe)

    async def begin(self, photo_id: str, at: str, *, by: float = math.inf) -> None:
        """Mark the photo as `processing` since `at`. Raises DatabaseUnavailable, RowRefused."""
        await self._write(photo_id, photo_row.begun(at), by)

    async def complete(self, photo_id: str, row: Row, at: str, *, by: float = math.inf) -> None:
        """Mark the photo as `completed` at `at`. Raises DatabaseUnavailable, RowRefused."""
        await self._write(photo_id, photo_row.completed(row, at), by)

    async def fail(self, photo_id: str, error: str, at: str, *, final: bool, by: float = math.inf) -> None:
        """Record the error; a `final` one marks the photo as `failed`. Raises DatabaseUnavailable, RowRefused."""
        await self._write(photo_id, photo_row.failed(error, at, final=final), by)

    async def check(self) -> str:
        """Return what was found. Raises Unreachable unless the table is there, complete, and can be written to."""
        return await self._asked(partial(postgresql_schema.look, target=self._target))

    async def probe(self, deep: bool) -> None:
        """Plan a write; `deep`: and see a commit reach the disk. No row changes. Raises DatabaseUnavailable."""
        work = partial(postgresql_schema.touch, target=self._target, deep=deep)
        try:
            await self._probing.run(work)
        except DatabaseUnavailable as error:
            raise DatabaseUnavailable(f"{error.message} ({self._target.where})") from None
        except _ERRORS as error:
            raise DatabaseUnavailable(self._describe(error)) from None

    async def create_schema(self) -> None:
        """Make the table where it is missing. Idempotent. Raises Unreachable."""
        await self._asked(partial(postgresql_schema.create, target=self._target))

    async def close(self) -> None:
        """Commit what was accepted, then close. Idempotent."""
        await self._rows.close()
        await self._late.close()
        for link in self._links:
            await link.close()

    async def _write(self, photo_id: str, values: Mapping[str, Value], by: float) -> None:
        until, lane = time.monotonic() + _BUSY_S, self._rows
        while True:
            try:
                return await lane.write(photo_id, values, by=by)
            except RowBusy:
                if time.monotonic() > until:
                    raise
            lane = self._late
            await asyncio.sleep(_BUSY_PAUSE_S)

    async def _commit(self, link: Link, batch: Sequence[Write]) -> None:
        """Write the batch, in parts that the server does in time: what is slow is not away."""
        left = list(batch)
        while left:
            part, left = left[: self._most], left[self._most :]
            try:
                await link.run(partial(self._writer.write, batch=part))
            except TimeoutError:
                self._most = max(1, len(part) // 2)
                raise
            self._most = min(_MOST, 2 * self._most)

    async def _asked(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            return await self._probing.run(work)
        except _ERRORS as error:
            raise postgresql_schema.unreachable(self._target, error) from None

    def _describe(self, error: Exception) -> str:
        return f"{type(error).__name__}: {said_by(error)} ({self._target.where})"

    def _missing(self) -> None:
        self.missing_rows += 1
