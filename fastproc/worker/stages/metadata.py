"""What the photo is: the contract's facts, in sharp's terms."""

from __future__ import annotations

from typing import Any, Final

from fastproc.worker import preview
from fastproc.worker.colour import cicp, statistics
from fastproc.worker.stage import StageResult, Work

NAME: Final = "metadata"
#: The curves of HDR pictures, by their numbers in ITU-T H.273.
HDR_NAMES: Final = {cicp.PQ: "pq", cicp.HLG: "hlg"}


def run(work: Work) -> StageResult:
    """Raises FileCorrupted."""
    source = work.source
    traits, (width, height) = source.traits, source.sides
    red, green, blue = statistics.dominant(source.sample)
    facts: dict[str, Any] = {
        "format": source.header.format,
        "width": width,
        "height": height,
        "space": traits.space,
        "channels": traits.channels,
        "depth": traits.depth,
        "density": traits.density,
        "hasAlpha": traits.has_alpha,
        "orientation": traits.orientation,
        "isProgressive": source.header.progressive,
        "chromaSubsampling": traits.subsampling,
        "dominantColor": {"r": red, "g": green, "b": blue},
        "brightness": statistics.brightness(source.sample),
        "exif": source.exif or None,
    }
    if source.description.fields:
        facts["descriptive"] = source.description.fields
    if traits.frames > 1:
        facts["frames"] = traits.frames
    if source.conversion.hdr:
        facts["hdr"] = HDR_NAMES[source.conversion.hdr.transfer]
    if source.header.gain_map:
        facts["gainMap"] = True
    if source.header.preview:
        facts["preview"] = preview.facts(source.header.preview, width, height)
    return StageResult(facts)
