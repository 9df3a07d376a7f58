"""Looks at the table `photos` of PostgreSQL, and makes it where there is none.

Rule 1: the API owns the schema: a column may have any type that takes the contract's values. The server is asked, by
        statements that it plans and does not run, so that no row and no trigger is touched.
Rule 2: what is missing at the start is said in one sentence that names the variable and the remedy.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import psycopg

from fastproc.backends import photo_row, postgresql_rows
from fastproc.backends.photo_row import COLUMNS, Value
from fastproc.backends.postgresql_errors import remedy
from fastproc.backends.postgresql_link import Connection, Target
from fastproc.backends.postgresql_rows import said_by
from fastproc.core.errors import DatabaseUnavailable, Unreachable
from fastproc.supervisor.ports import Row

#: Types of the table that `create_schema` makes, where PostgreSQL has better ones than SQLite.
TYPES: Final = {
    "processing_started_at": "TIMESTAMPTZ",
    "processing_completed_at": "TIMESTAMPTZ",
    "processing_metadata": "JSONB",
    "updated_at": "TIMESTAMPTZ",
}

#: Of an advisory lock: several containers that start at once make the table one after another. The number is "photos".
_LOCK: Final = int.from_bytes(b"photos")

_AT: Final = "2026-01-01T00:00:00.000Z"

#: What a job writes: begins, fails, is done.
_WRITES: Final[tuple[Mapping[str, Value], ...]] = (
    photo_row.begun(_AT),
    photo_row.failed("X: y", _AT, final=True),
    photo_row.completed(Row(width=1, height=1, processing_metadata="{}"), _AT),
)
_PROBE_LOCK_MS = 500
_NOT_TO_BE_HAD: Final = (
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.FeatureNotSupported,
)


async def look(connection: Connection, target: Target) -> str:
    """Return what was found, in words. Raises Unreachable where jobs could not write their rows, psycopg.Error."""
    began = time.monotonic()
    found = await _one(
        connection, "SELECT to_regclass(%s)::oid, to_regclass(%s)::text", target.table, target.table
    )
    took_ms = (time.monotonic() - began) * 1000
    if found[0] is None:
        raise _unusable(target, "there is no table `photos`; `fastproc init-db` creates it")
    cursor = await connection.execute(
        b"SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped",
        (found[0],),
    )
    present = {name for (name,) in await cursor.fetchall()}
    if missing := [name for name in COLUMNS if name not in present]:
        raise _unusable(target, f"the table `photos` lacks {', '.join(missing)}")
    try:
        await _plan(connection, target)
    except DatabaseUnavailable as error:
        raise _unusable(target, error.message) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise _unusable(
            target, f"{said_by(error)}: GRANT SELECT, INSERT, UPDATE on it to this user"
        ) from None
    except (psycopg.DataError, psycopg.ProgrammingError) as error:
        raise _unusable(
            target, f"a column of `photos` does not take what is written to it: {said_by(error)}"
        ) from None
    version = connection.info.parameter_status("server_version") or "?"
    return f"PostgreSQL {version.split()[0]}, table {found[1]}, answers in {took_ms:.1f} ms"


async def touch(connection: Connection, target: Target, deep: bool) -> None:
    """See that rows could be written; `deep`: a commit reach the disk. Raises psycopg.Error, DatabaseUnavailable."""
    await connection.execute(b"BEGIN")
    await connection.execute(postgresql_rows.limits(_PROBE_LOCK_MS))
    await _plan(connection, target)
    await connection.execute(b"COMMIT")
    if deep:
        # Goes into the log of writes, which its commit then has to flush; no table has it. Where a server or a role
        # does without this function, what photos see must do (core.breaker).
        with suppress(*_NOT_TO_BE_HAD):
            await connection.execute(
                postgresql_rows.limits(_PROBE_LOCK_MS)
                + b", pg_logical_emit_message(true, 'fastproc', 'probe')"
            )


async def create(connection: Connection, target: Target) -> None:
    """Make the table, and the schema that the URL names, where they are missing. Raises psycopg.Error."""
    columns = ", ".join(f"{name} {TYPES.get(name, kind)}" for name, kind in COLUMNS.items())
    await connection.execute(b"BEGIN")
    await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    # Asked before, because `IF NOT EXISTS` needs the right to make even what is there.
    schema = target.table.rpartition(".")[0]
    if schema and (await _one(connection, "SELECT to_regnamespace(%s)::oid", schema))[0] is None:
        await connection.execute(f"CREATE SCHEMA {schema}".encode())
    if (await _one(connection, "SELECT to_regclass(%s)::oid", target.table))[0] is None:
        await connection.execute(f"CREATE TABLE {target.table} ({columns})".encode())
    await connection.execute(b"COMMIT")


async def _plan(connection: Connection, target: Target) -> None:
    read_only = await _one(connection, "SELECT current_setting('transaction_read_only')")
    if read_only[0] == "on":
        raise DatabaseUnavailable(
            "the server is read-only: name the primary, or the setting that makes it so"
        )
    for values in _WRITES:
        text, bound = postgresql_rows.update_nothing(target.table, values)
        await connection.execute(b"EXPLAIN " + text, bound)


async def _one(connection: Connection, query: str, *values: object) -> tuple[object, ...]:
    cursor = await connection.execute(query.encode(), values)
    row = await cursor.fetchone()
    assert row is not None
    return row


def _unusable(target: Target, why: str) -> Unreachable:
    return Unreachable(f"{target.variable}: {target.where}: {why}")


def unreachable(target: Target, error: Exception) -> Unreachable:
    """Return what ends the start where the server cannot be used at all."""
    said = said_by(error)
    advice = remedy(said)
    return _unusable(target, f"cannot be used: {said}" + (f" ({advice})" if advice else ""))
