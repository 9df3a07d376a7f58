"""`fastproc process`: runs the pipeline on local files, with the service's own workers and without servers.

Rule 1: no file ends the run of the others: what cannot be read, processed or written is told, and counted in the exit
        code.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from msgspec import Struct, field
from rich.console import Console

from fastproc.commands import running
from fastproc.commands.photos import files, results
from fastproc.commands.photos.files import Found
from fastproc.commands.photos.folder import ResultFolder
from fastproc.commands.photos.results import NOT_READABLE, NOT_WRITTEN, FileResult
from fastproc.config.settings import Config
from fastproc.core import naming, uploads
from fastproc.core.errors import ConfigError, NeighbourAway, ProcessingError, TaskError
from fastproc.parts import started_pool
from fastproc.supervisor.defects import Defects
from fastproc.supervisor.workers.pool import Pool
from fastproc.supervisor.workers.task import Result
from fastproc.terminal import output
from fastproc.terminal.contact_sheet import contact_sheet
from fastproc.terminal.exits import Exit
from fastproc.terminal.progress import PhotoProgress, live_progress
from fastproc.terminal.results import results_table, summary_line
from fastproc.terminal.style import BAD
from fastproc.terminal.text import print_line

SHEET: Final = "contact-sheet.jpg"


@click.command()
@click.argument("given", metavar="FILES...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the results."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON line a photo, and nothing else, to stdout."
)
def command(given: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Run the pipeline on local files, without servers.

    FILES are photos, or folders of photos and of further folders. The renditions and a contact sheet are written to the
    folder of --out. What cannot be read is told and does not end the rest.
    """
    if not any(map(os.path.lexists, given)):
        raise click.BadParameter("nothing of that name exists", param_hint="FILES")
    for stream in (sys.stdout, sys.stderr):
        # Names are not always text of this terminal's encoding.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    config = running.settings(quiet=True)
    failed = running.run(lambda: process(config, given, out, as_json=as_json))
    sys.exit(Exit.PHOTOS_FAILED if failed else Exit.OK)


async def process(config: Config, given: Sequence[Path], out: Path, *, as_json: bool) -> int:
    """Process files, and those in folders; write renditions and a contact sheet to `out`; return how many failed.

    Raises: ConfigError if nothing can be written to `out`; FleetHalted.
    """
    found = files.search(given, out)
    photos = [each.path for each in found if each.is_photo]
    try:
        folder = ResultFolder(out, photos)
    except OSError as error:
        raise ConfigError([f"{out}: {error.strerror}"]) from error
    # With --json, stdout is for the results; progress and what was left out go to stderr.
    console = Console(stderr=as_json)
    processed, seconds = await _process_all(config, photos, folder, console)
    ended = [_unreadable(each) or processed[each.path] for each in found if not each.skipped]
    skipped = [each for each in found if each.skipped]
    for each in skipped:
        print_line(console, f"skipped: {results.text_of(each.path)}: {each.skipped}")
    failed = sum(not result.ok for result in ended)
    if as_json:
        _print_json(ended)
        print_line(console, _summary(ended, len(skipped), seconds))
        return failed
    return failed + (not _show(ended, _summary(ended, len(skipped), seconds), folder, console))


def _unreadable(found: Found) -> FileResult | None:
    """Return the result of what cannot be processed, None for what can."""
    if not found.wrong:
        return None
    return FileResult(found.path, uploads.photo_id(found.path.name), code=NOT_READABLE, message=found.wrong)


async def _process_all(
    config: Config, photos: Sequence[Path], folder: ResultFolder, console: Console
) -> tuple[dict[Path, FileResult], float]:
    """Return what became of each photo, and how many seconds that took. Raises FleetHalted."""
    if not photos:
        return {}, 0.0
    ids = uploads.photo_ids([photo.name for photo in photos])
    in_hand = asyncio.Semaphore(config.pool.max_in_hand)

    async def one(photo: Path, photo_id: str) -> FileResult:
        async with in_hand:
            return await errand.process(photo, photo_id)

    async with started_pool(config) as pool:
        begun = time.monotonic()
        with live_progress(len(photos), console) as view:
            errand = Errand(pool, folder, view, config.pipeline.stages, results.labels(photos))
            ended = await asyncio.gather(*map(one, photos, ids))
        return {result.file: result for result in ended}, time.monotonic() - begun


