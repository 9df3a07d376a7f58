"""The guided run: servers, pictures, jobs, the service, then what came of it: a table, a contact sheet, the files."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console

from fastproc.app import App
from fastproc.bullmq.address import plain_client
from fastproc.bullmq.producer import Producer, producer
from fastproc.commands.check import CONTENT_TYPES, photo_ids
from fastproc.config.settings import Config
from fastproc.core import naming
from fastproc.core.errors import Unreachable
from fastproc.core.model import Json
from fastproc.demo import pictures
from fastproc.embedded.stand import Stand, stand
from fastproc.terminal.console import PhotoProgress, ResultRow, live_progress, results_table, summary_line
from fastproc.terminal.contact_sheet import SheetEntry, contact_sheet, sheet_lines

#: Three attempts with a short backoff, so that a retry can be watched.
JOB_OPTIONS = {"attempts": 3, "backoff": {"type": "exponential", "delay": 500}}


class Photo(Struct):
    """One photo of the tour, and what is heard of it."""

    id: str
    file: Path
    heard: dict[str, Json] = msgspec.field(default_factory=dict)
    seconds: float = 0.0


async def run(config: Config, folder: Path | None, keep: Path | None) -> bool:
    """Show everything; return whether every job came to its end. Leaves results in `keep`, or in a new folder."""
    console = Console()
    out = keep or Path(tempfile.mkdtemp(prefix="fastproc-demo-"))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fastproc-demo-servers-") as place:
        files = sorted(p for p in folder.iterdir() if p.is_file()) if folder else make_pictures(out, console)
        if not files:
            raise Unreachable(f"{folder} has no files in it")
        console.print("starting Valkey and SeaweedFS ...", highlight=False)
        with stand(Path(place), {"LOG_LEVEL": config.log.level}) as servers:
            photos = [Photo(id=name, file=file) for name, file in zip(photo_ids(files), files, strict=True)]
            seconds = await _process(servers, photos, console)
            ended = _report(servers, photos, out, seconds, console)
    console.print("servers stopped")
    return ended


def make_pictures(out: Path, console: Console) -> list[Path]:
    """Paint the tour's pictures."""
    console.print("painting a dozen pictures ...", highlight=False)
    source = out / "pictures"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    return pictures.make(source)


async def _process(servers: Stand, photos: list[Photo], console: Console) -> float:
    """Upload, add jobs through BullMQ, serve until all have ended; return the seconds from the first job on."""
    _upload(servers, photos)
    service = App(servers.config)
    with live_progress(len(photos), console) as view:
        async with _listening(servers.config, {photo.id: photo for photo in photos}, view) as ended:
            async with producer(servers.config.redis, servers.config.queue) as queue:
                started = time.monotonic()
                await _add_jobs(queue, photos)
            serving = asyncio.create_task(service.serve())
            waiting = asyncio.create_task(ended.wait())
            await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
            seconds = time.monotonic() - started
            waiting.cancel()
            service.stop()
            await serving
    return seconds


def _upload(servers: Stand, photos: list[Photo]) -> None:
    client = servers.seaweedfs.client()
    for photo in photos:
        kind = CONTENT_TYPES.get(photo.file.suffix.lower(), "application/octet-stream")
        client.put_object(
            Bucket=servers.config.s3.bucket, Key=_key(photo), Body=photo.file.read_bytes(), ContentType=kind
        )
    client.close()


