"""The table `photos` of a test in PostgreSQL, as the API sees it, in a schema of its own: tests share a server."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from fastproc.backends.photo_row import COLUMNS
from fastproc.backends.postgresql_schema import TYPES
from fastproc.embedded.postgresql import PostgreSQL
from fastproc.embedded.trial.rows import in_contract

#: Types of columns: as `fastproc init-db` makes them, those of SQLite, and those of an application that takes care.
MADE: Mapping[str, str] = COLUMNS | TYPES
TEXTS: Mapping[str, str] = COLUMNS
OWN: Mapping[str, str] = {
    **COLUMNS,
    "id": "VARCHAR(128) PRIMARY KEY",
    "processing_status": "status NOT NULL DEFAULT 'pending'",
    "processing_started_at": "TIMESTAMP(3)",
    "processing_completed_at": "TIMESTAMPTZ(3)",
    "processing_error": "VARCHAR(4000)",
    "width": "SMALLINT",
    "height": "BIGINT",
    "processing_metadata": "JSON",
    "updated_at": "TIMESTAMPTZ NOT NULL DEFAULT now()",
}


class Table:
    """One test's schema and table; `url` leads the store there."""

    def __init__(self, server: PostgreSQL, schema: str, columns: Mapping[str, str]) -> None:
        self.server, self.schema, self.columns = server, schema, dict(columns)
        self.url = f"{server.url()}?schema={schema}&application_name={schema}"
        self._roles: list[str] = []
        self._connection = psycopg.connect(
            server.url(), autocommit=True, options=f"-c search_path={schema}", connect_timeout=5
        )
        self.run(f'CREATE SCHEMA "{schema}"')
        self.run("CREATE TYPE status AS ENUM ('pending', 'processing', 'completed', 'failed')")
        self._make()

    def close(self) -> None:
        with self._connection:
            self.run(f'DROP SCHEMA "{self.schema}" CASCADE')
            for role in self._roles:
                self.run(f'DROP ROLE "{role}"')

    def _make(self) -> None:
        self.run(
            f"CREATE TABLE photos ({', '.join(f'{name} {kind}' for name, kind in self.columns.items())})"
        )

    def run(self, sql: str) -> list[Any]:
        cursor = self._connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []

    def read(self, photo_id: str) -> dict[str, Any] | None:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(
                f"SELECT {', '.join(COLUMNS)} FROM photos WHERE id::text = %s".encode(), (photo_id,)
            )
            row = cursor.fetchone()
        return row and {name: in_contract(name, value) for name, value in row.items()}

    def add(self, photo_id: str) -> None:
        self._connection.execute("INSERT INTO photos (id) VALUES (%s)", (photo_id,))

    def remake(self, **columns: str) -> None:
        self.run("DROP TABLE photos")
        self.columns |= columns
        self._make()

    def trigger(self, when: str, body: str) -> None:
        """Make a trigger of each row, with a body in PL/pgSQL."""
        self.run(
            f'CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql SET search_path = "{self.schema}"'
            f" AS $$ BEGIN {body} RETURN NEW; END $$"
        )
        self.run(f"CREATE TRIGGER fired {when} ON photos FOR EACH ROW EXECUTE FUNCTION fired()")

    def refuse(self, photo_id: str, *, code: str = "P0001") -> None:
        self.trigger(
            "BEFORE UPDATE",
            f"IF NEW.id = '{photo_id}' THEN RAISE EXCEPTION 'not this one' USING ERRCODE = '{code}'; END IF;",
        )

    def count_updates(self) -> None:
        self.run("CREATE TABLE seen (n int)")
        self.trigger("AFTER UPDATE", "INSERT INTO seen VALUES (1);")

    @property
    def backends(self) -> str:
        """The query for the server's processes that serve the stores of this test."""
        return f"SELECT pid FROM pg_stat_activity WHERE application_name = '{self.schema}'"

    def role(self, name: str, *grants: str) -> str:
        """Make a role that may do what the grants say ({role} is its name); return the store's URL as this role."""
        role = f"{self.schema}-{name}"
        self.run(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'sword'")
        self._roles.append(role)
        for grant in (f'GRANT USAGE ON SCHEMA "{self.schema}" TO {{role}}', *grants):
            self.run(grant.format(role=f'"{role}"'))
        return self.url.replace(self.server.url().partition("@")[0], f"postgresql://{role}:sword")

    @contextmanager
    def another(self, sql: str = ""):
        """Another session, in a transaction in which it has run `sql`; it ends with the block."""
        with psycopg.connect(self.server.url(), options=f"-c search_path={self.schema}") as other:
            other.execute(sql.encode())
            yield other
            other.rollback()
