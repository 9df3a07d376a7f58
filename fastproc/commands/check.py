"""What the short commands do: check, init-db, enqueue, status."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs
from rich.console import Console
from rich.table import Table

from fastproc.app import checked_metadata, checked_objects, started_pool
from fastproc.backends import factories
from fastproc.bullmq.opening import checked_server, open_pipe
from fastproc.bullmq.producer import producer
from fastproc.bullmq.scripts import installed_version
from fastproc.config.settings import Config, table
from fastproc.core.errors import ConfigError, FleetHalted, TaskError, Unreachable
from fastproc.ipc.messages import Ready
from fastproc.supervisor.ports import Upload
from fastproc.terminal.console import clean, settings_table

#: Content types by suffix, for uploads by hand; an upload without one is judged by its content alone.
CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".heic": "image/heic",
    ".avif": "image/avif",
    ".gif": "image/gif",
}


async def check(config: Config) -> bool:
    """Print the settings, then try each server and a worker; return whether all are well."""
    console = Console()
    console.print(settings_table([(row.env, row.value, row.default, row.meaning) for row in table(config)]))
    results = [
        await _try(console, "Redis", lambda: _check_redis(config)),
        await _try(console, "S3", lambda: _check_objects(config)),
        await _try(console, "database", lambda: _check_rows(config)),
        await _try(console, "worker", lambda: _check_worker(config)),
    ]
    return all(results)


async def init_db(config: Config) -> None:
    """Create the table where there is none. Raises Unreachable."""
    metadata = factories.metadata_store(config.database)
    try:
        await metadata.create_schema()
    finally:
        await metadata.close()
    Console().print(f"table photos is in {metadata.where}", highlight=False, soft_wrap=True)


async def enqueue(
    config: Config,
    keys: Sequence[str],
    *,
    photo_id: str | None,
    upload: bool,
    bucket: str | None,
    client_id: str | None,
    session_id: str | None,
    attempts: int | None,
    delay: int,
) -> None:
    """Add a job for each key, and print its id. Raises Unreachable, StorageUnavailable."""
    options: dict[str, Any] = {"timestamp": time.time_ns() // 1_000_000}
    options |= {"attempts": attempts} if attempts else {}
    options |= {"delay": delay} if delay else {}
    more = {"bucket": bucket, "clientId": client_id, "sessionId": session_id}
    if upload:
        keys = await _upload(config, bucket or config.s3.bucket, [Path(key) for key in keys])
    async with producer(config.redis, config.queue) as queue:
        for key in keys:
            data = {"photoId": photo_id or photo_id_of(key), "s3Key": key}
            data |= {name: value for name, value in more.items() if value is not None}
            print(await queue.add(data, options), data["photoId"], key)


async def status(config: Config, *, as_json: bool) -> None:
    """Print the queue's state. Raises Unreachable."""
    async with producer(config.redis, config.queue) as queue:
        found = await queue.status()
    if as_json:
        print(msgspec.json.encode(found).decode())
        return
    console = Console()
    rows = Table(title=f"{config.queue.prefix}:{config.queue.name}", title_justify="left")
    for state in found.counts:
        rows.add_column(state, justify="right")
    rows.add_row(*(str(count) for count in found.counts.values()))
    console.print(rows)
    console.print(f"workers: {', '.join(found.workers) or 'none'}", highlight=False)
    if found.paused:
        console.print("the queue is paused")
    for job in found.failures:
        console.print(clean(f"failed {job.id}: {job.reason}"), highlight=False, markup=False)


def photo_id_of(key: str) -> str:
    """Return an id for the photo of an object key: its file name without suffix, what an id may not have as `-`."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", Path(key).stem)[:128].lstrip(".") or "photo"


def photo_ids(files: Sequence[Path]) -> list[str]:
    """Return an id for each file; those whose names would give the same one are told apart by a number."""
    ids: list[str] = []
    for file in files:
        name = base = photo_id_of(file.name)
        number = 2
        while name in ids:
            name, number = f"{base}-{number}", number + 1
        ids.append(name)
    return ids


async def _try(console: Console, name: str, attempt: Callable[[], Coroutine[Any, Any, str]]) -> bool:
    try:
        words, well = await attempt(), True
    except (Unreachable, ConfigError, FleetHalted, TaskError) as error:
        words, well = str(error), False
    console.print(
        f"{'ok  ' if well else 'FAIL'} {name}: {words}", highlight=False, markup=False, soft_wrap=True
    )
    return well


async def _check_redis(config: Config) -> str:
    async with open_pipe(config) as pipe:
        server = await checked_server(pipe, config.redis.where)
    words = (f"{server.name} at {config.redis.where}", *server.warnings)
    return f"{'; '.join(words)}; scripts of bullmq {installed_version()}"


async def _check_objects(config: Config) -> str:
    async with checked_objects(config):
        return f"{config.s3.endpoint}:{config.s3.port}, buckets {', '.join(config.s3.buckets)}"


async def _check_rows(config: Config) -> str:
    async with checked_metadata(config) as metadata:
        return metadata.where


async def _check_worker(config: Config) -> str:
    one = structs.replace(config.pool, workers=1)
    async with started_pool(structs.replace(config, pool=one)) as pool:
        ready = pool.greeting or Ready(encoders={}, versions={})
    parts = [f"{name}: {words}" for name, words in {**ready.encoders, **ready.versions}.items()]
    parts += [f"sandbox: {ready.sandbox}", *(f"without {part}" for part in ready.unprotected)]
    return "; ".join(parts)


async def _upload(config: Config, bucket: str, files: Sequence[Path]) -> list[str]:
    objects = factories.object_store(config.s3)
    keys = []
    try:
        for file in files:
            try:
                body = file.read_bytes()
            except OSError as error:
                raise ConfigError([f"{file}: {error.strerror}"]) from None
            key = f"photos/{file.name}"
            kind = CONTENT_TYPES.get(file.suffix.lower(), "application/octet-stream")
            await objects.put_all(bucket, [Upload(key, body, kind, {})])
            keys.append(key)
    finally:
        await objects.close()
    return keys
