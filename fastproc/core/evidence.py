"""What is kept of a photo that killed its worker, and for how long. Pure: the caller passes the time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct, field

#: An id is the beginning of the photo's SHA-256: it does not reveal the photo's name and is safe in any path.
ID: Final = re.compile(r"[0-9a-f]{16}")
ID_CHARS: Final = 16


class Death(Struct, frozen=True, kw_only=True):
    """How a worker with a photo ended: the stage, the cause, the end of stderr (`said`), the libraries' versions."""

    stage: str
    how: str
    said: str = ""
    versions: dict[str, str] = field(default_factory=dict)


class Evidence(Struct, frozen=True, kw_only=True):
    """All that a person needs to reproduce a death. Encodes to the JSON that is stored beside the photo.

    `deaths` includes this one; `code` is the attempt's final one; `photo_kept` is false for a photo over the size cap.
    """

    id: str
    sha256: str
    size: int
    at: str
    job_id: str
    photo_id: str
    bucket: str
    s3_key: str
    attempt: int
    deaths: int
    code: str
    reason: str
    death: Death
    photo_kept: bool = True


class Kept(Struct, frozen=True):
    """A piece of evidence on disk: its id, the bytes of all its files, and its time in seconds."""

    id: str
    size: int
    at: float


def superfluous(kept: Sequence[Kept], now: float, max_bytes: int, max_age_s: float) -> list[str]:
    """Return the ids to remove: those that are too old, and the oldest until the rest fits in `max_bytes`."""
    newest_first = sorted(kept, key=lambda each: each.at, reverse=True)
    gone, total = [], 0
    for each in newest_first:
        total += each.size
        if total > max_bytes or now - each.at > max_age_s:
            gone.append(each.id)
    return gone
