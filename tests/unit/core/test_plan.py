"""Geometry: every size that a thumbnail can get, by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.model import Header, Options, ThumbnailSpec
from fastproc.core.plan import JPEG_REDUCTIONS, allowance_s, fit, make_plan, reduction

sides = st.integers(1, 70_000)
squares = st.integers(1, 4096)


@given(sides, sides, squares)
def test_a_thumbnail_fits_its_square_and_is_at_least_one_pixel(width: int, height: int, side: int) -> None:
    w, h = fit(width, height, side)
    assert 1 <= w <= max(1, min(side, width))
    assert 1 <= h <= max(1, min(side, height))


@given(sides, sides, squares)
def test_the_longer_side_fills_the_square_unless_the_picture_is_smaller(
    width: int, height: int, side: int
) -> None:
    assert max(fit(width, height, side)) == min(side, max(width, height))


@given(sides, sides, squares)
def test_the_aspect_ratio_is_kept_to_the_nearest_pixel(width: int, height: int, side: int) -> None:
    w, h = fit(width, height, side)
    longer = max(width, height)
    if longer > side:
        assert abs(w - width * side / longer) <= 0.5 or w == 1
        assert abs(h - height * side / longer) <= 0.5 or h == 1


@given(sides, sides, squares)
def test_turning_the_picture_turns_the_thumbnail(width: int, height: int, side: int) -> None:
    assert fit(height, width, side) == fit(width, height, side)[::-1]


@given(sides, sides, st.integers(1, 2048))
def test_a_reduced_decode_still_has_what_the_largest_thumbnail_needs(
    width: int, height: int, side: int
) -> None:
    by = reduction(Header(format="jpeg", width=width, height=height), side)
    assert by in (*JPEG_REDUCTIONS, 1)
    assert width // by >= 1
    assert height // by >= 1
    if by > 1:
        assert max(width, height) // by >= side


@pytest.mark.parametrize(
    ("longer", "by"), [(4800, 8), (4799, 4), (2400, 4), (2399, 2), (1200, 2), (1199, 1), (10, 1)]
)
def test_the_decoder_reduces_as_far_as_it_can(longer: int, by: int) -> None:
    assert reduction(Header(format="jpeg", width=longer, height=longer), 600) == by


@pytest.mark.parametrize("name", ["png", "webp", "heic", "avif", "gif"])
def test_only_jpeg_is_reduced_while_it_is_decoded(name: str) -> None:
    assert reduction(Header(format=name, width=9000, height=9000), 600) == 1


def test_thumbnails_keep_their_names_order_and_quality() -> None:
    plan = make_plan(Options(), 4032, 3024, 1000)
    assert [(t.name, t.width, t.height, t.quality) for t in plan.thumbnails] == [
        ("thumb_sm", 150, 113, 75),
        ("thumb_md", 300, 225, 80),
        ("thumb_lg", 600, 450, 85),
    ]


def test_a_small_photo_is_never_enlarged() -> None:
    plan = make_plan(Options(thumbnails=(ThumbnailSpec("x", 600, 80),)), 200, 100, 1000)
    assert (plan.thumbnails[0].width, plan.thumbnails[0].height) == (200, 100)


def test_only_a_source_over_the_threshold_is_optimised() -> None:
    options = Options()
    assert make_plan(options, 400, 300, options.optimize_threshold_bytes).optimized is None
    target = make_plan(options, 400, 300, options.optimize_threshold_bytes + 1).optimized
    assert target is not None
    assert (target.name, target.width, target.height, target.quality) == ("optimized", 400, 300, 85)


def test_a_task_may_take_longer_the_more_pixels_there_are_but_never_longer_than_the_setting() -> None:
    assert allowance_s(0, 120.0) == 30.0
    assert allowance_s(12_000_000, 120.0) == 54.0
    assert allowance_s(100_000_000, 120.0) == 120.0
    assert allowance_s(0, 2.5) == 2.5
    # A worker's number is not trusted.
    assert allowance_s(2**63, 120.0) == 120.0
    assert allowance_s(-(2**63), 120.0) == 30.0


def test_a_thin_picture_keeps_its_rows() -> None:
    assert reduction(Header(format="jpeg", width=4000, height=3), 150) == 1
    assert reduction(Header(format="jpeg", width=4000, height=130), 150) == 8
