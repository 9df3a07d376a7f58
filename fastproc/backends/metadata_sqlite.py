"""Writes photos' rows to the SQLite file that the API reads.

Rule 1: the API owns the schema. Only the contract's columns are written; others may exist.
Rule 2: a row that ends an attempt survives power loss once it was confirmed, because its job is finished next:
        `synchronous=FULL`. One that begins an attempt survives the process only (NORMAL, no fsync): where it is lost
        with the machine, its job is found stalled and begun again.
Rule 3: one thread writes the rows, so the event loop never waits for a disk or for another writer. A probe has a thread
        and a connection of its own: it does not queue behind writes that wait for a lock.
Rule 4: a database is never created while the service runs: only `create_schema`, that is `fastproc init-db`, does.
Rule 5: a constraint, a trigger or a type that refuses a row is the row's fault; all other errors are the database's.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from fastproc.backends import photo_row, thread_calls
from fastproc.backends.group_commit import GroupCommit, Write
from fastproc.backends.photo_row import COLUMNS
from fastproc.config.database import DatabaseConfig
from fastproc.core.errors import DatabaseUnavailable, Unreachable
from fastproc.core.fields import fields
from fastproc.supervisor.ports import MetadataStore, Row

log = logging.getLogger(__name__)

#: Seconds to wait for another writer in one try. A write that fails is tried again while its job waits with its lock,
#: so that the thread is free for other questions, and for the end of the service, in between.
_BUSY_S = 2.0
_PROBE_BUSY_S = 0.5
#: Least time between the beginnings of two transactions (tuning.md).
PACE_S = 0.004

#: What the statement of one row raises where the row is refused: constraints, triggers, types, sizes, values.
_REFUSALS = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, ValueError)


def create(config: DatabaseConfig) -> MetadataStore:
    """Return the store of this scheme, not opened yet."""
    return SqliteMetadataStore(config.sqlite_path, "DATABASE_URL" if config.url else "SQLITE_PATH")


class SqliteMetadataStore:
    """Rows in the table `photos` of the file at `path`. Satisfies the port MetadataStore."""

    def __init__(self, path: str, variable: str = "SQLITE_PATH") -> None:
        """`variable` is the setting that names the file, for messages."""
        self.missing_rows, self.endpoint = 0, path
        self._path, self._variable = path, variable
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._lasting = True
        self._file: tuple[int, int] | None = None
        self._rows = GroupCommit(self._commit_in_thread, self._describe, PACE_S)

    async def begin(self, photo_id: str, at: str, *, by: float = math.inf) -> None:
        """Mark the photo as `processing` since `at`. Raises DatabaseUnavailable, RowRefused."""
        await self._rows.write(photo_id, photo_row.begun(at), by=by, lasting=False)

    async def complete(self, photo_id: str, row: Row, at: str, *, by: float = math.inf) -> None:
        """Mark the photo as `completed` at `at`. Raises DatabaseUnavailable, RowRefused."""
        await self._rows.write(photo_id, photo_row.completed(row, at), by=by)

    async def fail(self, photo_id: str, error: str, at: str, *, final: bool, by: float = math.inf) -> None:
        """Record the error; a `final` one marks the photo as `failed`. Raises DatabaseUnavailable, RowRefused."""
        await self._rows.write(photo_id, photo_row.failed(error, at, final=final), by=by)

    async def check(self) -> str:
        """Raises Unreachable unless the table is there, complete, and can be written to. There is no more to say."""
        await self._in_thread(_check, self._path, self._variable)
        return ""

    async def probe(self, deep: bool) -> None:
        """Take the write lock; `deep`: and see a page reach the disk. No row changes. Raises DatabaseUnavailable."""
        try:
            await asyncio.to_thread(_touch, self._path, deep)
        except (sqlite3.Error, OSError) as error:
            raise DatabaseUnavailable(self._describe(error)) from None

    async def create_schema(self) -> None:
        """Make the database, its folder and the table where they are missing. Idempotent. Raises Unreachable."""
        await self._in_thread(create_schema, self._path, self._variable)

    async def close(self) -> None:
        """Commit what was accepted, then close. Idempotent."""
        await self._rows.close()
        if self._connection is not None:
            await self._in_thread(self._drop)
        # It waits for what the thread does, a locked database for example, and must not block the loop meanwhile.
        await asyncio.to_thread(self._thread.shutdown)

    async def _in_thread(self, work: Callable[..., None], *args: object) -> None:
        await thread_calls.call(self._thread, work, *args)

    async def _commit_in_thread(self, batch: Sequence[Write]) -> None:
        await self._in_thread(self._commit, batch)

    def _describe(self, error: Exception) -> str:
        return f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error} ({self._path})"

    # Below: in the thread.

    def _commit(self, batch: Sequence[Write]) -> None:
        """Write the batch in one transaction; a refused row leaves its neighbours alone."""
        try:
            connection = self._opened()
            while not self._transact(connection, [write for write in batch if not write.left_out]):
                continue
        except Exception:
            # Full disk, damaged file, a lock that was not released: the next batch begins with a fresh look.
            self._drop()
            raise

    def _transact(self, connection: sqlite3.Connection, batch: Sequence[Write]) -> bool:
        """Return False where a refused row took the transaction with it (ON CONFLICT ROLLBACK)."""
        lasting = any(write.lasting for write in batch)
        if lasting is not self._lasting:
            # Not possible in a transaction. The fsync of a lasting one is for all that were written before it, too.
            connection.execute(f"PRAGMA synchronous={'FULL' if lasting else 'NORMAL'}")
            self._lasting = lasting
        connection.execute("BEGIN IMMEDIATE")
        for write in batch:
            # Asked when nobody else can write: a process that stops here holds the others up until it goes on.
            if time.monotonic() > write.by:
                write.late()
                continue
            self._upsert(connection, write)
            if not connection.in_transaction:
                return False
        connection.execute("COMMIT")
        return True

    def _upsert(self, connection: sqlite3.Connection, write: Write) -> None:
        # No savepoint: either statement is atomic, and only one of the two has an effect.
        values = tuple(write.values.values())
        update, insert = _statements(tuple(write.values))
        try:
            if connection.execute(update, (*values, write.photo_id)).rowcount:
                return
        except _REFUSALS as error:
            write.refused = f"the row of photo {write.photo_id} was refused: {error}"
            return
        except sqlite3.OperationalError as error:
            # A logic error, such as a trigger that fails on this row; anything else is about the database.
            if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            write.failed = self._describe(error)
            return
        try:
            connection.execute(insert, (write.photo_id, *values))
        except _REFUSALS as error:
            write.rowless = True
            self.missing_rows += 1
            words, about = "photo %s has no row, and none could be made: %s", fields(photoId=write.photo_id)
            log.warning(words, write.photo_id, error, extra=about)

    def _opened(self) -> sqlite3.Connection:
        """Return the connection to the file that is at the path now. Raises sqlite3.Error, OSError."""
        # SQLite would go on writing to a file that was deleted or replaced, and the rows would be lost.
        stat = os.stat(self._path)
        if self._connection is not None and self._file != (stat.st_dev, stat.st_ino):
            log.warning("the database %s was replaced; opening it again", self._path)
            self._drop()
        self._file = (stat.st_dev, stat.st_ino)
        if self._connection is None:
            self._connection, self._lasting = _open(self._path), True
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _open(path: str, busy_s: float = _BUSY_S) -> sqlite3.Connection:
    """Open an existing database; wait at most `busy_s` for another writer. Raises sqlite3.Error."""
    uri = f"file:{quote(os.path.abspath(path))}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=busy_s, isolation_level=None)
    try:
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@functools.cache
def _statements(names: tuple[str, ...]) -> tuple[str, str]:
    """The UPDATE and the INSERT of a row with these columns: three kinds of row are all there are."""
    update = f"UPDATE photos SET {', '.join(f'{name}=?' for name in names)} WHERE id=?"
    return update, f"INSERT INTO photos (id, {', '.join(names)}) VALUES (?{', ?' * len(names)})"


def _touch(path: str, deep: bool) -> None:
    """Begin a write; `deep`: write a page. No row and no trigger is touched. Raises sqlite3.Error, OSError."""
    os.stat(path)
    with closing(_open(path, _PROBE_BUSY_S)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        if deep:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute(f"PRAGMA user_version={int(version)}")
        # Compiled with the table's triggers, so that a column or a table that they miss is found.
        connection.execute(f"UPDATE photos SET {', '.join(f'{name}={name}' for name in COLUMNS)} WHERE 0")
        connection.execute("COMMIT")


def create_schema(path: str, variable: str = "SQLITE_PATH") -> None:
    """Make the database, its folder and the table where they are missing. Idempotent. Raises Unreachable."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        with closing(sqlite3.connect(path, timeout=_BUSY_S)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"CREATE TABLE IF NOT EXISTS photos ({columns})")
    except (sqlite3.Error, OSError) as error:
        raise Unreachable(f"{variable}: {path} cannot be made into a database: {error}") from error


def _check(path: str, variable: str) -> None:
    try:
        os.stat(os.path.dirname(os.path.abspath(path)))
        os.stat(path)
        with closing(_open(path)) as connection:
            present = {name for _, name, *_ in connection.execute("PRAGMA table_info(photos)")}
            if present:  # BEGIN IMMEDIATE alone succeeds on a read-only file.
                connection.executescript("BEGIN IMMEDIATE; DELETE FROM photos WHERE 0; ROLLBACK")
    except FileNotFoundError as error:
        lost = f"{variable}: {error.filename} does not exist; `fastproc init-db` creates it"
        raise Unreachable(lost) from error
    except (sqlite3.Error, OSError) as error:
        raise Unreachable(f"{variable}: {path} cannot be used: {error}") from error
    if not present:
        raise Unreachable(f"{variable}: {path} has no table `photos`; `fastproc init-db` creates it")
    if missing := [name for name in COLUMNS if name not in present]:
        raise Unreachable(f"{variable}: the table `photos` in {path} lacks {', '.join(missing)}")
