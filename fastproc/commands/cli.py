"""The command line: argv in, exit code out. What a command does is somebody else's."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import uvloop

from fastproc import __version__
from fastproc.commands import check as commands
from fastproc.config.host import usable_cores
from fastproc.config.settings import Config, load
from fastproc.core.errors import ConfigError, FleetHalted, TaskError, Unreachable
from fastproc.terminal.exits import Exit
from fastproc.terminal.logs import configure

log = logging.getLogger("fastproc")

T = TypeVar("T")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Photo-processing worker for BullMQ queues and S3-compatible storage.

    Settings come from environment variables; `fastproc check` shows all of them.
    """


@main.command()
def run() -> None:
    """Serve the queue until SIGTERM or SIGINT."""
    from fastproc.app import App

    config = _config()

    async def serve() -> None:
        service = App(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.stop)
        await service.serve()

    _run(serve)


@main.command()
def check() -> None:
    """Show the settings, and try Redis, S3, the database and a worker."""
    config = _config()
    well = _run(lambda: commands.check(config))
    sys.exit(Exit.OK if well else Exit.UNREACHABLE)


@main.command("init-db")
def init_db() -> None:
    """Create the table `photos` in SQLITE_PATH where there is none."""
    config = _config()
    _run(lambda: commands.init_db(config))


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the results."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON line a photo on stdout, and nothing else.")
def process(files: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Run the pipeline on local FILES (or folders of them), with no servers."""
    from fastproc.commands import process as local

    config = _config(quiet=True)
    failed = _run(lambda: local.process(config, files, out, as_json=as_json))
    sys.exit(Exit.PHOTOS_FAILED if failed else Exit.OK)


@main.command()
@click.argument("keys", nargs=-1, required=True)
@click.option("--photo-id", help="The photo's id; the key's file name by default.")
@click.option("--bucket", help="The photo's bucket; MINIO_BUCKET by default.")
@click.option("--client-id", help="Handed through to the events.")
@click.option("--session-id", help="Handed through to the events.")
@click.option(
    "--attempts", type=click.IntRange(1), help="Attempts; WORKER_MAX_RETRIES of the service by default."
)
@click.option("--delay", type=click.IntRange(0), default=0, help="Milliseconds before the job may start.")
@click.option("--upload", is_flag=True, help="KEYS are local files: put them into the bucket first.")
def enqueue(keys: tuple[str, ...], photo_id: str | None, upload: bool, **options: Any) -> None:
    """Add a job for each object key of KEYS."""
    if photo_id and len(keys) > 1:
        raise click.UsageError("--photo-id goes with one key")
    config = _config(quiet=True)
    _run(lambda: commands.enqueue(config, keys, photo_id=photo_id, upload=upload, **options))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON line.")
def status(as_json: bool) -> None:
    """Show the queue: jobs by state, workers, newest failures."""
    config = _config(quiet=True)
    _run(lambda: commands.status(config, as_json=as_json))


@main.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results; a new one in the temporary folder by default.",
)
def demo(folder: Path | None, keep: Path | None) -> None:
    """Show everything at work: embedded servers, real jobs, results. Photos from FOLDER, or made on the spot."""
    from fastproc.demo import tour

    config = _config(quiet=True)
    well = _run(lambda: tour.run(config, folder, keep))
    sys.exit(Exit.OK if well else Exit.PHOTOS_FAILED)


@main.group("quarantine")
def quarantine_group() -> None:
    """Photos that ended their worker, kept under QUARANTINE."""


@quarantine_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a photo.")
def quarantine_list(as_json: bool) -> None:
    """Show what is kept: age, size, code, photo, how its worker ended."""
    from fastproc.commands import quarantine

    config = _config(quiet=True)
    _run(lambda: quarantine.show_all(config, as_json=as_json))


@quarantine_group.command("show")
@click.argument("id")
def quarantine_show(id: str) -> None:
    """Show all that is known of one, as JSON."""
    from fastproc.commands import quarantine

    config = _config(quiet=True)
    _run(lambda: quarantine.show(config, id))


@quarantine_group.command("replay")
@click.argument("id")
def quarantine_replay(id: str) -> None:
    """Run one again in a worker of its own, and say how it ended. Nothing is written."""
    from fastproc.commands import quarantine

    config = _config(quiet=True)
    sys.exit(Exit.OK if _run(lambda: quarantine.replay(config, id)) else Exit.PHOTOS_FAILED)


def _config(*, quiet: bool = False) -> Config:
    """Read the settings and start logging; `quiet` keeps all but errors off the terminal."""
    try:
        config = load(os.environ, usable_cores())
    except ConfigError as error:
        _end(Exit.CONFIG, error)
    configure("error" if quiet else config.log.level)
    return config


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a command on uvloop; what it cannot mend becomes a message and a named exit code."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work())
    except ConfigError as error:
        _end(Exit.CONFIG, error)
    except (Unreachable, TaskError) as error:
        _end(Exit.UNREACHABLE, error)
    except FleetHalted as error:
        _end(Exit.HALTED, error)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception:
        log.exception("broken")
        sys.exit(Exit.HALTED)


def _end(code: Exit, error: Exception) -> NoReturn:
    for line in str(error).splitlines():
        print(f"fastproc: {line}", file=sys.stderr)
    print(f"fastproc: exit {code.value} ({code.name})", file=sys.stderr)
    sys.exit(code)
