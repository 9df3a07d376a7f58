"""How a file says its colours by numbers: what the gate reads and a worker acts on."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

#: Code points of ITU-T H.273 for the curves of HDR pictures: PQ and HLG.
HDR_TRANSFERS: Final = (16, 18)


class ColourTag(Struct, frozen=True, kw_only=True):
    """How a file says its colours by numbers, without a profile.

    `primaries` and `transfer` are code points of ITU-T H.273, 2 for unspecified. A PNG may give numbers instead:
    `chromaticities`, x and y of white, red, green and blue, and `gamma`, the exponent that makes light of a signal (0:
    not given). `peak_nits`, in cd/m2, is that of an HDR picture, 0 if it does not say. With `before_profile` the tag
    counts where there is a profile too.
    """

    primaries: int = 2
    transfer: int = 2
    full_range: bool = True
    chromaticities: tuple[float, ...] = ()
    gamma: float = 0.0
    peak_nits: float = 0.0
    before_profile: bool = False
