"""Defines what a gain map means: the numbers that turn its pixels into gains, checked.

    gain = 2 ** (minimum + (maximum - minimum) * pixel ** (1 / gamma))            pixel: 0 to 1
    HDR  = (SDR + base offset) * gain - alternate offset                          in linear light

Rule 1: the picture that the map belongs to is the SDR one. Gains and headrooms are in stops (powers of two).
Rule 2: a `Gain` has only numbers that every reader can use: `checked` is the only way to one.

Source: ISO 21496-1; Adobe, "Gain map specification" 1.0; Android, "Ultra HDR image format" 1.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Final

from msgspec import Struct

#: Far beyond every screen and camera: 2 ** 32 times the white of SDR. Numbers must fit 32 bits over DENOMINATOR.
MAX_STOPS: Final = 32.0
MAX_OFFSET: Final = 16.0
#: Between the headrooms: less is not seen, and readers divide by it, so it must not become 0 when it is written.
MIN_STOPS: Final = 0.001
MIN_GAMMA, MAX_GAMMA = 1 / 64, 64.0
#: Adobe's default for both offsets.
OFFSET: Final = 1 / 64


class NotKept(Exception):
    """The gain map cannot be kept; the message says why, after "the gain map was not kept: "."""


class Channel(Struct, frozen=True, kw_only=True):
    """How the pixels of one channel become gains."""

    minimum: float
    maximum: float
    gamma: float = 1.0
    base_offset: float = OFFSET
    alternate_offset: float = OFFSET


class Gain(Struct, frozen=True, kw_only=True):
    """A map's numbers: one channel for all colours or one for each of red, green and blue.

    A screen with `base_headroom` or less shows the SDR picture, one with `alternate_headroom` or more the whole gain.
    `in_base_colours`: gains apply to red, green and blue of the picture's own colour space, not of the map's.
    """

    channels: tuple[Channel, ...]
    base_headroom: float
    alternate_headroom: float
    in_base_colours: bool = True


def checked(
    channels: Sequence[Channel], headrooms: tuple[float, float], *, in_base_colours: bool = True
) -> Gain:
    """Return the numbers as a Gain; equal channels become one. Raises NotKept."""
    base, alternate = headrooms
    numbers = chain(headrooms, *((c.minimum, c.maximum) for c in channels))
    if not all(math.isfinite(number) and abs(number) <= MAX_STOPS for number in numbers):
        raise NotKept("its numbers are not possible")
    for channel in channels:
        offsets = (channel.base_offset, channel.alternate_offset)
        if not all(abs(offset) <= MAX_OFFSET for offset in offsets):
            raise NotKept("its offsets are not possible")
        if not MIN_GAMMA <= channel.gamma <= MAX_GAMMA or channel.maximum < channel.minimum:
            raise NotKept("its range is not possible")
    if alternate - base < MIN_STOPS:
        raise NotKept("the picture is the brighter one of the two, or the map has no effect")
    one = len(set(channels)) == 1
    return Gain(
        channels=tuple(channels[:1] if one else channels),
        base_headroom=base,
        alternate_headroom=alternate,
        in_base_colours=in_base_colours,
    )


def gains(channel: Channel) -> list[float]:
    """Return the gain of each of the 256 values that a pixel of 8 bits can have."""
    span = channel.maximum - channel.minimum
    return [2 ** (channel.minimum + span * (value / 255) ** (1 / channel.gamma)) for value in range(256)]
