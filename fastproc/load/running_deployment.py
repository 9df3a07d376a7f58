"""A load test of a running deployment, the one that the environment names: adds jobs beside those of others.

Rule 1: everything it writes has the test's own name: photo ids, job ids, keys of the sources. Nothing is overwritten.
Rule 2: it says beforehand what it will do, and removes afterwards what it wrote: waiting jobs, ended jobs, sources, and
        the renditions that return values name. However it ends, but for a second Ctrl-C.
Rule 3: rows and events are the service's: those stay. The rows' ids begin with the test's name.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import structs

from fastproc.backends import factories, s3_removal
from fastproc.bullmq.producer import Producer, Status
from fastproc.config.settings import Config
from fastproc.core import uploads
from fastproc.load import photos
from fastproc.load.arrivals import times
from fastproc.load.generator import Generator
from fastproc.load.measure import measure
from fastproc.load.order import Order, Refused, Tell, run_name
from fastproc.load.report import Run
from fastproc.load.usage import Scraped
from fastproc.supervisor.ports import Upload

#: Seconds that jobs at work have to end before what they wrote is removed.
_ACTIVE_S: Final = 60.0
_LOOK_S: Final = 0.2


def refusal(status: Status, *, yes: bool) -> str:
    """Return why the test must not be begun, or ""."""
    if status.paused:
        return "the queue is paused: no job would be done"
    waiting = sum(status.counts[state] for state in ("wait", "prioritized", "paused"))
    if waiting and not yes:
        return f"jobs of others wait in this queue ({waiting}): they and the test would delay each other (--yes: begin)"
    if status.workers_unknown and not yes:
        return f"whether a worker serves this queue is {status.workers_unknown} (--yes: begin all the same)"
    if not status.workers and not yes:
        return "no worker serves this queue (--yes: begin all the same)"
    return ""


class RunningDeployment:
    """One load test of a deployment. `clean` must be called at its end."""

    def __init__(self, config: Config, queue: Producer, order: Order, tell: Tell) -> None:
        self.name = run_name(order.seed)
        self._config, self._queue, self._order, self._tell = config, queue, order, tell
        self._sources: list[str] = []
        self._generators: list[Generator] = []

    async def check(self) -> None:
        """Raises Refused, RedisError."""
        status = await self._queue.status(0)
        if why := refusal(status, yes=self._order.yes):
            raise Refused(why)
        self._tell.line(f"workers that BullMQ lists: {len(status.workers)}")

    def announce(self, files: Sequence[Path]) -> None:
        """Say what will be done."""
        queue, bucket = self._config.queue, self._config.s3.bucket
        size = sum(file.stat().st_size for file in files)
        jobs = sum(len(times(step.load, random.Random(self._order.seed))) for step in self._order.steps)
        self._tell.line(
            f"queue {queue.prefix}:{queue.name} at {self._config.redis.where}: {jobs} jobs {self.name}-*"
        )
        self._tell.line(
            f"bucket {bucket}: {len(files)} photos, {size / 1e6:.1f} MB, under photos/{self.name}/"
        )
        kept = "jobs, photos and results stay (--keep)"
        self._tell.line(kept if self._order.keep else "jobs, photos and results are removed afterwards")
        self._tell.line(f"rows stay: delete from photos where id like '{self.name}-%'")

    async def upload(self, files: Sequence[Path]) -> None:
        """Put the photos into the bucket. Raises StorageUnavailable, ConfigError."""
        objects = factories.object_store(self._config.s3, self._config.uploads)
        try:
            for number, file in enumerate(files):
                key = f"photos/{self.name}/{number}-{file.name}"
                # Noted first: an upload that was cut short may have been stored.
                self._sources.append(key)
                given = Upload(key, photos.read(file), uploads.content_type(file.name), {})
                await objects.put_all(self._config.s3.bucket, [given])
        finally:
            await objects.close()

    async def run(self) -> list[Run]:
        """Measure every step. Raises RedisError, Unreachable."""
        runs = []
        scraped = Scraped(self._order.metrics)
        for number, step in enumerate(self._order.steps):
            due = times(step.load, random.Random(self._order.seed))
            with self._tell.progress("jobs", len(due)) as on_end:
                generator = Generator(self._queue, self._sources, f"{self.name}-{number}-", on_end)
                self._generators.append(generator)
                read = scraped.cpu if self._order.metrics else None
                found = await measure(generator, step.load, due, read)
            workers = len((await self._queue.status(0)).workers)
            runs.append(structs.replace(found, hosts=workers, workers=workers))
        return runs

    async def clean(self) -> None:
        """Remove what was written, unless it is to be kept; say what could not be. Raises RedisError."""
        if self._order.keep:
            return
        ids = [sent.id for generator in self._generators for sent in generator.sent]
        held = await self._withdraw(ids)
        ended = [job_id for job_id in ids if job_id not in held]
        objects = await self._queue.outcomes.written(ended)
        for job_id in ended:
            await self._queue.remove(job_id)
        # What is still at work reads its source.
        sources = [] if held else self._sources
        objects += [("", key) for key in sources]
        failed = await asyncio.to_thread(s3_removal.remove, self._config.s3, objects)
        for words in failed:
            self._tell.line(f"not removed: {words}")
        if held:
            self._tell.line(f"{len(held)} jobs are still at work; they and photos/{self.name}/ stay")
        self._tell.line(f"removed: {len(ended)} jobs, {len(objects) - len(failed)} objects")

    async def _withdraw(self, ids: Sequence[str]) -> set[str]:
        """Take jobs that have not begun out of the queue, wait for those at work; return those that are still there."""
        found = await self._queue.outcomes.read(ids)
        left = {
            job_id for job_id, each in zip(ids, found, strict=True) if each.added_ms and not each.ended_ms
        }
        waited = 0.0
        while left:
            for job_id in list(left):
                [now] = await self._queue.outcomes.read([job_id])
                if now.ended_ms or await self._queue.remove(job_id):
                    left.discard(job_id)
            if not left or waited >= _ACTIVE_S:
                break
            await asyncio.sleep(_LOOK_S)
            waited += _LOOK_S
        return left
