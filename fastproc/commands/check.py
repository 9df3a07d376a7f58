"""`fastproc check`: shows the settings, and whether the service can run with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from datetime import date
from typing import Any

import click
from msgspec import structs
from rich.console import Console

from fastproc.backends import events_webhook, factories
from fastproc.bullmq.opening import checked_server, open_pipe
from fastproc.bullmq.scripts import installed_version
from fastproc.commands import running
from fastproc.config import sharing
from fastproc.config.fit import Room, misfits
from fastproc.config.host import room
from fastproc.config.settings import Config, table
from fastproc.core.errors import ConfigError, FleetHalted, TaskError, Unreachable
from fastproc.core.masking import masked
from fastproc.core.model import own_stages
from fastproc.ipc.messages import Ready
from fastproc.parts import checked_metadata, checked_objects, required_stages, started_pool
from fastproc.supervisor import decoders
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
    rows = [(row.env, row.value, row.default, row.meaning) for row in table(config)]
    console.print(settings_table([*rows, *await _own_settings(config)]))
    for words in running.misspelt(own_stages(config.pipeline.stages)):
        print_line(console, f"WARN {words}")
    _show_plan(console, config, room())
    greetings: list[Ready] = []
    results = [
        await _try(console, "Redis", lambda: _check_redis(config)),
        await _try(console, "S3", lambda: _check_objects(config)),
        await _try(console, "database", lambda: _check_rows(config)),
        await _try(console, "worker", lambda: _check_worker(config, greetings)),
    ]
    if config.webhook.urls:
        results.append(await _try(console, "webhooks", lambda: events_webhook.check(config.webhook)))
    if config.traces.exporter != "none":
        results.append(await _try(console, "traces", lambda: _check_traces(config)))
    for ready in greetings:
        _show_decoders(console, ready.versions)
    return all(results)


async def _own_settings(config: Config) -> list[tuple[str, str, str, str]]:
    """Return the settings of stages of your own; what is wrong with them is said with the worker."""
    try:
        rows = await required_stages(config.pipeline)
    except ConfigError:
        return []
    return [(row.env, row.value, row.default, row.meaning) for row in rows]


def _show_plan(console: Console, config: Config, here: Room) -> None:
    """Print how supervisors share it, and what does not fit into what the host gives."""
    parts = [sharing.shared(config, share) for share in sharing.every_share(config)]
    if len(parts) > 1:
        words = f"{len(parts)}, with {', '.join(str(part.pool.workers) for part in parts)} workers"
        if config.limiter.max:
            rates = ", ".join(str(part.limiter.max) for part in parts)
            words += f"; rate limit {rates} per {config.limiter.duration_ms} ms"
        print_line(console, f"ok   supervisors: {words}")
    for words in misfits(config.pool, here, len(parts)):
        print_line(console, f"WARN {words}")


async def _try(console: Console, name: str, attempt: Callable[[], Coroutine[Any, Any, str]]) -> bool:
    try:
        words, usable = await attempt(), True
    except (Unreachable, ConfigError, FleetHalted, TaskError) as error:
        words, usable = str(error), False
    for line in masked(words).splitlines() or [""]:
        print_line(console, f"{'ok  ' if usable else 'FAIL'} {name}: {line}")
    return usable


async def _check_redis(config: Config) -> str:
    async with open_pipe(config) as pipe:
        server = await checked_server(pipe, config.redis.where)
    words = (f"{server.name} at {config.redis.where}", *server.warnings)
    return f"{'; '.join(words)}; scripts of bullmq {installed_version()}"


async def _check_objects(config: Config) -> str:
    async with checked_objects(config) as objects:
        buckets = dict.fromkeys((*config.s3.buckets, *config.uploads.buckets))
        return f"{objects.about}, buckets {', '.join(buckets)}"


async def _check_rows(config: Config) -> str:
    async with checked_metadata(config) as metadata:
        found = await metadata.check()
    return ": ".join(filter(None, (config.database.where, found)))


async def _check_worker(config: Config, greetings: list[Ready]) -> str:
    """Start one worker; what it says of itself is added to `greetings`."""
    one = structs.replace(config.pool, workers=1)
    async with started_pool(structs.replace(config, pool=one)) as pool:
        ready = pool.greeting or Ready(encoders={}, versions={})
    greetings.append(ready)
    parts = [f"{name}: {words}" for name, words in ready.encoders.items()]
    parts += [f"can decode: {', '.join(sorted(ready.formats))}"]
    parts += [f"sandbox: {ready.sandbox}", *(f"without {part}" for part in ready.unprotected)]
    return "; ".join(parts)


async def _check_traces(config: Config) -> str:
    if tracer := factories.tracer(config.traces, config.queue.name):
        await tracer.close()
    return "OpenTelemetry takes its settings; the collector is not tried"


def _show_decoders(console: Console, versions: dict[str, str]) -> None:
    today = date.today()
    print_line(console, f"ok   decoders: {decoders.named(versions)}")
    print_line(console, f"ok   decoders: {decoders.table_age(today)}")
    for hole in decoders.holes(versions, today):
        print_line(console, f"WARN decoders: {hole}")
