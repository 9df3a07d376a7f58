"""The results of the tour, as an application would get them: fetched from the store, read from the rows, shown.

Rule 1: the events say what happened to a photo, the rows have the last word: both must agree that it ended.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from rich.console import Console

from fastproc.demo.photo import Photo
from fastproc.embedded.stand import Stand
from fastproc.terminal.contact_sheet import SheetEntry, contact_sheet, sheet_lines
from fastproc.terminal.results import ResultRow, results_table, summary_line
from fastproc.terminal.text import print_line


def show_results(stand: Stand, photos: list[Photo], out: Path, seconds: float, console: Console) -> bool:
    """Put the results into `out`, print the table; return whether the rows agree that every photo ended.

    `out` gets the renditions in `results/`, the database `photos.db`, and `contact-sheet.jpg`; what an earlier tour
    left there is replaced. `seconds` is how long the run took.
    """
    results = out / "results"
    shutil.rmtree(results, ignore_errors=True)
    _download(stand, photos, results)
    shutil.copy(stand.database, out / "photos.db")
    statuses = _statuses(out / "photos.db")
    rows = [_row(photo, statuses.get(photo.id, "no row")) for photo in photos]
    console.print(results_table(rows))
    summary = summary_line(rows, seconds)
    print_line(console, summary)
    for photo in photos:
        if photo.is_meant:
            print_line(console, f"{photo.file.name} is cut short on purpose, to show {photo.fails}")
    sheet = out / "contact-sheet.jpg"
    contact_sheet([_entry(photo, results) for photo in photos], sheet, f"fastproc demo\n{summary}")
    for name, path in (("contact sheet", sheet), ("results", results), ("rows", out / "photos.db")):
        print_line(console, f"{name}: {path}")
    return all(row.status in ("completed", "failed") for row in rows)


def _download(stand: Stand, photos: list[Photo], results: Path) -> None:
    client = stand.seaweedfs.client()
    for key in (key for photo in photos for key in photo.result_keys):
        path = results / key
        path.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(stand.config.s3.bucket, key, str(path))
    client.close()


def _statuses(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as database:
        return dict(database.execute("select id, processing_status from photos").fetchall())


def _row(photo: Photo, status: str) -> ResultRow:
    metadata = photo.reported.get("metadata", {})
    optimization = photo.reported.get("optimization") or {}
    return ResultRow(
        photo=photo.file.name,
        format=metadata.get("format", ""),
        width=metadata.get("width", 0),
        height=metadata.get("height", 0),
        size_bytes=photo.file.stat().st_size,
        thumbnails=len(photo.thumbnails),
        saved_bytes=optimization.get("savings") if optimization.get("optimized") else None,
        duration_ms=photo.seconds * 1000,
        status=status,
        code=photo.reported.get("error", {}).get("code"),
        meant=photo.is_meant,
    )


def _entry(photo: Photo, results: Path) -> SheetEntry:
    row = _row(photo, "")
    largest = max(photo.thumbnails, key=lambda t: t["width"] * t["height"], default=None)
    return SheetEntry(
        name=photo.file.name,
        thumbnail=(results / largest["s3Key"]).read_bytes() if largest else None,
        lines=sheet_lines(row) if largest else (row.code or "no result", *(["as meant"] * row.meant)),
        failed=largest is None,
    )
