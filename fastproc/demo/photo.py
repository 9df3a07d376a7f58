"""One photo of the tour, and what the service reported of it: shared by the tour, its listener and its results."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from fastproc.core import uploads
from fastproc.core.model import Json


class Photo(Struct):
    """One photo of the tour.

    `reported` is the data of the event that ended it, empty until then; `seconds` is the time from its first start to
    that event; `fails` is the code of the error that the photo is meant to show.
    """

    id: str
    file: Path
    reported: dict[str, Json] = msgspec.field(default_factory=dict)
    seconds: float = 0.0
    fails: str = ""

    @property
    def key(self) -> str:
        """The original's key in the bucket."""
        return uploads.object_key(self.file.name)

    @property
    def is_meant(self) -> bool:
        """Whether it failed as it was meant to."""
        return bool(self.fails) and self.reported.get("error", {}).get("code") == self.fails

    @property
    def thumbnails(self) -> list[dict[str, Json]]:
        """The thumbnails as the event lists them."""
        return list(self.reported.get("thumbnails", []))

    @property
    def result_keys(self) -> list[str]:
        """The keys of everything that was made of it."""
        copy = (self.reported.get("optimization") or {}).get("s3Key")
        return [thumbnail["s3Key"] for thumbnail in self.thumbnails] + ([copy] if copy else [])
