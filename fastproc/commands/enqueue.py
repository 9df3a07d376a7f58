"""`fastproc enqueue`: adds jobs by hand, and uploads their photos on request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from fastproc.backends import factories
from fastproc.bullmq import decode
from fastproc.bullmq.decode import Defaults
from fastproc.bullmq.producer import producer
from fastproc.commands import running
from fastproc.commands.photos import upload
from fastproc.config.settings import Config
from fastproc.core import uploads
from fastproc.core.errors import ConfigError
from fastproc.terminal.text import print_line


@click.command()
@click.argument("keys", nargs=-1, required=True)
@click.option("--photo-id", help="The photo's id; by default made from the key's file name.")
@click.option("--bucket", help="The photo's bucket; by default MINIO_BUCKET.")
@click.option("--client-id", help="Passed on to the events.")
@click.option("--session-id", help="Passed on to the events.")
@click.option(
    "--attempts",
    type=click.IntRange(1, decode.MAX_NUMBER),
    help="Attempts; by default WORKER_MAX_RETRIES of the service.",
)
@click.option(
    "--delay",
    type=click.IntRange(0, decode.MAX_NUMBER),
    default=0,
    help="Milliseconds before the job may start.",
)
@click.option(
    "--upload", "uploads_files", is_flag=True, help="KEYS are local files: put them into the bucket first."
)
def command(keys: tuple[str, ...], photo_id: str | None, uploads_files: bool, **options: Any) -> None:
    """Add a job for each object key.

    Prints the id of each job, the id of its photo, and the key. What the service would refuse is refused at once, all
    of it; an object that is there already is never overwritten.
    """
    if photo_id and len(keys) > 1:
        raise click.UsageError("--photo-id needs exactly one key")
    config = running.settings(quiet=True)
    running.run(lambda: enqueue(config, keys, photo_id=photo_id, uploads_files=uploads_files, **options))


async def enqueue(
    config: Config,
    keys: Sequence[str],
    *,
    photo_id: str | None,
    uploads_files: bool,
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
    about = {"bucket": bucket, "clientId": client_id, "sessionId": session_id}
    more = {name: value for name, value in about.items() if value is not None}
    files = upload.read([Path(key) for key in keys], config.pipeline.options()) if uploads_files else []
    keys = [each.upload.key for each in files] or keys
    jobs = [{"photoId": photo_id or uploads.photo_id(key), "s3Key": key, **more} for key in keys]
    _refuse(config, jobs)
    if files:
        await _upload(config, bucket or config.s3.bucket, files)
    async with producer(config.redis, config.queue) as queue:
        for data in jobs:
            print(await queue.add(data, options), data["photoId"], data["s3Key"])


def _refuse(config: Config, jobs: Sequence[dict[str, str]]) -> None:
    """Raises ConfigError with every job that must not be added, before any of them is.

    The service would refuse it, or its photo has the id of another: rows and renditions are by id.
    """
    defaults = Defaults(bucket=config.s3.bucket, buckets=config.s3.buckets, attempts=1)
    problems, keys = [], dict[str, str]()
    for job in jobs:
        key, photo = job["s3Key"], job["photoId"]
        if why := decode.refusal(job, defaults):
            problems.append(f"{key}: the service would refuse it: {why}")
        elif (other := keys.setdefault(photo, key)) != key:
            problems.append(
                f"{key}: its photo would be {photo}, as that of {other}, and replace its results;"
                " enqueue it by itself, with --photo-id"
            )
    if problems:
        raise ConfigError(problems)


async def _upload(config: Config, bucket: str, files: Sequence[upload.Given]) -> None:
    objects = factories.object_store(config.s3, config.uploads)
    told = Console(stderr=True)
    try:
        await upload.put(objects, bucket, files, lambda words: print_line(told, words))
    finally:
        await objects.close()
