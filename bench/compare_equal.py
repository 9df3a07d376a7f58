"""Says what differs between two systems' outputs for one photo, so that only equals are compared in speed.

Rule 1: keys, fields, states, progress and events are equal exactly, and so is a picture's longer side.
Rule 2: the shorter side may differ by a pixel: sharp and libvips round it after the decoder's reduction, which drops
        what it cannot fill (3264x2448 becomes 150x112).
Rule 3: bytes, pixels and statistics differ within the ranges below: encoders, scalers and samples are different.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from PIL import Image, ImageChops, ImageStat

#: A file's bytes: at most so many times the other's. At 150 px a file without trellis is 15 % larger than with it.
BYTES = 1.35
#: Mean difference of a pixel, of 255: by scaling and coding photos differ by 1 to 3, painted discs by 7; what is
#: turned by 30 and more.
PIXELS = 10.0
#: Brightness, of 1; a channel of the dominant colour, of 255: the neighbouring one of 16 steps.
BRIGHTNESS, DOMINANT = 0.02, 32
EXACT = (
    "format", "width", "height", "space", "channels", "depth", "density", "hasAlpha", "orientation",
    "isProgressive", "chromaSubsampling",
)  # fmt: skip
EXIF = ("make", "model")


class Outcome(Struct, frozen=True):
    """What one job left: files by key, user metadata by key, row, return value, and its events in order.

    Keys have no ids: those of two systems are different.
    """

    files: dict[str, bytes]
    user_metadata: dict[str, dict[str, str]]
    row: dict[str, Any]
    value: dict[str, Any]
    events: list[str]


def differences(one: Outcome, other: Outcome) -> list[str]:
    """Return in words how `other` differs from `one`; nothing where they are equal."""
    return [*_objects(one, other), *_records(one, other)]


def _objects(one: Outcome, other: Outcome) -> Iterator[str]:
    if set(one.files) != set(other.files):
        yield f"objects {sorted(other.files)}, not {sorted(one.files)}"
    for key in sorted(set(one.files) & set(other.files)):
        yield from (f"{key}: {words}" for words in _pictures(one.files[key], other.files[key]))
        names, others = set(one.user_metadata[key]), set(other.user_metadata[key])
        if names != others:
            yield f"{key}: user metadata {sorted(others)}, not {sorted(names)}"


def _pictures(one: bytes, other: bytes) -> Iterator[str]:
    with Image.open(io.BytesIO(one)) as picture, Image.open(io.BytesIO(other)) as peer:
        if peer.format != picture.format or not _same_size(picture.size, peer.size):
            yield f"{peer.format} {peer.size}, not {picture.format} {picture.size}"
            return
        if not max(len(one), len(other)) <= BYTES * min(len(one), len(other)):
            yield f"{len(other)} bytes beside {len(one)}"
        shown = peer.convert("RGB").resize(picture.size)
        apart = ImageStat.Stat(ImageChops.difference(picture.convert("RGB"), shown)).mean
        if not max(apart) <= PIXELS:
            yield f"pixels differ by {max(apart):.1f}"


def _same_size(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return max(one) == max(other) and all(abs(a - b) <= 1 for a, b in zip(one, other, strict=True))


def _records(one: Outcome, other: Outcome) -> Iterator[str]:
    if other.events != one.events:
        yield f"events {other.events}, not {one.events}"
    yield from _fields("row", one.row, other.row)
    for name in ("processing_status", "processing_error", "width", "height"):
        if other.row[name] != one.row[name]:
            yield f"row: {name} {other.row[name]}, not {one.row[name]}"
    yield from _fields(
        "row: processing_metadata", one.row["processing_metadata"], other.row["processing_metadata"]
    )
    yield from _fields("value", one.value, other.value)
    if other.value["thumbnailCount"] != one.value["thumbnailCount"]:
        yield f"value: {other.value['thumbnailCount']} thumbnails, not {one.value['thumbnailCount']}"
    for mine, theirs in zip(one.value["thumbnails"], other.value["thumbnails"], strict=False):
        yield from _fields("value: thumbnails", mine, theirs)
    yield from _fields("value: optimization", one.value["optimization"], other.value["optimization"])
    yield from _metadata(one.value["metadata"], other.value["metadata"])


def _fields(where: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    if set(one) != set(other):
        yield f"{where}: fields {sorted(other)}, not {sorted(one)}"


def _metadata(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for name in EXACT:
        if other.get(name, "missing") != one[name]:
            yield f"metadata: {name} {other.get(name, 'missing')}, not {one[name]}"
    if abs(other["brightness"] - one["brightness"]) > BRIGHTNESS:
        yield f"metadata: brightness {other['brightness']}, not {one['brightness']}"
    if any(abs(other["dominantColor"][each] - one["dominantColor"][each]) > DOMINANT for each in "rgb"):
        yield f"metadata: dominantColor {other['dominantColor']}, not {one['dominantColor']}"
    for name in EXIF:
        mine, theirs = ((each["exif"] or {}).get(name) for each in (one, other))
        if mine != theirs:
            yield f"metadata: exif {name} {theirs!r}, not {mine!r}"
