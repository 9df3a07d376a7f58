"""`fastproc run` as a real subprocess against real servers, and what can be seen of it from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import redis

from fastproc.bullmq.producer import producer
from fastproc.config.queue import QueueConfig
from fastproc.config.redis import RedisConfig
from fastproc.config.s3 import S3Config
from fastproc.embedded.valkey import Valkey

#: No timing is tighter than this: two cores may have much else to do.
PATIENCE_S = 40.0


def eventually(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Return the condition's first true value."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        time.sleep(0.02)
    return found


class Place:
    """A queue, a bucket and a database of one test, and the variables that lead a service there."""

    def __init__(self, valkey: Valkey, s3: S3Config, s3_client: Any, sqlite_path: str, queue: str) -> None:
        self.valkey, self.s3, self.s3_client, self.sqlite_path, self.queue = (
            valkey,
            s3,
            s3_client,
            sqlite_path,
            queue,
        )
        self.redis = redis.Redis(port=valkey.port, host=valkey.host, protocol=2, decode_responses=True)
        self.events = self.redis.pubsub(ignore_subscribe_messages=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "REDIS_HOST": valkey.host,
            "REDIS_PORT": str(valkey.port),
            "QUEUE_NAME": queue,
            "MINIO_ENDPOINT": s3.endpoint,
            "MINIO_PORT": str(s3.port),
            "MINIO_ACCESS_KEY": s3.access_key,
            "MINIO_SECRET_KEY": s3.secret_key,
            "MINIO_BUCKET": s3.bucket,
            "SQLITE_PATH": sqlite_path,
            "WORKER_CONCURRENCY": "1",
            "RATE_LIMIT_MAX": "0",
            "HTTP_PORT": "0",
            "HEALTH_LOG_S": "0",
        }

    def close(self) -> None:
        self.events.close()
        self.redis.close()

    def put(self, key: str, body: bytes, content_type: str = "image/jpeg") -> None:
        self.s3_client.put_object(Bucket=self.s3.bucket, Key=key, Body=body, ContentType=content_type)

    async def add(self, data: Mapping[str, Any], **options: Any) -> str:
        """Add a job as an application does; return its id."""
        where = RedisConfig(host=self.valkey.host, port=self.valkey.port)
        options.setdefault("timestamp", time.time_ns() // 1_000_000)
        async with producer(where, QueueConfig(name=self.queue)) as queue:
            return await queue.add(data, options)

    def key(self, suffix: str) -> str:
        return f"bull:{self.queue}:{suffix}"

    def job(self, job_id: str) -> dict[str, str]:
        found: dict[str, str] = self.redis.hgetall(self.key(job_id))
        return found

    def ids(self, state: str) -> list[str]:
        """Ids of the jobs in a state: wait, active (lists), completed, failed, delayed (sets)."""
        if state in ("wait", "active"):
            return list(self.redis.lrange(self.key(state), 0, -1))
        return list(self.redis.zrange(self.key(state), 0, -1))

    def until(self, state: str, *ids: str) -> None:
        eventually(
            lambda: set(ids) <= set(self.ids(state)), f"{ids} are {state}; {[self.job(i) for i in ids]}"
        )

    def locks(self) -> list[str]:
        return list(self.redis.keys(self.key("*:lock")))

    def row(self, photo_id: str) -> dict[str, Any]:
        with contextlib.closing(sqlite3.connect(self.sqlite_path)) as database:
            database.row_factory = sqlite3.Row
            found = database.execute("select * from photos where id = ?", (photo_id,)).fetchone()
        return dict(found) if found else {}

    def listen(self) -> None:
        self.events.psubscribe("photo.processing.*")
        self.events.get_message(timeout=1.0)

    def heard(self, photo_id: str) -> list[dict[str, Any]]:
        """The events of a photo that have come so far, in their order, the channel as `channel`."""
        found = []
        while message := self.events.get_message(timeout=0.2):
            event = json.loads(message["data"])
            if event["data"]["photoId"] == photo_id:
                found.append({**event, "channel": message["channel"]})
        return found


class Service:
    """A running `fastproc`, by this Python or by another that has it."""

    def __init__(
        self, place: Place, folder: Path, settings: Mapping[str, str], python: str = sys.executable
    ) -> None:
        self.log = folder / f"service-{time.monotonic_ns()}.log"
        environment = {**place.environment, **settings}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [python, "-m", "fastproc", "run"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={name: value for name, value in environment.items() if value is not None},
                cwd=folder,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_ready(self) -> None:
        eventually(
            lambda: self._alive() and "fastproc: " not in self.said and "serves" in self.said, self.said
        )

    def _alive(self) -> bool:
        assert self.process.poll() is None, self.said
        return True

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def terminate(self) -> int:
        """SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)

    def get(self, port: int, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def close(self) -> None:
        if self.process.poll() is None:
            for worker in self.workers():
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def frozen(worker: psutil.Process) -> Iterator[None]:
    """Stop a worker of ours, so that whatever it is given lasts; it goes on, or is gone, at the end."""
    worker.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.resume()


#: Starts a service with further settings; `ready=False` does not wait until it is.
Start = Callable[..., Service]
