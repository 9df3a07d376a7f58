"""Reads a photo's pixels in one decode for two purposes: what a stage makes of the whole picture, and the shared base.

Rule 1: an error of the decoder ends the read; one of the reader is kept for the reader's own stage, and the rest of the
        picture is read without it.
Rule 2: `seconds` is the reader's own time, without decoding: it is counted for the reader's stage.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from fastproc.worker.vips.divided import Divided
from fastproc.worker.vips.library import Image
from fastproc.worker.vips.strips import Picture


class Reader(Protocol):
    """Makes something of the picture at full size. A value: equal readers make the same."""

    @property
    def by_strips(self) -> bool:
        """Whether it reads strips (`vips.strips`), once and from top to bottom."""

    def __call__(self, picture: Picture, /) -> Any:
        """Return what it makes. Raises what its stage may raise, and the errors of the picture's decoder."""


class SharedRead:
    """One read of a photo, for a stage's reader and for the base. `said` is what the decoder said meanwhile."""

    def __init__(self, stage: str, reader: Reader) -> None:
        self.stage, self.reader, self.seconds = stage, reader, 0.0
        self.said = ""
        self._made: Any = None
        self._error: Exception | None = None

    def run(self, picture: Image, by: int) -> Image:
        """Let the reader read the picture, and return the picture with sides divided by `by`, in memory.

        Raises: the errors of `vips.library.decoding`.
        """
        divided, began = Divided(picture, by), time.perf_counter()
        try:
            self._made = self.reader(divided)
        except Exception as error:
            if divided.failed:
                raise
            self._error = error
        self.seconds = time.perf_counter() - began - divided.seconds
        small = divided.divided()
        self.said = divided.said
        return small

    def made(self) -> Any:
        """Return what the reader has made, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._made
