"""What is said where DATABASE_URL leads nowhere, or to something that cannot be used: one sentence with a remedy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fastproc.backends.metadata_postgresql import PostgresMetadataStore
from fastproc.core.errors import ConfigError, Unreachable
from fastproc.embedded.child import free_ports
from fastproc.embedded.postgresql import PostgreSQL
from fastproc.embedded.trial.proxy import Proxy
from fastproc.embedded.trial.wire import Stream
from tests.integration.postgresql_table import MADE, Table


async def said_by_check(url: str) -> str:
    """What `check` says, in its one sentence."""
    store = PostgresMetadataStore(url)
    try:
        with pytest.raises(Unreachable) as caught:
            await store.check()
    finally:
        await store.close()
    said = str(caught.value)
    assert "\n" not in said
    login, at, _ = url.partition("://")[2].partition("@")
    assert not at or ":" not in login or login.partition(":")[2] not in said
    return said


@pytest.fixture
def table(postgresql: PostgreSQL, unique: str):
    made = Table(postgresql, unique, MADE)
    yield made
    made.close()


WRONG: dict[str, tuple[Callable[[PostgreSQL], str], str, str]] = {
    "a wrong password": (
        lambda server: server.url().replace("@", "0@"),
        "password authentication failed",
        "look at user name and password",
    ),
    "no password": (
        lambda server: f"postgresql://fastproc@127.0.0.1:{server.port}/photos",
        "no password supplied",
        "the URL has none",
    ),
    "no such database": (
        lambda server: server.url("nosuch"),
        'database "nosuch" does not exist',
        "createdb",
    ),
    "no such host": (
        lambda _: "postgresql://u:swordfish@no-such-host.invalid/db",
        "no-such-host.invalid",
        "look at the host name",
    ),
    "nobody listens": (
        lambda _: f"postgresql://u:swordfish@127.0.0.1:{free_ports(1)[0]}/db",
        "refused",
        "is the server running",
    ),
    "no socket": (
        lambda _: "postgresql:///photos?host=/no/such/folder",
        "No such file",
        "is the server running",
    ),
    "no TLS": (lambda server: f"{server.url()}?sslmode=require", "SSL", "look at sslmode"),
}


@pytest.mark.parametrize(("url", "says", "advises"), WRONG.values(), ids=WRONG.keys())
async def test_a_url_that_cannot_be_used_is_one_sentence_with_a_remedy(
    postgresql: PostgreSQL, url: Callable[[PostgreSQL], str], says: str, advises: str
) -> None:
    said = await said_by_check(url(postgresql))
    assert said.startswith("DATABASE_URL: PostgreSQL at ")
    assert says in said
    assert advises in said


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            "ALTER TABLE photos ALTER updated_at TYPE integer USING 1",
            'invalid input syntax for type integer: "2026',
        ),
        ("ALTER TABLE photos ALTER width TYPE uuid USING NULL", "type uuid"),
        ("ALTER TABLE photos ALTER processing_metadata TYPE integer USING 1", "type integer"),
        (
            "CREATE TYPE few AS ENUM ('pending', 'done'); ALTER TABLE photos ALTER processing_status DROP DEFAULT,"
            " ALTER processing_status TYPE few USING 'done'::few",
            'few: "processing"',
        ),
        ("DROP TABLE photos; CREATE VIEW photos AS SELECT 1 AS id", "lacks processing_status, "),
    ],
    ids=["times", "sizes", "metadata", "statuses", "a view"],
)
async def test_a_column_that_does_not_take_what_is_written_is_found_before_the_first_job(
    table, spoil, says
) -> None:
    table.run(spoil)
    said = await said_by_check(table.url)
    assert says in said


async def test_rights_that_are_missing_are_named(table) -> None:
    said = await said_by_check(table.role("guest"))
    assert "permission denied for table photos: GRANT SELECT, INSERT, UPDATE on it to this user" in said
    table.run("DROP TABLE photos")
    store = PostgresMetadataStore(table.role("maker"))
    try:
        with pytest.raises(Unreachable, match=r"permission denied for schema .*\(GRANT CREATE ON SCHEMA"):
            await store.create_schema()
    finally:
        await store.close()


async def test_a_role_that_may_not_make_tables_may_run_init_db_where_there_is_one(table) -> None:
    store = PostgresMetadataStore(table.role("reader", "GRANT SELECT, UPDATE ON photos TO {role}"))
    try:
        await store.create_schema()
    finally:
        await store.close()


async def test_a_server_that_takes_no_writes_is_refused(table) -> None:
    said = await said_by_check(f"{table.url}&options=-c%20default_transaction_read_only%3Don")
    assert "the server is read-only: name the primary" in said


async def test_of_several_servers_the_one_that_takes_writes_is_used(table) -> None:
    """As after a failover: the first host of the URL is away, or is not the primary any more."""
    role = table.role("app", "GRANT ALL ON photos TO {role}")
    own = f"127.0.0.1:{table.server.port}"
    for first in (f"127.0.0.1:{free_ports(1)[0]}", own):
        store = PostgresMetadataStore(role.replace(own, f"{first},{own}"))
        try:
            assert "table" in await store.check()
        finally:
            await store.close()
    table.run(f'ALTER ROLE "{table.schema}-app" SET default_transaction_read_only = on')
    said = await said_by_check(role.replace(own, f"{own},{own}"))
    assert "session is read-only" in said
    assert "(name the primary server)" in said


async def test_a_unix_socket_and_the_urls_own_parameters_are_used(table) -> None:
    login = table.server.url().partition("://")[2].partition("@")[0]
    store = PostgresMetadataStore(
        f"postgres://{login}@/photos?host={table.server.socket_folder}&port={table.server.port}"
        f"&application_name={table.schema}&options=-c%20search_path%3D{table.schema}&connect_timeout=2"
    )
    try:
        found = await store.check()
        assert f"PostgreSQL {table.run('SHOW server_version')[0][0].split()[0]}, table " in found
        rows = table.run(
            f"SELECT client_addr FROM pg_stat_activity WHERE application_name = '{table.schema}'"
        )
        assert rows == [(None,)]
    finally:
        await store.close()


async def test_what_prisma_adds_to_the_url_is_understood_or_left_out(table) -> None:
    store = PostgresMetadataStore(
        f"{table.url}&connection_limit=5&pool_timeout=0&pgbouncer=true&statement_cache_size=0"
    )
    try:
        assert table.schema in await store.check()
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://me:herring@h/db?sslmod=require", "does not take the parameter 'sslmod'"),
        ("postgresql://me:herring%zz@h/db", "cannot read this URL"),
    ],
)
def test_a_url_that_the_library_does_not_read_is_refused_without_its_password(url: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PostgresMetadataStore(url)
    [problem] = caught.value.problems
    assert problem.startswith("DATABASE_URL: ")
    assert says in problem
    assert "herring" not in problem


async def test_no_server_is_asked_for_more_than_plain_transactions(table) -> None:
    """As behind PgBouncer in transaction mode: no statement is prepared, nothing lasts beyond a transaction."""
    seen: list[bytes] = []
    with Proxy(table.server.port, Stream) as proxy:
        proxy.rule = lambda words: seen.append(words)
        store = PostgresMetadataStore(f"{table.server.url(port=proxy.port)}?schema={table.schema}")
        try:
            await store.check()
            for n in range(8):
                await store.begin("p", f"2026-01-01T00:00:0{n}.000Z")
            await store.probe(True)
        finally:
            await store.close()
    sent = b"".join(seen)
    # A Parse message of a statement without a name: its name is empty.
    assert sent.count(b"UPDATE") > 8
    assert b"PREPARE" not in sent.upper()
    assert b"_pg3_" not in sent
    assert b"\0SET " not in sent
