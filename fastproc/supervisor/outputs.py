"""A job's renditions as what is written for them: objects with keys, types and metadata, in one bucket."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from fastproc.core import record
from fastproc.core.keys import Results
from fastproc.core.model import Job, Stored
from fastproc.supervisor.ports import Upload
from fastproc.supervisor.workers.task import Result


class Outputs(Struct, frozen=True):
    """What a job writes, and where its renditions then are."""

    bucket: str
    stored: list[Stored]
    uploads: list[Upload]


def outputs(job: Job, result: Result, results: Results, url: Callable[[str, str], str]) -> Outputs:
    """Return what is to be written; `url` gives an object's address for people. Raises InvalidJob."""
    report, bucket = result.report, results.bucket_of(job)
    stored = [
        Stored(rendition=rendition, key=key, url=url(bucket, key))
        for rendition, key in zip(report.renditions, results.keys(job, report.renditions), strict=True)
    ]
    uploads = [
        Upload(
            each.key,
            body,
            each.rendition.content_type,
            record.upload_metadata(job, report, each.rendition),
            is_result=True,
        )
        for each, body in zip(stored, result.bodies, strict=True)
    ]
    return Outputs(bucket, stored, uploads)
