"""What others read about a job: return value, row, event data, user metadata, stack lines.

Contract: docs/contract.md, Job, Objects, Row, Events. Values only: the callers encode and send them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fastproc.core.errors import BY_CODE
from fastproc.core.model import Job, Json, Rendition, Report, Stored

#: Facts of these stages have their own fields; those of any other stage go into the metadata under its name.
_PLACED: Final = frozenset({"validation", "metadata", "thumbnails", "optimization"})

#: What the metadata has of `metadata` itself, and the warnings: no other stage may have such a name. A test compares
#: with docs/contract.md.
METADATA_FIELDS: Final = frozenset({
    "format", "width", "height", "space", "channels", "depth", "density", "hasAlpha", "chromaSubsampling",
    "orientation", "isProgressive", "dominantColor", "brightness", "exif", "descriptive", "frames", "gainMap", "hdr",
    "preview", "warnings",
})  # fmt: skip

#: Renditions of these stages have their own fields too.
_LISTED: Final = frozenset({"thumbnails", "optimization"})

#: Longest failedReason, error of a row, message of an event.
MAX_REASON_CHARS: Final = 2000


def metadata(report: Report) -> dict[str, Json]:
    """The contract's metadata: the facts of the stage `metadata`, and those of further stages under their names."""
    found = dict(report.facts.get("metadata", {}))
    for stage, facts in report.facts.items():
        if stage not in _PLACED and facts:
            found[stage] = facts
    if report.warnings:
        found["warnings"] = list(report.warnings)
    return found


def thumbnails(stored: Sequence[Stored]) -> list[dict[str, Json]]:
    """The contract's list of thumbnails, in the order in which they are configured."""
    return [_described(each) for each in stored if each.rendition.stage == "thumbnails"]


def renditions(stored: Sequence[Stored]) -> dict[str, list[dict[str, Json]]]:
    """The field `renditions`: what stages of your own made, in order; no field where they made nothing."""
    found = [
        {"stage": each.rendition.stage, **_described(each), "contentType": each.rendition.content_type}
        for each in stored
        if each.rendition.stage not in _LISTED
    ]
    return {"renditions": found} if found else {}


def _described(stored: Stored) -> dict[str, Json]:
    return {
        "name": stored.rendition.name,
        "width": stored.rendition.width,
        "height": stored.rendition.height,
        "fileSize": stored.rendition.size,
        "s3Key": stored.key,
        "url": stored.url,
    }


def optimization(report: Report, stored: Sequence[Stored]) -> dict[str, Json] | None:
    """The facts of the optimisation with the copy's key and URL, or None where the pipeline has no such stage."""
    facts = report.facts.get("optimization")
    if facts is None:
        return None
    copies = [each for each in stored if each.rendition.stage == "optimization"]
    where = {"s3Key": copies[0].key, "url": copies[0].url} if copies else {}
    return {**facts, **where}


def upload_metadata(job: Job, report: Report, rendition: Rendition) -> dict[str, str]:
    """The user metadata of a rendition's object, without `x-amz-meta-`. Source: docs/contract.md, Objects."""
    if rendition.stage == "optimization":
        facts = report.facts.get("optimization", {})
        return {
            "original-size": str(facts.get("originalSize", "")),
            "optimized-size": str(rendition.size),
            "savings": str(facts.get("savings", "")),
            "photo-id": job.photo_id,
        }
    return {"size": rendition.name, "width": str(rendition.width), "photo-id": job.photo_id}


def row_metadata(report: Report, stored: Sequence[Stored]) -> dict[str, Json]:
    """The row's `processing_metadata`: what a page needs to show the photo, and the whole metadata."""
    facts = metadata(report)
    return {
        "thumbnails": thumbnails(stored),
        "format": facts.get("format", report.format),
        "colorSpace": facts.get("space"),
        "hasAlpha": facts.get("hasAlpha"),
        "optimization": optimization(report, stored),
        "metadata": facts,
        **renditions(stored),
    }


def return_value(job: Job, report: Report, stored: Sequence[Stored], duration_ms: int) -> dict[str, Json]:
    """The job's return value."""
    made = thumbnails(stored)
    return {
        "success": True,
        "photoId": job.photo_id,
        "thumbnailCount": len(made),
        "metadata": metadata(report),
        "thumbnails": made,
        "optimization": optimization(report, stored),
        "durationMs": duration_ms,
        **renditions(stored),
    }


def event_data(job: Job, **more: Json) -> dict[str, Json]:
    """The fields that every event has, and those of this one."""
    about: dict[str, Any] = {
        "photoId": job.photo_id,
        "jobId": job.id,
        "clientId": job.client_id,
        "sessionId": job.session_id,
    }
    return about | more


def completed_data(job: Job, report: Report, stored: Sequence[Stored], duration_ms: int) -> dict[str, Json]:
    """The data of a completed event; `duration_ms` counts from when the job was added."""
    return event_data(
        job,
        thumbnails=thumbnails(stored),
        metadata=metadata(report),
        optimization=optimization(report, stored),
        duration=duration_ms,
        **renditions(stored),
    )


def failed_data(job: Job, code: str, reason: str, *, will_retry: bool) -> dict[str, Json]:
    """The data of a failed event. Its message is the reason without the code, which has a field of its own."""
    leaf = BY_CODE.get(code)
    error = {
        "message": reason.removeprefix(f"{code}: ")[:MAX_REASON_CHARS],
        "code": code,
        "retryable": bool(leaf and leaf.retryable),
        "attempt": job.attempt,
        "willRetry": will_retry,
    }
    return event_data(job, error=error)


def stack(reason: str, where: str) -> str:
    """One entry of the job's stacktrace: the reason, then where it happened, in the shape that dashboards show."""
    return f"{reason[:MAX_REASON_CHARS]}\n    at {where}"


def encoded(value: Json) -> str:
    """Return a value as JSON text.

    NaN and infinities become null: one invalid return value stops every QueueEvents listener of the queue.
    """
    return msgspec.json.encode(value).decode()
