"""In-memory fakes of our own ports, which write down every effect in one list, and can fail or hang at any of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastproc.core.breaker import Rules
from fastproc.core.cancellation import Mark
from fastproc.core.errors import DatabaseUnavailable, ObjectNotFound, StorageUnavailable
from fastproc.core.health import Backlog
from fastproc.core.model import Event, Job, Rendition, Report
from fastproc.supervisor.guards import guards
from fastproc.supervisor.outside import Ports
from fastproc.supervisor.ports import Admit, Download, Row, Upload
from fastproc.supervisor.workers.task import OnStage, Result

STAGES = ("validation", "metadata", "thumbnails", "optimization")
REPORT = Report(
    width=640,
    height=480,
    format="jpeg",
    facts={"metadata": {"format": "jpeg", "space": "srgb"}, "optimization": {"optimized": False}},
    renditions=(
        Rendition(stage="thumbnails", name="thumb_sm", width=150, height=112, offset=0, size=5),
        Rendition(stage="thumbnails", name="thumb_lg", width=600, height=450, offset=5, size=5),
    ),
    timings_ms={"validation": 1.0, "thumbnails": 2.5},
    cpu_ms=12.0,
    decodes=1,
)
JOB = Job(
    id="7",
    name="process",
    token="w:1",
    photo_id="p-1",
    s3_key="photos/p-1.jpg",
    bucket="photos",
    timestamp_ms=1_700_000_000_000,
    attempts=3,
)


class Effects:
    """The list, and what is to happen at which effect."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.fail: dict[str, list[BaseException]] = {}
        #: Effects that fail, with what, until they are taken out; probes see those of `away`.
        self.broken: dict[str, Exception] = {}
        self.away: set[str] = set()
        self.hang_at = ""
        self.hanging = asyncio.Event()

    def fail_at(self, name: str, *errors: BaseException) -> None:
        """Raise the errors, one a call, instead of the effect."""
        self.fail[name] = list(errors)

    def now(self, name: str, about: str = "") -> None:
        if name in self.broken:
            raise self.broken[name]
        if self.fail.get(name):
            raise self.fail[name].pop(0)
        self.done.append(f"{name} {about}".strip())

    async def at(self, name: str, about: str = "") -> None:
        if name == self.hang_at:
            self.hanging.set()
            await asyncio.Event().wait()
        self.now(name, about)

    def of(self, *rooms: str) -> list[str]:
        return [each for each in self.done if each.startswith(rooms)]


class FakeQueue:
    """Jobs in a list; locks by the ids that are `lost`."""

    def __init__(self, effects: Effects) -> None:
        self.effects = effects
        self.jobs: asyncio.Queue[Job | None] = asyncio.Queue()
        self.following: Job | None = None
        self.percents: list[int] = []
        self.logs: list[str] = []
        self.lost: set[str] = set()
        self.renewed: list[list[str]] = []
        self.stalled: list[str] = []
        #: Jobs that were told to end, and those of them that wait.
        self.to_cancel: dict[str, Mark | None] = {}
        self.cancellable: dict[str, Job] = {}
        self.waits = Backlog(0)
        self.said: dict[str, object] = {}

    async def take(self) -> Job | None:
        return await self.jobs.get()

    def stop(self) -> None:
        self.jobs.put_nowait(None)

    def progress(self, job: Job, percent: int) -> None:
        self.percents.append(percent)

    def add_log(self, job: Job, row: str) -> None:
        self.logs.append(row)

    async def extend_locks(self, jobs: Sequence[Job]) -> list[Job]:
        await self.effects.at("queue.extend_locks")
        self.renewed.append([job.id for job in jobs])
        return [job for job in jobs if job.id in self.lost]

    async def watch(self) -> None:
        await asyncio.Event().wait()

    async def backlog(self) -> Backlog:
        await self.effects.at("queue.backlog")
        return self.waits

    async def cancelled(self) -> dict[str, Mark | None]:
        await self.effects.at("queue.cancelled")
        return self.to_cancel

    async def take_cancelled(self, job_id: str) -> Job | None:
        await self.effects.at("queue.take_cancelled", job_id)
        return self.cancellable.pop(job_id, None)

    async def sweep_stalled(self) -> list[str]:
        await self.effects.at("queue.sweep")
        return self.stalled

    async def complete(self, job: Job, return_value: str, *, fetch_next: bool) -> Job | None:
        await self.effects.at("queue.complete", job.id)
        self.said = {"return_value": return_value, "fetch_next": fetch_next}
        return self.following if fetch_next else None

    async def fail(self, job: Job, reason: str, stack: str, *, fetch_next: bool) -> Job | None:
        await self.effects.at("queue.fail", job.id)
        self.said = {"reason": reason, "stack": stack, "fetch_next": fetch_next}
        return self.following if fetch_next else None

    async def retry(
        self, job: Job, delay_ms: int, reason: str, stack: str, *, fetch_next: bool
    ) -> Job | None:
        await self.effects.at("queue.retry", job.id)
        self.said = {"delay_ms": delay_ms, "reason": reason, "stack": stack, "fetch_next": fetch_next}
        return self.following if fetch_next else None

    async def give_back(self, job: Job) -> None:
        await self.effects.at("queue.give_back", job.id)

    async def put_aside(self, job: Job, delay_ms: int) -> None:
        await self.effects.at("queue.put_aside", job.id)


