"""What the readers of containers return: what kind of raw file it is, and where in it something may be."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from fastproc.core.gate.raw.directories import Tiff

#: Most places that are looked at for a JPEG in one file. A raw file has one to six.
MAX_CANDIDATES: Final = 16


class Place(Struct, frozen=True):
    """A range of the file's bytes, as the container names it: it may lie outside the file, and be anything."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


class Part(Struct, frozen=True):
    """A directory with EXIF fields: the structure that it is in, and its offset there."""

    tiff: Tiff
    offset: int


class Contents(Struct, frozen=True, kw_only=True):
    """A raw file as its container describes it.

    `previews` may be JPEGs; `orientation` is the container's (None: it has none); `sides` are the sensor picture's, as
    stored ((0, 0): not known); `end` is where the last thing ends that the container names. `main`, `exif` and `gps`
    have the EXIF fields, where the container has them.
    """

    kind: str
    previews: tuple[Place, ...] = ()
    orientation: int | None = None
    sides: tuple[int, int] = (0, 0)
    end: int = 0
    main: Part | None = None
    exif: Part | None = None
    gps: Part | None = None