class Errand(Struct, frozen=True):
    """What is done with each photo: read, processed, its results written; every failure is its own."""

    pool: Pool
    folder: ResultFolder
    view: PhotoProgress
    stages: tuple[str, ...]
    labels: Mapping[Path, str]
    defects: Defects = field(default_factory=Defects)

    async def process(self, photo: Path, photo_id: str) -> FileResult:
        """Return what became of the photo. Raises FleetHalted."""
        label, started, size = self.labels[photo], time.monotonic(), 0
        self.view.started(label)

        def ended(**more: Any) -> FileResult:
            seconds = time.monotonic() - started
            result = FileResult(photo, photo_id, size, seconds, **more)
            self.view.finished(label, result.ok)
            return result

        try:
            async with self.pool.lend() as loan:
                loan.size = size = files.read_into(photo, loan.target)
                done = await self.pool.run(
                    loan,
                    None,
                    lambda stage: self.view.stage(label, naming.stage_percent(self.stages, stage)),
                )
        except TaskError as error:
            if error.defect:
                self.defects.seen(error.defect, f"{label}: {error.message}")
            return ended(code=error.code, message=error.message)
        except NeighbourAway as error:
            # The host has no memory or processes for it now.
            return ended(code=ProcessingError.code, message=str(error))
        except OSError as error:
            return ended(code=NOT_READABLE, message=files.reason(error, photo))
        try:
            written = self.folder.write(_named(done, photo_id))
        except OSError as error:
            return ended(code=NOT_WRITTEN, message=error.strerror or str(error))
        return ended(report=done.report, written=written)


def _named(done: Result, photo_id: str) -> list[tuple[str, bytes]]:
    """Return the renditions with their file names. A name that an earlier stage has given gets its stage as well."""
    names: list[str] = []
    for rendition in done.report.renditions:
        ending = f"{rendition.name}.{naming.suffix(rendition)}"
        name = f"{photo_id}_{ending}"
        while name in names:
            ending = f"{rendition.stage}_{ending}"
            name = f"{photo_id}_{ending}"
        names.append(name)
    return list(zip(names, done.bodies, strict=True))


def _print_json(ended: Sequence[FileResult]) -> None:
    try:
        for result in ended:
            click.echo(msgspec.json.encode(results.as_json(result)))
    except BrokenPipeError:
        # Whoever read the lines has enough (`| head`); the exit code says how the photos ended, all the same.
        output.discard(sys.stdout.fileno())


def _summary(ended: Sequence[FileResult], skipped: int, seconds: float) -> str:
    rows = [results.as_row(result, result.file.name) for result in ended]
    return summary_line(rows, seconds) + (f", {skipped} skipped" if skipped else "")


def _show(ended: Sequence[FileResult], summary: str, folder: ResultFolder, console: Console) -> bool:
    """Print the results as a table, why photos failed, and a summary; return whether the contact sheet is written."""
    names = results.labels([result.file for result in ended])
    console.print(results_table([results.as_row(result, names[result.file]) for result in ended]))
    for result in ended:
        if not result.ok:
            print_line(console, f"{names[result.file]}: {result.code}: {result.message}", BAD)
    print_line(console, summary)
    entries = [results.as_entry(result, names[result.file]) for result in ended]
    try:
        sheet = folder.make(SHEET, lambda path: contact_sheet(entries, path, f"fastproc process\n{summary}"))
    except OSError as error:
        print_line(console, f"contact sheet: {NOT_WRITTEN}: {error.strerror or error}", BAD)
        return False
    print_line(console, f"contact sheet: {sheet}")
    return True
