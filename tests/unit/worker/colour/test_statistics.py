"""Colours in numbers: which colour dominates, how bright."""

from __future__ import annotations

import pytest

from fastproc.worker.colour import statistics


def test_the_dominant_colour_is_the_most_frequent_one_and_not_the_mean() -> None:
    pixels = bytes((250, 0, 0)) * 60 + bytes((0, 0, 250)) * 40
    assert statistics.dominant(pixels) == (250, 0, 0)


def test_shades_of_one_colour_count_together() -> None:
    shades = [(16 + n, 100, 100) for n in range(10)] * 5
    other = [(200, 200, 200)] * 45
    assert statistics.dominant(bytes(v for c in shades + other for v in c)) == (20, 100, 100)


def test_brightness_is_luma_between_black_and_white() -> None:
    assert statistics.brightness(bytes(300)) == 0
    assert statistics.brightness(bytes([255]) * 300) == 1
    assert statistics.brightness(bytes((0, 255, 0)) * 100) == pytest.approx(0.7152)
