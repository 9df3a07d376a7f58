"""The SQLite store: the shared suite, and what only a file can do: be locked, full, gone, replaced, damaged."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fastproc.backends import metadata_sqlite
from fastproc.backends.metadata_sqlite import COLUMNS, SqliteMetadataStore, create_schema
from fastproc.core.errors import DatabaseUnavailable, RowRefused, Unreachable
from tests.integration.suite_metadata import ROW, T1, T2, MetadataStoreSuite


class Table:
    """The table through a connection of its own, as the API has one."""

    def __init__(self, path: str) -> None:
        self._path = path

    def run(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with closing(sqlite3.connect(self._path)) as connection:
            connection.row_factory = sqlite3.Row
            with connection:
                return connection.execute(sql, values).fetchall()

    def read(self, photo_id: str) -> dict[str, Any] | None:
        rows = self.run(f"SELECT {', '.join(COLUMNS)} FROM photos WHERE id=?", photo_id)
        return dict(rows[0]) if rows else None

    def add(self, photo_id: str) -> None:
        self.run("INSERT INTO photos (id) VALUES (?)", photo_id)

    def remake(self, **columns: str) -> None:
        self.run("DROP TABLE photos")
        self.run(f"CREATE TABLE photos ({', '.join(f'{n} {t}' for n, t in {**COLUMNS, **columns}.items())})")

    def refuse(self, photo_id: str, *, by: str = "ABORT") -> None:
        self.run(
            f"CREATE TRIGGER picky BEFORE UPDATE ON photos WHEN NEW.id = '{photo_id}'"
            f" BEGIN SELECT RAISE({by}, 'not this one'); END"
        )

    def count_updates(self) -> None:
        self.run("CREATE TABLE seen (n)")
        self.run("CREATE TRIGGER loud AFTER UPDATE ON photos BEGIN INSERT INTO seen VALUES (1); END")


@pytest_asyncio.fixture
async def store(sqlite_path: str) -> AsyncIterator[SqliteMetadataStore]:
    opened = SqliteMetadataStore(sqlite_path)
    yield opened
    await opened.close()


@pytest.fixture
def table(sqlite_path: str) -> Table:
    return Table(sqlite_path)


class TestSqliteMetadataStore(MetadataStoreSuite):
    variable = "SQLITE_PATH"

    @pytest.fixture
    def store(self, store: SqliteMetadataStore) -> SqliteMetadataStore:
        return store

    @pytest.fixture
    def outside(self, table: Table) -> Table:
        return table


# The API's schema.


async def test_a_row_that_cannot_be_made_may_end_the_transaction(store, table) -> None:
    table.remake(owner="TEXT NOT NULL ON CONFLICT ROLLBACK")
    table.run("INSERT INTO photos (id, owner) VALUES ('known', 'ada')")
    await asyncio.gather(*(store.begin(name, T1) for name in ("unknown", "known", "stranger")))
    assert store.missing_rows == 2
    assert table.read("known")["processing_status"] == "processing"


async def test_a_refused_row_may_end_the_transaction(store, table) -> None:
    table.refuse("bad", by="ROLLBACK")
    for name in ("p-1", "bad", "p-2"):
        table.add(name)
    results = await asyncio.gather(
        *(store.begin(name, T1) for name in ("p-1", "bad", "p-2")), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), RowRefused, type(None)]
    assert table.read("p-2")["processing_status"] == "processing"


async def test_a_column_of_another_type_refuses_the_row(store, table) -> None:
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items()).replace(
        "width INTEGER", "width BLOB"
    )
    table.run("DROP TABLE photos")
    table.run(f"CREATE TABLE photos ({columns}) STRICT")
    table.add("p")
    with pytest.raises(RowRefused, match="cannot store INT value in BLOB column"):
        await store.complete("p", ROW, T2)


# Durability.


async def test_every_end_of_an_attempt_reaches_the_disk_in_whatever_mode_the_database_was(
    store, table
) -> None:
    table.run("PRAGMA journal_mode=DELETE")
    loop = asyncio.get_running_loop()
    ask = lambda name: store._connection.execute(f"PRAGMA {name}").fetchone()[0]  # noqa: E731
    full, normal = 2, 1
    for wrote, level in (
        (lambda: store.begin("p", T1), normal),
        (lambda: store.complete("p", ROW, T2), full),
        (lambda: store.begin("q", T1), normal),
        (lambda: store.fail("q", "E: no", T2, final=True), full),
        (lambda: asyncio.gather(store.begin("q", T1), store.complete("p", ROW, T2)), full),
    ):
        await wrote()
        assert await loop.run_in_executor(store._thread, ask, "synchronous") == level
    assert await loop.run_in_executor(store._thread, ask, "journal_mode") == "wal"


async def test_what_waits_shares_one_commit(store) -> None:
    await store.begin("p", T1)
    said: list[str] = []
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(store._thread, lambda: store._connection.set_trace_callback(said.append))
    await asyncio.gather(*(store.begin(f"p-{number}", T1) for number in range(300)))
    assert 1 <= said.count("COMMIT") <= 3
    assert sum(text.startswith("UPDATE") for text in said) == 300


def test_a_row_that_was_confirmed_survives_sigkill(tmp_path: Path) -> None:
    path = str(tmp_path / "photos.db")
    create_schema(path)
    script = (
        "import asyncio, sys\n"
        "from fastproc.backends.metadata_sqlite import SqliteMetadataStore\n"
        "async def job(store, name):\n"
        "    await store.begin(name, 'now'); print(name, flush=True)\n"
        "async def main():\n"
        "    store = SqliteMetadataStore(sys.argv[1])\n"
        "    for n in range(100_000):\n"
        "        await asyncio.gather(*(job(store, f'{sys.argv[2]}-{n}-{k}') for k in range(5)))\n"
        "asyncio.run(main())"
    )
    dice = random.Random(7)
    confirmed: list[str] = []
    for turn in range(8):
        command = [sys.executable, "-c", script, path, str(turn)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            confirmed += [writer.stdout.readline().strip() for _ in range(15)]
            time.sleep(dice.uniform(0.0, 0.05))
            writer.send_signal(signal.SIGKILL)
            confirmed += [line.strip() for line in writer.stdout if line.endswith("\n")]
    table = Table(path)
    assert table.run("PRAGMA integrity_check")[0][0] == "ok"
    there = {row["id"] for row in table.run("SELECT id FROM photos WHERE processing_status='processing'")}
    assert len(confirmed) >= 8 * 15
    assert set(confirmed) <= there


# Trouble.


async def test_several_supervisors_write_one_file_and_none_is_refused(sqlite_path) -> None:
    stores = [SqliteMetadataStore(sqlite_path) for _ in range(3)]
    try:
        for at in ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z"):
            rows = [store.begin(f"{each}-{i}", at) for each, store in enumerate(stores) for i in range(50)]
            await asyncio.gather(*rows)
    finally:
        await asyncio.gather(*(store.close() for store in stores))
    with closing(sqlite3.connect(sqlite_path)) as database:
        assert database.execute("select count(*) from photos").fetchone() == (150,)


async def test_another_writer_is_waited_for_without_blocking_the_loop(store, sqlite_path) -> None:
    await store.begin("p", T1)
    turns = 0

    async def pulse() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    pulsing = asyncio.create_task(pulse())
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(store.complete("p", ROW, T2))
        await asyncio.sleep(1.2)
        assert not waiting.done()
        assert turns > 10  # A loop that waits for the other writer does not turn.
        other.execute("ROLLBACK")
        await waiting
    pulsing.cancel()


async def test_a_writer_that_does_not_let_go_is_given_up(store, sqlite_path, table, monkeypatch) -> None:
    monkeypatch.setattr(metadata_sqlite, "_BUSY_S", 0.1)
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(store.begin("a", T1), store.begin("b", T1), return_exceptions=True)
        assert all(isinstance(result, DatabaseUnavailable) for result in results)
        assert "SQLITE_BUSY" in str(results[0])
    await store.begin("a", T1)
    assert table.read("a")


async def test_a_full_disk_is_unavailable_until_there_is_room(store, table, monkeypatch) -> None:
    real = metadata_sqlite._open

    def tight(path: str) -> sqlite3.Connection:
        connection = real(path)
        connection.execute("PRAGMA max_page_count=8")
        return connection

    monkeypatch.setattr(metadata_sqlite, "_open", tight)
    table.add("small")
    big = "x" * 100_000
    results = await asyncio.gather(
        store.begin("small", T1), store.fail("p", big, T1, final=True), return_exceptions=True
    )
    # The transaction is gone, and its neighbour's row with it: nobody is told that it was written.
    assert all("SQLITE_FULL" in str(result) for result in results)
    assert table.read("small")["processing_status"] == "pending"
    monkeypatch.setattr(metadata_sqlite, "_open", real)
    await store.fail("p", big, T1, final=True)
    assert table.read("p")["processing_error"] == big


async def test_a_trigger_that_fails_on_one_row_leaves_its_neighbours_alone(store, table) -> None:
    table.run("CREATE TRIGGER parse AFTER UPDATE ON photos WHEN NEW.id = 'bad' BEGIN SELECT json('{'); END")
    for name in ("a", "bad", "b"):
        table.add(name)
    results = await asyncio.gather(
        *(store.begin(name, T1) for name in ("a", "bad", "b")), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), DatabaseUnavailable, type(None)]
    assert "malformed JSON" in str(results[1])
    assert [table.read(name)["processing_status"] for name in ("a", "bad", "b")] == [
        "processing", "pending", "processing",
    ]  # fmt: skip
    await store.probe(True)


def _remove(path: str) -> None:
    for file in Path(path).parent.glob("photos.db*"):
        file.unlink()


def _exists(path: str) -> bool:
    return Path(path).exists()


async def test_a_deleted_database_is_not_made_anew(store, sqlite_path) -> None:
    await store.begin("p", T1)
    _remove(sqlite_path)
    with pytest.raises(DatabaseUnavailable, match="No such file"):
        await store.begin("q", T1)
    assert not _exists(sqlite_path)
    create_schema(sqlite_path)
    await store.begin("q", T2)
    assert Table(sqlite_path).read("q")["updated_at"] == T2


async def test_a_replaced_database_gets_the_rows(store, sqlite_path, tmp_path) -> None:
    await store.begin("p", T1)
    create_schema(str(tmp_path / "new" / "photos.db"))
    _remove(sqlite_path)
    shutil.copy(tmp_path / "new" / "photos.db", sqlite_path)
    await store.begin("q", T1)
    assert Table(sqlite_path).read("p") is None
    assert Table(sqlite_path).read("q")


def _damage(path: str) -> None:
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))


async def test_a_damaged_database_is_unavailable(store, sqlite_path) -> None:
    for number in range(200):
        Table(sqlite_path).add(f"p-{number}")
    _damage(sqlite_path)
    with pytest.raises(DatabaseUnavailable, match=r"SQLITE_(CORRUPT|NOTADB)"):
        await store.begin("p-77", T1)


# What is said at start.


def _garbage(path: str) -> None:
    Path(path).write_bytes(b"This is no database. " * 500)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda path: shutil.rmtree(Path(path).parent),
            r"_\d+ does not exist; `fastproc init-db` creates it",
        ),
        (_remove, "photos.db does not exist; `fastproc init-db` creates it"),
        (_garbage, "file is not a database"),
    ],
    ids=["no folder", "no file", "no database"],
)
async def test_check_says_what_is_wrong_and_makes_nothing(store, sqlite_path, spoil, says) -> None:
    _remove(sqlite_path)
    create_schema(sqlite_path)
    spoil(sqlite_path)
    existed = _exists(sqlite_path)
    with pytest.raises(Unreachable, match=f"^SQLITE_PATH: .*{says}"):
        await store.check()
    assert _exists(sqlite_path) == existed


@pytest.fixture(params=[0o555, 0o777], ids=["folder read-only", "file read-only"])
def locked_folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder with a database that we may not write to, even where the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="fastproc-test-"))
    create_schema(str(folder / "photos.db"))
    root = os.geteuid() == 0
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(request.param)
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


async def test_check_says_that_a_database_cannot_be_written_to(locked_folder) -> None:
    store = SqliteMetadataStore(str(locked_folder / "photos.db"))
    with pytest.raises(Unreachable, match=r"^SQLITE_PATH: .*cannot be used: .*(readonly|unable to open)"):
        await store.check()
    with pytest.raises(DatabaseUnavailable, match=r"SQLITE_(READONLY|CANTOPEN)"):
        await store.begin("p", T1)
    await store.close()


# fastproc init-db.


def test_init_db_makes_folder_and_table_and_can_be_repeated(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "b" / "photos.db")
    create_schema(path)
    table = Table(path)
    table.add("kept")
    create_schema(path)
    assert table.read("kept")["processing_status"] == "pending"
    assert {row["name"] for row in table.run("PRAGMA table_info(photos)")} == set(COLUMNS)


@pytest.mark.parametrize("locked_folder", [0o555], indirect=True)
def test_init_db_says_that_it_may_not(locked_folder: Path) -> None:
    with pytest.raises(Unreachable, match=r"^SQLITE_PATH: .*Permission denied"):
        create_schema(str(locked_folder / "deeper" / "photos.db"))


def test_init_db_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable, match=r"^SQLITE_PATH: "):
        create_schema(str(tmp_path / "file" / "photos.db"))
    _garbage(str(tmp_path / "photos.db"))
    with pytest.raises(Unreachable, match=r"^SQLITE_PATH: .*not a database"):
        create_schema(str(tmp_path / "photos.db"))


# Probes.


async def test_a_deep_probe_leaves_the_version_of_the_user(store, table) -> None:
    table.run("PRAGMA user_version=7")
    await store.probe(True)
    assert [tuple(row) for row in table.run("PRAGMA user_version")] == [(7,)]


async def test_a_probe_finds_a_locked_database_while_writes_wait_for_it(store, table, sqlite_path) -> None:
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = [asyncio.create_task(store.begin(f"p-{n}", T1)) for n in range(3)]
        async with asyncio.timeout(1.5):
            with pytest.raises(DatabaseUnavailable, match="SQLITE_BUSY"):
                await store.probe(True)
        other.execute("ROLLBACK")
        await asyncio.gather(*writing)


@pytest.mark.parametrize("trouble", ["gone", "a trigger without its table"])
async def test_a_probe_finds_a_database_that_is_not_there(store, table, sqlite_path, trouble) -> None:
    if trouble == "gone":
        os.rename(sqlite_path, f"{sqlite_path}.away")
    else:
        table.run("CREATE TRIGGER lost AFTER UPDATE ON photos BEGIN INSERT INTO audit VALUES (1); END")
    with pytest.raises(DatabaseUnavailable):
        await store.probe(True)


async def test_a_look_at_an_idle_database_writes_nothing_to_the_disk(store, sqlite_path) -> None:
    await store.begin("p", T1)
    before = os.stat(f"{sqlite_path}-wal")
    for _ in range(5):
        await store.probe(False)
    assert os.stat(f"{sqlite_path}-wal").st_mtime_ns == before.st_mtime_ns
    await store.probe(True)
    assert os.stat(f"{sqlite_path}-wal").st_mtime_ns > before.st_mtime_ns


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], check=False).returncode:
        pytest.skip("needs root to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def _fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(b"x" * 4096)


async def test_a_deep_probe_finds_a_full_disk(small_disk: Path) -> None:
    path = str(small_disk / "photos.db")
    create_schema(path)
    store = SqliteMetadataStore(path)
    try:
        await store.begin("p", T1)
        _fill(small_disk)
        await store.probe(False)
        with pytest.raises(DatabaseUnavailable, match=r"SQLITE_(FULL|IOERR)"):
            await store.probe(True)
        (small_disk / "filler").unlink()
        await store.probe(True)
    finally:
        await store.close()
