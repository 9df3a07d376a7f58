"""Writes rows in transactions: many at once in one round trip, and what fails among them alone.

Rule 1: every value goes as text of no type, so that the server takes the column's: the API may have timestamps or
        texts, json, jsonb or text, uuid or varchar.
Rule 2: a transaction that fails is halved until the row that fails stands alone; the others are committed.
Rule 3: a transaction may be repeated: rows are set, nothing is counted up.
Rule 4: rows are locked in the order of their ids, so that services and their batches do not wait in a circle.
Rule 5: the server refuses what comes after the end of its job's lock, by its own clock (`postgresql_clock`): what was
        on its way through a network that was cut does not overwrite what another service has written since.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import psycopg
from psycopg.pq import TransactionStatus

from fastproc.backends.group_commit import Write
from fastproc.backends.photo_row import Value
from fastproc.backends.postgresql_clock import NOW, ServerClock
from fastproc.backends.postgresql_errors import Verdict, verdict
from fastproc.backends.postgresql_link import Connection
from fastproc.core.fields import fields

log = logging.getLogger(__name__)

#: Wait for a row or a table that another session has locked: of a batch, and of its parts once one was met.
_LOCK_MS, _LOCK_AGAIN_MS = 250, 20


def limits(lock_ms: int) -> bytes:
    """A query that sets, for one transaction, times after which the server itself gives up: shorter ones stay.

    A commit waits for the disk, also where the server or the role says otherwise: the row's job is finished next.
    """
    times = {
        "lock_timeout": lock_ms,
        "statement_timeout": 5000,
        "idle_in_transaction_session_timeout": 10_000,
    }
    calls = [
        f"set_config('{name}', CASE WHEN current_setting('{name}')::interval BETWEEN '1ms' AND '{ms}ms'"
        f" THEN current_setting('{name}') ELSE '{ms}ms' END, true)"
        for name, ms in times.items()
    ]
    commit = "current_setting('synchronous_commit')"
    calls.append(f"set_config('synchronous_commit', coalesce(nullif({commit}, 'off'), 'on'), true)")
    return f"SELECT {', '.join(calls)}".encode()


#: An SQL text and its values; how one is made of a row.
Statement = tuple[bytes, Mapping[str, Value]]
Build = Callable[[Write, str], Statement]

_PATIENT, _HASTY = limits(_LOCK_MS), limits(_LOCK_AGAIN_MS)


class RowWriter:
    """Writes to one table; `missing` is called for each row that is not there and cannot be made."""

    def __init__(self, table: str, missing: Callable[[], None]) -> None:
        self._table, self._missing = table, missing
        self._clock = ServerClock()

    async def write(self, connection: Connection, batch: Sequence[Write]) -> None:
        """Write the batch and mark what was left out. Raises psycopg.Error where the database is away."""
        await self._clock.know(connection)
        writes = sorted((write for write in batch if not write.left_out), key=lambda write: write.photo_id)
        absent = {write.photo_id for write in await self._halving(connection, writes, self._update)}
        # All of a photo's, in their order: the first makes the row, what cannot be made any more is written into it.
        left = [write for write in writes if write.photo_id in absent and not write.left_out]
        left = await self._halving(connection, left, self._insert)
        left = await self._halving(connection, left, self._update)
        for write in left:
            self._rowless(write, "the database neither has it nor takes it")

    def _update(self, write: Write, by: str) -> Statement:
        return update(self._table, write.values, by, write.photo_id)

    def _insert(self, write: Write, by: str) -> Statement:
        return insert(self._table, write.values, by, write.photo_id)

    async def _halving(
        self, connection: Connection, writes: Sequence[Write], build: Build, setting: bytes = _PATIENT
    ) -> list[Write]:
        """Run a statement for each in one transaction; return those that found no row, or made none."""
        if not writes:
            return []
        try:
            return await self._transact(connection, writes, build, setting)
        except (psycopg.Error, ValueError) as error:
            found = await _judged(connection, error)
            if len(writes) == 1:
                await self._mark(
                    connection, writes[0], found, said_by(error), inserting=build == self._insert
                )
                return []
        # One that waited for a lock has shown that there is one: the rest need not wait as long again.
        setting = _HASTY if found is Verdict.BUSY else setting
        middle = len(writes) // 2
        first = await self._halving(connection, writes[:middle], build, setting)
        return first + await self._halving(connection, writes[middle:], build, setting)

    async def _transact(
        self, connection: Connection, writes: Sequence[Write], build: Build, setting: bytes
    ) -> list[Write]:
        by = [self._clock.at(connection, write.by) for write in writes]
        statements = [build(write, str(moment)) for write, moment in zip(writes, by, strict=True)]
        async with connection.pipeline():
            await connection.execute(b"BEGIN")
            await connection.execute(setting)
            cursors = [await connection.execute(*statement) for statement in statements]
            clock = await connection.execute(NOW)
            await connection.execute(b"COMMIT")
        # Asked last: what was refused as late is late by this answer too.
        now, none = await self._clock.read(connection, clock), []
        for write, moment, cursor in zip(writes, by, cursors, strict=True):
            if not cursor.rowcount and now > moment:
                write.late()
            elif not cursor.rowcount:
                none.append(write)
        return none

    async def _mark(
        self, connection: Connection, write: Write, found: Verdict, said: str, *, inserting: bool
    ) -> None:
        if found is Verdict.BUSY:
            write.busy = f"another session holds the row of photo {write.photo_id}: {said}"
        elif inserting:
            self._rowless(write, said)
        elif found is not Verdict.REFUSED:
            write.failed = f"the row of photo {write.photo_id} was not written: {said}"
        elif await self._id_fits(connection, write.photo_id):
            write.refused = f"the row of photo {write.photo_id} was refused: {said}"
        else:
            self._rowless(write, said)

    async def _id_fits(self, connection: Connection, photo_id: str) -> bool:
        """Whether there could be such an id: a column of type uuid or integer takes few texts."""
        try:
            await connection.execute(f"SELECT 1 FROM {self._table} WHERE id = %s".encode(), (photo_id,))
        except (psycopg.DataError, ValueError):
            return False
        return True

    def _rowless(self, write: Write, why: str) -> None:
        write.rowless = True
        self._missing()
        words, about = "photo %s has no row, and none could be made: %s", fields(photoId=write.photo_id)
        log.warning(words, write.photo_id, why, extra=about)


async def _judged(connection: Connection, error: Exception) -> Verdict:
    """End the transaction that failed; return what its error says. Raises it where the database is away."""
    # A value that cannot be sent (a zero, a lone surrogate) has no code: it never reached the server.
    local = not isinstance(error, psycopg.Error) or (
        isinstance(error, psycopg.DataError) and not error.sqlstate
    )
    found = Verdict.REFUSED if local else verdict(getattr(error, "sqlstate", None))
    if found is Verdict.AWAY:
        raise error
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        await connection.execute(b"ROLLBACK")
    return found


def said_by(error: Exception) -> str:
    """What an error says, in one line and without its detail, which may quote the row's other columns."""
    diag = getattr(error, "diag", None)
    text = (diag.message_primary if diag else None) or str(error) or type(error).__name__
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def update(table: str, values: Mapping[str, Value], by: str, photo_id: str) -> Statement:
    """Return the statement that sets a row, until `by` (seconds of the server's clock)."""
    return _update_text(table, tuple(values), "id = %(id)s"), _bound(values, id=photo_id, by=by)


