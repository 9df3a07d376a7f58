"""Decides what must be done to a photo's colours to make them sRGB: nothing, a profile, or tone mapping.

Rule 1: a profile counts before numbers, except before a PNG's cICP (W3C PNG, third edition), and except where the
        profile itself names PQ or HLG.
Rule 2: numbers that mean sRGB, and none at all, cost nothing.
Rule 3: what cannot be honoured leaves the picture as it is, and says so in `warning`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from msgspec import Struct

from fastproc.core.colours import HDR_TRANSFERS, ColourTag
from fastproc.worker.colour import cicp, matrices, profile
from fastproc.worker.colour.cicp import Chromaticities, Curve
from fastproc.worker.colour.matrices import Matrix

#: A curve's exponent outside these is no picture's.
EXPONENTS: Final = (0.1, 10.0)
#: How far chromaticities may lie from sRGB's to be the same: PNG rounds to five digits, programs to three.
NEAR: Final = 0.0015
#: No part of possible primaries has more light than this, as XYZ of white 1.
LARGEST: Final = 4.0


class Hdr(Struct, frozen=True):
    """A picture in PQ or HLG: its curve, its primaries' matrix to linear sRGB, its luminance weights, its peak."""

    transfer: int
    to_srgb: Matrix
    weights: matrices.Vector
    peak_nits: float = 0.0


class Conversion(Struct, frozen=True, kw_only=True):
    """What to do: expand a limited range, then apply the profile or map the tones. `warning`: what is not done."""

    profile: bytes | None = None
    hdr: Hdr | None = None
    limited: bool = False
    warning: str = ""


def decide(
    found: bytes | None, tag: ColourTag | None, *, grey: bool = False, limited: bool = False
) -> Conversion:
    """Return the conversion for a photo with this embedded profile and these numbers.

    `grey`: it has no colour, so that primaries do not matter; `limited`: its decoder leaves black at 16 of 255.
    """
    tag = tag or ColourTag()
    if found and not (tag.before_profile and not _refusal(tag)):
        named = _named_hdr(found, tag.peak_nits)
        if named is None:
            used = None if profile.is_srgb(found) else found
            return Conversion(
                profile=used, limited=limited, warning=_refusal(tag) if tag.before_profile else ""
            )
        tag = named
    if refusal := _refusal(tag):
        return Conversion(limited=limited, warning=refusal)
    if tag.transfer in HDR_TRANSFERS:
        return Conversion(hdr=_hdr(tag), limited=limited)
    if _is_srgb(tag) or (grey and _like_srgb_curve(tag)):
        return Conversion(limited=limited)
    return Conversion(profile=_profile(tag, grey), limited=limited)


def _named_hdr(found: bytes, peak_nits: float) -> ColourTag | None:
    """Return the numbers that a profile names, if they are those of an HDR space."""
    primaries, transfer = profile.code_points(found) or (cicp.UNSPECIFIED, cicp.UNSPECIFIED)
    tag = ColourTag(primaries=primaries, transfer=transfer, peak_nits=peak_nits)
    return tag if transfer in HDR_TRANSFERS and not _refusal(tag) else None


def _refusal(tag: ColourTag) -> str:
    """Return why the numbers cannot be honoured, or ""."""
    known = (*cicp.CURVES, *HDR_TRANSFERS, cicp.UNSPECIFIED)
    if tag.transfer not in known or tag.primaries not in (*cicp.PRIMARIES, cicp.UNSPECIFIED):
        return (
            f"colours by numbers that name no known space ({tag.primaries}/{tag.transfer}) are shown as sRGB"
        )
    if tag.chromaticities and not tag.gamma:
        near = _near_srgb(tag.chromaticities)
        return "" if near else "primaries without a gamma (cHRM without gAMA) are shown as sRGB"
    if tag.gamma and not EXPONENTS[0] <= tag.gamma <= EXPONENTS[1]:
        return f"an impossible gamma of {tag.gamma:.4g} is ignored"
    return "" if _possible(_primaries(tag)) else "impossible primaries are ignored"


def _possible(primaries: Chromaticities) -> bool:
    if not all(0 <= number <= 1 for point in primaries for number in point):
        return False
    try:
        to_d50 = matrices.adapted(primaries, matrices.D50)
        matrices.inverse(to_d50)
    except ZeroDivisionError:
        return False
    return all(abs(number) < LARGEST for row in to_d50 for number in row)


def _primaries(tag: ColourTag) -> Chromaticities:
    if tag.chromaticities:
        wx, wy, rx, ry, gx, gy, bx, by = tag.chromaticities
        return (wx, wy), (rx, ry), (gx, gy), (bx, by)
    return cicp.PRIMARIES[tag.primaries if tag.primaries in cicp.PRIMARIES else cicp.BT709]


def _is_srgb(tag: ColourTag) -> bool:
    near = (
        _near_srgb(tag.chromaticities)
        if tag.chromaticities
        else tag.primaries in (cicp.BT709, cicp.UNSPECIFIED)
    )
    return near and _like_srgb_curve(tag)


def _like_srgb_curve(tag: ColourTag) -> bool:
    return not tag.gamma and tag.transfer in (cicp.SRGB, cicp.UNSPECIFIED)


def _near_srgb(chromaticities: tuple[float, ...]) -> bool:
    wanted = [number for point in cicp.PRIMARIES[cicp.BT709] for number in point]
    return all(abs(a - b) <= NEAR for a, b in zip(chromaticities, wanted, strict=True))


def _curve(tag: ColourTag) -> Curve:
    if tag.gamma:
        return cicp.gamma(tag.gamma)
    return cicp.CURVES.get(tag.transfer, cicp.srgb)


@lru_cache(maxsize=8)
def _profile(tag: ColourTag, grey: bool) -> bytes:
    return profile.written(None if grey else matrices.adapted(_primaries(tag), matrices.D50), _curve(tag))


def _hdr(tag: ColourTag) -> Hdr:
    source = _primaries(tag)
    return Hdr(
        transfer=tag.transfer,
        to_srgb=matrices.between(source, cicp.PRIMARIES[cicp.BT709]),
        weights=matrices.to_xyz(source)[1],
        peak_nits=tag.peak_nits,
    )
