"""Geometry: every size that a thumbnail can get, by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.header import Header
from fastproc.core.model import Options, ThumbnailDecode, ThumbnailSpec
from fastproc.core.plan import (
    DECODE_RULES,
    HELD_BYTES,
    JPEG_REDUCTIONS,
    allowance_s,
    decoding,
    fit,
    make_plan,
    reduction,
)

sides = st.integers(1, 70_000)
squares = st.integers(1, 4096)
rules = st.sampled_from(sorted(DECODE_RULES))


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


@given(sides, sides, st.integers(1, 2048), rules)
def test_a_reduced_decode_still_has_what_the_largest_thumbnail_needs(
    width: int, height: int, side: int, decode: ThumbnailDecode
) -> None:
    by = reduction(Header(format="jpeg", width=width, height=height), side, decode)
    assert by in (*JPEG_REDUCTIONS, 1)
    assert width // by >= 1
    assert height // by >= 1
    if by > 1:
        # Neither side is enlarged.
        assert max(width, height) // by >= side
        assert min(width, height) // by >= min(fit(width, height, side))
        rule = DECODE_RULES[decode]
        assert max(width, height) >= rule.margin * by * side
        lost_of_a_thumbnails_pixel = max(width % by, height % by) * side / max(width, height)
        assert lost_of_a_thumbnails_pixel <= rule.lost


@given(sides, sides, squares)
def test_no_rule_reduces_further_than_a_faster_one(width: int, height: int, side: int) -> None:
    header = Header(format="jpeg", width=width, height=height)
    fast, balanced, best = (reduction(header, side, rule) for rule in ("fast", "balanced", "best"))
    assert fast >= balanced >= best


@pytest.mark.parametrize(
    ("decode", "steps"),
    [
        ("fast", [(4800, 8), (4792, 4), (2400, 4), (2392, 2), (1200, 2), (1192, 1), (10, 1)]),
        ("balanced", [(7200, 8), (7192, 4), (3600, 4), (3592, 2), (1800, 2), (1792, 1), (10, 1)]),
        ("best", [(14400, 8), (14392, 4), (7200, 4), (7192, 2), (3600, 2), (3592, 1), (10, 1)]),
    ],
)
def test_the_decoder_reduces_as_far_as_its_rule_allows(
    decode: ThumbnailDecode, steps: list[tuple[int, int]]
) -> None:
    for longer, by in steps:
        assert reduction(Header(format="jpeg", width=longer, height=longer), 600, decode) == by


@pytest.mark.parametrize(
    ("height", "by"),
    [
        # Of 4000 pixels for 600 one of the thumbnail's is 6.7: two that a quarter drops are more than a quarter of it.
        (3000, 4),
        (3001, 4),
        (3002, 2),
        (3003, 2),
    ],
)
def test_a_balanced_decode_drops_at_most_a_quarter_of_a_thumbnails_row(height: int, by: int) -> None:
    assert reduction(Header(format="jpeg", width=4000, height=height), 600, "balanced") == by
    assert reduction(Header(format="jpeg", width=height, height=4000), 600, "balanced") == by
    assert reduction(Header(format="jpeg", width=4000, height=height), 600, "fast") == 4


@pytest.mark.parametrize("name", ["png", "webp", "heic", "avif", "gif"])
def test_only_jpeg_is_reduced_while_it_is_decoded(name: str) -> None:
    assert reduction(Header(format=name, width=9000, height=9000), 600, "fast") == 1


@pytest.mark.parametrize(
    ("by", "slices", "size", "by_strips", "how"),
    [
        (4, 1, 36_000_000, True, "by strips"),
        (2, 1, 6_000_000, True, "by strips"),
        (4, 1, 6_000_000, False, "twice"),
        (4, 3, 36_000_000, True, "twice"),
        (1, 1, HELD_BYTES, False, "in memory"),
        (1, 1, HELD_BYTES + 1, True, "twice"),
        (1, 3, 1, True, "twice"),
    ],
)
def test_one_decode_serves_both_sizes_where_its_strips_or_its_memory_can(
    by: int, slices: int, size: int, by_strips: bool, how: str
) -> None:
    assert decoding(by, slices, size, by_strips=by_strips) == how


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
    assert reduction(Header(format="jpeg", width=4000, height=3), 150, "fast") == 1
    assert reduction(Header(format="jpeg", width=4000, height=130), 150, "fast") == 8