async def _add_jobs(queue: Producer, photos: list[Photo]) -> None:
    for photo in photos:
        data = {"photoId": photo.id, "s3Key": _key(photo), "clientId": "demo"}
        await queue.add(data, {**JOB_OPTIONS, "timestamp": time.time_ns() // 1_000_000})


@asynccontextmanager
async def _listening(
    config: Config, photos: dict[str, Photo], view: PhotoProgress
) -> AsyncIterator[asyncio.Event]:
    """Follow the service's events as an application would; the event is set when every photo has ended."""
    redis = await plain_client(config.redis, config.queue.prefix)
    pubsub = redis.pubsub(ignore_subscribe_messages=True)
    await pubsub.psubscribe("photo.processing.*")
    ended = asyncio.Event()
    left = set(photos)
    begun: dict[str, float] = {}

    def hear(event: dict[str, Any]) -> None:
        data = event["data"]
        photo = photos[data["photoId"]]
        if event["type"] == naming.STARTED:
            begun.setdefault(photo.id, time.monotonic())
            view.started(photo.file.name)
        elif event["type"] == naming.PROGRESS:
            view.stage(photo.file.name, data["progress"])
        elif not data.get("error", {}).get("willRetry"):
            photo.heard, photo.seconds = data, time.monotonic() - begun.get(photo.id, time.monotonic())
            view.finished(photo.file.name, "error" not in data)
            left.discard(photo.id)
            if not left:
                ended.set()

    listener = asyncio.create_task(_hear_all(pubsub, hear))
    try:
        yield ended
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await pubsub.aclose()  # type: ignore[no-untyped-call]
        await redis.aclose()


async def _hear_all(pubsub: Any, hear: Callable[[dict[str, Any]], None]) -> None:
    async for message in pubsub.listen():
        hear(msgspec.json.decode(message["data"]))


def _report(servers: Stand, photos: list[Photo], out: Path, seconds: float, console: Console) -> bool:
    """Fetch the results, print the table, draw the contact sheet; return whether the rows agree that all ended."""
    results = out / "results"
    shutil.rmtree(results, ignore_errors=True)
    client = servers.seaweedfs.client()
    for photo in photos:
        for key in _keys(photo):
            path = results / key
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(servers.config.s3.bucket, key, str(path))
    client.close()
    shutil.copy(servers.database, out / "photos.db")
    with closing(sqlite3.connect(out / "photos.db")) as database:
        states = dict(database.execute("select id, processing_status from photos").fetchall())
    rows = [_row(photo, states.get(photo.id, "no row")) for photo in photos]
    console.print(results_table(rows))
    summary = summary_line(rows, seconds)
    console.print(summary, highlight=False, soft_wrap=True)
    sheet = out / "contact-sheet.jpg"
    contact_sheet([_entry(photo, results) for photo in photos], sheet, f"fastproc demo\n{summary}")
    for name, path in (("contact sheet", sheet), ("results", results), ("rows", out / "photos.db")):
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)
    return all(row.status in ("completed", "failed") for row in rows)


def _key(photo: Photo) -> str:
    return f"photos/{photo.file.name}"


def _keys(photo: Photo) -> list[str]:
    copy = (photo.heard.get("optimization") or {}).get("s3Key")
    return [thumbnail["s3Key"] for thumbnail in photo.heard.get("thumbnails", [])] + ([copy] if copy else [])


def _row(photo: Photo, status: str) -> ResultRow:
    heard = photo.heard
    metadata, optimization = heard.get("metadata", {}), heard.get("optimization") or {}
    return ResultRow(
        photo=photo.file.name,
        format=metadata.get("format", ""),
        width=metadata.get("width", 0),
        height=metadata.get("height", 0),
        size_bytes=photo.file.stat().st_size,
        thumbnails=len(heard.get("thumbnails", [])),
        saved_bytes=optimization.get("savings") if optimization.get("optimized") else None,
        duration_ms=photo.seconds * 1000,
        status=status,
        code=heard.get("error", {}).get("code"),
    )


def _entry(photo: Photo, results: Path) -> SheetEntry:
    row = _row(photo, "")
    largest = max(photo.heard.get("thumbnails", []), key=lambda t: t["width"] * t["height"], default=None)
    return SheetEntry(
        name=photo.file.name,
        thumbnail=(results / largest["s3Key"]).read_bytes() if largest else None,
        lines=sheet_lines(row) if largest else (row.code or "no result",),
        failed=largest is None,
    )
