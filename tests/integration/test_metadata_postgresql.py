"""The PostgreSQL store: the shared suite with several types of columns, and what only a server can do to a client."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator

import psycopg
import pytest
import pytest_asyncio

from fastproc.backends import metadata_postgresql, postgresql_link
from fastproc.backends.metadata_postgresql import PostgresMetadataStore
from fastproc.core.errors import DatabaseUnavailable, RowRefused, Unreachable
from fastproc.embedded.postgresql import PostgreSQL
from fastproc.embedded.trial.faults import Hang
from fastproc.embedded.trial.proxy import Proxy, always
from fastproc.embedded.trial.wire import Stream
from fastproc.supervisor.ports import Row
from tests.integration.postgresql_table import MADE, OWN, TEXTS, Table
from tests.integration.suite_metadata import ROW, T1, T2, MetadataStoreSuite


@pytest.fixture
def table(postgresql: PostgreSQL, unique: str) -> Iterator[Table]:
    made = Table(postgresql, unique, MADE)
    yield made
    made.close()


@pytest_asyncio.fixture
async def store(table: Table) -> AsyncIterator[PostgresMetadataStore]:
    opened = PostgresMetadataStore(table.url)
    yield opened
    await opened.close()


class TestPostgresMetadataStore(MetadataStoreSuite):
    variable = "DATABASE_URL"

    @pytest.fixture(params=[MADE, TEXTS, OWN], ids=["as init-db makes it", "texts", "an API's own types"])
    def table(self, request, postgresql: PostgreSQL, unique: str) -> Iterator[Table]:
        made = Table(postgresql, unique, request.param)
        yield made
        made.close()

    @pytest.fixture
    def store(self, store: PostgresMetadataStore) -> PostgresMetadataStore:
        return store

    @pytest.fixture
    def outside(self, table: Table) -> Table:
        return table


async def begin_all(store: PostgresMetadataStore, names: list[str]) -> dict[str, type]:
    """Begin the photos together; return how each ended."""
    results = await asyncio.gather(*(store.begin(name, T1) for name in names), return_exceptions=True)
    return {name: type(result) for name, result in zip(names, results, strict=True)}


def statuses(table: Table, names: list[str]) -> list[str | None]:
    return [(table.read(name) or {}).get("processing_status") for name in names]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # It is another session's to see.


# Rows that are refused.


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda table: table.remake(processing_error="VARCHAR(9)"), "value too long for type character"),
        (lambda table: table.remake(processing_error="JSON"), "invalid input syntax for type json"),
        (lambda table: table.remake(processing_error="TEXT UNIQUE"), "duplicate key value violates unique"),
        (lambda table: table.refuse("bad"), "not this one"),
        (lambda table: table.refuse("bad", code="45000"), "not this one"),
        (lambda table: table.refuse("bad", code="U0001"), "not this one"),
        (lambda table: table.trigger("BEFORE UPDATE", DIVIDES), "division by zero"),
    ],
    ids=["too long", "no JSON", "unique", "raised", "45000", "a code of its own", "a trigger's own error"],
)
async def test_a_row_is_refused_among_good_ones(store, table, spoil, says) -> None:
    spoil(table)
    names = ["a", "b", "bad", "c", "d", "e"]
    for name in names:
        table.add(name)
    errors = {name: "1" if name == "a" else "2" for name in names} | {"bad": "much too long and no JSON"}
    if says.startswith("duplicate"):
        errors = {name: name for name in names} | {"bad": "a"}
    results = await asyncio.gather(
        *(store.fail(name, errors[name], T1, final=True) for name in names), return_exceptions=True
    )
    refused = {name: result for name, result in zip(names, results, strict=True) if result}
    assert [(name, type(error)) for name, error in refused.items()] == [("bad", RowRefused)]
    assert says in str(refused["bad"])
    assert statuses(table, names) == ["failed", "failed", "pending", "failed", "failed", "failed"]


DIVIDES = "IF NEW.id = 'bad' THEN PERFORM 1 / (length(NEW.id) - 3); END IF;"


async def test_what_a_row_refused_says_has_nothing_of_other_columns(store, table) -> None:
    table.remake(secret="TEXT DEFAULT 'swordfish'", width="INTEGER CHECK (width < 3)")
    table.add("p")
    with pytest.raises(RowRefused) as caught:
        await store.complete("p", ROW, T1)
    assert "check constraint" in str(caught.value)
    assert "swordfish" not in str(caught.value)


async def test_zeros_and_halves_of_characters_are_refused_or_written_and_harm_nobody(store, table) -> None:
    for name in ("zero", "half", "escaped", "good"):
        table.add(name)
    results = await asyncio.gather(
        store.complete("zero", Row(width=1, height=1, processing_metadata='{"a": "\0"}'), T1),
        store.complete("half", Row(width=1, height=1, processing_metadata='{"a": "\ud800"}'), T1),
        store.complete("escaped", Row(width=1, height=1, processing_metadata='{"a": "\\u0000"}'), T1),
        store.complete("good", ROW, T1),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [RowRefused, RowRefused, RowRefused, type(None)]
    assert statuses(table, ["good"]) == ["completed"]


async def test_an_id_that_the_column_cannot_have_is_a_row_that_is_not_there(store, table, caplog) -> None:
    table.remake(id="UUID PRIMARY KEY")
    known = "b9a6a1a0-0000-4000-8000-000000000001"
    table.add(known)
    assert set((await begin_all(store, [known, "no-uuid"])).values()) == {type(None)}
    assert store.missing_rows == 1
    assert "photo no-uuid has no row" in caplog.text
    assert statuses(table, [known]) == ["processing"]


async def test_a_role_that_may_not_insert_leaves_rows_that_are_missing_to_the_api(store, table) -> None:
    table.add("known")
    url = table.role("writer", "GRANT SELECT, UPDATE ON photos TO {role}")
    narrow = PostgresMetadataStore(url)
    try:
        await narrow.check()
        assert set((await begin_all(narrow, ["known", "unknown"])).values()) == {type(None)}
        assert narrow.missing_rows == 1
        assert statuses(table, ["known", "unknown"]) == ["processing", None]
    finally:
        await narrow.close()


# Rows and tables that other sessions hold.


async def test_a_row_that_another_session_holds_waits_and_nobody_else_does(store, table) -> None:
    names = [f"p-{n}" for n in range(12)]
    for name in names:
        table.add(name)
    with table.another("UPDATE photos SET width = 1 WHERE id IN ('p-3', 'p-7')"):
        held = asyncio.create_task(begin_all(store, names))
        async with asyncio.timeout(3.0):
            await until(lambda: statuses(table, names).count("processing") == 10)
            # And later ones do not wait at all.
            await asyncio.gather(*(store.complete(name, ROW, T2) for name in names[8:]))
        assert not held.done()
    assert set((await held).values()) == {type(None)}
    assert statuses(table, names) == ["processing"] * 8 + ["completed"] * 4


async def test_a_row_that_is_not_let_go_is_given_up(store, table, monkeypatch) -> None:
    monkeypatch.setattr(metadata_postgresql, "_BUSY_S", 0.5)
    table.add("p")
    said = r"another session holds the row of photo p: .*timeout"
    with (
        table.another("SELECT FROM photos WHERE id = 'p' FOR UPDATE"),
        pytest.raises(DatabaseUnavailable, match=said),
    ):
        await store.begin("p", T1)
    await store.begin("p", T1)


async def test_a_table_that_another_session_holds_is_found_by_a_probe_and_waited_for(store, table) -> None:
    names = [f"p-{n}" for n in range(20)]
    for name in names:
        table.add(name)
    with table.another("LOCK TABLE photos IN ACCESS EXCLUSIVE MODE"):
        held = asyncio.create_task(begin_all(store, names))
        async with asyncio.timeout(1.9):
            with pytest.raises(DatabaseUnavailable, match="lock"):
                await store.probe(False)
        await asyncio.sleep(0.5)
        assert not held.done()
    assert set((await held).values()) == {type(None)}
    assert statuses(table, names) == ["processing"] * 20


async def test_a_role_whose_own_patience_is_longer_holds_nobody_up(table) -> None:
    role = table.role("patient", "GRANT ALL ON photos TO {role}; ALTER ROLE {role} SET lock_timeout = '1min'")
    for name in ("a", "b"):
        table.add(name)
    patient = PostgresMetadataStore(role)
    try:
        with table.another("SELECT FROM photos WHERE id = 'a' FOR UPDATE"):
            held = asyncio.create_task(patient.begin("a", T1))
            async with asyncio.timeout(2.0):
                await patient.begin("b", T1)
            assert not held.done()
        await held
    finally:
        await patient.close()


async def test_a_deadlock_with_another_writer_costs_nobody_a_row(store, table) -> None:
    for name in ("a", "z"):
        table.add(name)
    table.trigger("BEFORE UPDATE", "PERFORM pg_sleep(0.05);")
    with table.another("UPDATE photos SET width = 1 WHERE id = 'z'") as other:
        held = asyncio.create_task(begin_all(store, ["a", "z"]))
        await asyncio.sleep(0.1)  # The store has `a` and waits for `z`; now the other one wants `a`.
        await asyncio.to_thread(other.execute, b"UPDATE photos SET width = 1 WHERE id = 'a'")
        other.commit()
        assert set((await held).values()) == {type(None)}
    assert statuses(table, ["a", "z"]) == ["processing"] * 2
    assert [table.read(name)["width"] for name in ("a", "z")] == [1, 1]


async def test_a_transaction_that_the_server_wants_repeated_is_repeated(store, table) -> None:
    table.run("CREATE SEQUENCE tries")
    table.trigger(
        "BEFORE UPDATE",
        "IF nextval('tries') < 3 THEN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END IF;",
    )
    table.add("p")
    await store.begin("p", T1)
    assert statuses(table, ["p"]) == ["processing"]


# A server that goes away.


async def test_a_backend_that_is_killed_in_the_middle_of_a_batch_costs_nobody_a_row(store, table) -> None:
    names = [f"p-{n}" for n in range(10)]
    for name in names:
        table.add(name)
    await store.begin("p-0", T1)
    table.trigger("BEFORE UPDATE", "IF NEW.id = 'p-5' THEN PERFORM pg_sleep(0.5); END IF;")
    held = asyncio.create_task(begin_all(store, names))
    await asyncio.sleep(0.2)
    assert table.run(f"SELECT pg_terminate_backend(pid) FROM ({table.backends}) s") == [(True,)]
    assert set((await held).values()) == {type(None)}
    assert statuses(table, names) == ["processing"] * 10


async def test_an_idle_connection_that_was_cut_is_not_noticed(store, table) -> None:
    await store.begin("p", T1)
    table.run(f"SELECT pg_terminate_backend(pid) FROM ({table.backends}) s")
    await store.begin("p", T2)
    assert table.read("p")["updated_at"] == T2


async def test_a_server_without_a_connection_to_spare_is_away_until_it_has_one(store, table) -> None:
    """The store's connections are refused as those of other roles are, whose limit is reached."""
    url = table.role("crowd", "GRANT ALL ON photos TO {role}; ALTER ROLE {role} CONNECTION LIMIT 1")
    crowded = PostgresMetadataStore(url)
    try:
        with psycopg.connect(url.partition("?")[0]):
            for ask in (lambda: crowded.begin("p", T1), lambda: crowded.probe(True)):
                with pytest.raises(DatabaseUnavailable, match="too many connections for role"):
                    await ask()
        await crowded.begin("p", T1)
    finally:
        await crowded.close()
    assert statuses(table, ["p"]) == ["processing"]


