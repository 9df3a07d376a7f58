"""What a log line is about, as fields beside its words: `log.info("completed", extra=fields(jobId=..., ms=...))`.

Rule 1: fields travel through `logging` as one attribute of the record, so that no name meets one of the record's own.
Rule 2: a field has one name everywhere, that of the contract where it has one; docs/operations.md lists them, and a
        test compares. What is None is left out.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from fastproc.core.model import Job

#: The record's attribute.
FIELDS: Final = "fields"


class At(Struct, frozen=True):
    """A moment, in seconds since 1970; a line shows it as its own time."""

    seconds: float


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """Return the `extra` of a record with these fields."""
    return {FIELDS: values}


def of_job(job: Job, **values: Any) -> dict[str, dict[str, Any]]:
    """Return the `extra` of a record about a job."""
    return {FIELDS: {"jobId": job.id, "photoId": job.photo_id or None, "attempt": job.attempt, **values}}
