"""`fastproc demo`: starts the guided tour."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fastproc.commands import running
from fastproc.demo import tour
from fastproc.terminal.exits import Exit


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results; by default a new temporary one, and the newest few of those stay.",
)
def command(folder: Path | None, keep: Path | None) -> None:
    """Show everything at work: embedded servers, real jobs, results.

    The photos are the files of FOLDER; without it, a dozen pictures are painted, and kept for the next time. One of
    them is meant to fail. Needs the extra `demo`.
    """
    config = running.settings(quiet=True)
    all_ended = running.run(lambda: tour.run(config, folder, keep))
    sys.exit(Exit.OK if all_ended else Exit.PHOTOS_FAILED)
