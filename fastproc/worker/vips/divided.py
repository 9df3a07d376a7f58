"""Divides a picture's sides while somebody reads it at full size, so that one decode makes both sizes.

Rule 1: each pixel is the mean of a square of the source's; what fills no square at the right and bottom edges is
        dropped, as a decoder does that reduces (`resampling.resized` puts it right).
Rule 2: pixels of a strip are used at once, while they are in the processor's cache.
Rule 3: what the decoder says is noted after each strip (`said`): whoever reads may make operations of libvips, and
        those clear its log.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from fastproc.worker.vips.library import Image, logged, pyvips
from fastproc.worker.vips.repeated import Repeated
from fastproc.worker.vips.strips import Striped, strip_rows, strips


class Divided(Striped):
    """A `Picture` to be read once, strip by strip; meanwhile a small one is made of the same strips (`divided`).

    `seconds` is how long decoding and dividing took so far, `failed` whether the decoder failed, `said` its words.
    """

    def __init__(self, image: Image, by: int) -> None:
        """`by` divides STRIP_ROWS."""
        self.width, self.height, self.bands = image.width, image.height, image.bands
        self.seconds, self.failed, self.said = 0.0, False, ""
        self._image, self._by = image, by
        self._small = bytearray((self.width // by) * (self.height // by) * self.bands)
        self._end, self._seen = 0, ""
        rows = min(strip_rows(self, by), self.height)
        self._pipelines = {each: self._pipeline(each) for each in {rows, self.height % rows} if each >= by}
        self._rest = strips(image, by)

    def _pipeline(self, rows: int) -> Repeated:
        by = self._by
        whole = (self.width - self.width % by, rows - rows % by)

        def divide(strip: Image) -> Image:
            # libvips rounds halves up, both times: that would make the picture brighter by up to half a level. Of an
            # inverted picture up is down.
            used = strip if whole == (self.width, rows) else strip.crop(0, 0, *whole)
            return used.shrinkv(by).invert().shrinkh(by).invert()

        return Repeated((self.width, rows, self.bands), divide)

    def hasalpha(self) -> bool:
        """Return False: alpha has been flattened before."""
        return False

    def strips(self) -> Iterator[Any]:
        """Yield the rows that nobody has read yet. Raises the errors of `library.decoding`."""
        while (strip := self._next()) is not None:
            yield strip

    def divided(self) -> Image:
        """Read what nobody has read, and return the small picture. Raises as `strips`."""
        while self._next() is not None:
            pass
        by, image = self._by, self._image
        sides = (self.width // by, self.height // by)
        small = pyvips.Image.new_from_memory(self._small, *sides, self.bands, "uchar")
        return small.copy(interpretation=image.interpretation, xres=image.xres, yres=image.yres)

    def _next(self) -> Any | None:
        began = time.perf_counter()
        try:
            strip = next(self._rest, None)
            self._note(logged())
            if strip is not None:
                self._divide(strip)
        except Exception:
            self.failed = True
            raise
        finally:
            self.seconds += time.perf_counter() - began
        return strip

    def _note(self, log: str) -> None:
        """Keep new words: all of the log, if it was cleared since."""
        if not log.startswith(self._seen):
            self._seen = ""
        if new := log[len(self._seen) :].strip():
            self.said = f"{self.said}\n{new}".strip()
        self._seen = log

    def _divide(self, strip: Any) -> None:
        pipeline = self._pipelines.get(len(strip) // (self.width * self.bands))
        if pipeline is not None:
            pixels = pipeline.run(strip)
            self._small[self._end : self._end + len(pixels)] = pixels
            self._end += len(pixels)
