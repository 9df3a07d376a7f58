"""EXIF texts with an encoding of their own: UserComment, Windows' fields; and what else came with them."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from fastproc.worker.exif import fields as exif
from tests import pictures

TEXT = "Größe 東京"


def comment(body: bytes, order: str = "<", kind: int = 7) -> Any:
    """The comment as it is read from a block in that byte order."""
    exif_ifd = struct.pack(order + "HHHII", 1, 0x9286, kind, len(body), 44) + bytes(4) + body
    block = pictures.tiff_block([(0x8769, 4, 1, struct.pack(order + "I", 26))], tail=exif_ifd, order=order)
    return exif.parse(block).get("userComment")


def windows(tag: int, body: bytes, kind: int = 1) -> dict[str, Any]:
    return exif.parse(pictures.tiff_block([(tag, kind, len(body), struct.pack("<I", 26))], tail=body))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"ASCII\0\0\0A sunny day\0\0", "A sunny day"),
        (b"ASCII\0\0\0" + TEXT.encode(), TEXT),
        (b"JIS\0\0\0\0\0" + "東京の桜".encode("iso2022_jp"), "東京の桜"),
        (b"JIS\0\0\0\0\0" + "東京の桜".encode("shift_jis"), "東京の桜"),
        (b"JIS\0\0\0\0\0" + "東京の桜".encode("euc_jp"), "東京の桜"),
        (b"UNICODE\0" + TEXT.encode("utf-16"), TEXT),
        (b"UNICODE\0" + b"\xfe\xff" + TEXT.encode("utf-16-be"), TEXT),
        (b"UNICODE\0" + "plain words".encode("utf-16-le"), "plain words"),
        (b"UNICODE\0" + "plain words".encode("utf-16-be"), "plain words"),
        (b"UNICODE\0" + "春の東京で見た桜の花。".encode("utf-16-le") + b"\0\0", "春の東京で見た桜の花。"),
        (b"UNICODE\0" + "春の東京で見た桜の花。".encode("utf-16-be") + b"\0\0", "春の東京で見た桜の花。"),
        (b"UNICODE\0plain words", "plain words"),
        (bytes(8) + b"no code", "no code"),
        (bytes(8) + "Größe".encode("latin-1"), "Größe"),
        (b"no code at all", "no code at all"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a", None),
        (b"ASCII\0\0\0" + 20 * b" ", None),
        (b"UNICODE\0", None),
        (b"UNICODE\0\xd8", None),
        (b"ASCII", None),
        (b"UNICODE\0" + b"as ASCII has it.", "as ASCII has it."),
        (bytes(40), None),
    ],
)
def test_a_comment_is_decoded_by_its_code_and_by_what_its_writer_did(
    body: bytes, expected: str | None, order: str
) -> None:
    assert comment(body, order) == expected


@pytest.mark.parametrize(
    ("kind", "expected"), [(1, "a day"), (2, "a day"), (7, "a day"), (3, None), (4, None)]
)
def test_a_comment_is_of_bytes_whatever_their_writer_called_them(kind: int, expected: str | None) -> None:
    assert comment(b"ASCII\0\0\0a day", kind=kind) == expected


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_byte_order_of_the_block_decides_where_the_text_does_not(order: str) -> None:
    codec = "utf-16-le" if order == "<" else "utf-16-be"
    assert comment(b"UNICODE\0" + "東".encode(codec), order) == "東"


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        (0x9C9B, "xpTitle"),
        (0x9C9C, "xpComment"),
        (0x9C9D, "xpAuthor"),
        (0x9C9E, "xpKeywords"),
        (0x9C9F, "xpSubject"),
    ],
)
def test_the_fields_of_windows_are_utf_16(tag: int, name: str) -> None:
    body = TEXT.encode("utf-16-le") + b"\0\0"
    assert windows(tag, body) == {name: TEXT}
    assert windows(tag, body, kind=7) == {name: TEXT}
    assert windows(tag, body, kind=2) == {}
    assert windows(tag, body[:-1]) == {name: TEXT}


def test_a_long_text_of_windows_is_cut_and_that_is_told() -> None:
    cut: list[str] = []
    body = ("東" * 3000).encode("utf-16-le")
    block = pictures.tiff_block([(0x9C9B, 1, len(body), struct.pack("<I", 26))], tail=body)
    assert exif.parse(block, on_cut=cut.append) == {"xpTitle": "東" * 1000}
    assert cut == ["xpTitle"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [("123", "123"), ("07 ", "07"), ("²", None), ("a1", None), ("", None)],
)
def test_the_part_of_a_second_is_digits(written: str, expected: str | None) -> None:
    assert exif.parse(pictures.camera_exif(camera={0x9291: written})).get("subSecTimeOriginal") == expected


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (5, 5), (6, None), (99, None)])
def test_a_rating_has_at_most_five_stars(value: int, expected: int | None) -> None:
    block = pictures.tiff_block([(0x4746, 3, 1, struct.pack("<HH", value, 0))])
    assert exif.parse(block).get("rating") == expected


def gps(*entries: tuple[int, int, bytes]) -> dict[str, Any]:
    """The fields of a block whose GPS directory has these entries: tag, type, value."""
    sizes = {2: 1, 5: 8}
    start = 26 + 2 + 12 * len(entries) + 4
    directory, values = struct.pack("<H", len(entries)), b""
    for tag, kind, value in entries:
        directory += struct.pack("<HHII", tag, kind, len(value) // sizes[kind], start + len(values))
        values += value
    tail = directory + bytes(4) + values
    return exif.parse(pictures.tiff_block([(0x8825, 4, 1, struct.pack("<I", 26))], tail=tail))


CLOCK = (7, 5, struct.pack("<6I", 16, 1, 45, 1, 919, 100))
DAY = (0x1D, 2, b"2024:02:29\0")


def test_the_satellites_clock_is_read_even_without_a_position() -> None:
    assert gps(CLOCK, DAY) == {"gpsDateTime": "2024-02-29T16:45:09.190Z"}


@pytest.mark.parametrize(
    "entries",
    [
        (CLOCK,),
        (DAY,),
        (CLOCK, (0x1D, 2, b"2024:99:29\0")),
        ((7, 5, struct.pack("<4I", 16, 1, 45, 1)), DAY),
        ((7, 5, struct.pack("<6I", 16, 0, 45, 1, 9, 1)), DAY),
    ],
)
def test_half_a_clock_is_left_out(entries: tuple[tuple[int, int, bytes], ...]) -> None:
    assert gps(*entries) == {}


def test_the_clock_goes_with_the_position() -> None:
    block = pictures.tiff_block([(0x8825, 4, 1, struct.pack("<I", 26))])
    directory = (
        struct.pack("<H", 2) + struct.pack("<HHII", 7, 5, 3, 56) + struct.pack("<HHII", 0x1D, 2, 11, 80)
    )
    block += directory + bytes(4) + CLOCK[2] + DAY[2]
    assert exif.parse(block) == {"gpsDateTime": "2024-02-29T16:45:09.190Z"}
    assert exif.parse(block, with_position=False) == {}