class FakeObjects:
    """Objects in a dict."""

    endpoint = "http://s3"

    def __init__(self, effects: Effects) -> None:
        self.effects = effects
        self.stored = {("photos", JOB.s3_key): b"a photo"}
        self.uploads: list[Upload] = []

    async def get_into(self, bucket: str, key: str, target: memoryview, admit: Admit) -> Download:
        await self.effects.at("objects.get_into", f"{bucket}/{key}")
        if (bucket, key) not in self.stored:
            raise ObjectNotFound
        body = self.stored[bucket, key]
        await admit(len(body))
        target[: len(body)] = body
        return Download(len(body), "image/jpeg")

    async def put_all(self, bucket: str, uploads: Sequence[Upload]) -> None:
        await self.effects.at("objects.put_all", bucket)
        self.uploads += uploads

    def url(self, bucket: str, key: str) -> str:
        return f"http://s3/{bucket}/{key}"

    async def check(self, buckets: Sequence[str], *, trial: bool = True) -> None:
        return

    async def probe(self, deep: bool) -> bool:
        if self.effects.away & {"objects.get_into", "objects.put_all"}:
            raise StorageUnavailable("the probe says so")
        return True

    async def close(self) -> None:
        return


class FakeMetadata:
    """Rows in a dict: status, error, row."""

    endpoint = "photos.db"

    def __init__(self, effects: Effects) -> None:
        self.effects = effects
        self.rows: dict[str, tuple[str, str | None, Row | None]] = {}
        #: Until when each write was allowed.
        self.by: list[float] = []

    async def begin(self, photo_id: str, at: str, *, by: float = math.inf) -> None:
        self.by.append(by)
        await self.effects.at("metadata.begin", photo_id)
        self.rows[photo_id] = ("processing", None, None)

    async def complete(self, photo_id: str, row: Row, at: str, *, by: float = math.inf) -> None:
        self.by.append(by)
        await self.effects.at("metadata.complete", photo_id)
        self.rows[photo_id] = ("completed", None, row)

    async def fail(self, photo_id: str, error: str, at: str, *, final: bool, by: float = math.inf) -> None:
        self.by.append(by)
        await self.effects.at("metadata.fail", photo_id)
        self.rows[photo_id] = ("failed" if final else "processing", error, None)

    async def check(self) -> None:
        return

    async def probe(self, deep: bool) -> None:
        if any(name.startswith("metadata") for name in self.effects.away):
            raise DatabaseUnavailable("the probe says so")

    async def create_schema(self) -> None:
        return

    async def close(self) -> None:
        return


class FakeEvents:
    """Events in a list."""

    def __init__(self, effects: Effects) -> None:
        self.effects = effects
        self.events: list[Event] = []

    def post(self, event: Event) -> None:
        if not event.type.endswith("progress"):
            self.effects.now("events.post", event.type.rpartition(".")[2])
        self.events.append(event)

    async def publish(self, event: Event) -> None:
        await self.effects.at("events.publish", event.type.rpartition(".")[2])
        self.events.append(event)

    async def close(self) -> None:
        return


class FakeLoan:
    """Memory for one photo."""

    def __init__(self) -> None:
        self.target = memoryview(bytearray(1 << 20))
        self.size = 0


class FakeWorkers:
    """One report for every photo."""

    def __init__(self, effects: Effects) -> None:
        self.effects = effects
        self.report = REPORT
        self.lent = 0
        self.got: list[tuple[bytes, str | None]] = []

    @asynccontextmanager
    async def lend(self, photo: str = "") -> AsyncIterator[FakeLoan]:
        self.lent += 1
        try:
            yield FakeLoan()
        finally:
            self.lent -= 1

    async def run(self, loan: FakeLoan, content_type: str | None, on_stage: OnStage) -> Result:
        await self.effects.at("workers.run")
        self.got.append((bytes(loan.target[: loan.size]), content_type))
        for stage in STAGES:
            on_stage(stage)
        return Result(self.report, (b"small", b"large"))


#: A breaker whose pauses take no time.
QUICK = Rules(retry_s=0.001, pause_s=0.01, pause_max_s=0.01)


class World:
    """All ports, and their common list of effects."""

    def __init__(self) -> None:
        self.effects = Effects()
        self.queue, self.objects = FakeQueue(self.effects), FakeObjects(self.effects)
        self.metadata, self.events = FakeMetadata(self.effects), FakeEvents(self.effects)
        self.workers = FakeWorkers(self.effects)
        self.guards = guards(self.objects, self.metadata, QUICK)
        self.ports = Ports(self.queue, self.objects, self.metadata, self.events, self.workers)  # type: ignore[arg-type]
