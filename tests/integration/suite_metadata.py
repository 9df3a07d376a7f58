"""What every metadata store must do. A backend's test module subclasses `MetadataStoreSuite` and gives two fixtures."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import pytest

from fastproc.core.errors import DatabaseUnavailable
from fastproc.supervisor.ports import Row

T1, T2, T3 = (f"2026-01-01T00:00:0{n}.000Z" for n in (1, 2, 3))
ROW = Row(width=400, height=300, processing_metadata='{"format":"jpeg","note":"é"}')


class Outside(Protocol):
    """The table as another program sees it."""

    def read(self, photo_id: str) -> dict[str, Any] | None: ...

    def add(self, photo_id: str) -> None:
        """Insert a row as the API does, before the job."""


class MetadataStoreSuite:
    """A backend's test class inherits from it and gives the fixtures `store` and `outside`."""

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

    async def test_a_late_beginning_does_not_hide_that_another_service_has_completed_the_photo(
        self, store, outside, photo
    ) -> None:
        await store.begin(photo, T1)
        await store.complete(photo, ROW, T2)
        await store.begin(photo, T1)
        assert outside.read(photo)["processing_status"] == "completed"
        await store.begin(photo, T3)
        assert outside.read(photo)["processing_status"] == "processing"
        assert outside.read(photo)["processing_completed_at"] is None

    async def test_a_photo_that_is_done_has_its_row(self, store, outside, photo) -> None:
        await store.begin(photo, T1)
        await store.complete(photo, ROW, T2)
        assert outside.read(photo) == {
            "id": photo,
            "processing_status": "completed",
            "processing_started_at": T1,
            "processing_completed_at": T2,
            "processing_error": None,
            "width": 400,
            "height": 300,
            "processing_metadata": ROW.processing_metadata,
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

    async def test_check_is_silent_where_all_is_well(self, store) -> None:
        await store.check()
