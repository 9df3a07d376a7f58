"""What the gate reads besides sizes: gain maps and the frames of sequences."""

from __future__ import annotations

import struct

import pytest

from fastproc.core.gate.judge import judge
from fastproc.core.header import Header
from fastproc.core.model import Limits
from tests import gain_maps, pictures

LIMITS = Limits(formats=("jpeg", "heic", "avif"), min_side_px=1)


def judged(data: bytes) -> Header:
    return judge(memoryview(data), LIMITS)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0xE1, b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta hdrgm:Version="1.0"/>'),
        (0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"),
        (0xE1, b'http://ns.adobe.com/xap/1.0/\0<x xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/"/>'),
    ],
)
def test_a_jpegs_gain_map_is_seen_by_what_its_header_says(marker: int, body: bytes) -> None:
    plain = pictures.jpeg()
    assert not judged(plain).gain_map
    assert judged(plain[:2] + segment(marker, body) + plain[2:]).gain_map
    assert not judged(plain + segment(marker, body)).gain_map, (
        "after the picture's end it belongs to another one"
    )


@pytest.mark.parametrize("order", [">", "<"])
def test_a_gain_map_that_only_the_map_speaks_of_is_seen_through_the_index(order: str) -> None:
    assert judged(gain_maps.apple(order=order)).gain_map
    second = gain_maps.a_map()
    assert not judged(gain_maps.together(pictures.jpeg(), second, order=order)).gain_map
    spoken = gain_maps.with_segments(second, gain_maps.adobe())
    assert not judged(pictures.jpeg() + spoken).gain_map, "without an index it would have to be searched for"


@pytest.mark.parametrize("sign", [b"tmap", b"urn:com:apple:photo:2020:aux:hdrgainmap"])
def test_a_heics_gain_map_is_seen_by_its_items(sign: bytes) -> None:
    plain = pictures.heif(400, 300)
    extent = plain.index(b"meta") - 4
    meta = pictures.box(b"meta", plain[extent + 8 :], sign)
    assert not judged(plain).gain_map
    assert judged(plain[:extent] + meta).gain_map


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (48, 48), (0, 1), (1 << 31, 1)])
def test_the_frames_of_a_sequence_are_those_of_its_first_track(samples: int, frames: int) -> None:
    sizes = pictures.box(b"stsz", bytes(8), struct.pack(">I", samples))
    film = pictures.box(b"moov", pictures.box(b"trak", sizes))
    assert judged(pictures.heif(400, 300, brand=b"avif", item=b"av01") + film).frames == frames


def test_a_film_that_is_cut_counts_as_a_still() -> None:
    cut = pictures.box(b"moov", b"stsz\0\0")
    assert judged(pictures.heif(400, 300) + cut).frames == 1
