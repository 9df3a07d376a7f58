"""Servers on which services are tried: jobs are added to them, and the world is looked at, from outside.

Rule 1: a look at the world is one value (`invariants.World`), taken with clients of other people: redis-py, boto3,
        the databases' drivers, Pillow.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import mimetypes
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import redis
from PIL import Image

from fastproc.bullmq.producer import producer
from fastproc.config.queue import QueueConfig
from fastproc.config.redis import RedisConfig
from fastproc.config.s3 import S3Config
from fastproc.embedded.child import HOST
from fastproc.embedded.trial.invariants import Added, Stored, World
from fastproc.embedded.trial.listener import Listener
from fastproc.embedded.trial.process import PATIENCE_S, Service, eventually
from fastproc.embedded.trial.rows import Database
from fastproc.embedded.valkey import Valkey

QUEUE = "trial"
_STATES = ("wait", "active", "paused", "prioritized", "delayed", "completed", "failed")
#: Every job is kept, to be looked at.
_KEEP = {"removeOnComplete": False, "removeOnFail": False}
#: Photos are put below this key; what the service makes is elsewhere.
SOURCES = "uploads/"


class Ground:
    """Servers, the services that use them, and a look at the world: what a place and hosts have in common."""

    def __init__(self, folder: Path, valkey: Valkey, s3: S3Config, s3_client: Any, rows: Database) -> None:
        self.folder, self.valkey, self.s3, self.s3_client = folder, valkey, s3, s3_client
        self._rows = rows
        self.listener = Listener(valkey.port)
        # redis-py's annotations are those of both its clients.
        self.redis: Any = redis.Redis(
            host=HOST, port=valkey.port, protocol=2, decode_responses=True, socket_timeout=10
        )
        self.services: list[Service] = []
        self._bodies: dict[str, Stored] = {}

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a service to the servers: short locks, so that a case is short."""
        return {
            "PATH": os.environ.get("PATH", ""),
            "QUEUE_NAME": QUEUE,
            "MINIO_ACCESS_KEY": str(self.s3.access_key),
            "MINIO_SECRET_KEY": str(self.s3.secret_key),
            "MINIO_BUCKET": self.s3.bucket,
            **self._rows.environment,
            "WORKER_CONCURRENCY": "1",
            "RATE_LIMIT_MAX": "0",
            "LOCK_DURATION_MS": "2000",
            "STALLED_INTERVAL_MS": "1000",
            "SHUTDOWN_GRACE_S": "2",
        }

    def close(self) -> None:
        """End the services."""
        for service in self.services:
            service.close()

    # --- jobs

    def put(self, name: str, body: bytes) -> None:
        """Store a photo, with the content type that its name says."""
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.s3_client.put_object(Bucket=self.s3.bucket, Key=SOURCES + name, Body=body, ContentType=kind)

    def add(
        self, photos: Mapping[str, str], *, every_s: float = 0.0, named: bool = False, **options: Any
    ) -> list[Added]:
        """Add a job for each photo id, of the stored photo that it names, one `every_s`; they have one attempt.

        `named`: the job's id is the photo's, so that adding it again changes nothing. Raises Unreachable.
        """
        return asyncio.run(self._add(photos, every_s, named, options))

    async def _add(
        self, photos: Mapping[str, str], every_s: float, named: bool, options: Mapping[str, Any]
    ) -> list[Added]:
        added = []
        where = RedisConfig(host=HOST, port=self.valkey.port)
        async with producer(where, QueueConfig(name=QUEUE)) as queue:
            for photo_id, name in photos.items():
                given = {"attempts": 1, "timestamp": time.time_ns() // 1_000_000, **_KEEP, **options}
                given |= {"jobId": photo_id} if named else {}
                job_id = await queue.add({"photoId": photo_id, "s3Key": SOURCES + name}, given)
                added.append(Added(id=job_id, photo_id=photo_id, timestamp_ms=given["timestamp"]))
                await asyncio.sleep(every_s)
        return added

    def key(self, suffix: str) -> str:
        """A key of the queue."""
        return f"bull:{QUEUE}:{suffix}"

    def job(self, job_id: str) -> dict[str, str]:
        """A job's hash."""
        found: dict[str, str] = self.redis.hgetall(self.key(job_id))
        return found

    def ids(self, state: str) -> list[str]:
        """Ids of the jobs in a state."""
        if state in ("wait", "active", "paused"):
            return [each for each in self.redis.lrange(self.key(state), 0, -1) if not each.startswith("0:")]
        return list(self.redis.zrange(self.key(state), 0, -1))

    def ended(self) -> set[str]:
        """Ids of the jobs that have ended."""
        return {*self.ids("completed"), *self.ids("failed")}

    def until_ended(self, added: Sequence[Added], patience_s: float = PATIENCE_S) -> None:
        """Wait until the jobs have ended and nothing is locked. Raises AssertionError."""
        wanted = {each.id for each in added}

        def state() -> str:
            left = sorted(wanted - self.ended())
            tails = [service.lines[-4:] for service in self.services if service.ended is None]
            return f"{len(left)} of {len(wanted)} jobs have not ended, {left[:5]}; {tails}"

        def quiet() -> bool:
            if all(service.ended is not None for service in self.services):
                raise AssertionError(f"no service runs: {[service.lines[-1:] for service in self.services]}")
            return wanted <= self.ended() and not self.locked()

        eventually(quiet, state, patience_s)

    def locked(self) -> dict[str, str]:
        """Jobs that are locked, with the lock's token and the job's progress."""
        locks = [key.split(":")[-2] for key in self.redis.scan_iter(self.key("*:lock"), count=1000)]
        return {
            job_id: f"{self.redis.get(self.key(f'{job_id}:lock'))} {self.redis.hget(self.key(job_id), 'progress')}"
            for job_id in locks
        }

    def locked_at(self, percent: int) -> int:
        """How many jobs are locked with this progress."""
        return sum(each.endswith(f" {percent}") for each in self.locked().values())

    # --- the world

    def look(self, added: Sequence[Added], *, services: Sequence[Service] | None = None) -> World:
        """See everything. `services`: whose log it is; by default that of all."""
        chosen = self.services if services is None else services
        return World(
            jobs={each.id: self.job(each.id) for each in added},
            states={state: self.ids(state) for state in _STATES},
            locks=self.locked(),
            objects=self.objects(),
            rows=self.rows(),
            events=list(self.listener.events),
            lines=[line for service in chosen for line in service.lines],
            heard_all=self.listener.gaps == 0,
        )

    def objects(self) -> dict[str, Stored]:
        """What the service has made."""
        found = {}
        for page in self.s3_client.get_paginator("list_objects_v2").paginate(Bucket=self.s3.bucket):
            for item in page.get("Contents", ()):
                if not item["Key"].startswith(SOURCES):
                    found[item["Key"]] = self._stored(item["Key"], item["ETag"])
        return found

    def _stored(self, key: str, etag: str) -> Stored:
        # A long run looks often: an object is fetched once.
        if (known := self._bodies.get(key + etag)) is None:
            body = self.s3_client.get_object(Bucket=self.s3.bucket, Key=key)["Body"].read()
            known = self._bodies[key + etag] = Stored(
                len(body), hashlib.sha256(body).hexdigest(), decodable(body)
            )
        return known

    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows, by photo id."""
        return self._rows.rows()


def decodable(body: bytes) -> bool:
    """Whether Pillow can decode the picture."""
    try:
        with Image.open(io.BytesIO(body)) as picture:
            picture.load()
    except (OSError, ValueError, SyntaxError):
        return False
    return True


def first_end(
    added: Sequence[Added], ground: Ground, since: float, patience_s: float = PATIENCE_S
) -> float | None:
    """Wait for the first of the jobs to be completed; return the seconds since then, None where none was."""
    wanted = {each.id for each in added}
    with contextlib.suppress(AssertionError):
        eventually(lambda: wanted & set(ground.ids("completed")), lambda: "a job is completed", patience_s)
        return time.monotonic() - since
    return None
