"""What became of each file: as a JSON line, as a row of the table, as a card of the contact sheet."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from fastproc.core import record
from fastproc.core.model import Json, Rendition, Report, Stored
from fastproc.terminal.contact_sheet import SheetEntry, sheet_lines
from fastproc.terminal.results import ResultRow

#: Codes of `process` alone; the others are those of `core.errors`. The file cannot be read; the results not be written.
NOT_READABLE: Final = "NOT_READABLE"
NOT_WRITTEN: Final = "NOT_WRITTEN"


class FileResult(Struct, frozen=True):
    """The result of one file: a report and the files written, or a code and a message. `size` is in bytes."""

    file: Path
    photo_id: str
    size: int = 0
    seconds: float = 0.0
    report: Report | None = None
    written: tuple[Path, ...] = ()
    code: str | None = None
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.code is None


def labels(files: Sequence[Path]) -> dict[Path, str]:
    """Return what each file is called on the terminal: its name, or its whole path where others have that name."""
    count = Counter(file.name for file in files)
    return {file: text_of(Path(file.name) if file.name and count[file.name] == 1 else file) for file in files}


def as_json(result: FileResult) -> dict[str, Json]:
    """Return the result as a JSON value.

    `file` has `\\xNN` for each byte that is not UTF-8; such a file's path is in `fileBase64` too, as it is.
    """
    about: dict[str, Json] = {"file": text_of(result.file)}
    if about["file"] != str(result.file):
        about["fileBase64"] = base64.b64encode(os.fsencode(result.file)).decode()
    about |= {"photoId": result.photo_id, "durationMs": round(result.seconds * 1000)}
    if result.report is None:
        return about | {"success": False, "error": {"code": result.code, "message": result.message}}
    stored = _stored(result)
    return about | {
        "success": True,
        "metadata": record.metadata(result.report),
        "thumbnails": record.thumbnails(stored),
        "optimization": record.optimization(result.report, stored),
        **record.renditions(stored),
        "timingsMs": result.report.timings_ms,
        "cpuMs": result.report.cpu_ms,
        "decodes": result.report.decodes,
    }


def text_of(path: Path) -> str:
    """Return a path as text that can be encoded: file names are bytes, and need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def as_row(result: FileResult, label: str) -> ResultRow:
    report = result.report
    facts = report.facts.get("optimization", {}) if report else {}
    return ResultRow(
        photo=label,
        format=report.format if report else "",
        width=report.width if report else 0,
        height=report.height if report else 0,
        size_bytes=result.size,
        thumbnails=sum(r.stage == "thumbnails" for r in report.renditions) if report else 0,
        saved_bytes=facts.get("savings") if facts.get("optimized") else None,
        duration_ms=result.seconds * 1000,
        status="completed" if result.ok else "failed",
        code=result.code,
    )


def as_entry(result: FileResult, label: str) -> SheetEntry:
    """Return the card of the contact sheet, with the largest thumbnail if it is still there."""
    thumbnails = [
        path
        for path, stored in zip(result.written, _stored(result), strict=True)
        if stored.rendition.stage == "thumbnails"
    ]
    row = as_row(result, label)
    return SheetEntry(
        name=label,
        thumbnail=_content(thumbnails[-1]) if thumbnails else None,
        lines=sheet_lines(row) if row.ok else (row.code or row.status,),
        failed=not result.ok,
    )


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _stored(result: FileResult) -> list[Stored]:
    renditions: tuple[Rendition, ...] = result.report.renditions if result.report else ()
    return [
        Stored(rendition=rendition, key=path.name, url=path.resolve().as_uri())
        for rendition, path in zip(renditions, result.written, strict=True)
    ]