def update_nothing(table: str, values: Mapping[str, Value]) -> Statement:
    """Return the same statement with no row to set."""
    return _update_text(table, tuple(values), "false"), _bound(values, by="0")


def insert(table: str, values: Mapping[str, Value], by: str, photo_id: str) -> Statement:
    """Return the statement that makes a row where there is none, until `by`."""
    return _insert_text(table, tuple(values)), _bound(values, id=photo_id, by=by)


def _bound(values: Mapping[str, Value], **more: str) -> dict[str, Value]:
    texts = {name: None if value is None else str(value) for name, value in values.items()}
    return {**texts, **more}


#: When the server has received the statement: one that waits for a lock was in time.
_IN_TIME = "statement_timestamp() <= to_timestamp(%(by)s)"


@lru_cache(64)
def _update_text(table: str, names: tuple[str, ...], where: str) -> bytes:
    places = ", ".join(f"{name} = %({name})s" for name in names)
    return f"UPDATE {table} SET {places} WHERE {where} AND {_IN_TIME}".encode()


@lru_cache(64)
def _insert_text(table: str, names: tuple[str, ...]) -> bytes:
    places = ", ".join(f"%({name})s" for name in names)
    return (
        f"INSERT INTO {table} (id, {', '.join(names)}) SELECT %(id)s, {places} WHERE {_IN_TIME}"
        " ON CONFLICT DO NOTHING"
    ).encode()
