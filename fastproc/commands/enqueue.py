"""`fastproc enqueue`: adds jobs by hand, and uploads their photos on request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fastproc.backends import factories
from fastproc.bullmq.producer import producer
from fastproc.commands import running
from fastproc.config.settings import Config
from fastproc.core import uploads
from fastproc.core.errors import ConfigError
from fastproc.supervisor.ports import Upload


@click.command()
@click.argument("keys", nargs=-1, required=True)
@click.option("--photo-id", help="The photo's id; by default made from the key's file name.")
@click.option("--bucket", help="The photo's bucket; by default MINIO_BUCKET.")
@click.option("--client-id", help="Passed on to the events.")
@click.option("--session-id", help="Passed on to the events.")
@click.option(
    "--attempts", type=click.IntRange(1), help="Attempts; by default WORKER_MAX_RETRIES of the service."
)
@click.option("--delay", type=click.IntRange(0), default=0, help="Milliseconds before the job may start.")
@click.option("--upload", is_flag=True, help="KEYS are local files: put them into the bucket first.")
def command(keys: tuple[str, ...], photo_id: str | None, upload: bool, **options: Any) -> None:
    """Add a job for each object key.

    Prints the id of each job, the id of its photo, and the key.
    """
    if photo_id and len(keys) > 1:
        raise click.UsageError("--photo-id needs exactly one key")
    config = running.settings(quiet=True)
    running.run(lambda: enqueue(config, keys, photo_id=photo_id, upload=upload, **options))


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
    """Add a job for each key, and print its id. Raises Unreachable, StorageUnavailable, ConfigError."""
    options: dict[str, Any] = {"timestamp": time.time_ns() // 1_000_000}
    options |= {"attempts": attempts} if attempts else {}
    options |= {"delay": delay} if delay else {}
    more = {"bucket": bucket, "clientId": client_id, "sessionId": session_id}
    if upload:
        keys = await _upload(config, bucket or config.s3.bucket, [Path(key) for key in keys])
    async with producer(config.redis, config.queue) as queue:
        for key in keys:
            data = {"photoId": photo_id or uploads.photo_id(key), "s3Key": key}
            data |= {name: value for name, value in more.items() if value is not None}
            print(await queue.add(data, options), data["photoId"], key)


async def _upload(config: Config, bucket: str, files: Sequence[Path]) -> list[str]:
    objects = factories.object_store(config.s3, config.uploads)
    keys = []
    try:
        for file in files:
            try:
                body = file.read_bytes()
            except OSError as error:
                raise ConfigError([f"{file}: {error.strerror}"]) from None
            key = uploads.object_key(file.name)
            await objects.put_all(bucket, [Upload(key, body, uploads.content_type(file.name), {})])
            keys.append(key)
    finally:
        await objects.close()
    return keys
