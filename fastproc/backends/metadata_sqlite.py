"""Write photos' rows to the SQLite file that the API reads.

Rule 1: the API owns the schema. Only the columns of `COLUMNS` are touched; others may exist.
Rule 2: a row that was confirmed survives power loss, because its job is acknowledged next: `synchronous=FULL`
        (NORMAL would keep it through a crash of the process only). One fsync pays for everything that waits:
        group commit.
Rule 3: one thread talks to SQLite, so the event loop never waits for a disk or for another writer.
Rule 4: a database is never created here. Only `create_schema`, that is `fastproc init-db`, does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from fastproc.core.errors import DatabaseUnavailable, Unreachable
from fastproc.supervisor.ports import Row

log = logging.getLogger(__name__)

#: The contract's columns, and how they are made where there is no table. A table that lacks one is refused.
COLUMNS = {
    "id": "TEXT PRIMARY KEY",
    "processing_status": "TEXT NOT NULL DEFAULT 'pending'",
    "processing_started_at": "TEXT",
    "processing_completed_at": "TEXT",
    "processing_error": "TEXT",
    "width": "INTEGER",
    "height": "INTEGER",
    "processing_metadata": "TEXT",
    "updated_at": "TEXT",
}

#: Seconds to wait for another writer. Long, because the photo's work is done when its row is written: giving up
#: throws that away. Shorter than any sane job timeout.
_BUSY_S = 10.0

_Value = str | int | None


class _Write(Struct):
    """One row to write, and the future of whoever waits for it. `refused`: not worth another try."""

    photo_id: str
    values: Mapping[str, _Value]
    done: asyncio.Future[None]
    error: str | None = None
    refused: bool = False


class SqliteMetadataStore:
    """Rows in the table `photos` of the file at `path`. `missing_rows` counts rows that could not be created."""

    def __init__(self, path: str) -> None:
        self.missing_rows = 0
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._waiting: list[_Write] = []
        self._drainer: asyncio.Task[None] | None = None
        self._closed = False

    async def begin(self, photo_id: str, at: str) -> None:
        """Mark the photo as `processing` since `at`. Raises DatabaseUnavailable."""
        await self._write(
            photo_id,
            processing_status="processing",
            processing_started_at=at,
            processing_completed_at=None,
            processing_error=None,
            updated_at=at,
        )

    async def complete(self, photo_id: str, row: Row, at: str) -> None:
        """Mark the photo as `completed` at `at`. Raises DatabaseUnavailable."""
        await self._write(
            photo_id,
            processing_status="completed",
            processing_completed_at=at,
            processing_error=None,
            width=row.width,
            height=row.height,
            processing_metadata=row.processing_metadata,
            updated_at=at,
        )

    async def fail(self, photo_id: str, error: str, at: str, *, final: bool) -> None:
        """Record the error; a final one marks the photo as `failed`. Raises DatabaseUnavailable.

        `processing_completed_at` stays empty, so that it is set where and only where a photo is completed;
        `updated_at` says when it failed.
        """
        await self._write(
            photo_id,
            processing_status="failed" if final else "processing",
            # A producer's text may hold lone surrogates, which SQLite does not take.
            processing_error=error.encode(errors="backslashreplace").decode(),
            updated_at=at,
        )

    async def check(self) -> None:
        """Raises Unreachable unless the table is there, complete, and can be written to."""
        await asyncio.get_running_loop().run_in_executor(self._thread, _check, self._path)

    async def close(self) -> None:
        """Commit what was accepted, then close. Idempotent."""
        self._closed = True
        while self._drainer is not None:
            await asyncio.wait([self._drainer])
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown()

    async def _write(self, photo_id: str, **values: _Value) -> None:
        if self._closed:
            raise DatabaseUnavailable("the database was closed: the service is ending")
        write = _Write(photo_id, values, asyncio.get_running_loop().create_future())
        self._waiting.append(write)
        if self._drainer is None:
            self._drainer = asyncio.create_task(self._drain(), name="sqlite commits")
        await write.done

    async def _drain(self) -> None:
        # What arrives while one transaction runs goes into the next one together.
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await loop.run_in_executor(self._thread, self._commit, batch)
            except Exception as error:  # Whatever it was, the jobs that wait must hear of it.
                said = f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error} ({self._path})"
                for write in batch:
                    write.error = said
            for write in (write for write in batch if not write.done.done()):  # Some jobs were cancelled.
                if write.error is None:
                    write.done.set_result(None)
                else:
                    write.done.set_exception(DatabaseUnavailable(write.error))
        self._drainer = None

    # Below: in the thread.

    def _commit(self, batch: Sequence[_Write]) -> None:
        """Write the batch in one transaction; a refused row leaves its neighbours alone."""
        try:
            connection = self._opened()
            while not self._transact(connection, [write for write in batch if not write.refused]):
                continue
        except Exception:
            # Full disk, damaged file, a lock that was not released: the next batch begins with a fresh look.
            self._drop()
            raise

    def _transact(self, connection: sqlite3.Connection, batch: Sequence[_Write]) -> bool:
        """Return False where a refused row took the transaction with it (ON CONFLICT ROLLBACK)."""
        connection.execute("BEGIN IMMEDIATE")
        for write in batch:
            self._upsert(connection, write)
            if not connection.in_transaction:
                return False
        connection.execute("COMMIT")
        return True

    def _upsert(self, connection: sqlite3.Connection, write: _Write) -> None:
        # No savepoint: either statement is atomic, and only one of the two has an effect.
        names, values = tuple(write.values), tuple(write.values.values())
        update = f"UPDATE photos SET {', '.join(f'{name}=?' for name in names)} WHERE id=?"
        insert = f"INSERT INTO photos (id, {', '.join(names)}) VALUES (?{', ?' * len(names)})"
        try:
            if connection.execute(update, (*values, write.photo_id)).rowcount:
                return
        except sqlite3.IntegrityError as error:
            write.refused = True
            write.error = f"the row of photo {write.photo_id} was refused: {error}"
            return
        try:
            connection.execute(insert, (write.photo_id, *values))
        except sqlite3.IntegrityError as error:
            write.refused = True
            self.missing_rows += 1
            log.warning("photo %s has no row, and none could be made: %s", write.photo_id, error)

    def _opened(self) -> sqlite3.Connection:
        """Return the connection to the file that is at the path now. Raises sqlite3.Error, OSError."""
        # SQLite would go on writing to a file that was deleted or replaced, and the rows would be lost.
        stat = os.stat(self._path)
        if self._connection is not None and self._file != (stat.st_dev, stat.st_ino):
            log.warning("the database %s was replaced; opening it again", self._path)
            self._drop()
        self._file = (stat.st_dev, stat.st_ino)
        self._connection = self._connection or _open(self._path)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _open(path: str) -> sqlite3.Connection:
    """Open an existing database. Raises sqlite3.Error."""
    uri = f"file:{quote(os.path.abspath(path))}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)
    try:
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def create_schema(path: str) -> None:
    """Make the database, its folder and the table where they are missing. Idempotent. Raises Unreachable."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        with closing(sqlite3.connect(path, timeout=_BUSY_S)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"CREATE TABLE IF NOT EXISTS photos ({columns})")
    except (sqlite3.Error, OSError) as error:
        raise Unreachable(f"SQLITE_PATH: {path} cannot be made into a database: {error}") from error


def _check(path: str) -> None:
    try:
        os.stat(os.path.dirname(os.path.abspath(path)))
        os.stat(path)
        with closing(_open(path)) as connection:
            present = {name for _, name, *_ in connection.execute("PRAGMA table_info(photos)")}
            if present:  # BEGIN IMMEDIATE alone succeeds on a read-only file.
                connection.executescript("BEGIN IMMEDIATE; DELETE FROM photos WHERE 0; ROLLBACK")
    except FileNotFoundError as error:
        lost = f"SQLITE_PATH: {error.filename} does not exist; `fastproc init-db` creates it"
        raise Unreachable(lost) from error
    except (sqlite3.Error, OSError) as error:
        raise Unreachable(f"SQLITE_PATH: {path} cannot be used: {error}") from error
    if not present:
        raise Unreachable(f"SQLITE_PATH: {path} has no table `photos`; `fastproc init-db` creates it")
    if missing := [name for name in COLUMNS if name not in present]:
        raise Unreachable(f"SQLITE_PATH: the table `photos` in {path} lacks {', '.join(missing)}")
