"""The same service in Python, as its libraries' documentation suggests: bullmq's Worker, boto3, pyvips, a thread a job.

Run by bench/compare.py. libvips has one thread a picture, because photos are processed side by side; its cache is off,
because no two photos are the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

os.environ["VIPS_CONCURRENCY"] = "1"

import boto3
import bullmq
import pyvips
import redis.asyncio
from botocore.config import Config

pyvips.cache_set_max(0)

CONCURRENCY = int(os.environ.get("WORKER_CONCURRENCY", "3"))
SIZES = (("thumb_sm", 150, 75), ("thumb_md", 300, 80), ("thumb_lg", 600, 85))
OPTIMIZE_QUALITY, OPTIMIZE_THRESHOLD, MIN_SAVING_PERCENT = 85, 2 << 20, 10
MIN_SIDE, MAX_SIDE = 100, 10_000
#: What sharp calls `mozjpeg: true`.
MOZJPEG = {
    "interlace": True,
    "optimize_coding": True,
    "trellis_quant": True,
    "overshoot_deringing": True,
    "optimize_scans": True,
    "quant_table": 3,
    "keep": "none",
}
LOADERS = {"jpegload_buffer": "jpeg", "pngload_buffer": "png", "webpload_buffer": "webp"}
EXIF = {"make": "ifd0-Make", "model": "ifd0-Model", "lensModel": "ifd2-LensModel", "exposureTime": "ifd2-ExposureTime",
        "fNumber": "ifd2-FNumber", "iso": "ifd2-ISOSpeedRatings", "focalLength": "ifd2-FocalLength",
        "dateTimeOriginal": "ifd2-DateTimeOriginal", "latitude": "ifd3-GPSLatitude",
        "longitude": "ifd3-GPSLongitude"}  # fmt: skip

Facts = dict[str, Any]


def utc() -> str:
    """The time now, as JavaScript's toISOString."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Storage:
    """One bucket."""

    def __init__(self) -> None:
        self.bucket = os.environ["MINIO_BUCKET"]
        self.endpoint = f"http://{os.environ['MINIO_ENDPOINT']}:{os.environ['MINIO_PORT']}"
        self._s3 = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=os.environ["MINIO_ACCESS_KEY"],
            aws_secret_access_key=os.environ["MINIO_SECRET_KEY"],
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=max(10, CONCURRENCY)),
        )

    def fetch(self, key: str) -> bytes:
        """Return an object."""
        return bytes(self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def put(self, key: str, data: bytes, metadata: Facts) -> str:
        """Write an object; return its URL."""
        texts = {name: str(value) for name, value in metadata.items()}
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=data, ContentType="image/jpeg", Metadata=texts)
        return f"{self.endpoint}/{self.bucket}/{key}"


