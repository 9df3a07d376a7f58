"""Further pictures of a JPEG: by the index, by a search, and what a file cannot make of either."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest

from fastproc.core.gate import multi_picture, segments
from tests import gain_maps, pictures
from tests.work import at_most

PHOTO, SECOND = pictures.jpeg(64, 48), gain_maps.a_map(16, 12)


@pytest.mark.parametrize("order", [">", "<"])
def test_the_index_gives_the_places_of_all_pictures_but_the_first(order: str) -> None:
    film = b"film" * 9
    file = gain_maps.together(PHOTO, SECOND, after=film, order=order)
    start = len(file) - len(SECOND) - len(film)
    for data in (file, memoryview(file), bytearray(file)):
        assert multi_picture.indexed(data) == [(start, start + len(SECOND))]
    assert multi_picture.indexed(PHOTO) == []


def changed(at: int, value: bytes) -> bytes:
    """A file whose index has these bytes at that offset from its byte-order mark."""
    file = gain_maps.together(PHOTO, SECOND)
    mark = file.index(b"MPF\0") + 4
    return file[: mark + at] + value + file[mark + at + len(value) :]


@pytest.mark.parametrize(("at", "value"), [
    (0, b"XX"),
    (4, struct.pack(">I", 0xFFFF_FFFF)),
    (4, struct.pack(">I", 90)),
    (8, b"\0\0"),
    (8 + 2 + 24 + 2, b"\0\4"),
    (8 + 2 + 24 + 4, bytes(4)),
    (8 + 2 + 24 + 8, struct.pack(">I", 0xFFFF_FFF0)),
    (50 + 16 + 4, bytes(4)),
    (50 + 16 + 8, bytes(4)),
    (50 + 16 + 8, struct.pack(">I", 1)),
    (50 + 16 + 8, struct.pack(">I", 0xFFFF_FFFF)),
])  # fmt: skip
def test_an_index_that_is_wrong_gives_no_place(at: int, value: bytes) -> None:
    assert multi_picture.indexed(changed(at, value)) == []


def test_a_picture_that_ends_behind_the_file_ends_with_it() -> None:
    file = changed(50 + 16 + 4, struct.pack(">I", 0xFFFF_FFFF))
    assert multi_picture.indexed(file) == [(len(file) - len(SECOND), len(file))]


def test_many_entries_for_the_same_picture_are_one_and_the_number_has_a_bound() -> None:
    length = len(gain_maps.index(0, [0] * 900, 0))
    at = len(PHOTO) + length
    same = gain_maps.index(at, [0] * 900, 2).replace(
        struct.pack(">II", 0, at - 10), struct.pack(">II", len(SECOND), at - 10)
    )
    assert multi_picture.indexed(gain_maps.with_segments(PHOTO, same) + SECOND) == [(at, at + len(SECOND))]
    different = gain_maps.with_segments(PHOTO, gain_maps.index(at, [len(SECOND)] * 900, 2)) + SECOND * 900
    assert len(multi_picture.indexed(different)) == multi_picture.MAX_PICTURES - 1


def test_the_search_finds_each_beginning_once_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi_picture, "_WINDOW", 64)
    for gap in range(70):
        file = PHOTO + bytes(gap) + SECOND
        assert list(multi_picture.searched(file, 100)) == [(len(PHOTO) + gap, len(file))]
    assert len(list(multi_picture.searched(b"\xff\xd8\xff" * 1000, 0))) == multi_picture.MAX_PICTURES


def test_segments_pass_fill_junk_and_stray_markers() -> None:
    body = b"http://ns.adobe.com/xap/1.0/\0x"
    for between in (b"", b"\xff" * 9, b"junk", b"\xff\x01", b"\xff\xd0"):
        file = PHOTO[:2] + between + gain_maps.segment(0xE1, body) + PHOTO[2:]
        found = [bytes(file[begin:end]) for marker, begin, end in segments.segments(file) if marker == 0xE1]
        assert found == [body]


def test_segments_of_a_picture_are_in_order_and_end_before_its_first_scan() -> None:
    found = list(segments.segments(PHOTO + SECOND, len(PHOTO)))
    assert all(end + 4 == begin for (_, _, end), (_, begin, _) in pairwise(found))
    assert {marker for marker, _, _ in found} >= {0xE0, 0xDB, 0xC0, 0xC4}
    assert 0xDA not in {marker for marker, _, _ in found}


@pytest.mark.parametrize(
    "filler", [b"\xff", b"\xff\x00", b"\xff\x01", b"\0", b"\xff\xe1\0\2", b"\xff\0" + bytes(4090)]
)
def test_a_walk_ends_whatever_the_file_is_made_of(filler: bytes) -> None:
    file = b"\xff\xd8" + filler * (8_000_000 // len(filler))
    with at_most(50_000):
        found = list(segments.segments(file))
    assert len(found) <= segments.MAX_SEGMENTS
