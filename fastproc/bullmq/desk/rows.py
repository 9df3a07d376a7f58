"""From a job's hash to what an operator sees of it: total, whatever the hash holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import structs

from fastproc.bullmq import cancelling
from fastproc.bullmq.protocol import text
from fastproc.core.errors import BY_CODE
from fastproc.core.job_view import JobDetail, JobRow, RenditionAt, StageTime

#: The fields that a row needs. BullMQ before version 5 counts in `attemptsMade`.
FIELDS: Final = (
    "data", "opts", "timestamp", "processedOn", "finishedOn", "atm", "attemptsMade", "progress", "failedReason", "pb",
    cancelling.FIELD,
)  # fmt: skip
#: A row of the log that says what a stage took (`supervisor.job`).
_STAGE: Final = re.compile(r"([\w.-]{1,64}): (\d{1,9}(?:\.\d{1,3})?) ms")
#: Longest text of a data field that is shown.
MAX_CHARS: Final = 2000
#: Renditions that are looked for in a return value, and how deep.
_MOST_RENDITIONS, _DEPTH = 100, 4


def row(job_id: str, state: str, fields: Mapping[str, bytes], due_at_ms: int = 0) -> JobRow:
    """Return the row of a job whose hash has at least FIELDS, where they are there at all."""
    data, options = _object(fields.get("data")), _object(fields.get("opts"))
    reason = text(fields.get("failedReason", b""))
    mark = cancelling.asked(fields.get(cancelling.FIELD))
    return JobRow(
        id=job_id,
        state=state,
        photo=_word(data.get("photoId")),
        key=_word(data.get("s3Key")),
        attempts_made=max(_count(fields.get("atm")), _count(fields.get("attemptsMade"))),
        attempts=_whole(options.get("attempts")),
        added_at_ms=_count(fields.get("timestamp")),
        due_at_ms=due_at_ms,
        taken_at_ms=_count(fields.get("processedOn")),
        ended_at_ms=_count(fields.get("finishedOn")),
        progress=_progress(fields.get("progress")),
        code=code(reason),
        reason=reason[:MAX_CHARS],
        worker=text(fields.get("pb", b"")),
        cancel=mark.message if mark else "",
    )


def detail(
    job_id: str,
    state: str,
    fields: Mapping[str, bytes],
    *,
    log: Sequence[str],
    children: int,
    due_at_ms: int = 0,
) -> JobDetail:
    """Return everything, of the whole hash and the rows of the job's log."""
    data, value = _object(fields.get("data")), _json(fields.get("returnvalue"))
    about = structs.asdict(row(job_id, state, fields, due_at_ms))
    stages = {found[1]: float(found[2]) for line in log if (found := _STAGE.fullmatch(line))}
    return JobDetail(
        **about,
        name=text(fields.get("name", b"")),
        bucket=_word(data.get("bucket")),
        client_id=_word(data.get("clientId")),
        session_id=_word(data.get("sessionId")),
        priority=_count(fields.get("priority")),
        stack=tuple(_texts(_json(fields.get("stacktrace")))),
        log=tuple(log),
        stages=tuple(StageTime(stage, ms) for stage, ms in stages.items()),
        warnings=tuple(_texts(_get(_get(value, "metadata"), "warnings"))),
        renditions=tuple(_renditions(value, "", _DEPTH))[:_MOST_RENDITIONS],
        return_value=value,
        scheduler=text(fields.get("rjk", b"")),
        parent=text(fields.get("parentKey", b"")),
        children=children,
    )


def code(reason: str) -> str:
    """Return the code that a reason begins with, "" where it is BullMQ's own or another worker's."""
    found = reason.partition(":")[0]
    return found if found in BY_CODE else ""


def photo_of(raw: bytes | None) -> str:
    """Return the photo of a job's data."""
    return _word(_object(raw).get("photoId"))


def pushes_first(raw: bytes | None) -> bool:
    """Whether a job's options say that it goes to the head of the queue (`lifo`)."""
    return _object(raw).get("lifo") is True


def _renditions(value: Any, name: str, depth: int) -> Iterator[RenditionAt]:
    """Yield whatever has a key, wherever it stands: the thumbnails, the optimised copy, pictures of own stages."""
    if isinstance(value, list) and depth:
        for each in value:
            yield from _renditions(each, name, depth - 1)
    if not isinstance(value, dict):
        return
    if key := _word(value.get("s3Key")):
        size = value.get("fileSize", value.get("optimizedSize"))
        yield RenditionAt(
            name=_word(value.get("name")) or name,
            key=key,
            url=_word(value.get("url")),
            width=_whole(value.get("width")),
            height=_whole(value.get("height")),
            size=_whole(size),
        )
    elif depth:
        for inner, each in value.items():
            if isinstance(inner, str):
                yield from _renditions(each, inner, depth - 1)


def _json(raw: bytes | None) -> Any:
    try:
        return msgspec.json.decode(raw) if raw else None
    except (ValueError, RecursionError):
        return None


def _object(raw: bytes | None) -> dict[str, Any]:
    value = _json(raw)
    return value if isinstance(value, dict) else {}


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _texts(value: Any) -> list[str]:
    return [each[:MAX_CHARS] for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _word(value: Any) -> str:
    words = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return words[:MAX_CHARS]


def _whole(value: Any) -> int:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if number and 0 <= value <= 2**53 else 0


def _count(raw: bytes | None) -> int:
    return int(raw) if raw is not None and raw.isdigit() and len(raw) <= 16 else 0


def _progress(raw: bytes | None) -> float:
    value = _json(raw)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
