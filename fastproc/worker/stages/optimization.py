"""A full-size copy with fewer bytes, kept only if it saves enough; with the photo's HDR gain map and its rights."""

from __future__ import annotations

from typing import Any, Final

from fastproc.worker import jpeg_segments
from fastproc.worker.gain_map import keeping, writing
from fastproc.worker.gain_map.numbers import NotKept
from fastproc.worker.stage import Encoded, StageResult, Work
from fastproc.worker.vips.colours import srgb_profile
from fastproc.worker.xmp.writing import rights

NAME: Final = "optimization"

#: The contract's reasons.
SMALL_ALREADY: Final = "File already optimal size"
NOT_WORTH_IT: Final = "Savings not significant"

#: Quality of a kept gain map, on mozjpeg's scale (tuning.md, "gain map").
MAP_QUALITY: Final = 95


def run(work: Work) -> StageResult:
    """Raises FileCorrupted."""
    target, original = work.plan.optimized, work.source.size
    if target is None:
        return StageResult({"optimized": False, "reason": SMALL_ALREADY, "originalSize": original})
    picture = work.source.stream(by_strips=work.encoders.of(target.format).by_strips)
    said = _said(work)
    # Where there may be a map behind it, the one XMP packet is written when that is known.
    late = work.source.header.gain_map and target.format == "jpeg"
    data = work.encoders.encode(picture, target.format, target.quality, () if late else said)
    fate: dict[str, Any] = {}
    if work.source.header.gain_map and _saves_enough(work, data):
        data, fate = _with_gain_map(work, data, srgb_profile() if picture.bands == 3 else b"", said)
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


def _with_gain_map(
    work: Work, copy: bytes, profile: bytes, said: tuple[str, ...]
) -> tuple[bytes, dict[str, Any]]:
    """Return the copy, with the photo's gain map if that is kept, and the fact about it. A JPEG says what is `said`.

    A map that should be kept and cannot be is a warning. Raises WorkerOutOfMemory.
    Cost: tuning.md "gain map".
    """
    source, options = work.source, work.options
    in_jpeg = options.optimize_format == "jpeg"
    alone = jpeg_segments.inserted(copy, [jpeg_segments.xmp(said)]) if said and in_jpeg else copy
    dropped = (alone, {"gainMap": "dropped"})
    # A HEIC's or an AVIF's map is a second picture for the slow decoders; WebP and AVIF copies cannot have one here.
    if options.gain_map == "drop" or source.header.format != "jpeg" or not in_jpeg:
        return dropped
    try:
        found = keeping.read(source.data, source.header, source.traits, source.conversion, options.limits)
    except NotKept as error:
        source.warnings.append(f"the gain map was not kept: {error}")
        return dropped
    encoded = work.encoders.encode(found.picture, "jpeg", MAP_QUALITY)
    return writing.joined(copy, encoded, found.gain, profile, said), {"gainMap": "kept"}
