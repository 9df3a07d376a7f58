"""`fastproc process`: runs the pipeline on local files, with the service's own workers and without servers."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from msgspec import Struct
from rich.console import Console

from fastproc.app import started_pool
from fastproc.commands import running
from fastproc.config.settings import Config
from fastproc.core import naming, record, uploads
from fastproc.core.errors import ConfigError, SourceTooLarge, TaskError
from fastproc.core.model import Json, Rendition, Report, Stored
from fastproc.supervisor.workers.pool import Pool
from fastproc.supervisor.workers.task import OnStage, Result
from fastproc.terminal.contact_sheet import SheetEntry, contact_sheet, sheet_lines
from fastproc.terminal.exits import Exit
from fastproc.terminal.progress import PhotoProgress, live_progress
from fastproc.terminal.results import ResultRow, results_table, summary_line
from fastproc.terminal.text import print_line


class FileResult(Struct, frozen=True):
    """The result of one file: a report and the files written, or an error. `size` is in bytes."""

    file: Path
    photo_id: str
    size: int
    seconds: float
    report: Report | None = None
    written: tuple[Path, ...] = ()
    error: TaskError | None = None


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the results."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON line a photo, and nothing else, to stdout."
)
def command(files: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Run the pipeline on local files, without servers.

    FILES are photos, or folders of photos. The renditions and a contact sheet are written to the folder of --out.
    """
    config = running.settings(quiet=True)
    failed = running.run(lambda: process(config, files, out, as_json=as_json))
    sys.exit(Exit.PHOTOS_FAILED if failed else Exit.OK)


async def process(config: Config, given: Sequence[Path], out: Path, *, as_json: bool) -> int:
    """Process files, and those in folders; write renditions and a contact sheet to `out`; return how many failed.

    Raises: ConfigError, also for a file that cannot be read or written; FleetHalted.
    """
    try:
        return await _process_given(config, given, out, as_json=as_json)
    except OSError as error:
        if error.filename is None:
            raise
        raise ConfigError([f"{error.filename}: {error.strerror}"]) from error


async def _process_given(config: Config, given: Sequence[Path], out: Path, *, as_json: bool) -> int:
    files = _files(given)
    out.mkdir(parents=True, exist_ok=True)
    # With --json, stdout is for the results and progress goes to stderr.
    console = Console(stderr=as_json)
    async with started_pool(config) as pool:
        begun = time.monotonic()
        with live_progress(len(files), console) as view:
            results = await _process_all(config, pool, files, out, view)
        seconds = time.monotonic() - begun
    if as_json:
        for result in results:
            print(msgspec.json.encode(_json(result)).decode())
    else:
        _show(results, out, seconds, console)
    return sum(result.error is not None for result in results)


async def _process_all(
    config: Config, pool: Pool, files: Sequence[Path], out: Path, view: PhotoProgress
) -> list[FileResult]:
    stages = config.pipeline.stages
    in_hand = asyncio.Semaphore(config.pool.max_in_hand)

    async def one(file: Path, photo_id: str) -> FileResult:
        def on_stage(stage: str) -> None:
            view.stage(file.name, naming.stage_percent(stages, stage))

        async with in_hand:
            view.started(file.name)
            result = await _process(pool, file, photo_id, out, on_stage)
            view.finished(file.name, result.error is None)
            return result

    ids = uploads.photo_ids([file.name for file in files])
    return list(await asyncio.gather(*map(one, files, ids)))


def _show(results: Sequence[FileResult], out: Path, seconds: float, console: Console) -> None:
    sheet = out / "contact-sheet.jpg"
    rows = [_row(result) for result in results]
    summary = summary_line(rows, seconds)
    contact_sheet([_entry(result) for result in results], sheet, f"fastproc process\n{summary}")
    console.print(results_table(rows))
    print_line(console, summary)
    print_line(console, f"contact sheet: {sheet}")


async def _process(pool: Pool, file: Path, photo_id: str, out: Path, on_stage: OnStage) -> FileResult:
    started = time.monotonic()
    size = file.stat().st_size

    def ended(**more: object) -> FileResult:
        return FileResult(file, photo_id, size, time.monotonic() - started, **more)  # type: ignore[arg-type]

    try:
        async with pool.lend() as loan:
            if size > len(loan.target):
                raise SourceTooLarge(f"{size} bytes, more than MAX_SOURCE_BYTES ({len(loan.target)})")
            with file.open("rb") as source:
                loan.size = source.readinto(loan.target)
            result = await pool.run(loan, None, on_stage)
    except TaskError as error:
        return ended(error=error)
    return ended(report=result.report, written=_write(result, photo_id, out))


def _write(result: Result, photo_id: str, out: Path) -> tuple[Path, ...]:
    written = []
    for rendition, body in zip(result.report.renditions, result.bodies, strict=True):
        path = out / f"{photo_id}_{rendition.name}.{naming.suffix(rendition)}"
        path.write_bytes(body)
        written.append(path)
    return tuple(written)


def _files(given: Sequence[Path]) -> list[Path]:
    """Return the files given, and those directly in folders given that are not hidden, in order, each once."""
    found: list[Path] = []
    for path in given:
        inside = sorted(path.iterdir()) if path.is_dir() else []
        found += [file for file in inside if file.is_file() and not file.name.startswith(".")]
        found += [path] if path.is_file() else []
    return list(dict.fromkeys(found))


def _stored(result: FileResult) -> list[Stored]:
    renditions: tuple[Rendition, ...] = result.report.renditions if result.report else ()
    return [
        Stored(rendition=rendition, key=path.name, url=path.resolve().as_uri())
        for rendition, path in zip(renditions, result.written, strict=True)
    ]


def _json(result: FileResult) -> dict[str, Json]:
    about = {
        "file": str(result.file),
        "photoId": result.photo_id,
        "durationMs": round(result.seconds * 1000),
    }
    if result.error or result.report is None:
        error = result.error
        return about | {
            "success": False,
            "error": {"code": error and error.code, "message": error and error.message},
        }
    stored = _stored(result)
    return about | {
        "success": True,
        "metadata": record.metadata(result.report),
        "thumbnails": record.thumbnails(stored),
        "optimization": record.optimization(result.report, stored),
        "timingsMs": result.report.timings_ms,
        "cpuMs": result.report.cpu_ms,
        "decodes": result.report.decodes,
    }


def _row(result: FileResult) -> ResultRow:
    report = result.report
    facts = report.facts.get("optimization", {}) if report else {}
    return ResultRow(
        photo=result.file.name,
        format=report.format if report else "",
        width=report.width if report else 0,
        height=report.height if report else 0,
        size_bytes=result.size,
        thumbnails=sum(r.stage == "thumbnails" for r in report.renditions) if report else 0,
        saved_bytes=facts.get("savings") if facts.get("optimized") else None,
        duration_ms=result.seconds * 1000,
        status="failed" if result.error else "completed",
        code=result.error.code if result.error else None,
    )


def _entry(result: FileResult) -> SheetEntry:
    thumbnails = [
        path
        for path, stored in zip(result.written, _stored(result), strict=True)
        if stored.rendition.stage == "thumbnails"
    ]
    row = _row(result)
    return SheetEntry(
        name=result.file.name,
        thumbnail=thumbnails[-1].read_bytes() if thumbnails else None,
        lines=sheet_lines(row) if row.ok else (row.code or row.status,),
        failed=result.error is not None,
    )
