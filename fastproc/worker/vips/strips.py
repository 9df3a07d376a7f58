"""Pictures as strips of rows, read once from top to bottom by encoders that need no more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from fastproc.worker.vips.library import Image, decoding, pyvips

#: Rows in one strip of a streaming decode: 0.4 MB of a 12-megapixel photo, which fits the cache (tuning.md, "strip").
STRIP_ROWS: Final = 32
#: Of a small picture a strip has as many rows as this many bytes are: each strip costs 0.02 ms.
STRIP_BYTES: Final = 256 << 10
#: Rows of a large picture that are decoded before its first strip is read. libvips keeps some 400 rows of a file that
#: is read in order. It takes their memory piece by piece, with larger buffers between that it frees at once, and glibc
#: before 2.38 cannot use the gaps again: 20 MB of a 12-megapixel photo (tuning.md, "rows first").
FILL_ROWS: Final = 512


class Picture(Protocol):
    """What encoders that read strips need of a picture: libvips' images and `Striped` ones have it."""

    @property
    def width(self) -> int:
        """Pixels in a row."""

    @property
    def height(self) -> int:
        """Rows."""

    @property
    def bands(self) -> int:
        """1 for grey, 3 for colour; one more with alpha."""

    def hasalpha(self) -> bool:
        """Whether the last band is alpha."""


class Striped(ABC):
    """A `Picture` that is no image of libvips: it has its own strips."""

    @abstractmethod
    def strips(self) -> Iterator[Any]:
        """Yield the rows from top to bottom, once, as writable buffers."""


class Slices(Striped):
    """A `Picture` that is too large to be held: its rows are made when they are needed, and read once."""

    def __init__(self, sides: tuple[int, int], count: int, make: Callable[[int, int], Image]) -> None:
        """`make(top, bottom)` returns those rows, in memory."""
        self.width, self.height = sides
        self._rows, self._make = -(-self.height // count), make
        self._first: Image | None = make(0, min(self._rows, self.height))
        self.bands: int = self._first.bands

    def hasalpha(self) -> bool:
        """Return False: alpha has been flattened before."""
        return False

    def strips(self) -> Iterator[Any]:
        """Yield the rows; each slice is freed before the next is made."""
        piece, self._first = self._first, None
        for top in range(0, self.height, self._rows):
            if piece is None:
                piece = self._make(top, min(top + self._rows, self.height))
            yield from strips(piece)
            piece = None


def strip_rows(picture: Picture, of: int = 1) -> int:
    """Return how many rows each strip but the last has: a multiple of `of`, which divides STRIP_ROWS."""
    rows = max(STRIP_ROWS, STRIP_BYTES // (picture.width * picture.bands))
    return rows - rows % of


def strips(image: Image | Striped, of: int = 1) -> Iterator[Any]:
    """Yield the picture's rows from top to bottom, as writable buffers; of images each but the last `strip_rows`."""
    if isinstance(image, Striped):
        yield from image.strips()
        return
    region, width, height = pyvips.Region.new(image), image.width, image.height
    rows = strip_rows(image, of)
    if height > FILL_ROWS:
        with decoding():
            region.fetch(0, 0, 1, FILL_ROWS)
    for top in range(0, height, rows):
        with decoding():
            yield region.fetch(0, top, width, min(rows, height - top))
