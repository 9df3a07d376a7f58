"""What a HEIF picture is made of: only its own items count, in every layout of the boxes."""

from __future__ import annotations

import struct

import pytest

from fastproc.core.errors import FileCorrupted, ImageTooComplex, UnsupportedFormat
from fastproc.core.gate.items import Parts, parts
from fastproc.core.gate.judge import judge
from fastproc.core.model import Limits
from tests.pictures import avif, box, heif

LIMITS = Limits(formats=("heic", "avif"), min_side_px=1)


def number(value: int, wide: bool) -> bytes:
    return struct.pack(">I" if wide else ">H", value)


def full(kind: bytes, version: int, *body: bytes, flags: int = 0) -> bytes:
    return box(kind, bytes((version,)), flags.to_bytes(3), *body)


def described(
    items: dict[int, bytes],
    extents: dict[int, tuple[int, int]],
    *,
    derived: dict[int, list[int]] | None = None,
    properties: dict[int, list[bytes]] | None = None,
    wide: bool = False,
) -> bytes:
    """A `meta` box for these items, the first of which is the primary one. `wide`: the boxes' newer versions."""
    infe = [
        full(b"infe", 3 if wide else 2, number(item, wide), bytes(2), kind) for item, kind in items.items()
    ]
    iinf = full(b"iinf", wide, number(len(infe), wide), *infe)
    places = [
        number(item, wide)
        + (bytes(2) if wide else b"")
        + bytes(2)
        + number(1, False)
        + struct.pack(">II", at, length)
        for item, (at, length) in extents.items()
    ]
    iloc = full(b"iloc", 2 if wide else 0, b"\x44\x00", number(len(places), wide), *places)
    references = [
        box(b"dimg", number(item, wide), number(len(parts), False), *(number(part, wide) for part in parts))
        for item, parts in (derived or {}).items()
    ]
    kinds = [b"ispe", b"irot", b"imir", b"clap"]
    ipco = box(
        b"ipco", box(b"ispe", bytes(4), struct.pack(">II", 64, 64)), *(box(k, bytes(1)) for k in kinds[1:])
    )
    associations = b"".join(
        number(item, wide)
        + bytes((len(named),))
        + b"".join(
            (0x8000 | kinds.index(kind) + 1).to_bytes(2) if wide else bytes((0x80 | kinds.index(kind) + 1,))
            for kind in named
        )
        for item, named in (properties or {}).items()
    )
    ipma = full(b"ipma", wide, struct.pack(">I", len(properties or {})), associations, flags=int(wide))
    primary = full(b"pitm", wide, number(next(iter(items)), wide))
    return full(b"meta", 0, primary, iinf, iloc, full(b"iref", wide, *references), box(b"iprp", ipco, ipma))


@pytest.mark.parametrize("wide", [False, True])
def test_the_picture_is_its_primary_item_and_what_that_is_derived_from(wide: bool) -> None:
    meta = described(
        {1: b"grid", 2: b"hvc1", 3: b"hvc1", 4: b"unci", 5: b"iovl"},
        {2: (100, 50), 3: (150, 70), 4: (1000, 1000)},
        derived={1: [2, 3], 5: [4]},
        properties={2: [b"ispe", b"irot"], 4: [b"irot", b"irot"]},
        wide=wide,
    )
    assert parts(meta) == Parts(frozenset({b"grid", b"hvc1"}), 220, 1)


@pytest.mark.parametrize("wide", [False, True])
def test_a_transform_that_an_item_has_twice_is_counted(wide: bool) -> None:
    named = [b"irot", b"imir", b"irot", b"clap", b"irot"]
    assert parts(described({1: b"av01"}, {}, properties={1: named}, wide=wide)).transforms == 3


def test_items_that_refer_to_each_other_end() -> None:
    assert parts(described({1: b"grid", 2: b"grid"}, {}, derived={1: [2], 2: [1]})).types == {b"grid"}


@pytest.mark.parametrize("length", range(0, 400, 7))
def test_boxes_that_are_cut_short_say_nothing_and_raise_nothing(length: int) -> None:
    meta = described(
        {1: b"grid", 2: b"hvc1"}, {1: (9, 9), 2: (100, 50)}, derived={1: [2]}, properties={1: [b"irot"] * 2}
    )
    assert isinstance(parts(meta[:length]), Parts)


def file(meta: bytes, size: int, brand: bytes = b"heic") -> bytes:
    head = box(b"ftyp", brand, bytes(4), brand, b"mif1") + meta
    return head + bytes(size - len(head))


@pytest.mark.parametrize("missing", [1, 500])
def test_a_file_that_ends_before_a_tile_does_is_cut_short(missing: int) -> None:
    meta = described(
        {1: b"grid", 2: b"hvc1", 3: b"hvc1"}, {2: (800, 100), 3: (900, 600)}, derived={1: [2, 3]}
    )
    assert judge(file(meta, 1500), LIMITS).whole
    cut = file(meta, 1500 - missing)
    with pytest.raises(FileCorrupted, match="cut short"):
        judge(cut, LIMITS)
    assert not judge(cut, LIMITS, may_be_cut=True).whole


def test_the_end_of_an_item_beside_the_picture_may_be_missing() -> None:
    meta = described({1: b"hvc1", 2: b"Exif"}, {1: (800, 100), 2: (900, 5000)})
    assert judge(file(meta, 1500), LIMITS).whole


def test_the_codec_is_that_of_the_picture_and_not_of_what_lies_beside_it() -> None:
    assert judge(file(described({1: b"av01", 2: b"mski"}, {}), 900, b"avif"), LIMITS).format == "avif"
    assert judge(file(described({1: b"iovl", 2: b"av01"}, {}, derived={1: [2]}), 900, b"avif"), LIMITS)
    with pytest.raises(UnsupportedFormat, match="j2k1"):
        judge(file(described({1: b"grid", 2: b"j2k1"}, {}, derived={1: [2]}), 900), LIMITS)


def test_an_item_that_is_turned_often_is_too_complex() -> None:
    meta = described({1: b"av01"}, {}, properties={1: [b"ispe", b"irot", b"imir", b"clap"]})
    assert judge(file(meta, 900, b"avif"), LIMITS).whole
    often = described({1: b"av01"}, {}, properties={1: [b"ispe", b"irot", b"irot"]})
    with pytest.raises(ImageTooComplex, match="2 times"):
        judge(file(often, 900, b"avif"), LIMITS)


def test_real_files_are_whole_and_their_cuts_are_not() -> None:
    data = avif()
    assert judge(data, LIMITS).whole
    with pytest.raises(FileCorrupted):
        judge(data[:-20], LIMITS)
    assert judge(heif(320, 240), LIMITS).whole, (
        "a file that says nothing of its items is the decoder's to judge"
    )
