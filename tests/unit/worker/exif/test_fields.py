"""EXIF: what is read, in which units, and that no block raises or takes long."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fastproc.worker.exif import fields as exif
from tests import pictures
from tests.work import at_most, memory_at_most


def test_what_a_phone_writes_is_read_with_names_types_and_units() -> None:
    assert exif.parse(pictures.camera_exif()) == {
        "make": "Acme",
        "model": "Pocket 3",
        "orientation": 6,
        "software": "Acme OS 1.2",
        "exposureTime": 0.004,
        "fNumber": 1.8,
        "exposureProgram": "normal",
        "iso": 400,
        "exposureBias": -0.3,
        "meteringMode": "pattern",
        "flash": True,
        "focalLength": 4.25,
        "whiteBalance": "manual",
        "focalLengthIn35mm": 26,
        "lensMake": "Acme Optics",
        "lensModel": "Wide 4.25mm f/1.8",
        "dateTimeOriginal": "2024-02-29T13:45:09-03:00",
        "dateTime": "2024-02-29T13:45:10-03:00",
        "gps": {"latitude": -22.9518, "longitude": -43.21, "altitude": -12.5, "direction": 271.5},
    }


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(order: str) -> None:
    block = pictures.tiff_block([(0x0112, 3, 1, struct.pack(order + "HH", 8, 0))], order=order)
    assert exif.parse(block) == {"orientation": 8}
    assert exif.parse(b"Exif\0\0" + block) == {"orientation": 8}


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_left_out(value: int) -> None:
    assert exif.parse(pictures.tiff_block([(0x0112, 3, 1, struct.pack("<HH", value, 0))])) == {}


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"Nikon\0rest", "Nikon"),
        (b"  D70  \0", "D70"),
        ("Möbius".encode(), "Möbius"),
        ("Möbius".encode("latin-1"), "Möbius"),
        (b"a\x1b[31m\r\nb", "a [31m b"),
        (b"\0\0\0", None),
        (b"x" * 5000, "x" * 1000),
        (("東京" * 600).encode(), "東京" * 500),
        ("東京の桜".encode()[:-1], "東京の"),
        (("a" * 999 + "ö").encode()[:-1], "a" * 999),
        ("Zürich\xff".encode("latin-1"), "Zürichÿ"),
    ],
)
def test_texts_are_cut_at_nul_decoded_cleaned_and_bounded(raw: bytes, text: str | None) -> None:
    block = pictures.tiff_block([(0x010F, 2, len(raw), struct.pack("<I", 26))], tail=raw)
    assert exif.parse(block).get("make") == text


@pytest.mark.parametrize(
    "written", ["0000:00:00 00:00:00", "2023:02:29 10:00:00", "    :  :     :  :  ", "yesterday"]
)
def test_impossible_dates_are_left_out(written: str) -> None:
    assert "dateTimeOriginal" not in exif.parse(pictures.camera_exif(camera={0x9003: written}))


def test_a_date_without_offset_has_none() -> None:
    assert (
        exif.parse(pictures.camera_exif(camera={0x9011: "??"}))["dateTimeOriginal"] == "2024-02-29T13:45:09"
    )


def test_a_rational_without_denominator_is_left_out() -> None:
    block = pictures.tiff_block([(0x8769, 4, 1, struct.pack("<I", 26))])
    block += struct.pack("<HHHII", 1, 0x829A, 5, 1, 44) + bytes(4) + struct.pack("<II", 1, 0)
    assert exif.parse(block) == {}


@pytest.mark.parametrize("kind", [0, 2, 7, 12, 13, 99])
def test_a_number_of_a_wrong_type_is_left_out_or_read_but_never_raises(kind: int) -> None:
    exif.parse(pictures.tiff_block([(0x0112, kind, 1, b"\6\0\0\0"), (0x8769, kind, 1, b"\6\0\0\0")]))


@pytest.mark.parametrize("position", [(91.0, 0.0, 0.0), (89.0, 60.0, 1.0)])
def test_an_impossible_position_is_left_out(position: tuple[float, ...]) -> None:
    block = Image.Exif()
    block.get_ifd(0x8825).update({1: "N", 2: position, 3: "E", 4: (1.0, 2.0, 3.0)})
    assert "gps" not in exif.parse(block.tobytes())


def test_directories_that_point_at_themselves_end() -> None:
    loop = pictures.tiff_block([(0x8769, 4, 1, struct.pack("<I", 8)), (0x8825, 4, 1, struct.pack("<I", 8))])
    assert exif.parse(loop) == {}


def test_five_thousand_tags_of_64_kib_each_cost_nothing() -> None:
    """A reader that copies what tags point at takes 350 MB for this block of 64 KiB."""
    entries = [(tag, 7, 65535, struct.pack("<I", 8)) for tag in range(5400)]
    block = pictures.tiff_block(entries)
    with memory_at_most(1 << 20):
        exif.parse(block)
    with at_most(10_000):
        exif.parse(block)


def test_a_directory_of_sixty_thousand_wanted_tags_costs_nothing() -> None:
    block = pictures.tiff_block(60_000 * [(0x0112, 3, 1, b"\0\0\0\0")])
    with at_most(10_000):
        exif.parse(block)


def test_a_megabyte_of_maker_notes_is_not_read() -> None:
    block = pictures.camera_exif(camera={0x927C: bytes(1 << 20)})
    with memory_at_most(len(block) + (1 << 18)):  # The block once, without the sign before it.
        assert exif.parse(block)["make"] == "Acme"


@settings(max_examples=500)
@given(st.binary(max_size=300), st.integers(0, 400), st.booleans())
def test_any_bytes_give_bounded_json(noise: bytes, at: int, sound: bool) -> None:
    whole = pictures.camera_exif() if sound else b"II*\0\x08\0\0\0" + noise
    fields = exif.parse(whole[:at] + noise + whole[at + len(noise) :])
    assert len(json.dumps(fields, allow_nan=False)) < 16 << 10


def rationals(*pairs: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<II", *pair) for pair in pairs)


def positioned(
    latitude: bytes, longitude: bytes, *more: tuple[int, int, int, bytes], altitude: bytes = b""
) -> dict[str, Any]:
    """The fields of a block with a position; coordinates and altitude as rationals. `more`: entries of four bytes."""
    entries = [(1, 2, 2, b"N\0\0\0"), (2, 5, len(latitude) // 8, b""), (3, 2, 2, b"E\0\0\0")]
    entries += [(4, 5, len(longitude) // 8, b""), *more, (6, 5, len(altitude) // 8, b"")]
    start = 26 + 2 + 12 * len(entries) + 4
    offsets = {2: start, 4: start + len(latitude), 6: start + len(latitude) + len(longitude)}
    directory = struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        place = struct.pack("<I", offsets[tag]) if tag in offsets else value.ljust(4, b"\0")
        directory += struct.pack("<HHI", tag, kind, count) + place
    tail = directory + bytes(4) + latitude + longitude + altitude
    return exif.parse(pictures.tiff_block([(0x8825, 4, 1, struct.pack("<I", 26))], tail=tail))


@pytest.mark.parametrize(
    ("latitude", "expected"),
    [
        (rationals((48, 1), (30, 1), (36, 1)), 48.51),
        (rationals((48, 1), (30, 1), (0, 0)), 48.5),
        (rationals((48, 1), (30, 1)), 48.5),
        (rationals((48, 1), (3075, 100), (0, 1)), 48.5125),
        (rationals((1, 0), (6, 1), (36, 1)), None),
        (rationals((48, 1), (30, 0), (36, 1)), None),
        (rationals((48, 1)), None),
    ],
)
def test_the_places_of_a_position_keep_their_meaning(latitude: bytes, expected: float | None) -> None:
    found = positioned(latitude, rationals((2, 1), (30, 1), (0, 1)))
    assert found == ({} if expected is None else {"gps": {"latitude": expected, "longitude": 2.5}})


def test_the_position_0_0_was_taken_away() -> None:
    nothing = rationals((0, 1), (0, 1), (0, 1))
    assert positioned(nothing, nothing) == {}
    assert positioned(nothing, rationals((1, 1), (0, 1), (0, 1)))["gps"]["longitude"] == 1


@pytest.mark.parametrize(
    ("kind", "raw", "sign"),
    [
        (1, b"\0", 1),
        (1, b"\1", -1),
        (1, b"\2", 1),
        (1, b"\3", -1),
        (3, b"\3\0", -1),
        (2, b"1\0", -1),
        (2, b"0\0", 1),
    ],
)
def test_an_altitude_has_the_references_of_exif_3_and_those_that_are_text(
    kind: int, raw: bytes, sign: int
) -> None:
    count = 1 if kind == 3 else len(raw)
    place = rationals((48, 1), (30, 1), (0, 1))
    found = positioned(place, place, (5, kind, count, raw), altitude=rationals((25, 2)))
    assert found["gps"]["altitude"] == sign * 12.5


def test_a_text_that_was_cut_is_told() -> None:
    told: list[str] = []
    for size in (1000, 1001):
        block = pictures.tiff_block([(0x010E, 2, size, struct.pack("<I", 26))], tail=b"y" * size)
        assert len(exif.parse(block, on_cut=told.append)["description"]) == 1000
    assert told == ["description"]


def test_utf8_of_exif_3_is_read() -> None:
    raw = "Zürich 東京".encode()
    block = pictures.tiff_block([(0x010E, 129, len(raw), struct.pack("<I", 26))], tail=raw)
    assert exif.parse(block) == {"description": "Zürich 東京"}


def in_exif(*entries: tuple[int, int, int, bytes], tail: bytes = b"") -> dict[str, Any]:
    """The fields of a block with these entries in its EXIF directory; the tail begins behind them."""
    directory = struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        directory += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    whole = directory + bytes(4) + tail
    return exif.parse(pictures.tiff_block([(0x8769, 4, 1, struct.pack("<I", 26))], tail=whole))


TAIL_AT = struct.pack("<I", 26 + 2 + 12 + 4)


@pytest.mark.parametrize(
    ("pair", "expected"), [((1, 32000), 3.125e-05), ((1, 3), 0.333333), ((1, 8000), 0.000125), ((30, 1), 30)]
)
def test_an_exposure_keeps_its_significant_digits(pair: tuple[int, int], expected: float) -> None:
    assert in_exif((0x829A, 5, 1, TAIL_AT), tail=rationals(pair)) == {"exposureTime": expected}


@pytest.mark.parametrize(
    ("entries", "iso"),
    [
        ([(0x8827, 3, 1, struct.pack("<H", 400))], 400),
        ([(0x8827, 3, 1, b"\xff\xff"), (0x8832, 4, 1, struct.pack("<I", 204800))], 204800),
        ([(0x8827, 3, 1, b"\xff\xff"), (0x8833, 4, 1, struct.pack("<I", 102400))], 102400),
        ([(0x8831, 4, 1, struct.pack("<I", 800))], 800),
        ([(0x8827, 3, 1, struct.pack("<H", 400)), (0x8832, 4, 1, struct.pack("<I", 1600))], 400),
        ([(0x8827, 3, 1, b"\xff\xff")], 65535),
    ],
)
def test_the_sensitivity_is_where_there_is_room_for_it(
    entries: list[tuple[int, int, int, bytes]], iso: int
) -> None:
    assert in_exif(*entries) == {"iso": iso}


@pytest.mark.parametrize(
    ("tag", "kind", "count", "value"),
    [
        (0x9204, 3, 1, struct.pack("<H", 36)),
        (0x9204, 2, 4, b"+0.3"),
        (0x8827, 2, 3, b"400"),
        (0x9209, 2, 2, b"1\0"),
        (0xA434, 3, 2, b"RF24"),
    ],
)
def test_a_tag_of_a_wrong_type_counts_for_nothing(tag: int, kind: int, count: int, value: bytes) -> None:
    assert in_exif((tag, kind, count, value)) == {}


@pytest.mark.parametrize(
    ("written", "offset"),
    [
        ("Z", "+00:00"),
        ("+02:00", "+02:00"),
        ("-0330", "-03:30"),
        ("+14:00", "+14:00"),
        ("+99:99", ""),
        ("+14:01", ""),
    ],
)
def test_an_offset_is_one_that_a_zone_has(written: str, offset: str) -> None:
    date = b"2024:05:06 07:08:09\0"
    raw = written.encode() + b"\0"
    at = 26 + 2 + 24 + 4
    entries = [
        (0x9003, 2, len(date), struct.pack("<I", at)),
        (0x9011, 2, len(raw), struct.pack("<I", at + len(date)) if len(raw) > 4 else raw),
    ]
    assert in_exif(*entries, tail=date + raw) == {"dateTimeOriginal": f"2024-05-06T07:08:09{offset}"}
