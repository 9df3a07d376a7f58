"""HEIC through libheif: every kind of pixels becomes a picture, nothing that is missing passes without a word."""

from __future__ import annotations

import contextlib
import gc
import random
import struct

import numpy as np
import pytest

from fastproc.core.errors import FileCorrupted, TaskError, UnsupportedFormat
from fastproc.core.gate.judge import judge
from fastproc.core.model import Integrity, Limits, Options
from fastproc.worker import heif
from fastproc.worker.libheif import library
from fastproc.worker.source import Source
from tests import heic, pictures

LIMITS = Limits(formats=("heic",), min_side_px=1)


def source(data: bytes, integrity: Integrity = "strict") -> Source:
    options = Options(limits=LIMITS, integrity=integrity)
    header = judge(data, LIMITS, may_be_cut=integrity != "strict")
    return Source(memoryview(data), header, options)


def pixels(file: heif.File) -> np.ndarray:
    picture = file.pixels(1)
    shape = picture.height, picture.width, picture.bands
    return np.frombuffer(picture.write_to_memory(), "u1" if picture.format == "uchar" else "u2").reshape(
        shape
    )


@pytest.mark.parametrize(
    ("name", "space", "bands", "depth"),
    [
        ("rgb 8", "srgb", 3, "uchar"),
        ("rgb 10", "rgb16", 3, "ushort"),
        ("rgba 8", "srgb", 4, "uchar"),
        ("grey 8", "b-w", 1, "uchar"),
        ("grey 10", "grey16", 1, "ushort"),
        ("grey 12", "grey16", 1, "ushort"),
        ("grey alpha 8", "b-w", 2, "uchar"),
    ],
)
def test_every_kind_is_a_picture_of_eight_bits(name: str, space: str, bands: int, depth: str) -> None:
    file = heif.File(memoryview(heic.FILES[name]))
    traits = file.traits
    assert (traits.space, traits.channels, traits.depth) == (space, bands, depth)
    assert (traits.width, traits.height, traits.has_alpha) == (96, 64, bands in (2, 4))
    shown = pixels(file)
    assert shown.shape == (64, 96, bands)
    assert shown.dtype == np.uint8
    assert file.forgiven() == ""
    # From left to right, from top to bottom.
    ramp = np.arange(96) * 255 / 95
    assert np.abs(shown[32, 48:, 0] - ramp[48:]).max() <= 6
    if bands >= 3:
        assert np.abs(shown[:, 70, 1] - np.arange(64) * 255 / 63).max() <= 6
    if traits.has_alpha:
        assert shown[32, 10, -1] <= 8
        assert shown[32, 80, -1] >= 247


@pytest.mark.parametrize(("name", "bands"), [("rgb 10", 3), ("grey 10", 1), ("grey 12", 1)])
def test_a_wide_one_keeps_its_bits_in_the_highest_of_sixteen(name: str, bands: int) -> None:
    shown = pixels(heif.File(memoryview(heic.FILES[name]), wide=True))
    assert shown.shape == (64, 96, bands)
    assert shown.dtype == np.uint16
    assert np.abs(shown[32, :, 0] / 65535 - np.arange(96) / 95).max() <= 0.02
    # More than eight bits are used.
    assert len(np.unique(shown >> 6)) > 256 or bands == 1


def test_an_hdr_picture_is_decoded_with_all_its_bits() -> None:
    pq = pictures.box(b"colr", b"nclx", struct.pack(">HHHB", 9, 16, 9, 0x80))
    found = source(heic.assembled("rgb 10", properties=[pq]))
    assert found.base.format == "uchar"
    assert found.conversion.hdr is not None
    assert found._photo.pixels(1).format == "ushort"
    # Twice the bits take twice the memory.
    ordinary = source(heic.assembled("rgb 10")).header
    assert found.header.decoded_bytes == pytest.approx(2 * ordinary.decoded_bytes, rel=0.01)


def test_a_grid_is_put_together() -> None:
    found = source(heic.assembled(data=[heic.coded()] * 4, columns=2))
    assert found.sides == (192, 128)
    base = found.base
    shown = np.frombuffer(base.write_to_memory(), "u1").reshape(128, 192, 3).astype(int)
    assert np.abs(shown[:64, :96] - shown[64:, 96:]).max() <= 2
    assert found.warnings == []


