"""What `fastproc quarantine` does: list what is kept, show one, and run one again in a worker of its own."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from msgspec import structs
from rich.console import Console
from rich.table import Table

from fastproc.app import started_pool
from fastproc.backends import factories
from fastproc.config.settings import Config
from fastproc.core import record
from fastproc.core.errors import ConfigError, SourceTooLarge, TaskError
from fastproc.core.evidence import Evidence
from fastproc.core.model import Json
from fastproc.supervisor.ports import Vault
from fastproc.terminal.console import clean


async def show_all(config: Config, *, as_json: bool) -> None:
    """Print a line for each photo, the newest first. Raises ConfigError."""
    async with _opened(config) as vault:
        found = await vault.everything()
    if as_json:
        for evidence in found:
            print(_text(evidence))
        return
    rows = Table(title=f"{len(found)} photos in {config.quarantine.place}", title_justify="left")
    for name in ("id", "age", "bytes", "code", "stage", "how", "photo", "job"):
        rows.add_column(name, overflow="fold")
    for evidence in found:
        rows.add_row(*map(clean, _row(evidence)))
    Console().print(rows)


async def show(config: Config, id: str) -> None:
    """Print all that is known of one, as JSON. Raises ConfigError, TaskError."""
    async with _opened(config) as vault:
        evidence = await vault.find(id)
    print(_text(evidence, indent=2))


async def replay(config: Config, id: str) -> bool:
    """Run one in a worker of its own, with the settings of now; print how it ended; return whether it was processed.

    Nothing is written. Raises: ConfigError, TaskError (it cannot be fetched), FleetHalted.
    """
    async with _opened(config) as vault:
        evidence = await vault.find(id)
        if not evidence.photo_kept:
            raise ConfigError([f"QUARANTINE: {id}: the photo is over QUARANTINE_MAX_BYTES, it was not kept"])
        # A byte more than is allowed, so that the limit is what refuses it.
        photo = await vault.photo(id, config.pipeline.max_source_bytes + 1)
    ended = await _run(config, photo)
    print(_text(ended, indent=2))
    return ended["success"] is True


async def _run(config: Config, photo: bytes) -> dict[str, Json]:
    one = structs.replace(config, pool=structs.replace(config.pool, workers=1))
    stages: list[str] = []
    async with started_pool(one) as pool:
        versions = pool.greeting.versions if pool.greeting else {}
        begun = time.monotonic()
        about: dict[str, Json] = {"versions": versions, "stages": stages}
        try:
            async with pool.lend() as loan:
                if len(photo) > len(loan.target):
                    raise SourceTooLarge(f"more than MAX_SOURCE_BYTES ({len(loan.target)})")
                loan.target[: len(photo)] = photo
                loan.size = len(photo)
                result = await pool.run(loan, None, stages.append)
        except TaskError as error:
            return {
                "success": False,
                "code": error.code,
                "message": error.message,
                "death": error.death,
                "seconds": round(time.monotonic() - begun, 3),
            } | about
        return {
            "success": True,
            "seconds": round(time.monotonic() - begun, 3),
            "metadata": record.metadata(result.report),
            "renditions": result.report.renditions,
            "cpuMs": result.report.cpu_ms,
            "peakRssBytes": result.report.peak_rss_bytes,
        } | about


@asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[Vault]:
    """The vault that QUARANTINE names. Raises ConfigError."""
    objects = factories.object_store(config.s3)
    try:
        vault = factories.vault(config.quarantine, objects)
        if vault is None:
            raise ConfigError(["QUARANTINE: is not set, so nothing is kept"])
        yield vault
    finally:
        await objects.close()


def _text(value: Json, indent: int | None = None) -> str:
    # In ASCII: a worker's last words may hold what drives a terminal.
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
