"""Settings of the quarantine: where photos that killed their worker are kept, and how many."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Struct

from fastproc.config.values import var

_S3 = "s3://"


def quarantine_place(text: str) -> str:
    """A folder, or `s3://bucket/prefix`. Raises ValueError for other URLs, and if the prefix is no plain path."""
    if "://" not in text:
        return text
    found = re.fullmatch(r"s3://[A-Za-z0-9._-]{1,128}/([A-Za-z0-9._/-]{1,512}?)/?", text)
    if not found or any(part in ("", ".", "..") for part in found[1].split("/")):
        raise ValueError("expected a folder, or s3://bucket/prefix")
    return text.rstrip("/")


class QuarantineConfig(Struct, frozen=True, kw_only=True):
    """Where photos that killed their worker are kept, and how many."""

    place: Annotated[
        str | None,
        var(
            "QUARANTINE",
            "folder or `s3://bucket/prefix` for photos that killed their worker; empty = none are kept",
            extra={"parse": quarantine_place},
        ),
    ] = None
    max_bytes: Annotated[
        int,
        var(
            "QUARANTINE_MAX_BYTES",
            "bytes that a folder may hold; the oldest are removed first",
            ge=1 << 20,
        ),
    ] = 1 << 30
    max_age_days: Annotated[
        float, var("QUARANTINE_MAX_AGE_DAYS", "days that a folder keeps a photo", gt=0, le=36_500)
    ] = 30.0

    @property
    def bucket(self) -> str:
        """The bucket, "" for a folder."""
        return self._bucket_and_prefix()[0]

    @property
    def prefix(self) -> str:
        """The beginning of the objects' keys in the bucket, "" for a folder."""
        return self._bucket_and_prefix()[1]

    def _bucket_and_prefix(self) -> tuple[str, str]:
        if not self.place or not self.place.startswith(_S3):
            return "", ""
        bucket, _, prefix = self.place.removeprefix(_S3).partition("/")
        return bucket, prefix
