"""ICC profiles: which are sRGB, how curves are read, and that those we write say what they were asked."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from fastproc.worker.colour import cicp, matrices, profile
from tests import pictures


def test_srgb_profiles_of_different_makers_are_recognised() -> None:
    assert profile.is_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert profile.is_srgb(pictures.profile("srgb"))


def test_other_profiles_are_not_srgb() -> None:
    assert not profile.is_srgb(pictures.profile("p3"))
    assert not profile.is_srgb(pictures.profile("cmyk"))
    assert not profile.is_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())


def test_the_matrix_of_a_profile_turns_its_light_into_that_of_srgb() -> None:
    def flat(found: matrices.Matrix | None) -> list[float]:
        assert found is not None
        return [number for row in found for number in row]

    between = matrices.between(cicp.PRIMARIES[12], cicp.PRIMARIES[cicp.BT709])
    assert flat(profile.to_srgb(pictures.profile("p3"))) == pytest.approx(flat(between), abs=0.002)
    same = flat(profile.to_srgb(pictures.profile("srgb")))
    assert same == pytest.approx([1, 0, 0, 0, 1, 0, 0, 0, 1], abs=0.001)
    for space in (pictures.ADOBE_RGB, pictures.PROPHOTO):
        found = profile.to_srgb(pictures.matrix_profile(space, 1.8))
        assert found is not None
        assert [sum(row) for row in found] == pytest.approx([1, 1, 1])


def test_profiles_without_a_matrix_have_none() -> None:
    table = pictures.profile("p3").replace(b"desc", b"A2B0", 1)
    for found in (
        table,
        pictures.profile("cmyk"),
        pictures.matrix_profile([], 2.2),
        b"",
        pictures.profile("p3")[:300],
    ):
        assert profile.to_srgb(found) is None
    dark = pictures.matrix_profile([(0.0, 0.0, 0.0)] * 3, 2.2)
    assert profile.to_srgb(dark) is None


def test_srgb_primaries_with_another_curve_are_not_srgb() -> None:
    changed = bytearray(pictures.profile("srgb"))
    at = changed.find(b"para")
    assert at > 0
    changed[at + 12 : at + 16] = struct.pack(">i", 65536)
    assert not profile.is_srgb(bytes(changed))


@pytest.mark.parametrize(
    ("tag", "light"),
    [
        (b"curv" + bytes(4) + struct.pack(">I", 0), 0.5),
        (b"curv" + bytes(4) + struct.pack(">IH", 1, 563), 0.2178),
        (b"curv" + bytes(4) + struct.pack(">I3H", 3, 0, 14025, 65535), 0.2140),
        (b"para" + bytes(4) + struct.pack(">HHi", 0, 0, 2 << 16), 0.25),
    ],
)
def test_curves_are_read_as_gamma_table_and_formula(tag: bytes, light: float) -> None:
    assert profile.light_of(tag, 0.5) == pytest.approx(light, abs=1e-3)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_no_profile_raises(noise: bytes, at: int) -> None:
    sound = pictures.profile("srgb")
    assert profile.is_srgb(sound[:at] + noise + sound[at + len(noise) :]) in (True, False)


SRGB_PRIMARIES = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


@pytest.mark.parametrize("gamma", [1.8, 2.0, 2.2, 2.4])
def test_srgb_primaries_with_a_plain_gamma_are_not_srgb(gamma: float) -> None:
    assert not profile.is_srgb(pictures.matrix_profile(SRGB_PRIMARIES, gamma))


@pytest.mark.parametrize("channel", [b"rTRC", b"gTRC", b"bTRC"])
def test_the_curve_of_every_channel_counts(channel: bytes) -> None:
    changed = bytearray(profile.written(matrices.adapted(cicp.PRIMARIES[1], matrices.D50), cicp.srgb))
    assert profile.is_srgb(bytes(changed))
    at = changed.index(channel)
    # It points at the white instead of the curve.
    changed[at + 4 : at + 8] = changed[changed.index(b"wtpt") + 4 : changed.index(b"wtpt") + 8]
    assert not profile.is_srgb(bytes(changed))


@pytest.mark.parametrize(
    ("kind", "terms", "signal", "light"),
    [
        (1, (2.0, 2.0, -1.0), 0.25, 0.0),
        (1, (2.0, 2.0, -1.0), 0.75, 0.25),
        (2, (2.0, 1.0, 0.0, 0.125), 0.5, 0.375),
        (2, (2.0, 2.0, -1.0, 0.125), 0.25, 0.125),
        (3, (2.0, 1.0, 0.0, 0.5, 0.25), 0.125, 0.0625),
        (3, (2.0, 1.0, 0.0, 0.5, 0.25), 0.5, 0.25),
        (4, (2.0, 1.0, 0.0, 0.5, 0.25, 0.25, 0.125), 0.125, 0.1875),
        (4, (2.0, 1.0, 0.0, 0.5, 0.25, 0.25, 0.125), 0.5, 0.5),
    ],
)
def test_formulas_of_every_kind_are_read(
    kind: int, terms: tuple[float, ...], signal: float, light: float
) -> None:
    """ICC.1:2022, table 68."""
    numbers = struct.pack(f">{len(terms)}i", *(round(65536 * term) for term in terms))
    tag = b"para" + bytes(4) + struct.pack(">HH", kind, 0) + numbers
    assert profile.light_of(tag, signal) == pytest.approx(light, abs=1e-4)


def test_a_table_is_read_between_its_points() -> None:
    tag = b"curv" + bytes(4) + struct.pack(">I3H", 3, 0, 16384, 65535)
    assert [profile.light_of(tag, signal) for signal in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(
        [0, 0.125, 0.25, 1], abs=1e-4
    )


@pytest.mark.parametrize("number", sorted(cicp.PRIMARIES))
def test_a_written_profile_is_one_that_littlecms_reads(number: int) -> None:
    """White stays white, whatever the space's own white is: its primaries add up to D50."""
    written = profile.written(matrices.adapted(cicp.PRIMARIES[number], matrices.D50), cicp.gamma(2.2))
    white = Image.new("RGB", (1, 1), "white")
    shown = ImageCms.profileToProfile(
        white, ImageCms.ImageCmsProfile(io.BytesIO(written)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert shown is not None
    assert shown.getpixel((0, 0)) == (255, 255, 255)


def test_the_numbers_in_a_profile_are_read_only_where_they_are() -> None:
    assert profile.code_points(pictures.profile("srgb")) is None
    assert profile.code_points(b"") is None


@pytest.mark.parametrize(("mode", "bands"), [("srgb", 3), ("cmyk", 4)])
def test_a_profile_says_for_how_many_bands_it_is(mode: str, bands: int) -> None:
    assert profile.bands(pictures.profile(mode)) == bands
    assert profile.bands(pictures.matrix_profile((), 2.2)) == 1
    assert profile.bands(b"nothing") == 0
