"""How photos that end early or are damaged fare under each policy."""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Callable

import msgspec
import pytest
from PIL import ExifTags, Image

from fastproc.core import record
from fastproc.core.gate import heif, items
from fastproc.core.gate.properties import children
from fastproc.core.gate.tiles import tiles
from fastproc.core.model import Integrity
from fastproc.ipc.messages import Failed
from tests import heic, pictures
from tests.unit.worker.conftest import OPTIONS, Run

Go = Callable[..., Run]
POLICIES: tuple[Integrity, ...] = ("strict", "truncated", "lenient")


def under(policy: Integrity) -> object:
    return msgspec.structs.replace(
        OPTIONS, integrity=policy, optimize_threshold_bytes=0, optimize_min_saving_percent=-1000
    )


@functools.cache
def picture(kind: str, **options: object) -> bytes:
    return pictures.encoded(pictures.detailed(1500, 1100), kind, **options)


def damaged_png() -> bytes:
    data = bytearray(picture("PNG"))
    data[data.rfind(b"IDAT") + 40] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize("data", [picture("JPEG"), picture("JPEG", progressive=True), picture("GIF")])
def test_a_photo_that_ends_early_passes_with_its_first_part_and_a_warning(run: Go, data: bytes) -> None:
    cut = data[: len(data) * 3 // 4]
    assert run(cut, options=under("strict")).code == "FILE_CORRUPTED"
    for policy in ("truncated", "lenient"):
        done = run(cut, options=under(policy))
        assert done.report.warnings[0] == "the file ends early"
        assert "missing" in done.report.warnings[1]
        assert record.metadata(done.report)["warnings"] == list(done.report.warnings)
        for name in ("thumb_lg", "optimized"):
            shown = done.picture(name).convert("RGB")
            red, green, blue = shown.getpixel((shown.width // 20, shown.height // 20))
            assert red > 150 > 80 > max(green, blue), "the part before the cut must be there"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_photo_with_only_its_end_marker_missing_passes_with_a_warning(run: Go, kind: str) -> None:
    cut = picture(kind)[:-9]
    assert run(cut, options=under("strict")).code == "FILE_CORRUPTED"
    assert run(cut, options=under("truncated")).report.warnings[0] == "the file ends early"


def test_damage_passes_only_where_the_policy_is_lenient(run: Go) -> None:
    for policy in ("strict", "truncated"):
        assert run(damaged_png(), options=under(policy)).code == "FILE_CORRUPTED"
    done = run(damaged_png(), options=under("lenient"))
    assert len(done.report.warnings) == 1
    assert "parts of the picture are missing" in done.report.warnings[0]


def without(data: bytes, share: float, count: int) -> bytes:
    """The data with so many bytes missing from that place on."""
    at = int(len(data) * share)
    return data[:at] + data[at + count :]


def replaced(data: bytes, share: float, count: int, seed: int | None) -> bytes:
    """The data with so many bytes random, or (without a seed) zero."""
    at = int(len(data) * share)
    new = bytes(count) if seed is None else random.Random(seed).randbytes(count).replace(b"\xff", b"\xfe")
    return data[:at] + new + data[at + count :]


SPOILED = {
    "cut, with an end marker": lambda data: data[: len(data) // 3] + b"\xff\xd9",
    "a block is missing": lambda data: without(data, 0.4, 8192),
    "a block is missing near the end": lambda data: without(data, 0.9, 4096),
    "a block is zero": lambda data: replaced(data, 0.5, 8192, None),
    "a block is random": lambda data: replaced(data, 0.3, 8192, 1),
}


@pytest.mark.parametrize("kind", SPOILED)
@pytest.mark.parametrize("shape", ["plain", "restarts", "turned"])
def test_a_jpeg_with_lost_pixels_is_told_by_what_its_decoder_forgives(run: Go, kind: str, shape: str) -> None:
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    options = {"restarts": {"restart_marker_rows": 4}, "turned": {"exif": turned}}
    data = SPOILED[kind](picture("JPEG", quality=92) if shape == "plain" else picture_with(**options[shape]))
    answer = run(data, options=under("strict")).answer
    assert isinstance(answer, Failed), "half a picture is completed without a word"
    assert answer.code == "FILE_CORRUPTED"
    done = run(data, options=under("lenient"))
    assert "parts of the picture are missing" in " ".join(done.report.warnings)


def picture_with(**options: object) -> bytes:
    return pictures.encoded(pictures.detailed(1500, 1100), "JPEG", quality=92, **options)


def test_what_was_forgiven_of_one_photo_is_not_held_against_the_next(run: Go) -> None:
    assert run(SPOILED["a block is missing"](picture("JPEG")), options=under("lenient")).report.warnings
    done = run(picture("JPEG"), options=under("strict"))
    assert done.report.warnings == ()


@pytest.mark.parametrize("count", [1, 40, 900])
def test_padding_in_the_data_of_a_camera_is_forgiven(run: Go, count: int) -> None:
    """Some cameras write bytes that no pixel needs before a marker; they are no damage."""
    data = picture("JPEG")
    padded = data[:-2] + bytes(count) + data[-2:]
    assert run(padded, options=under("strict")).report.warnings == ()


def test_bytes_that_are_no_marker_are_damage_and_no_format(run: Go) -> None:
    data = picture("JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    spoiled = data[:at] + b"\xff\x02" + data[at:]
    answer = run(spoiled, options=under("strict")).answer
    assert answer.code == "FILE_CORRUPTED"


@pytest.mark.parametrize("policy", POLICIES)
def test_a_sound_photo_has_no_warnings_and_is_decoded_no_more_often(run: Go, policy: Integrity) -> None:
    done = run(picture("JPEG"), options=under(policy))
    assert (done.report.warnings, done.report.decodes) == ((), 1)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_formats_of_which_no_part_can_be_decoded_fail_in_every_policy(
    run: Go, kind: str, policy: Integrity
) -> None:
    data = picture(kind)
    answer = run(data[: len(data) // 2], options=under(policy)).answer
    assert answer.code == "FILE_CORRUPTED"
    assert any(map(str.isalpha, answer.message))


@pytest.mark.parametrize("policy", POLICIES)
def test_the_gates_limits_hold_in_every_policy(run: Go, policy: Integrity) -> None:
    lying = pictures.jpeg_saying(9000, 9000)
    assert run(lying, options=under(policy)).code == "FILE_CORRUPTED"
    small = msgspec.structs.replace(
        under(policy), limits=msgspec.structs.replace(OPTIONS.limits, max_side_px=1000)
    )
    assert run(picture("JPEG")[:-900], options=small).code == "IMAGE_TOO_LARGE"
    too_large = "FILE_CORRUPTED" if policy == "strict" else "IMAGE_TOO_LARGE"
    assert run(picture("PNG")[:-900], options=small).code == too_large


AVIF_TILE = pictures.encoded(pictures.detailed(heic.WIDTH, heic.HEIGHT), "AVIF", quality=80)


def avif_grid(*damaged: tuple[int, bytes]) -> bytes:
    """A grid of 2 x 2 parts, some of them replaced."""
    parts = [heic.avif_data(AVIF_TILE)] * 4
    for place, part in damaged:
        parts[place] = part
    return heic.avif_grid(parts, AVIF_TILE, columns=2)


def test_a_sound_grid_passes_in_every_policy(run: Go) -> None:
    for policy in POLICIES:
        done = run(avif_grid(), options=under(policy))
        assert (done.report.width, done.report.height) == (192, 128)
        assert done.report.warnings == ()


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("how", ["zeros", "noise"])
def test_a_part_of_an_avif_that_cannot_be_decoded_is_told(run: Go, place: int, kept: float, how: str) -> None:
    part = heic.avif_data(AVIF_TILE)
    at = int(len(part) * kept)
    rest = bytes(len(part) - at) if how == "zeros" else random.Random(place).randbytes(len(part) - at)
    whole = avif_grid((place, part[:at] + rest))
    assert run(whole, options=under("strict")).code == "FILE_CORRUPTED"
    done = run(whole, options=under("lenient"))
    assert len(done.report.warnings) == 1
    assert "parts of the picture are missing" in done.report.warnings[0]


def test_an_avif_that_is_cut_in_a_part_is_told_to_end_early_and_to_miss_parts(run: Go) -> None:
    cut = avif_grid()[:-100]
    assert run(cut, options=under("strict")).code == "FILE_CORRUPTED"
    for policy in ("truncated", "lenient"):
        warnings = run(cut, options=under(policy)).report.warnings
        assert warnings[0] == "the file ends early"
        assert "parts of the picture are missing" in warnings[1]


def test_parts_that_lie_over_each_other_are_not_decoded_one_by_one() -> None:
    part = heic.avif_data(AVIF_TILE)
    whole = bytearray(avif_grid())
    # All four are where the first is, and as long as all of them.
    start = whole.index(part)
    for n in range(4):
        entry = struct.pack(">II", start + n * len(part), len(part))
        at = whole.index(entry)
        whole[at : at + 8] = struct.pack(">II", start, 4 * len(part))
    assert len(list(tiles(memoryview(whole)))) < 4


def test_a_part_of_many_pieces_that_are_the_same_is_not_copied_together() -> None:
    part = heic.avif_data(AVIF_TILE)
    whole = avif_grid()
    at, box = whole.index(part), heif.meta(whole)
    one = struct.pack(">HII", 1, at, len(part))
    many = struct.pack(">H", 900) + struct.pack(">II", at, len(whole) - at) * 900
    iloc = pictures.box(b"iloc", dict(children(box, 12))[b"iloc"])
    assert one in iloc
    grown = box[4:].replace(iloc, pictures.box(b"iloc", iloc[8:].replace(one, many)))
    start = whole.index(box)
    bomb = whole[:start] + struct.pack(">I", len(grown) + 4) + grown + whole[start + len(box) :]
    assert max(len(item.extents) for item in items.coded_parts(heif.meta(bomb), b"av01")) == 900
    assert list(tiles(memoryview(bomb))) == []