async def test_a_server_that_becomes_read_only_is_away_and_is_left(store, table) -> None:
    url = table.role("reader", "GRANT ALL ON photos TO {role}")
    role = f"{table.schema}-reader"
    turning = PostgresMetadataStore(url)
    try:
        await turning.begin("p", T1)
        # As after a failover: the session was opened while the server took writes.
        table.run(f'ALTER ROLE "{role}" SET default_transaction_read_only = on')
        table.run(f"SELECT pg_terminate_backend(pid) FROM ({table.backends}) s")
        with pytest.raises(DatabaseUnavailable, match="read-only transaction"):
            await turning.begin("p", T2)
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            await turning.probe(False)
        table.run(f'ALTER ROLE "{role}" RESET default_transaction_read_only')
        await turning.begin("p", T2)
        await turning.probe(True)
    finally:
        await turning.close()


async def test_a_server_that_is_slow_with_many_rows_gets_them_in_smaller_parts(
    store, table, monkeypatch
) -> None:
    monkeypatch.setattr(postgresql_link, "ANSWER_S", 0.6)
    names = [f"p-{n}" for n in range(16)]
    for name in names:
        table.add(name)
    table.trigger("BEFORE UPDATE", "PERFORM pg_sleep(0.05);")
    assert DatabaseUnavailable in (await begin_all(store, names)).values()
    for _ in range(6):  # As the breaker tries again; all at once would be too slow each time.
        ends = set((await begin_all(store, names)).values())
        if ends == {type(None)}:
            break
    assert ends == {type(None)}
    assert statuses(table, names) == ["processing"] * 16


