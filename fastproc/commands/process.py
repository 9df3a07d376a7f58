"""The pipeline on local files, with the service's own workers and no servers: `fastproc process`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console

from fastproc.app import started_pool
from fastproc.commands.check import photo_ids
from fastproc.config.settings import Config
from fastproc.core import naming, record
from fastproc.core.errors import SourceTooLarge, TaskError
from fastproc.core.model import Json, Rendition, Report, Stored
from fastproc.supervisor.workers.pool import Pool
from fastproc.supervisor.workers.task import OnStage, Result
from fastproc.terminal.console import ResultRow, live_progress, results_table, summary_line
from fastproc.terminal.contact_sheet import SheetEntry, contact_sheet, sheet_lines


class Outcome(Struct, frozen=True):
    """What became of one file: a report with the files written, or an error."""

    file: Path
    photo_id: str
    size: int
    seconds: float
    report: Report | None = None
    written: tuple[Path, ...] = ()
    error: TaskError | None = None


async def process(config: Config, given: Sequence[Path], out: Path, *, as_json: bool) -> int:
    """Process files, and those of folders; write renditions and a contact sheet to `out`; return how many failed."""
    files = _files(given)
    out.mkdir(parents=True, exist_ok=True)
    # Progress goes to stderr where stdout is for the results.
    console = Console(stderr=as_json)
    async with started_pool(config) as pool:
        slots = asyncio.Semaphore(config.pool.slots)
        begun = time.monotonic()
        with live_progress(len(files), console) as view:

            async def one(file: Path, photo_id: str) -> Outcome:
                async with slots:
                    view.started(file.name)
                    stages = config.pipeline.stages
                    done = await _process(
                        pool,
                        file,
                        photo_id,
                        out,
                        lambda s: view.stage(file.name, naming.stage_percent(stages, s)),
                    )
                    view.finished(file.name, done.error is None)
                    return done

            outcomes = list(await asyncio.gather(*map(one, files, photo_ids(files))))
        seconds = time.monotonic() - begun
    if as_json:
        for outcome in outcomes:
            print(msgspec.json.encode(_result(outcome)).decode())
    else:
        sheet = out / "contact-sheet.jpg"
        rows = [_row(outcome) for outcome in outcomes]
        summary = summary_line(rows, seconds)
        contact_sheet([_entry(outcome) for outcome in outcomes], sheet, f"fastproc process\n{summary}")
        console.print(results_table(rows))
        console.print(summary, highlight=False, soft_wrap=True)
        console.print(f"contact sheet: {sheet}", highlight=False, soft_wrap=True)
    return sum(outcome.error is not None for outcome in outcomes)


async def _process(pool: Pool, file: Path, photo_id: str, out: Path, on_stage: OnStage) -> Outcome:
    started = time.monotonic()
    size = file.stat().st_size

    def outcome(**more: object) -> Outcome:
        return Outcome(file, photo_id, size, time.monotonic() - started, **more)  # type: ignore[arg-type]

    try:
        async with pool.lend() as loan:
            if size > len(loan.target):
                raise SourceTooLarge(f"{size} bytes, more than MAX_SOURCE_BYTES ({len(loan.target)})")
            with file.open("rb") as source:
                loan.size = source.readinto(loan.target)
            result = await pool.run(loan, None, on_stage)
    except TaskError as error:
        return outcome(error=error)
    return outcome(report=result.report, written=_write(result, photo_id, out))


def _write(result: Result, photo_id: str, out: Path) -> tuple[Path, ...]:
    written = []
    for rendition, body in zip(result.report.renditions, result.bodies, strict=True):
        path = out / f"{photo_id}_{rendition.name}.{naming.suffix(rendition)}"
        path.write_bytes(body)
        written.append(path)
    return tuple(written)


def _files(given: Sequence[Path]) -> list[Path]:
    """The files given, and those directly in the folders given, in order and once each."""
    found = [
        file
        for path in given
        for file in (sorted(path.iterdir()) if path.is_dir() else [path])
        if file.is_file() and not file.name.startswith(".")
    ]
    return list(dict.fromkeys(found))


def _stored(outcome: Outcome) -> list[Stored]:
    renditions: tuple[Rendition, ...] = outcome.report.renditions if outcome.report else ()
    return [
        Stored(rendition=rendition, key=path.name, url=path.resolve().as_uri())
        for rendition, path in zip(renditions, outcome.written, strict=True)
    ]


def _result(outcome: Outcome) -> dict[str, Json]:
    about = {
        "file": str(outcome.file),
        "photoId": outcome.photo_id,
        "durationMs": round(outcome.seconds * 1000),
    }
    if outcome.error or outcome.report is None:
        error = outcome.error
        return about | {
            "success": False,
            "error": {"code": error and error.code, "message": error and error.message},
        }
    stored = _stored(outcome)
    return about | {
        "success": True,
        "metadata": record.metadata(outcome.report),
        "thumbnails": record.thumbnails(stored),
        "optimization": record.optimization(outcome.report, stored),
        "timingsMs": outcome.report.timings_ms,
        "cpuMs": outcome.report.cpu_ms,
        "decodes": outcome.report.decodes,
    }


def _row(outcome: Outcome) -> ResultRow:
    report = outcome.report
    facts = report.facts.get("optimization", {}) if report else {}
    return ResultRow(
        photo=outcome.file.name,
        format=report.format if report else "",
        width=report.width if report else 0,
        height=report.height if report else 0,
        size_bytes=outcome.size,
        thumbnails=sum(r.stage == "thumbnails" for r in report.renditions) if report else 0,
        saved_bytes=facts.get("savings") if facts.get("optimized") else None,
        duration_ms=outcome.seconds * 1000,
        status="failed" if outcome.error else "completed",
        code=outcome.error.code if outcome.error else None,
    )


def _entry(outcome: Outcome) -> SheetEntry:
    thumbnails = [
        path
        for path, stored in zip(outcome.written, _stored(outcome), strict=True)
        if stored.rendition.stage == "thumbnails"
    ]
    row = _row(outcome)
    return SheetEntry(
        name=outcome.file.name,
        thumbnail=thumbnails[-1].read_bytes() if thumbnails else None,
        lines=sheet_lines(row) if row.ok else (row.code or row.status,),
        failed=outcome.error is not None,
    )
