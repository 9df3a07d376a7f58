"""What the straight line needs of the outside: the smallest protocols that backends and the pool satisfy.

Every failure of a port is a TaskError of `core.errors` (ServiceError when trying again may help); drivers'
exceptions never pass.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from fastproc.core.cancellation import Mark
from fastproc.core.evidence import Evidence
from fastproc.core.health import Backlog
from fastproc.core.model import Event, Job


class Download(Struct, frozen=True):
    """A photo that lies in memory: its size in bytes, and the content type that the store gave, if any."""

    size: int
    content_type: str | None


class Upload(Struct, frozen=True):
    """One object to write. `metadata` is user metadata: names without the `x-amz-meta-` prefix, ASCII values.

    `is_result`: it is what a job was asked for, so the store gives it the attributes of results. `only_new`: it is
    refused where there is an object of that key, by stores that know how.
    """

    key: str
    body: bytes
    content_type: str
    metadata: Mapping[str, str]
    is_result: bool = False
    only_new: bool = False


class Row(Struct, frozen=True, kw_only=True):
    """What a completed photo's row gets; `processing_metadata` is JSON text."""

    width: int
    height: int
    processing_metadata: str


#: Awaited with a body's size in bytes before it is read; returns when that many bytes may be held.
Admit = Callable[[int], Awaitable[None]]


class Queue(Protocol):
    """The queue that jobs come from. What fails because the server is away raises QueueUnavailable."""

    async def take(self) -> Job | None:
        """Wait for the next job; None once `stop` was called."""

    def stop(self) -> None:
        """Take no more jobs."""

    def progress(self, job: Job, percent: int) -> None:
        """Set the job's progress."""

    def add_log(self, job: Job, row: str) -> None:
        """Append a row to the job's log."""

    async def extend_locks(self, jobs: Sequence[Job]) -> list[Job]:
        """Renew locks; return the jobs that are not ours any more. One id may be asked for with several tokens."""

    async def sweep_stalled(self) -> list[str]:
        """Put jobs of dead workers back; return their ids. The queue allows one sweep an interval."""

    async def cancelled(self) -> Mapping[str, Mark | None]:
        """Return jobs that an operator has told to end, with the order; None where only the note of it is left."""

    async def take_cancelled(self, job_id: str) -> Job | None:
        """Take such a job where it waits, or remove its note where it has ended; None where it cannot be taken."""

    async def backlog(self) -> Backlog:
        """Return what waits, and why nobody may take it now."""

    async def watch(self) -> None:
        """Notice and log outages of the queue's server, until cancelled."""

    async def complete(self, job: Job, return_value: str, *, fetch_next: bool) -> Job | None:
        """Finish the job; return the next one where asked for and there. Raises LockLost."""

    async def fail(self, job: Job, reason: str, stack: str, *, fetch_next: bool) -> Job | None:
        """Finish the job as failed; return and raise as `complete`."""

    async def retry(
        self, job: Job, delay_ms: int, reason: str, stack: str, *, fetch_next: bool
    ) -> Job | None:
        """End the attempt as failed, to run again after the delay; return and raise as `complete`."""

    async def give_back(self, job: Job) -> None:
        """Put the job back as if it had not been taken. Raises LockLost."""

    async def put_aside(self, job: Job, delay_ms: int) -> None:
        """Put the job back, not to be taken again before the delay is over; no attempt is counted. Raises LockLost."""


