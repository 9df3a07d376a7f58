"""The rows as the API would see them, in whichever database they are: with its own drivers, in the contract's form."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.rows import dict_row

from fastproc.backends.metadata_sqlite import create_schema

#: The rows, by photo id.
Rows = dict[str, dict[str, Any]]


class Database(Protocol):
    """Where a service writes its rows."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead there."""

    def rows(self) -> Rows:
        """All rows; times are ISO 8601 text, the metadata is JSON text."""


class SqliteDatabase:
    """A file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {"SQLITE_PATH": str(path)}

    @classmethod
    def made(cls, path: Path) -> SqliteDatabase:
        """Make the file, with an empty table."""
        create_schema(str(path))
        return cls(path)

    def rows(self) -> Rows:
        with contextlib.closing(sqlite3.connect(self.path, timeout=10)) as database:
            database.row_factory = sqlite3.Row
            return {row["id"]: dict(row) for row in database.execute("select * from photos")}


class PostgresDatabase:
    """A database of a PostgreSQL server, by its URL; `through` is the one that the service gets, of a proxy."""

    def __init__(self, url: str, *, through: str = "") -> None:
        self.url = url
        self.environment = {"DATABASE_URL": through or url}

    def rows(self) -> Rows:
        with psycopg.connect(self.url, row_factory=dict_row, connect_timeout=10) as connection:
            found = connection.execute("select * from photos").fetchall()
        return {
            str(row["id"]): {name: in_contract(name, value) for name, value in row.items()} for row in found
        }


def in_contract(column: str, value: Any) -> Any:
    """Return a column's value in the contract's form, whatever the column's type."""
    if isinstance(value, datetime):
        zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
        return zoned.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if column == "processing_metadata" and isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value) if column == "id" else value
