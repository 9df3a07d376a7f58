"""Failures by code: what counts, what is kept of the newest, what is bounded."""

from __future__ import annotations

from msgspec import structs

from fastproc.core.failures import MAX_ID_CHARS, MAX_REASON_CHARS, failure, table, together
from fastproc.core.model import Ended, GiveUp, Retry
from tests.unit.supervisor.fakes import JOB

RETRIED = Ended(Retry(0), "STORAGE_UNAVAILABLE", "STORAGE_UNAVAILABLE: 503 SlowDown", "")
FAILED = Ended(GiveUp("attempts exhausted"), "STORAGE_UNAVAILABLE", "STORAGE_UNAVAILABLE: 503 SlowDown", "")


def test_an_attempt_that_is_retried_is_no_job() -> None:
    row = together(failure(JOB, RETRIED, 1000), failure(JOB, FAILED, 2000))
    assert (row.attempts, row.jobs, row.first_at_ms, row.last_at_ms) == (2, 1, 1000, 2000)


def test_the_newest_is_kept_whichever_comes_first() -> None:
    old = failure(JOB, RETRIED, 1000)
    new = failure(structs.replace(JOB, id="8", photo_id="p-2"), RETRIED, 2000)
    for row in (together(old, new), together(new, old)):
        assert (row.photo, row.job, row.reason) == ("p-2", "8", "503 SlowDown")
        assert (row.first_at_ms, row.last_at_ms) == (1000, 2000)


def test_the_table_has_a_row_a_code_and_the_newest_first() -> None:
    other = Ended(GiveUp("not retryable"), "FILE_CORRUPTED", "FILE_CORRUPTED: cut", "")
    rows = table([failure(JOB, FAILED, 1), failure(JOB, other, 3), failure(JOB, RETRIED, 2)])
    assert [(row.code, row.attempts) for row in rows] == [("FILE_CORRUPTED", 1), ("STORAGE_UNAVAILABLE", 2)]


def test_what_strangers_write_has_bounds() -> None:
    job = structs.replace(JOB, id="i" * 9999, photo_id="p" * 9999)
    row = failure(job, Ended(Retry(0), "PROCESSING_ERROR", "PROCESSING_ERROR: " + "x" * 9999, ""), 1)
    assert (len(row.job), len(row.photo), len(row.reason)) == (MAX_ID_CHARS, MAX_ID_CHARS, MAX_REASON_CHARS)