async def test_a_server_that_says_nothing_is_given_up_and_a_probe_can_be_cancelled(
    table, monkeypatch
) -> None:
    monkeypatch.setattr(postgresql_link, "ANSWER_S", 1.0)
    with Proxy(table.server.port, Stream) as proxy:
        url = f"{table.server.url(port=proxy.port)}?schema={table.schema}"
        store = PostgresMetadataStore(url)
        try:
            await store.begin("p", T1)
            await store.probe(False)
            proxy.rule = always(Hang())
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await store.probe(True)
            with pytest.raises(DatabaseUnavailable, match="no answer in 1 s"):
                await store.begin("p", T2)
            assert time.monotonic() - began < 4.0
            proxy.rule = None
            await store.begin("p", T2)
            await store.probe(True)
        finally:
            await store.close()
    assert table.read("p")["updated_at"] == T2


async def test_a_host_that_does_not_answer_is_given_up(monkeypatch) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        store = PostgresMetadataStore(f"postgresql://u@127.0.0.1:{deaf.getsockname()[1]}/p?connect_timeout=1")
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"^DATABASE_URL: .*cannot be used: .*timeout"):
            await store.check()
        assert time.monotonic() - began < 4.0
        await store.close()


# What is written in one transaction, and how it is confirmed.


async def test_what_waits_shares_few_commits(store, table) -> None:
    names = [f"p-{n}" for n in range(300)]
    table.run("INSERT INTO photos (id) SELECT 'p-' || n FROM generate_series(0, 299) n")
    table.run("CREATE TABLE seen (x bigint)")
    table.trigger("AFTER UPDATE", "INSERT INTO seen VALUES (txid_current());")
    await begin_all(store, names)
    assert table.run("SELECT count(*), count(DISTINCT x) <= 3 FROM seen") == [(300, True)]


