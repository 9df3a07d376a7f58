"""EXIF: what is read, in which units, and that no block raises or takes long."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fastproc.worker.exif import fields as exif
from tests import pictures


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
        (b"x" * 5000, "x" * 256),
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
    tracemalloc.start()
    began = time.process_time()
    exif.parse(block)
    took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 0.05
    assert peak < 1 << 20


def test_a_directory_of_sixty_thousand_wanted_tags_costs_nothing() -> None:
    block = pictures.tiff_block(60_000 * [(0x0112, 3, 1, b"\0\0\0\0")])
    began = time.process_time()
    exif.parse(block)
    assert time.process_time() - began < 0.02


def test_a_megabyte_of_maker_notes_is_not_read() -> None:
    block = pictures.camera_exif(camera={0x927C: bytes(1 << 20)})
    began = time.process_time()
    assert exif.parse(block)["make"] == "Acme"
    assert time.process_time() - began < 0.01


@settings(max_examples=500)
@given(st.binary(max_size=300), st.integers(0, 400), st.booleans())
def test_any_bytes_give_bounded_json(noise: bytes, at: int, sound: bool) -> None:
    whole = pictures.camera_exif() if sound else b"II*\0\x08\0\0\0" + noise
    fields = exif.parse(whole[:at] + noise + whole[at + len(noise) :])
    assert len(json.dumps(fields, allow_nan=False)) < 16 << 10
