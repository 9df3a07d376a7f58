"""The contract's columns of the table `photos`, and what each step of a job writes into them: for every SQL store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastproc.supervisor.ports import Row

#: Column -> its SQL type, as it is made where there is no table. A table that lacks one is refused.
COLUMNS: Final = {
    "id": "TEXT PRIMARY KEY",
    "processing_status": "TEXT NOT NULL DEFAULT 'pending'",
    "processing_started_at": "TEXT",
    "processing_completed_at": "TEXT",
    "processing_error": "TEXT",
    "width": "INTEGER",
    "height": "INTEGER",
    "processing_metadata": "TEXT",
    "updated_at": "TEXT",
}

Value = str | int | None


def begun(at: str) -> Mapping[str, Value]:
    """A photo is `processing` since `at`, with no error."""
    return {
        "processing_status": "processing",
        "processing_started_at": at,
        "processing_completed_at": None,
        "processing_error": None,
        "updated_at": at,
    }


def completed(row: Row, at: str) -> Mapping[str, Value]:
    """A photo is `completed` at `at`, with its row."""
    return {
        "processing_status": "completed",
        "processing_completed_at": at,
        "processing_error": None,
        "width": row.width,
        "height": row.height,
        "processing_metadata": row.processing_metadata,
        "updated_at": at,
    }


def failed(error: str, at: str, *, final: bool) -> Mapping[str, Value]:
    """An attempt failed; a `final` one marks the photo as `failed`.

    `processing_completed_at` stays empty: it is set for completed photos alone. `updated_at` says when it failed.
    """
    return {
        "processing_status": "failed" if final else "processing",
        # A producer's text may hold lone surrogates and zeros, which no database takes.
        "processing_error": error.encode(errors="backslashreplace").decode().replace("\0", "\\0"),
        "updated_at": at,
    }