class ObjectStore(Protocol):
    """Bytes in and out of one kind of store."""

    @property
    def endpoint(self) -> str:
        """Where it is, for the log; no secret."""

    @property
    def about(self) -> str:
        """Where it is and with which credentials it is asked, for people; no secret."""

    async def get_into(self, bucket: str, key: str, target: memoryview, admit: Admit) -> Download:
        """Read an object into `target` (writable bytes; its length is the limit). One request, no retry.

        Nothing is read ahead of `admit`, and nothing writes into `target` once this has ended or was cancelled.
        Raises: ObjectNotFound (the store itself says so), SourceTooLarge (announced or real length over the limit),
        StorageUnavailable (refused, cut short, too slow, changed on the way: everything that may pass).
        """

    async def put_all(self, bucket: str, uploads: Sequence[Upload]) -> None:
        """Write the objects, each with one request; return when every one is confirmed. Raises StorageUnavailable.

        The first failure cancels the others. What was cancelled does not arrive later but for what the kernel took.
        """

    def url(self, bucket: str, key: str) -> str:
        """The object's address for people and pages (not signed)."""

    async def links(self, bucket: str, key: str) -> Sequence[str]:
        """Addresses that show an object, for a short time: the first that works is to be taken. Raises TaskError."""

    async def check(self, buckets: Sequence[str], *, trial: bool = True) -> None:
        """Raises Unreachable with a message that names the variable to look at. `trial`: by a write, where need be."""

    async def probe(self, deep: bool) -> bool:
        """Ask by a small request; return whether an object was read, as `deep` tries. Raises StorageUnavailable."""

    async def close(self) -> None:
        """Close connections. Idempotent."""


class MetadataStore(Protocol):
    """One row a photo. Times are ISO 8601 UTC text. Every method returns after its commit.

    The three that write raise DatabaseUnavailable while the database is away, and RowRefused where it refuses the row.
    After `by` (seconds of the monotonic clock) they write nothing, and raise DatabaseUnavailable: the job's lock has
    run out, and another service may have written. It is the database that makes sure of it, where it is on another
    host: a packet may come late. No service's clock is compared with another's.
    """

    @property
    def endpoint(self) -> str:
        """Where it is, for the log; no secret."""

    @property
    def missing_rows(self) -> int:
        """Photos without a row that could not be given one: they are processed all the same."""

    async def begin(self, photo_id: str, at: str, *, by: float = math.inf) -> None:
        """Mark the photo as `processing` since `at`, with no error."""

    async def complete(self, photo_id: str, row: Row, at: str, *, by: float = math.inf) -> None:
        """Mark the photo as `completed` at `at`, with its row."""

    async def fail(self, photo_id: str, error: str, at: str, *, final: bool, by: float = math.inf) -> None:
        """Record `error`; `final` marks the photo as `failed`, else it stays `processing` (it will be retried)."""

    async def check(self) -> str:
        """Return what was found, in words. Raises Unreachable with a message that names the variable to look at."""

    async def probe(self, deep: bool) -> None:
        """Ask the database whether it takes writes; `deep` sees one reach the disk. No row changes.

        Raises DatabaseUnavailable.
        """

    async def create_schema(self) -> None:
        """Create the table `photos` where there is none. Idempotent. Raises Unreachable."""

    async def close(self) -> None:
        """Commit what was accepted, then close. Idempotent."""


class EventSink(Protocol):
    """Delivers events in order; never fails a job: an event that cannot be delivered is logged and counted."""

    @property
    def dropped(self) -> int:
        """Events that were given up."""

    def post(self, event: Event) -> None:
        """Accept an event; it is delivered soon."""

    async def publish(self, event: Event) -> None:
        """Deliver an event; return when the sink has taken it, or it was given up."""

    async def close(self) -> None:
        """Deliver what was accepted, then close. Idempotent."""


class Vault(Protocol):
    """Keeps photos that ended their worker, with what is known of it. Written by the service, read by a person."""

    async def prepare(self) -> None:
        """Raises ConfigError where nothing could be kept."""

    async def keep(self, evidence: Evidence, photo: bytes) -> None:
        """Keep both, over those of the same photo's earlier death. Raises OSError, StorageUnavailable."""

    async def sweep(self) -> None:
        """Remove what is too old, or too much. Raises OSError."""

    async def everything(self) -> Sequence[Evidence]:
        """Return all evidence, the newest first. Raises ConfigError."""

    async def find(self, id: str) -> Evidence:
        """Return one. Raises ConfigError, TaskError."""

    async def photo(self, id: str, max_bytes: int) -> bytes:
        """Return its photo, of which `max_bytes` are read at most. Raises ConfigError, TaskError."""
