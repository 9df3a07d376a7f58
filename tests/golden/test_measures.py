"""The measures of the golden suite against published values, and against what they must notice."""

from __future__ import annotations

import numpy as np
import pytest

from tests.golden.measures import ciede2000, colour_difference, lab, ssim
from tests.golden.references import array
from tests.pictures import detailed

#: Of the 34 pairs in table 1 of Sharma, Wu, Dalal 2005: those that wrong hue means and signs get wrong.
PAIRS = (
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ((50.0, -0.001, 2.49), (50.0, 0.0009, -2.49), 4.8045),
    ((50.0, -0.001, 2.49), (50.0, 0.0011, -2.49), 4.7461),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (58.0, 24.0, 15.0), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
)


@pytest.mark.parametrize(("first", "second", "wanted"), PAIRS)
def test_the_colour_difference_is_the_published_one(first: tuple, second: tuple, wanted: float) -> None:
    assert ciede2000(np.array([first]), np.array([second])) == pytest.approx(wanted, abs=5e-5)
    assert ciede2000(np.array([second]), np.array([first])) == pytest.approx(wanted, abs=5e-5)


def test_lab_of_srgb_is_the_known_one() -> None:
    colours = np.array([[[255, 255, 255], [255, 0, 0], [0, 0, 255], [119, 119, 119]]], np.uint8)
    wanted = [[100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86], [50.03, 0, 0]]
    assert np.allclose(lab(colours)[0], wanted, atol=0.03)


def test_the_measures_notice_a_shift_a_mirror_and_a_cast() -> None:
    picture = array(detailed(320, 240))
    assert ssim(picture, picture) == pytest.approx(1)
    assert colour_difference(picture, picture) == (0, 0)
    assert ssim(picture, np.roll(picture, 1, axis=1)) < 0.9
    assert ssim(picture, picture[:, ::-1]) < 0.5
    assert colour_difference(picture, np.clip(picture.astype(int) + 6, 0, 255).astype(np.uint8))[0] > 1.5