class Photos:
    """The table `photos`, for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            os.environ["SQLITE_PATH"], timeout=5, isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")

    def begin(self, photo_id: str) -> None:
        """Mark the photo as `processing`."""
        now = utc()
        self._upsert(photo_id, processing_status="processing", processing_started_at=now,
                     processing_completed_at=None, processing_error=None, updated_at=now)  # fmt: skip

    def complete(self, photo_id: str, made: Facts) -> None:
        """Mark it as `completed`, with what was made."""
        now, metadata = utc(), made["metadata"]
        about = {
            "format": metadata["format"],
            "colorSpace": metadata["space"],
            "hasAlpha": metadata["hasAlpha"],
        }
        self._upsert(photo_id, processing_status="completed", processing_completed_at=now, processing_error=None,
                     width=metadata["width"], height=metadata["height"],
                     processing_metadata=json.dumps(made | about), updated_at=now)  # fmt: skip

    def fail(self, photo_id: str, error: str, final: bool) -> None:
        """Record an error."""
        status = "failed" if final else "processing"
        self._upsert(photo_id, processing_status=status, processing_error=error, updated_at=utc())

    def _upsert(self, photo_id: str, **values: Any) -> None:
        names = ", ".join(values)
        new = ", ".join(f"{name} = excluded.{name}" for name in values)
        marks = ", ?" * len(values)
        statement = f"INSERT INTO photos (id, {names}) VALUES (?{marks}) ON CONFLICT (id) DO UPDATE SET {new}"
        with self._lock:
            self._database.execute(statement, (photo_id, *values.values()))


class Refused(bullmq.UnrecoverableError):  # type: ignore[misc]
    """A photo that no attempt can make good."""


def validate(data: bytes) -> pyvips.Image:
    """Return the photo, upright and opened for one pass, if it is one that is wanted."""
    try:
        image = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
    except pyvips.Error as error:
        raise Refused(f"FILE_CORRUPTED: {error}") from None
    if image.get("vips-loader") not in LOADERS:
        raise Refused(f"UNSUPPORTED_FORMAT: {image.get('vips-loader')}")
    if min(image.width, image.height) < MIN_SIDE or max(image.width, image.height) > MAX_SIDE:
        raise Refused(f"IMAGE_TOO_SMALL or too large: {image.width}x{image.height}")
    return image


def metadata(image: pyvips.Image) -> Facts:
    """Return the contract's metadata. The statistics read every pixel, so that a damaged photo is found here."""
    turned = image.get_typeof("orientation") and image.get("orientation") >= 5
    width, height = (image.height, image.width) if turned else (image.width, image.height)
    dominant, brightness = colours(image)
    return {
        "format": LOADERS[image.get("vips-loader")],
        "width": width,
        "height": height,
        "space": image.interpretation,
        "channels": image.bands,
        "depth": image.format,
        "density": round(image.xres * 25.4) or None,
        "hasAlpha": bool(image.hasalpha()),
        "orientation": image.get("orientation") if image.get_typeof("orientation") else None,
        "isProgressive": bool(image.get_typeof("interlaced")),
        "chromaSubsampling": image.get("jpeg-chroma-subsample")
        if image.get_typeof("jpeg-chroma-subsample")
        else None,
        "dominantColor": dict(zip("rgb", dominant, strict=True)),
        "brightness": round(brightness, 4),
        "exif": exif(image),
    }


def colours(image: pyvips.Image) -> tuple[list[int], float]:
    """Return the middle of the fullest of 4096 colours, and the mean luma from 0 to 1."""
    rgb = image.colourspace("srgb")
    rgb = (rgb.flatten(background=255) if rgb.hasalpha() else rgb).copy_memory()
    histogram = rgb.hist_find_ndim(bins=16)
    _, where = histogram.max(), histogram.maxpos()[1:]
    red, green = where
    counts = histogram(red, green)
    fullest = (red, green, counts.index(max(counts)))
    luma = sum(
        weight * band.avg() for weight, band in zip((0.2126, 0.7152, 0.0722), rgb.bandsplit(), strict=True)
    )
    return [16 * step + 8 for step in fullest], luma / 255


def exif(image: pyvips.Image) -> Facts | None:
    """Return EXIF's fields, as libvips writes them: `value (formatted, type, ...)`."""
    fields = {name: f"exif-{tag}" for name, tag in EXIF.items()}
    there = {name: image.get(tag) for name, tag in fields.items() if image.get_typeof(tag)}
    return {name: value.rsplit(" (", 1)[0].strip() for name, value in there.items()} or None


def thumbnails(data: bytes) -> list[tuple[str, pyvips.Image, bytes]]:
    """Return each thumbnail's name, picture and file."""
    made = []
    for name, side, quality in SIZES:
        small = pyvips.Image.thumbnail_buffer(data, side, height=side, size="down")
        made.append((name, small, small.jpegsave_buffer(Q=quality, **MOZJPEG)))
    return made


def optimized(data: bytes) -> bytes:
    """Return the copy at full size."""
    whole = pyvips.Image.new_from_buffer(data, "", access="sequential").autorot()
    return bytes(whole.jpegsave_buffer(Q=OPTIMIZE_QUALITY, **MOZJPEG))


