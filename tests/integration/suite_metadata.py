"""What every metadata store must do. A backend's test module subclasses `MetadataStoreSuite` and gives two fixtures."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, ClassVar, Protocol

import pytest

from fastproc.backends.photo_row import COLUMNS
from fastproc.core.errors import DatabaseUnavailable, RowRefused, Unreachable
from fastproc.supervisor.ports import Row

T1, T2, T3 = (f"2026-01-01T00:00:0{n}.000Z" for n in (1, 2, 3))
ROW = Row(width=400, height=300, processing_metadata='{"format":"jpeg","note":"é"}')


class Outside(Protocol):
    """The table as another program sees it."""

    def run(self, sql: str) -> list[Any]:
        """Run a statement; return its rows, which can be indexed."""

    def read(self, photo_id: str) -> dict[str, Any] | None:
        """Return the contract's columns of a row, in the contract's form."""

    def add(self, photo_id: str) -> None:
        """Insert a row as the API does, before the job."""

    def remake(self, **columns: str) -> None:
        """Make the table anew, with other types of columns or further ones."""

    def refuse(self, photo_id: str) -> None:
        """Make a trigger that raises `not this one` when the row is updated."""

    def count_updates(self) -> None:
        """Make a table `seen`, which gets a row for each update."""


class MetadataStoreSuite:
    """A backend's test class inherits from it and gives the fixtures `store` and `outside`.

    `variable` names the database, in messages.
    """

    variable: ClassVar[str]

    @pytest.fixture(params=["row exists", "row is missing"])
    def photo(self, request, outside) -> str:
        if request.param == "row exists":
            outside.add("p-1")
            outside.add("bystander")
        return "p-1"

    async def test_a_photo_that_begins_is_processing(self, store, outside, photo) -> None:
        await store.begin(photo, T1)
        assert outside.read(photo) == {
            "id": photo,
            "processing_status": "processing",
            "processing_started_at": T1,
            "processing_completed_at": None,
            "processing_error": None,
            "width": None,
            "height": None,
            "processing_metadata": None,
            "updated_at": T1,
        }

    @pytest.mark.parametrize("late", ["begin", "complete", "fail"])
    async def test_a_write_that_comes_when_the_lock_has_run_out_changes_nothing(
        self, store, outside, photo, late
    ) -> None:
        await store.begin(photo, T1, by=time.monotonic() + 60)
        await store.complete(photo, ROW, T2, by=time.monotonic() + 60)
        other = Row(width=1, height=1, processing_metadata="{}")
        write = {
            "begin": lambda by: store.begin(photo, T3, by=by),
            "complete": lambda by: store.complete(photo, other, T3, by=by),
            "fail": lambda by: store.fail(photo, "X: y", T3, final=True, by=by),
        }[late]
        before = outside.read(photo)
        # Both go into one transaction.
        late_one, in_time = await asyncio.gather(
            write(time.monotonic() - 0.01), store.begin("bystander", T3), return_exceptions=True
        )
        assert isinstance(late_one, DatabaseUnavailable)
        assert in_time is None
        assert outside.read(photo) == before
        await write(time.monotonic() + 60)
        assert outside.read(photo)["updated_at"] == T3

    async def test_a_host_whose_clock_is_slow_writes_its_rows_all_the_same(
        self, store, outside, photo
    ) -> None:
        await store.begin(photo, T3)
        await store.complete(photo, ROW, T3)
        await store.begin(photo, T1, by=time.monotonic() + 60)
        assert outside.read(photo)["processing_status"] == "processing"
        await store.fail(photo, "X: y", T2, final=True, by=time.monotonic() + 60)
        assert outside.read(photo)["processing_status"] == "failed"

    async def test_a_late_write_makes_no_row(self, store, outside) -> None:
        with pytest.raises(DatabaseUnavailable, match="lock"):
            await store.begin("p-1", T1, by=time.monotonic() - 0.01)
        assert outside.read("p-1") is None

    async def test_a_photo_that_is_done_has_its_row(self, store, outside, photo) -> None:
        await store.begin(photo, T1)
        await store.complete(photo, ROW, T2)
        row = outside.read(photo)
        # A database may store JSON in a form of its own.
        assert json.loads(row.pop("processing_metadata")) == json.loads(ROW.processing_metadata)
        assert row == {
            "id": photo,
            "processing_status": "completed",
            "processing_started_at": T1,
            "processing_completed_at": T2,
            "processing_error": None,
            "width": 400,
            "height": 300,
            "updated_at": T2,
        }

    async def test_a_failure_that_is_retried_keeps_the_photo_processing(self, store, outside, photo) -> None:
        await store.begin(photo, T1)
        await store.fail(photo, "STORAGE_UNAVAILABLE: away", T2, final=False)
        row = outside.read(photo)
        assert row["processing_status"] == "processing"
        assert row["processing_error"] == "STORAGE_UNAVAILABLE: away"
        assert (row["processing_started_at"], row["updated_at"]) == (T1, T2)

    async def test_a_final_failure_fails_the_photo_and_does_not_complete_it(
        self, store, outside, photo
    ) -> None:
        await store.begin(photo, T1)
        await store.fail(photo, "FILE_CORRUPTED: cut", T2, final=True)
        row = outside.read(photo)
        assert (row["processing_status"], row["processing_error"]) == ("failed", "FILE_CORRUPTED: cut")
        assert row["processing_completed_at"] is None

    async def test_a_new_attempt_clears_the_error_and_a_new_job_the_completion(
        self, store, outside, photo
    ) -> None:
        await store.fail(photo, "X: y", T1, final=False)
        await store.complete(photo, ROW, T2)
        assert outside.read(photo)["processing_error"] is None
        await store.fail(photo, "X: y", T2, final=True)
        await store.begin(photo, T3)
        row = outside.read(photo)
        assert (row["processing_error"], row["processing_completed_at"]) == (None, None)
        assert row["processing_status"] == "processing"

    async def test_other_photos_are_left_alone(self, store, outside) -> None:
        outside.add("other")
        before = outside.read("other")
        await store.complete("p-1", ROW, T1)
        assert outside.read("other") == before

    async def test_a_hostile_text_is_only_text(self, store, outside) -> None:
        photo, error = "p'; DROP TABLE photos; --", "a'b\"c\x00d\n\ud800é😀"
        await store.fail(photo, error, T1, final=True)
        assert "é😀" in outside.read(photo)["processing_error"]

    async def test_many_photos_at_once_all_get_their_rows_in_order(self, store, outside) -> None:
        async def job(number: int) -> None:
            await store.begin(f"p-{number}", T1)
            await store.complete(f"p-{number}", Row(width=number, height=1, processing_metadata="{}"), T2)

        # The last two arrive together, in this order.
        both = store.begin("twice", T1), store.fail("twice", "X: y", T2, final=True)
        await asyncio.gather(*both, *(job(number) for number in range(200)))
        assert [outside.read(f"p-{number}")["width"] for number in range(200)] == list(range(200))
        assert outside.read("twice")["processing_status"] == "failed"

    async def test_close_commits_what_was_accepted_and_then_refuses(self, store, outside) -> None:
        accepted = [asyncio.create_task(store.begin(f"p-{number}", T1)) for number in range(50)]
        await asyncio.sleep(0)
        await store.close()
        await store.close()
        assert all(outside.read(f"p-{number}") for number in range(50))
        await asyncio.gather(*accepted)
        with pytest.raises(DatabaseUnavailable, match="closed"):
            await store.begin("late", T1)
        assert outside.read("late") is None

    async def test_a_cancelled_job_takes_nobody_with_it(self, store, outside) -> None:
        jobs = [asyncio.create_task(store.begin(f"p-{number}", T1)) for number in range(10)]
        await asyncio.sleep(0)
        jobs[3].cancel()
        await asyncio.gather(*(job for job in jobs if job is not jobs[3]))
        await store.begin("p-3", T2)
        assert outside.read("p-3")["updated_at"] == T2

    # What the schema refuses.

    async def test_the_apis_own_columns_keep_their_values(self, store, outside) -> None:
        outside.run("ALTER TABLE photos ADD COLUMN owner TEXT DEFAULT 'nobody'")
        outside.run("INSERT INTO photos (id, owner) VALUES ('p', 'lovelace')")
        await store.complete("p", ROW, T1)
        await store.complete("new", ROW, T1)
        assert [row[0] for row in outside.run("SELECT owner FROM photos ORDER BY id DESC")] == [
            "lovelace",
            "nobody",
        ]

    async def test_a_row_that_the_schema_does_not_let_us_make_is_counted_and_fails_nobody(
        self, store, outside, caplog
    ) -> None:
        outside.remake(owner="TEXT NOT NULL")
        outside.run("INSERT INTO photos (id, owner) VALUES ('known', 'lovelace')")
        await asyncio.gather(*(store.begin(name, T1) for name in ("unknown", "known", "stranger")))
        assert store.missing_rows == 2
        assert outside.read("known")["processing_status"] == "processing"
        assert outside.read("unknown") is None
        assert "photo unknown has no row" in caplog.text
        assert "lovelace" not in caplog.text

    async def test_a_refused_row_fails_alone(self, store, outside) -> None:
        outside.refuse("bad")
        names = ["p-1", "p-2", "bad", "p-3"]
        for name in names:
            outside.add(name)
        results = await asyncio.gather(*(store.begin(name, T1) for name in names), return_exceptions=True)
        assert [type(result) for result in results] == [type(None), type(None), RowRefused, type(None)]
        assert "photo bad was refused: not this one" in str(results[2])
        assert [outside.read(name)["processing_status"] for name in names] == [
            "processing", "processing", "pending", "processing",
        ]  # fmt: skip

    async def test_a_constraint_refuses_the_row_of_its_photo_alone(self, store, outside) -> None:
        outside.remake(width="INTEGER CHECK (width < 300)")
        outside.add("p")
        await store.begin("p", T1)
        with pytest.raises(RowRefused, match=r"(?i)check constraint"):
            await store.complete("p", ROW, T2)
        assert outside.read("p")["processing_status"] == "processing"
        await store.complete("p", Row(width=1, height=1, processing_metadata="{}"), T2)
        assert outside.read("p")["processing_status"] == "completed"

    async def test_a_value_that_it_cannot_hold_is_refused_and_its_neighbours_are_written(
        self, store, outside
    ) -> None:
        for name in ("p", "q"):
            outside.add(name)
        giant = Row(width=1 << 70, height=1, processing_metadata="{}")
        results = await asyncio.gather(
            store.complete("p", giant, T2), store.complete("q", ROW, T2), return_exceptions=True
        )
        assert [type(result) for result in results] == [RowRefused, type(None)]
        await store.complete("p", ROW, T2)
        assert outside.read("p")["processing_status"] == outside.read("q")["processing_status"] == "completed"

    # What is said at the start.

    async def test_check_and_probes_are_content_where_all_is_well(self, store) -> None:
        await store.check()
        await store.probe(False)
        await store.probe(True)

    async def test_check_says_that_the_table_is_missing_and_makes_none(self, store, outside) -> None:
        outside.run("DROP TABLE photos")
        with pytest.raises(
            Unreachable, match=f"^{self.variable}: .* no table `photos`; `fastproc init-db` creates it"
        ):
            await store.check()
        with pytest.raises(DatabaseUnavailable):
            await store.begin("p", T1)

    async def test_check_names_every_column_that_is_missing(self, store, outside) -> None:
        outside.run("DROP TABLE photos")
        outside.run("CREATE TABLE photos (id TEXT, processing_status TEXT)")
        with pytest.raises(
            Unreachable, match=f"^{self.variable}: .*lacks processing_started_at, .*, updated_at"
        ):
            await store.check()

    async def test_a_table_is_made_once_and_keeps_its_rows(self, store, outside) -> None:
        outside.run("DROP TABLE photos")
        await asyncio.gather(*(store.create_schema() for _ in range(3)))
        outside.add("kept")
        await store.create_schema()
        assert outside.read("kept")["processing_status"] == "pending"
        assert set(outside.read("kept")) == set(COLUMNS)
        await store.check()

    # Probes.

    @pytest.mark.parametrize("deep", [True, False])
    async def test_a_probe_changes_nothing_and_touches_no_trigger(self, store, outside, deep) -> None:
        outside.add("p")
        before = outside.read("p")
        outside.count_updates()
        await store.probe(deep)
        assert outside.read("p") == before
        assert [tuple(row) for row in outside.run("SELECT count(*) FROM seen")] == [(0,)]
        await store.begin("p", T1)
        assert [tuple(row) for row in outside.run("SELECT count(*) FROM seen")] == [(1,)]

    @pytest.mark.parametrize("deep", [True, False])
    @pytest.mark.parametrize("trouble", ["DROP TABLE photos", "ALTER TABLE photos DROP COLUMN width"])
    async def test_a_probe_finds_a_table_that_cannot_be_written_to(
        self, store, outside, trouble, deep
    ) -> None:
        outside.run(trouble)
        with pytest.raises(DatabaseUnavailable):
            await store.probe(deep)