async def test_a_commit_waits_for_the_disk_even_where_the_server_would_not(store, table) -> None:
    table.run("CREATE TABLE seen (x text)")
    table.trigger("AFTER UPDATE", "INSERT INTO seen VALUES (current_setting('synchronous_commit'));")
    table.add("p")
    role = table.role(
        "hasty", "GRANT ALL ON photos, seen TO {role}; ALTER ROLE {role} SET synchronous_commit = off"
    )
    hasty = PostgresMetadataStore(role)
    remote = PostgresMetadataStore(table.url + "&options=-c%20synchronous_commit%3Dremote_apply")
    try:
        await hasty.begin("p", T1)
        await remote.begin("p", T2)
    finally:
        await hasty.close()
        await remote.close()
    assert table.run("SELECT x FROM seen") == [("on",), ("remote_apply",)]


async def test_a_deep_probe_writes_and_a_shallow_one_does_not(store, table) -> None:
    def written() -> int:
        return table.run("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn")[0][0]

    await store.probe(False)
    table.run("CHECKPOINT")
    before = written()
    await store.probe(False)
    assert written() == before
    await store.probe(True)
    assert written() > before


async def test_a_server_without_the_function_of_a_deep_probe_is_probed_all_the_same(store, table) -> None:
    function = "FUNCTION pg_logical_emit_message(boolean, text, text)"
    role = PostgresMetadataStore(table.role("narrow", "GRANT SELECT, UPDATE ON photos TO {role}"))
    table.run(f"REVOKE EXECUTE ON {function} FROM PUBLIC")
    try:
        await role.probe(True)
        table.run("DROP TABLE photos")
        with pytest.raises(DatabaseUnavailable):
            await role.probe(True)
    finally:
        table.run(f"GRANT EXECUTE ON {function} TO PUBLIC")
        await role.close()


# fastproc init-db.


async def test_several_containers_may_make_the_table_at_the_same_time(postgresql: PostgreSQL, unique) -> None:
    stores = [PostgresMetadataStore(f"{postgresql.url()}?schema={unique}") for _ in range(8)]
    try:
        await asyncio.gather(*(store.create_schema() for store in stores))
        await stores[0].check()
    finally:
        for store in stores:
            await store.close()
        with postgresql.connect() as connection:
            connection.execute(f'DROP SCHEMA "{unique}" CASCADE'.encode())


async def test_a_server_whose_clock_was_set_forward_refuses_one_write_and_takes_the_next(
    store: PostgresMetadataStore, table: Table
) -> None:
    await store.begin("p", T1, by=time.monotonic() + 60)
    [(connection, ahead_s)] = store._writer._clock._ahead_s.items()
    # An hour that the server's clock has gone forward since it was read.
    store._writer._clock._ahead_s[connection] = ahead_s - 3600
    with pytest.raises(DatabaseUnavailable, match="lock must have run out"):
        await store.complete("p", ROW, T2, by=time.monotonic() + 60)
    await store.complete("p", ROW, T2, by=time.monotonic() + 60)
    found = table.read("p")
    assert found is not None
    assert found["processing_status"] == "completed"
