"""Runs the same small pipeline over one picture after another: it is built once for a shape, not once for a photo.

Most of a small operation's time is its set-up: libvips makes 65 masks of Lanczos for each direction that it scales, and
pyvips looks up each argument. Scaling 150x113 pixels to 32x24 takes 0.5 ms, in a pipeline that stands 0.03 (tuning.md,
"kept pipelines").

Rule 1: pixels are computed in a region that is made for one run and freed after it, in this thread; what libvips keeps
        of the run before is dropped first (`invalidate`). So no pixel of one photo is seen in another's result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastproc.worker.vips.library import Image, decoding, pyvips


class Repeated:
    """A pipeline over pictures of one shape."""

    def __init__(
        self, shape: tuple[int, int, int], make: Callable[[Image], Image], format: str = "uchar"
    ) -> None:
        """`shape` is width, height and bands; `make` returns what is computed of such a picture."""
        width, height, bands = shape
        sample_bytes = 8 if format == "double" else 1
        # libvips reads the same memory again in each run.
        self._memory = memoryview(bytearray(width * height * bands * sample_bytes))
        self._picture = pyvips.Image.new_from_memory(self._memory, width, height, bands, format)
        self._result = make(self._picture)
        self.sides: tuple[int, int] = (self._result.width, self._result.height)

    def run(self, samples: Any) -> Any:
        """Return the result of these samples (a buffer, row by row), as a buffer. Raises WorkerOutOfMemory."""
        self._memory[:] = samples
        self._picture.invalidate()
        return computed(self._result, self.sides)


def computed(image: Image, sides: tuple[int, int]) -> Any:
    """Return all samples of a small picture of these sides as a buffer, row by row.

    Raises: the errors of `library.decoding`.
    Cost:   no thread is woken, as `write_to_memory` does: 0.03 ms less. Too slow for what is read in order (`strips`).
    """
    with decoding():
        return pyvips.Region.new(image).fetch(0, 0, *sides)
