"""Colour by numbers: which profiles are sRGB, which colour dominates, how bright."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageCms

from fastproc.worker import colour
from tests import pictures


def test_srgb_profiles_of_different_makers_are_recognised() -> None:
    assert colour.is_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert colour.is_srgb(pictures.profile("srgb"))


def test_other_profiles_are_not_srgb() -> None:
    assert not colour.is_srgb(pictures.profile("p3"))
    assert not colour.is_srgb(pictures.profile("cmyk"))
    assert not colour.is_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())


def test_srgb_primaries_with_another_curve_are_not_srgb() -> None:
    profile = bytearray(pictures.profile("srgb"))
    at = profile.find(b"para")
    assert at > 0
    profile[at + 12 : at + 16] = struct.pack(">i", 65536)
    assert not colour.is_srgb(bytes(profile))


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
    assert colour._curve_at_half(tag) == pytest.approx(light, abs=1e-3)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_no_profile_raises(noise: bytes, at: int) -> None:
    sound = pictures.profile("srgb")
    assert colour.is_srgb(sound[:at] + noise + sound[at + len(noise) :]) in (True, False)


def test_the_dominant_colour_is_the_most_frequent_one_and_not_the_mean() -> None:
    pixels = bytes((250, 0, 0)) * 60 + bytes((0, 0, 250)) * 40
    assert colour.dominant(pixels) == (250, 0, 0)


def test_shades_of_one_colour_count_together() -> None:
    shades = [(16 + n, 100, 100) for n in range(10)] * 5
    other = [(200, 200, 200)] * 45
    assert colour.dominant(bytes(v for c in shades + other for v in c)) == (20, 100, 100)


def test_brightness_is_luma_between_black_and_white() -> None:
    assert colour.brightness(bytes(300)) == 0
    assert colour.brightness(bytes([255]) * 300) == 1
    assert colour.brightness(bytes((0, 255, 0)) * 100) == pytest.approx(0.7152)
