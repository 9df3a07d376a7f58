"""`fastproc check`: shows the settings, and whether the service can run with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click
from rich.console import Console

from fastproc.app import greet_workers, ping_redis
from fastproc.backends.metadata_sqlite import SqliteMetadataStore
from fastproc.backends.objects_s3 import S3ObjectStore
from fastproc.commands import running
from fastproc.config.settings import Config, table
from fastproc.core.errors import ConfigError, FleetHalted, TaskError, Unreachable
from fastproc.terminal.exits import Exit
from fastproc.terminal.settings_table import settings_table
from fastproc.terminal.text import print_line


@click.command()
def command() -> None:
    """Show the settings, and try Redis, S3, the database and a worker."""
    config = running.settings()
    usable = running.run(lambda: check(config))
    sys.exit(Exit.OK if usable else Exit.UNREACHABLE)


async def check(config: Config) -> bool:
    """Print the settings, then try each server and a worker; return whether all can be used."""
    console = Console()
    console.print(settings_table([(row.env, row.value, row.default, row.meaning) for row in table(config)]))
    results = [
        await _try(console, "Redis", lambda: ping_redis(config)),
        await _try(console, "S3", lambda: _check_objects(config)),
        await _try(console, "database", lambda: _check_rows(config)),
        await _try(console, "worker", lambda: _check_worker(config)),
    ]
    return all(results)


async def _try(console: Console, name: str, attempt: Callable[[], Coroutine[Any, Any, str]]) -> bool:
    try:
        words, usable = await attempt(), True
    except (Unreachable, ConfigError, FleetHalted, TaskError) as error:
        words, usable = str(error), False
    for line in words.splitlines() or [""]:
        print_line(console, f"{'ok  ' if usable else 'FAIL'} {name}: {line}")
    return usable


async def _check_objects(config: Config) -> str:
    objects = S3ObjectStore(config.s3)
    try:
        await objects.check(config.s3.buckets)
    finally:
        await objects.close()
    return f"{config.s3.host_and_port}, buckets {', '.join(config.s3.buckets)}"


async def _check_rows(config: Config) -> str:
    rows = SqliteMetadataStore(config.database.sqlite_path)
    try:
        await rows.check()
    finally:
        await rows.close()
    return config.database.where


async def _check_worker(config: Config) -> str:
    ready = await greet_workers(config)
    parts = [f"{name}: {words}" for name, words in {**ready.encoders, **ready.versions}.items()]
    parts += [f"sandbox: {ready.sandbox}", *(f"without {part}" for part in ready.unprotected)]
    return "; ".join(parts)