class Service:
    """Runs jobs: what takes time in a thread, what talks to Redis in the loop."""

    def __init__(self) -> None:
        self.storage, self.photos = Storage(), Photos()
        self.events = redis.asyncio.from_url(os.environ["REDIS_URL"])
        self._threads = ThreadPoolExecutor(CONCURRENCY)

    async def process(self, job: Any, _token: str) -> Facts:
        """Run one job."""
        photo_id = job.data["photoId"]
        try:
            await self._in_thread(self.photos.begin, photo_id)
            await self._progress(job, 10)
            await self._publish(job, "started")
            made = await self._make(job)
            await self._in_thread(self.photos.complete, photo_id, made)
            await self._progress(job, 95)
            duration = int(datetime.now().timestamp() * 1000) - job.timestamp
            await self._publish(job, "completed", **made, duration=duration)
            await self._progress(job, 100)
            count = len(made["thumbnails"])
            return {
                "success": True,
                "photoId": photo_id,
                "thumbnailCount": count,
                **made,
                "durationMs": duration,
            }
        except Exception as error:
            again = not isinstance(error, Refused) and job.attemptsMade + 1 < job.attempts
            await self._in_thread(self.photos.fail, photo_id, str(error), not again)
            await self._publish(job, "failed", error={"message": str(error), "willRetry": again})
            raise

    async def _make(self, job: Any) -> Facts:
        data = await self._in_thread(self.storage.fetch, job.data["s3Key"])
        await self._progress(job, 25)
        image = await self._in_thread(validate, data)
        await self._progress(job, 35)
        facts = await self._in_thread(metadata, image)
        await self._progress(job, 45)
        small = await self._in_thread(self._thumbnails, job, data)
        await self._progress(job, 75)
        copy = await self._in_thread(self._optimized, job, data)
        await self._progress(job, 90)
        return {"metadata": facts, "thumbnails": small, "optimization": copy}

    def _thumbnails(self, job: Any, data: bytes) -> list[Facts]:
        photo_id, found = job.data["photoId"], []
        for name, picture, file in thumbnails(data):
            key = f"thumbnails/{photo_id}/{name}_{job.timestamp}.jpg"
            width, height = picture.width, picture.height
            url = self.storage.put(key, file, {"size": name, "width": width, "photo-id": photo_id})
            found.append(
                {
                    "name": name,
                    "width": width,
                    "height": height,
                    "fileSize": len(file),
                    "s3Key": key,
                    "url": url,
                }
            )
        return found

    def _optimized(self, job: Any, data: bytes) -> Facts:
        size, photo_id = len(data), job.data["photoId"]
        if size <= OPTIMIZE_THRESHOLD:
            return {"optimized": False, "reason": "File already optimal size", "originalSize": size}
        file = optimized(data)
        saved = size - len(file)
        about = {
            "originalSize": size,
            "optimizedSize": len(file),
            "savingsPercent": round(100 * saved / size, 2),
        }
        if about["savingsPercent"] <= MIN_SAVING_PERCENT:
            return {"optimized": False, "reason": "Savings not significant", **about}
        key = f"photos/optimized/{photo_id}_optimized.jpg"
        named = {"original-size": size, "optimized-size": len(file), "savings": saved, "photo-id": photo_id}
        return {
            "optimized": True,
            "savings": saved,
            **about,
            "s3Key": key,
            "url": self.storage.put(key, file, named),
        }

    async def _in_thread(self, work: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    async def _progress(self, job: Any, percent: int) -> None:
        await job.updateProgress(percent)
        await self._publish(job, "progress", percent, progress=percent)

    async def _publish(self, job: Any, kind: str, mark: int | None = None, **more: Any) -> None:
        data = job.data
        attempt = "" if kind == "completed" else f":{job.attemptsMade + 1}"
        about = {"photoId": data["photoId"], "jobId": job.id}
        about |= {name: data.get(name) for name in ("clientId", "sessionId")}
        event = {
            "id": f"{job.id}:{kind}{attempt}" + ("" if mark is None else f":{mark}"),
            "type": f"photo.processing.{kind}",
            "timestamp": utc(),
            "data": about | more,
        }
        await self.events.publish(f"photo.processing.{kind}", json.dumps(event))


async def main() -> None:
    """Serve the queue until SIGTERM."""
    service, stop = Service(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    options = {"connection": os.environ["REDIS_URL"], "concurrency": CONCURRENCY}
    worker = bullmq.Worker(os.environ["QUEUE_NAME"], service.process, options)
    await stop.wait()
    await worker.close()
    await service.events.aclose()


if __name__ == "__main__":
    asyncio.run(main())
