"""Raw files in the gate: which JPEG is the preview, what is no raw file, what is cut; and no file makes it slow."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from fastproc.core import errors
from fastproc.core.gate import jpeg
from fastproc.core.gate import judge as gate
from fastproc.core.gate.raw import exif, preview
from fastproc.core.gate.raw.contents import MAX_CANDIDATES
from fastproc.core.header import Header, Preview
from fastproc.core.model import Limits
from fastproc.worker.exif import fields
from tests import pictures, raws
from tests.work import at_most

LIMITS = Limits(formats=("jpeg", "raw"), min_side_px=1)
LARGE = raws.preview()


def judge(data: bytes, limits: Limits = LIMITS, *, may_be_cut: bool = False) -> Header:
    return gate.judge(memoryview(data), limits, may_be_cut=may_be_cut)


def found(data: bytes) -> Preview:
    header = judge(data)
    assert header.preview is not None
    assert header.format == "raw"
    assert (header.width, header.height) == (640, 480)
    return header.preview


@pytest.mark.parametrize("kind", raws.ALL)
def test_the_largest_jpeg_of_every_container_is_the_preview(kind: str) -> None:
    data = raws.ALL[kind](LARGE)
    where = found(data)
    assert where.container == kind
    assert data[where.offset : where.offset + where.size] == LARGE


@pytest.mark.parametrize(
    "data",
    [
        raws.dng(LARGE, order=">"),
        raws.lossy_dng(LARGE),
        raws.old_nef(LARGE),
        raws.orf(LARGE, note="om"),
        raws.orf(LARGE, note="old"),
        raws.cr3(LARGE, co64=False),
        raws.cr3(pictures.jpeg(160, 120), medium=LARGE),
    ],
    ids=["big-endian", "lossy", "maker-note", "om", "olymp", "stco", "prvw"],
)
def test_previews_are_found_where_other_models_put_them(data: bytes) -> None:
    where = found(data)
    assert data[where.offset : where.offset + where.size] == LARGE


@pytest.mark.parametrize(
    "maker", [b"NIKON", b"SONY", b"PENTAX", b"RICOH", b"SAMSUNG", b"Hasselblad", b"Acme"]
)
def test_a_tiff_with_sensor_data_is_a_raw_file_of_its_maker(maker: bytes) -> None:
    tiff = raws.TiffWriter()
    sensor = tiff.directory(raws.sensor(tiff, 1))
    data = tiff.done(
        tiff.directory([*raws.strip(tiff, LARGE, 6), (0x014A, 4, [sensor]), *raws.camera(maker, 1)])
    )
    kinds = {b"NIKON": "nef", b"SONY": "arw", b"PENTAX": "pef", b"RICOH": "pef", b"SAMSUNG": "srw"}
    assert found(data).container == (kinds | {b"Hasselblad": "3fr"}).get(maker, "raw")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", raws.TURNABLE)
def test_the_containers_orientation_is_the_previews(kind: str, orientation: int) -> None:
    own = pictures.Image.Exif()
    own[0x0112] = 3
    large = raws.preview(exif=own)
    assert found(raws.TURNABLE[kind](large, orientation)).orientation == orientation


def test_a_container_without_orientation_leaves_it_to_the_jpeg() -> None:
    assert found(raws.raf(LARGE)).orientation is None
    assert found(raws.cr2(LARGE, 0)).orientation is None
    assert found(raws.cr2(LARGE, 9)).orientation is None


def test_a_preview_that_lies_across_the_sensors_picture_was_turned_by_the_camera() -> None:
    upright = judge(raws.dng(raws.preview(480, 640), 6)).preview
    assert upright is not None
    assert upright.orientation == 1
    # Portrait sensors exist too, and half a turn leaves no trace.
    assert judge(raws.dng(raws.preview(480, 640), 6, sides=(3024, 4032))).preview.orientation == 6  # type: ignore[union-attr]
    assert judge(raws.dng(raws.preview(480, 640), 3)).preview.orientation == 3  # type: ignore[union-attr]


def test_plain_tiffs_are_no_raw_files_and_are_named() -> None:
    for data in (
        pictures.encoded(pictures.scene(), "TIFF"),
        pictures.encoded(pictures.scene(), "TIFF", compression="jpeg"),
        raws.TiffWriter().done(0),
    ):
        with pytest.raises(errors.UnsupportedFormat, match="tiff is not an allowed format"):
            judge(data)


def test_a_picture_with_an_embedded_jpeg_is_no_raw_file_without_sensor_data() -> None:
    tiff = raws.TiffWriter()
    data = tiff.done(tiff.directory([*raws.jpeg(tiff, LARGE), *raws.camera(b"NIKON", 1)]))
    with pytest.raises(errors.UnsupportedFormat, match="tiff is not"):
        judge(data)


@pytest.mark.parametrize("kind", raws.ALL)
def test_raw_files_are_refused_by_name_unless_they_are_allowed(kind: str) -> None:
    with pytest.raises(errors.UnsupportedFormat, match=rf"raw \({kind}\) is not an allowed format"):
        judge(raws.ALL[kind](LARGE), Limits())


@pytest.mark.parametrize("kind", ["dng", "nef", "arw", "pef", "rw2", "raf", "orf", "cr3"])
def test_a_raw_file_without_a_jpeg_that_can_be_decoded_says_so(kind: str) -> None:
    no_picture = raws.lossless(640, 480)
    data = raws.ALL[kind](no_picture).replace(b"\xff\xd8\xff\xe0", b"\xff\xd8\0\0")
    with pytest.raises(errors.UnsupportedFormat, match=f"{kind} without a JPEG preview"):
        judge(data)


def of_kind(marker: int) -> bytes:
    """A large JPEG whose frame header says that it is of another kind: lossless, arithmetic."""
    other = bytearray(pictures.jpeg(1600, 1200))
    other[other.find(b"\xff\xc0") + 1] = marker
    return bytes(other)


@pytest.mark.parametrize("other", [of_kind(0xC3), of_kind(0xC9), pictures.jpeg(1600, 1200, "CMYK")])
def test_a_larger_jpeg_that_is_no_preview_is_passed_over(other: bytes) -> None:
    tiff = raws.TiffWriter()
    second = tiff.directory(raws.jpeg(tiff, LARGE))
    data = tiff.done(
        tiff.directory([*raws.strip(tiff, other, 6), (0x014A, 4, [second]), (0xC612, 1, bytes([1, 4, 0, 0]))])
    )
    assert found(data).size == len(LARGE)


@pytest.mark.parametrize("percent", [50, 75, 99])
@pytest.mark.parametrize("kind", [kind for kind in raws.ALL if kind != "rw2"])
def test_a_file_that_is_cut_short_is_corrupted_even_where_its_preview_is_whole(
    kind: str, percent: int
) -> None:
    data = raws.ALL[kind](LARGE)
    with pytest.raises(errors.FileCorrupted):
        judge(data[: len(data) * percent // 100])


def test_a_cut_file_passes_with_the_preview_that_is_whole_where_it_may_be_cut() -> None:
    medium = pictures.jpeg(324, 216)
    data = raws.cr3(LARGE, medium=medium)
    header = judge(data[: data.find(LARGE) + 100], may_be_cut=True)
    assert (header.width, header.height, header.whole) == (324, 216, False)
    cut = raws.rw2(LARGE)
    cut = cut[: cut.find(LARGE) + len(LARGE) - 2_000]
    header = judge(cut, may_be_cut=True)
    assert (header.width, header.whole) == (640, False)


def test_the_preview_is_judged_as_every_jpeg_is() -> None:
    lying = pictures.jpeg_saying(30_000, 30_000)
    with pytest.raises(errors.FileCorrupted, match="more than the data can hold"):
        judge(raws.dng(lying))
    with pytest.raises(errors.ImageTooComplex):
        judge(raws.cr2(pictures.scan_bomb(70)))
    with pytest.raises(errors.ImageTooLarge):
        judge(raws.nef(LARGE), Limits(formats=("raw",), max_side_px=600))
    with pytest.raises(errors.ImageTooSmall):
        judge(raws.nef(LARGE), Limits(formats=("raw",), min_side_px=500))


def test_exif_is_copied_from_the_container_in_its_byte_order() -> None:
    for data in (raws.dng(LARGE), raws.dng(LARGE, order=">"), raws.pef(LARGE), raws.nef(LARGE, 8)):
        contents = preview.contents(data)
        assert contents is not None
        block = exif.block(contents)
        assert block is not None
        read = fields.parse(block)
        assert (read["exposureTime"], read["iso"], read["lensModel"]) == (0.004, 400, "Wide 4.25mm f/1.8")
        assert read["dateTimeOriginal"] == "2024-02-29T13:45:09"
        assert read["gps"] == {"latitude": -22.9518, "longitude": -43.21}
        assert b"Nikon\0" not in block


def test_the_copied_exif_is_bounded_whatever_the_directories_say() -> None:
    tiff = raws.TiffWriter(room=8_192)
    body = tiff.data(b"y" * 400_000)
    many = [(tag, 2, b"") for tag in range(0x9000, 0x9100)]
    text: list[raws.Field] = [(0x010F, 2, b"x" * 300_000)]
    at = tiff.directory([*many, *text])
    for number in range(len(many)):
        entry = at + 2 + 12 * (number + 1)
        tiff.out[entry + 4 : entry + 12] = struct.pack("<II", 400_000, body)
    first = tiff.directory([(0x8769, 4, [at]), (0x8825, 4, [at]), (0xC612, 1, bytes(4)), *text])
    contents = preview.contents(tiff.done(first))
    assert contents is not None
    block = exif.block(contents)
    assert block is not None
    assert exif.MAX_VALUE_BYTES < len(block) <= exif.MAX_BLOCK_BYTES


def loops() -> bytes:
    """Directories that follow each other in a circle, name themselves as their sub-directories, and many others."""
    tiff = raws.TiffWriter(head=bytes(64))
    at = tiff.directory([(0x014A, 4, [16, 16, 90, 90]), (0xC612, 1, bytes(4))], 80)
    return tiff.done(at)


def chain() -> bytes:
    """A hundred thousand directories, each of which follows another."""
    sensor = struct.pack("<HHHII", 1, 0x0106, 3, 1, 32803)
    return b"II*\0" + b"".join(struct.pack("<I", at) + sensor for at in range(8, 1_800_000, 18))


def crowd() -> bytes:
    """Sub-directories of sixty thousand entries each, at places of their own that overlap."""
    tiff, following = raws.TiffWriter(room=992), 0
    for group in range(0, 60, 15):
        children = [1_000 + 12 * (group + number) for number in range(15)]
        following = tiff.directory([(0x014A, 4, children), (0xC612, 1, bytes(4))], following)
    return tiff.done(following) + struct.pack("<HHII", 60_000, 4, 1, 0) * 61_000


def many_segments() -> bytes:
    """More previews than are looked at, each with as many segments as a JPEG may have, and without an end."""
    tiff = raws.TiffWriter(room=8_192)
    body = tiff.data(b"\xff\xd8" + b"\xff\xe0\0\2" * 4_100 + b"\xff" * (4 << 20))
    at = 0
    for number in range(60):
        place: list[raws.Field] = [(0x0201, 4, [body]), (0x0202, 4, [90_000 + number]), (0x0111, 4, [body])]
        at = tiff.directory([*place, (0x0117, 4, [100_000 + number])], at)
    return tiff.done(tiff.directory([(0xC612, 1, bytes(4))], at))


@pytest.mark.parametrize(
    "data",
    [
        many_segments(),
        loops(),
        chain(),
        crowd(),
        crowd().replace(b"II*\0", b"IIRO", 1),
        pictures.box(b"ftyp", b"crx ") + pictures.box(b"moov", b"") * 400_000,
        pictures.box(b"ftyp", b"crx ") + pictures.box(b"moov", pictures.box(b"trak", b"") * 400_000),
        b"FUJIFILMCCD-RAW " + b"\xff" * 400_000,
        b"IIU\0\x08\0\0\0" + b"\xff" * 400_000,
    ],
    ids=["segments", "loops", "chain", "crowd", "crowd-orf", "boxes", "tracks", "raf", "rw2"],
)
def test_no_file_makes_the_gate_slow_or_raises_anything_else(data: bytes) -> None:
    with pytest.raises(errors.ImageError), at_most(1_000_000):
        judge(data)


@pytest.mark.parametrize("kind", raws.ALL)
def test_every_beginning_of_a_raw_file_gives_a_verdict(kind: str) -> None:
    data = raws.ALL[kind](LARGE)
    for end in (*range(400), *range(400, len(data), 397)):
        with pytest.raises(errors.ImageError):
            judge(data[:end])


READERS: list[Callable[[bytes], bytes]] = [raws.dng, raws.cr2, raws.cr3, raws.raf, raws.rw2]


@pytest.mark.parametrize("make", READERS)
def test_a_glance_gives_what_the_verdict_gives(make: Callable[[bytes], bytes]) -> None:
    data = make(LARGE)
    assert gate.glance(memoryview(data), LIMITS) == judge(data)


def test_only_so_many_places_of_one_file_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    monkeypatch.setattr(jpeg, "frame", lambda data: looked.append(len(data)) or (0, 0, 3))
    with pytest.raises(errors.UnsupportedFormat):
        judge(many_segments())
    assert len(looked) == MAX_CANDIDATES
    assert max(looked) <= preview.HEAD_BYTES
