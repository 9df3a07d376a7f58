"""What is done to a photo's colours: the rank of profile and numbers, and what is refused with a word."""

from __future__ import annotations

import struct

import pytest

from fastproc.core.colours import ColourTag
from fastproc.worker.colour.conversion import Conversion, decide
from tests import pictures

P3 = ColourTag(primaries=12, transfer=13)
ADOBE = pictures.matrix_profile(pictures.ADOBE_RGB, 2.2)


def naming(primaries: int, transfer: int) -> bytes:
    """A profile whose `cicp` tag has these numbers."""
    profile = bytearray(ADOBE)
    at = struct.unpack_from(">I", profile, 136)[0]
    profile[132:136] = b"cicp"
    profile[at : at + 12] = b"cicp" + bytes(4) + bytes((primaries, transfer, 0, 1))
    return bytes(profile)


@pytest.mark.parametrize(
    "tag",
    [None, ColourTag(), ColourTag(primaries=1, transfer=13), ColourTag(primaries=1), ColourTag(transfer=13)],
)
def test_srgb_costs_nothing_however_it_is_said(tag: ColourTag | None) -> None:
    assert decide(None, tag) == Conversion()
    assert decide(pictures.profile("srgb"), tag) == Conversion()


def test_a_profile_counts_before_numbers_but_for_those_that_say_so() -> None:
    assert decide(ADOBE, P3).profile == ADOBE
    before = ColourTag(primaries=12, transfer=13, before_profile=True)
    assert decide(ADOBE, before).profile not in (None, ADOBE)
    assert decide(ADOBE, ColourTag(primaries=1, transfer=13, before_profile=True)) == Conversion()


def test_numbers_that_are_refused_leave_the_profile_and_say_so() -> None:
    found = decide(ADOBE, ColourTag(primaries=3, transfer=13, before_profile=True))
    assert found.profile == ADOBE
    assert "3/13" in found.warning


def test_a_profile_that_names_an_hdr_space_is_tone_mapped() -> None:
    found = decide(naming(9, 16), None)
    assert found.profile is None
    assert found.hdr is not None
    assert found.hdr.transfer == 16


@pytest.mark.parametrize(("primaries", "transfer"), [(9, 14), (1, 13), (99, 16), (3, 18)])
def test_a_profile_that_names_anything_else_is_used_itself(primaries: int, transfer: int) -> None:
    profile = naming(primaries, transfer)
    assert decide(profile, None) == Conversion(profile=profile)


def test_primaries_do_not_matter_to_a_grey_picture() -> None:
    assert decide(None, P3, grey=True) == Conversion()
    assert decide(None, ColourTag(primaries=9, transfer=8), grey=True).profile is not None


def test_a_narrow_range_is_expanded_whatever_the_colours() -> None:
    for found, tag in ((None, None), (ADOBE, None), (None, P3), (None, ColourTag(primaries=3, transfer=3))):
        assert decide(found, tag, limited=True).limited
