"""A full-size copy with fewer bytes, kept only if it saves enough; with the photo's HDR gain map and its rights."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from fastproc.core.plan import Target
from fastproc.worker import jpeg_segments
from fastproc.worker.encoders import Encoders
from fastproc.worker.gain_map import keeping, writing
from fastproc.worker.gain_map.numbers import NotKept
from fastproc.worker.stage import Encoded, StageResult, Work
from fastproc.worker.vips.colours import srgb_profile
from fastproc.worker.vips.strips import Picture
from fastproc.worker.xmp.writing import rights

NAME: Final = "optimization"

#: The contract's reasons.
SMALL_ALREADY: Final = "File already optimal size"
NOT_WORTH_IT: Final = "Savings not significant"

#: Quality of a kept gain map, on mozjpeg's scale (tuning.md, "gain map").
MAP_QUALITY: Final = 95


class Copying(Struct, frozen=True):
    """Encodes the picture at full size: a `shared_read.Reader`. Its file, and the picture's bands."""

    target: Target
    encoders: Encoders
    said: tuple[str, ...] = ()

    @property
    def by_strips(self) -> bool:
        return self.encoders.of(self.target.format).by_strips

    def __call__(self, picture: Picture, /) -> tuple[bytes, int]:
        made = self.encoders.encode(picture, self.target.format, self.target.quality, self.said)
        return made, picture.bands


def reader(work: Work) -> Copying | None:
    """Return what makes the copy's file, None where no copy is made. A JPEG's XMP is added afterwards."""
    if (target := work.plan.optimized) is None:
        return None
    return Copying(target, work.encoders, () if target.format == "jpeg" else _said(work))


def run(work: Work) -> StageResult:
    """Raises FileCorrupted."""
    target, original, copying = work.plan.optimized, work.source.size, reader(work)
    if target is None or copying is None:
        return StageResult({"optimized": False, "reason": SMALL_ALREADY, "originalSize": original})
    data, bands = work.source.read(copying)
    fate: dict[str, Any] = {}
    if not work.source.header.gain_map:
        data = _saying(work, data)
    elif _saves_enough(work, data):
        # With a map behind it, the one XMP packet is written when the map is known.
        data, fate = _with_gain_map(work, data, srgb_profile() if bands == 3 else b"")
    facts = {
        "originalSize": original,
        "optimizedSize": len(data),
        "savingsPercent": _saved_percent(work, data),
    }
    if not _saves_enough(work, data):
        return StageResult({"optimized": False, "reason": NOT_WORTH_IT} | facts)
    copy = Encoded(
        name=target.name,
        width=target.width,
        height=target.height,
        data=data,
        content_type=f"image/{target.format}",
    )
    return StageResult({"optimized": True, "savings": original - len(data)} | facts | fate, (copy,))


def _saved_percent(work: Work, data: bytes) -> float:
    return round(100 * (work.source.size - len(data)) / work.source.size, 2)


def _saves_enough(work: Work, data: bytes) -> bool:
    return _saved_percent(work, data) > work.options.optimize_min_saving_percent


def _said(work: Work) -> tuple[str, ...]:
    """Return what XMP is to say of the copy by KEEP_RIGHTS."""
    described = rights(work.source.description.fields) if work.options.keep_rights else ""
    return (described,) if described else ()


def _saying(work: Work, copy: bytes) -> bytes:
    """Return the copy with its XMP, which formats other than JPEG have already."""
    said = _said(work) if work.options.optimize_format == "jpeg" else ()
    return jpeg_segments.inserted(copy, [jpeg_segments.xmp(said)]) if said else copy


def _with_gain_map(work: Work, copy: bytes, profile: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the copy, with the photo's gain map if that is kept, and the fact about it. A JPEG gets its XMP.

    A map that should be kept and cannot be is a warning. Raises WorkerOutOfMemory.
    Cost: tuning.md "gain map".
    """
    source, options = work.source, work.options
    dropped = (_saying(work, copy), {"gainMap": "dropped"})
    # A HEIC's or an AVIF's map is a second picture for the slow decoders; WebP and AVIF copies cannot have one here.
    if options.gain_map == "drop" or source.header.format != "jpeg" or options.optimize_format != "jpeg":
        return dropped
    try:
        found = keeping.read(source.data, source.header, source.traits, source.conversion, options.limits)
    except NotKept as error:
        source.warnings.append(f"the gain map was not kept: {error}")
        return dropped
    encoded = work.encoders.encode(found.picture, "jpeg", MAP_QUALITY)
    return writing.joined(copy, encoded, found.gain, profile, _said(work)), {"gainMap": "kept"}
