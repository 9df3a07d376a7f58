"""The guided tour: servers, pictures, jobs and the service, from the first line to the last."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from msgspec import structs
from rich.console import Console

from fastproc.app import App
from fastproc.bullmq.producer import Producer, producer
from fastproc.config.settings import Config
from fastproc.core import uploads
from fastproc.core.errors import ConfigError, Unreachable
from fastproc.demo import album, pictures
from fastproc.demo.listener import listening
from fastproc.demo.photo import Photo
from fastproc.demo.result_folders import result_folder
from fastproc.demo.results import show_results
from fastproc.embedded.child import ServerFailed
from fastproc.embedded.folder import temporary_folder
from fastproc.embedded.stand import Stand, stand
from fastproc.terminal.progress import live_progress
from fastproc.terminal.text import print_line

#: Three attempts with a short backoff, so that a visitor can watch a retry.
JOB_OPTIONS = {"attempts": 3, "backoff": {"type": "exponential", "delay": 500}}


async def run(config: Config, folder: Path | None, keep: Path | None) -> bool:
    """Show everything; return whether every job ended. The results are in `keep`, or in a new temporary folder.

    The photos are the files in `folder`; None paints some. Raises ConfigError for a folder without files and for what
    cannot be read or written, Unreachable when a server does not start, and what the service raises.
    """
    try:
        return await _toured(config, folder, keep)
    except OSError as error:
        if isinstance(error, ConnectionError | TimeoutError):
            raise
        words = [str(error.filename or ""), error.strerror or str(error)]
        raise ConfigError([": ".join(filter(None, words))]) from error


async def _toured(config: Config, folder: Path | None, keep: Path | None) -> bool:
    console = Console()
    given = sorted(p for p in folder.iterdir() if p.is_file()) if folder else []
    if folder and not given:
        raise ConfigError([f"{folder}: there are no files in this folder"])
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    with temporary_folder("fastproc-demo-servers-") as home:
        photos = _given(given) if given else painted(home, console)
        print_line(console, "starting Valkey and SeaweedFS ...")
        try:
            with stand(home, {"LOG_LEVEL": config.log.level}) as running:
                seconds = await _process(running, photos, console)
                with result_folder(keep, console) as out:
                    all_ended = show_results(running, photos, out, seconds, console)
        except ServerFailed as error:
            raise Unreachable(str(error)) from error
    print_line(console, "servers stopped")
    return all_ended


def _given(files: list[Path]) -> list[Photo]:
    ids = uploads.photo_ids([file.name for file in files])
    return [Photo(id=id, file=file) for id, file in zip(ids, files, strict=True)]


def painted(home: Path, console: Console) -> list[Photo]:
    """Return the tour's own pictures: those of the album; where none can be kept, painted below `home`."""

    def say() -> None:
        print_line(console, "painting a dozen pictures ...")

    files: list[Path] = []
    if kept := album.folder():
        try:
            files = album.filled(kept, say)
        except OSError as error:
            print_line(console, f"the pictures cannot be kept: {kept}: {error.strerror}")
        else:
            print_line(console, f"pictures: {kept}")
    if not files:
        say()
        files = pictures.make(home / "pictures")
    fails = {shot.name: shot.fails for shot in pictures.SHOTS}
    return [structs.replace(photo, fails=fails[photo.file.name]) for photo in _given(files)]


async def _process(servers: Stand, photos: list[Photo], console: Console) -> float:
    """Upload, add jobs through BullMQ, serve until all have ended; return the seconds from the first job to the end."""
    _upload(servers, photos)
    service = App(servers.config)
    with live_progress(len(photos), console) as view:
        async with listening(servers.config, photos, view) as all_ended:
            async with producer(servers.config.redis, servers.config.queue) as queue:
                started = time.monotonic()
                await _add_jobs(queue, photos)
            serving = asyncio.create_task(service.serve())
            waiting = asyncio.create_task(all_ended.wait())
            try:
                await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
                seconds = time.monotonic() - started
            finally:
                # Before the servers end, which it would take for an outage; twice: jobs in hand are not waited for.
                waiting.cancel()
                service.stop()
                service.stop()
                await serving
    return seconds


def _upload(servers: Stand, photos: list[Photo]) -> None:
    client = servers.seaweedfs.client()
    for photo in photos:
        client.put_object(
            Bucket=servers.config.s3.bucket,
            Key=photo.key,
            Body=photo.file.read_bytes(),
            ContentType=uploads.content_type(photo.file.name),
        )
    client.close()


async def _add_jobs(queue: Producer, photos: list[Photo]) -> None:
    for photo in photos:
        data = {"photoId": photo.id, "s3Key": photo.key, "clientId": "demo"}
        await queue.add(data, {**JOB_OPTIONS, "timestamp": time.time_ns() // 1_000_000})
