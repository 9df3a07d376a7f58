"""Light of HDR signals at the points that the recommendations print, and how highlights are rolled off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.worker.colour import tone

PEAKS = st.floats(tone.WHITE_NITS, tone.PQ_NITS)


@pytest.mark.parametrize(
    ("signal", "nits"),
    [(0.0, 0), (0.5081, 100), (0.5807, 203), (0.7518, 1000), (0.9026, 4000), (1.0, 10_000)],
)
def test_pq_is_that_of_bt2100(signal: float, nits: float) -> None:
    assert tone.pq_light(signal) * tone.WHITE_NITS == pytest.approx(nits, rel=2e-3)
    assert tone.pq_signal(nits / tone.WHITE_NITS) == pytest.approx(signal, abs=2e-4)


@pytest.mark.parametrize(("signal", "scene"), [(0.0, 0), (0.5, 1 / 12), (0.75, 0.265), (1.0, 1)])
def test_hlg_is_that_of_bt2100(signal: float, scene: float) -> None:
    assert tone.hlg_scene_light(signal) == pytest.approx(scene, abs=1e-3)


def test_hlg_of_75_percent_is_the_reference_white() -> None:
    """BT.2408, table 1: on a screen of 1,000 cd/m2."""
    assert tone.hlg_scene_light(0.75) ** tone.HLG_GAMMA * tone.PEAK_NITS == pytest.approx(203, rel=0.01)


@given(PEAKS, st.floats(0, 1), st.floats(0, 1))
def test_highlights_stay_in_order_and_below_white(peak: float, one: float, other: float) -> None:
    top = tone.peak_light(peak)
    low, high = sorted((one * top, other * top))
    first, second = tone.compressed(low, top), tone.compressed(high, top)
    assert 0 <= first <= second + 1e-9 <= 1 + 1e-9


@given(PEAKS)
def test_the_dark_keeps_its_light_and_the_peak_becomes_white(peak: float) -> None:
    top = tone.peak_light(peak)
    assert tone.compressed(0.01, top) == pytest.approx(0.01, rel=1e-6)
    assert tone.compressed(top, top) == pytest.approx(1, rel=1e-6)


def test_a_picture_no_brighter_than_white_is_left_as_it_is() -> None:
    top = tone.peak_light(150)
    assert top == 1
    assert [tone.compressed(light, top) for light in (0.1, 0.5, 0.9)] == pytest.approx([0.1, 0.5, 0.9])


def test_without_a_peak_it_is_the_nominal_one_and_never_below_white() -> None:
    assert tone.peak_light(0) * tone.WHITE_NITS == tone.PEAK_NITS
    assert tone.peak_light(50) == 1
    assert tone.peak_light(1e9) * tone.WHITE_NITS == tone.PQ_NITS


def test_the_table_of_gains_is_what_it_says() -> None:
    top, points = tone.peak_light(0), 257
    for n, gain in enumerate(tone.gains(top, points)):
        light = tone.light_at(n, points)
        assert light * gain == pytest.approx(tone.compressed(light, top))
