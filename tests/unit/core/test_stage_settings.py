"""Variables of stages of one's own: whose they are."""

from __future__ import annotations

import pytest

from fastproc.core import stage_settings
from fastproc.core.stage_settings import variable


@pytest.mark.parametrize(
    ("env", "stages", "found"),
    [
        ({"STAGE_OCR_LANG": " de "}, ("ocr",), {"ocr": {"lang": "de"}}),
        ({"STAGE_OCR_FAST_LANG": "de"}, ("ocr", "ocr_fast"), {"ocr_fast": {"lang": "de"}}),
        ({"STAGE_OCR_FAST_LANG": "de"}, ("ocr",), {"ocr": {"fast_lang": "de"}}),
        ({"STAGE_MY_STAGE_A_B": "1"}, ("my-stage",), {"my-stage": {"a_b": "1"}}),
        ({"STAGE_OCR_LANG": " ", "STAGE_OCRX_LANG": "y", "OCR_LANG": "z"}, ("ocr",), {}),
        ({"STAGE_OCR_LANG": "de"}, (), {}),
    ],
)
def test_a_variable_belongs_to_the_stage_with_the_longest_name(
    env: dict[str, str], stages: tuple[str, ...], found: dict[str, dict[str, str]]
) -> None:
    assert stage_settings.of(env, stages) == found


def test_a_setting_s_variable_is_found_again() -> None:
    assert variable("my-stage", "side_px") == "STAGE_MY_STAGE_SIDE_PX"
    env = {variable("my-stage", "side_px"): "9"}
    assert stage_settings.of(env, ("my-stage",)) == {"my-stage": {"side_px": "9"}}


def test_a_variable_of_no_stage_is_named_and_others_are_not() -> None:
    env = ("STAGE_SQARE_SIDE_PX", "STAGE_SQUARE_SIDE_PX", "STAGE_NAME", "STAGE", "PRE_STAGE_A_B")
    assert stage_settings.strangers(env, ("square",)) == ["STAGE_SQARE_SIDE_PX"]
    assert stage_settings.strangers(env, ()) == ["STAGE_SQARE_SIDE_PX", "STAGE_SQUARE_SIDE_PX"]
