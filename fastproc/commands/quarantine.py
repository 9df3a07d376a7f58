"""`fastproc quarantine`: lists the photos that killed their worker, shows one, runs one again.

Rule 1: nothing is written and nothing removed, whatever the answer of the replay is.
Rule 2: what is printed cannot control a terminal: a worker's last words are hostile.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import click
import msgspec
from rich.console import Console
from rich.text import Text

from fastproc import replaying
from fastproc.backends import factories
from fastproc.commands import running
from fastproc.config.settings import Config
from fastproc.core.errors import ConfigError
from fastproc.core.evidence import Evidence
from fastproc.core.model import Json
from fastproc.supervisor.ports import Vault
from fastproc.terminal.exits import Exit
from fastproc.terminal.rows import Column, Rows
from fastproc.terminal.text import clean

#: An id has a time and a part of a sum in it, which is for copying: it is not folded.
_COLUMNS = (
    *(Column(name) for name in ("id", "age", "bytes", "code", "stage")),
    *(Column(name, least=12) for name in ("how", "photo", "job")),
)


@click.group()
def command() -> None:
    """Show or replay the photos that killed their worker.

    They are kept in the folder or the bucket that QUARANTINE names.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line a photo.")
def list_command(as_json: bool) -> None:
    """List what is kept: age, size, code, photo, how its worker ended."""
    config = running.settings(quiet=True)
    running.run(lambda: show_all(config, as_json=as_json))


@command.command("show")
@click.argument("id")
def show_command(id: str) -> None:
    """Show everything that is known of one, as JSON."""
    config = running.settings(quiet=True)
    running.run(lambda: show(config, id))


@command.command("replay")
@click.argument("id")
def replay_command(id: str) -> None:
    """Run one again in a worker of its own, and show how it ended. Nothing is written."""
    config = running.settings(quiet=True)
    processed = running.run(lambda: replay(config, id))
    sys.exit(Exit.OK if processed else Exit.PHOTOS_FAILED)


async def show_all(config: Config, *, as_json: bool) -> None:
    """Print a line for each photo, newest first. Raises ConfigError."""
    async with _opened(config) as vault:
        found = await vault.everything()
    if as_json:
        for evidence in found:
            print(_text(evidence))
        return
    title = clean(f"{len(found)} photos in {config.quarantine.place}")
    Console().print(Rows(_COLUMNS, [[Text(clean(cell)) for cell in _row(each)] for each in found], title))


async def show(config: Config, id: str) -> None:
    """Print everything that is known of one, as JSON. Raises ConfigError, TaskError."""
    async with _opened(config) as vault:
        evidence = await vault.find(id)
    print(_text(evidence, indent=2))


async def replay(config: Config, id: str) -> bool:
    """Run one in a worker of its own, with today's settings; print how it ended; return whether it was processed.

    Raises: ConfigError, TaskError (the photo cannot be fetched), FleetHalted.
    """
    async with _opened(config) as vault:
        photo = await replaying.kept_photo(vault, id, config)
    ended = await replaying.run(config, photo)
    print(_text(ended, indent=2))
    return ended["success"] is True


@asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[Vault]:
    """Open the vault that QUARANTINE names. Raises ConfigError."""
    objects = factories.object_store(config.s3, config.uploads)
    try:
        vault = factories.vault(config.quarantine, objects)
        if vault is None:
            raise ConfigError(["QUARANTINE: is not set, so no photo is kept"])
        yield vault
    finally:
        await objects.close()


def _text(value: Json, indent: int | None = None) -> str:
    # In ASCII: a worker's last words may have control characters for a terminal.
    return json.dumps(msgspec.to_builtins(value), indent=indent)


def _row(evidence: Evidence) -> tuple[str, ...]:
    return (
        evidence.id,
        _age(evidence.at),
        str(evidence.size) if evidence.photo_kept else f"{evidence.size}, not kept",
        evidence.code,
        evidence.death.stage,
        evidence.death.how,
        evidence.photo_id,
        evidence.job_id,
    )


def _age(at: str) -> str:
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):
        return "?"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
