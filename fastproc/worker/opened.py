"""Opens a photo with the decoder of its format, and decides by INTEGRITY what becomes of a damaged one.

Rule 1: a raw file is opened as the preview in it.
Rule 2: damage that the policy does not tolerate fails the photo. What it tolerates is a warning, and the photo is read
        as far as it goes.
"""

from __future__ import annotations

from typing import Final, Protocol

from fastproc.core.colours import HDR_TRANSFERS
from fastproc.core.errors import FileCorrupted
from fastproc.core.gate import truncation
from fastproc.core.header import Header
from fastproc.core.model import Options
from fastproc.core.plan import reduction
from fastproc.worker import heif, preview
from fastproc.worker.vips import opening
from fastproc.worker.vips.library import Image, logged
from fastproc.worker.vips.opening import Traits
from fastproc.worker.vips.resampling import in_memory

_ENDS_EARLY: Final = "the file ends early"
#: libvips' names of numbers; others have four bytes at most.
_SAMPLE_BYTES: Final = {"uchar": 1, "ushort": 2}


class EncodedPhoto(Protocol):
    """A photo that a decoder has opened: `vips.opening.File`, or `heif.File` for what libvips cannot read."""

    @property
    def traits(self) -> Traits:
        """What the header says about the pixels."""

    def pixels(self, reduction: int) -> Image:
        """Return the picture as stored, divided by `reduction` where the decoder can. Raises FileCorrupted."""

    def forgiven(self, said: str = "") -> str:
        """Return what the decoder let pass of the pixels that were read, where some are missing; or "".

        `said` is what libvips' log held before it was cleared, as far as somebody noted it.
        """


class OpenedPhoto:
    """One photo's file: `data` is what is decoded, `reduction` the divisor for its base, `warnings` are findings.

    `decodes` counts how often its pixels were decoded.
    """

    def __init__(self, whole_file: memoryview, header: Header, options: Options, side_px: int) -> None:
        """`side_px` is the largest thumbnail's. Raises FileCorrupted, UnsupportedFormat, WorkerOutOfMemory."""
        self._whole_file, self._header, self._options = whole_file, header, options
        # What is decoded: the file itself, or the preview in a raw file.
        self._picture, self.data = header, whole_file
        # The gate passed it, so the policy allows it.
        self.warnings: list[str] = [] if header.whole else [_ENDS_EARLY]
        if header.preview:
            self._picture, self.data = preview.as_jpeg(header, header.preview, whole_file)
            self.warnings += preview.warnings(header, header.preview)
        self.reduction = reduction(self._picture, side_px, options.thumbnail_decode)
        self.decodes, self._said = 0, ""
        self._keeps = False
        self._whole: Image | None = None
        try:
            self._file = self._open()
        except FileCorrupted as error:
            self.reopen(error)

    @property
    def traits(self) -> Traits:
        """What the header says about the pixels."""
        return self._file.traits

    @property
    def size_bytes(self) -> int:
        """What the picture takes in memory."""
        traits = self.traits
        return traits.width * traits.height * traits.channels * _SAMPLE_BYTES.get(traits.depth, 4)

    def keep(self) -> None:
        """Decode the picture at full size once, and keep it."""
        self._keeps = True

    def pixels(self, reduction: int) -> Image:
        """Return the picture as stored, divided by `reduction` where the decoder can. Raises FileCorrupted."""
        if self._whole is not None and reduction == 1:
            return self._whole
        self.decodes += 1
        pixels = self._file.pixels(reduction)
        if self._header.format == "heic":
            self._whole = pixels
        elif self._keeps and reduction == 1:
            self._whole = in_memory(pixels)
            self._said = logged()
        return self._whole if self._whole is not None else pixels

    def check(self, said: str) -> None:
        """Add warnings for what the decoder let pass of the pixels, see `forgiven`. Raises FileCorrupted."""
        if forgiven := self._file.forgiven(f"{self._said}\n{said}".strip()):
            self._tolerate(FileCorrupted(forgiven))

    def reopen(self, error: FileCorrupted) -> None:
        """Open the file to tolerate damage, and add a warning. Raises `error` if INTEGRITY forbids it."""
        self._tolerate(error)
        self._file = self._open(tolerant=True)

    def _open(self, *, tolerant: bool = False) -> EncodedPhoto:
        if self._header.format == "heic":
            tag = self._header.colour
            wide = tag is not None and tag.transfer in HDR_TRANSFERS
            return heif.File(self.data, wide=wide, tolerant=tolerant)
        file = opening.File(self.data, self._picture, self.reduction, tolerant=tolerant)
        if found := self._header.preview:
            file.traits = preview.as_container_says(file.traits, found, self._whole_file)
        return file

    def _tolerate(self, error: FileCorrupted) -> None:
        """Add warnings for damage that INTEGRITY tolerates. Raises `error` where it does not."""
        policy = self._options.integrity
        early = policy != "strict" and truncation.ends_early(self.data, self._picture)
        if not (early or policy == "lenient"):
            raise error
        if early and _ENDS_EARLY not in self.warnings:
            self.warnings.append(_ENDS_EARLY)
        self.warnings.append(f"parts of the picture are missing: {error.message}")