def damaged(data: bytes, how: str, share: float = 0.5) -> bytes:
    """A coded picture whose end, from that share on, is zeroed or random."""
    at = 8 + int((len(data) - 8) * share)
    return data[:at] + (
        bytes(len(data) - at) if how == "zeros" else random.Random(5).randbytes(len(data) - at)
    )


@pytest.mark.parametrize("part", range(4))
def test_a_grid_with_a_part_that_cannot_be_decoded_is_refused(part: int) -> None:
    data = [heic.coded()] * 4
    data[part] = data[part][:4] + bytes(len(data[part]) - 4)
    whole = heic.assembled(data=data, columns=2)
    with pytest.raises(FileCorrupted):
        _ = source(whole).base
    tolerated = source(whole, "lenient")
    assert tolerated.base.width == 192
    assert len(tolerated.warnings) == 1
    assert "parts of the picture are missing" in tolerated.warnings[0]


@pytest.mark.parametrize("cut", [1, 40, 150])
def test_a_grid_that_is_cut_is_tolerated_only_where_that_is_allowed(cut: int) -> None:
    whole = heic.assembled(data=[heic.coded()] * 4, columns=2)[:-cut]
    with pytest.raises(FileCorrupted, match="cut short"):
        source(whole)
    for integrity in ("truncated", "lenient"):
        tolerated = source(whole, integrity)  # type: ignore[arg-type]
        assert tolerated.base.width == 192
        assert tolerated.warnings[0] == "the file ends early"
        assert "parts of the picture are missing" in tolerated.warnings[1]


@pytest.mark.parametrize("how", ["zeros", "noise"])
@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_damage_that_the_decoder_passes_over_is_told(how: str, share: float) -> None:
    whole = heic.assembled(data=[damaged(heic.coded(), how, share)])
    with pytest.raises(FileCorrupted):
        _ = source(whole).base
    tolerated = source(whole, "lenient")
    assert tolerated.base.width == 96
    assert "parts of the picture are missing" in tolerated.warnings[0]
    # It is said of that photo alone.
    assert source(heic.FILES["rgb 8"]).base.width == 96


@pytest.mark.parametrize("integrity", ["strict", "lenient"])
def test_a_picture_that_is_not_coded_as_hevc_is_unsupported_and_not_damaged(integrity: Integrity) -> None:
    bits = pictures.box(b"pixi", bytes((0, 0, 0, 0, 3, 8, 8, 8)))
    found = source(heic.container([pictures.jpeg(heic.WIDTH, heic.HEIGHT)], b"jpeg", bits), integrity)
    with pytest.raises(UnsupportedFormat, match="not coded as HEVC"):
        _ = found.base


@pytest.mark.parametrize("integrity", ["strict", "truncated", "lenient"])
def test_sound_files_pass_without_a_warning(integrity: Integrity) -> None:
    for data in heic.FILES.values():
        found = source(data, integrity)
        assert found.base.width == 96
        assert found.warnings == []


def test_profile_and_exif_are_read() -> None:
    profile = pictures.profile("p3")
    found = source(heic.assembled(properties=[pictures.box(b"colr", b"prof", profile)]))
    assert found.traits.profile == profile
    assert found.conversion.profile == profile


@pytest.mark.parametrize("seed", range(40))
def test_noise_in_a_file_ends_as_an_error_with_a_code(seed: int) -> None:
    dice = random.Random(seed)
    data = bytearray(dice.choice(list(heic.FILES.values())))
    for _ in range(dice.randint(1, 12)):
        data[dice.randrange(12, len(data))] = dice.randrange(256)
    with contextlib.suppress(TaskError):
        _ = source(bytes(data), "lenient").base


def test_pixels_outlive_their_file() -> None:
    file = heif.File(memoryview(heic.FILES["rgb 8"]))
    picture = file.pixels(1)
    before = picture.write_to_memory()
    del file
    gc.collect()
    assert picture.write_to_memory() == before


def test_versions_are_those_of_the_libraries() -> None:
    for said in (library.version(), library.libde265_version()):
        assert int(said.split(".")[0]) >= 1


def test_metadata_that_libheif_cannot_give_does_not_fail_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a block whose compression it does not know."""

    def refuse(*_: object) -> bytes:
        raise library.HeifError("unsupported compression")

    monkeypatch.setattr(heif.Picture, "metadata", refuse)
    traits = heif.File(memoryview(heic.FILES["rgb 8"])).traits
    assert (traits.width, traits.exif, traits.xmp) == (96, None, None)
