"""What the straight line needs of the outside: the smallest protocols that backends and the pool satisfy.

Every failure of a port is a TaskError of `core.errors` (ServiceError when trying again may help); drivers'
exceptions never pass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from fastproc.core.model import Event


class Fetched(Struct, frozen=True):
    """A photo that lies in memory: its size in bytes, and the content type that the store gave, if any."""

    size: int
    content_type: str | None


class Upload(Struct, frozen=True):
    """One object to write. `metadata` is user metadata: names without the `x-amz-meta-` prefix, ASCII values."""

    key: str
    body: bytes
    content_type: str
    metadata: Mapping[str, str]


class Row(Struct, frozen=True, kw_only=True):
    """What a completed photo's row gets; `processing_metadata` is JSON text."""

    width: int
    height: int
    processing_metadata: str


#: Called with a body's size in bytes before it is read; returns when that many bytes may be in flight.
Admit = Callable[[int], Awaitable[None]]


class ObjectStore(Protocol):
    """Bytes in and out of one kind of store."""

    async def get_into(self, bucket: str, key: str, target: memoryview, admit: Admit) -> Fetched:
        """Read an object into `target` (writable bytes; its length is the limit).

        Raises: ObjectNotFound, SourceTooLarge (announced or real length over the limit), StorageUnavailable
        (refused, cut short, timed out: everything that may pass).
        """

    async def put_all(self, bucket: str, uploads: Sequence[Upload]) -> None:
        """Write the objects; return when every one is confirmed. Raises StorageUnavailable."""

    def url(self, bucket: str, key: str) -> str:
        """The object's address for people and pages (not signed)."""

    async def check(self, buckets: Sequence[str]) -> None:
        """Raises Unreachable with a message that names the variable to look at."""

    async def close(self) -> None:
        """Close connections. Idempotent."""


class MetadataStore(Protocol):
    """One row a photo. Times are ISO 8601 UTC text. Every method returns after its commit."""

    async def begin(self, photo_id: str, at: str) -> None:
        """Mark the photo as `processing` since `at`, with no error."""

    async def complete(self, photo_id: str, row: Row, at: str) -> None:
        """Mark the photo as `completed` at `at`, with its row."""

    async def fail(self, photo_id: str, error: str, at: str, *, final: bool) -> None:
        """Record `error`; `final` marks the photo as `failed`, else it stays `processing` (it will be retried)."""

    async def check(self) -> None:
        """Raises Unreachable with a message that names the variable to look at."""

    async def close(self) -> None:
        """Commit what was accepted, then close. Idempotent."""


class EventSink(Protocol):
    """Delivers events; never fails a job: an event that cannot be delivered is logged and counted."""

    async def publish(self, event: Event) -> None:
        """Deliver one event, after those published before it."""

    async def close(self) -> None:
        """Deliver what was accepted, then close. Idempotent."""
