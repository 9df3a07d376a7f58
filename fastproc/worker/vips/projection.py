"""Computes sums of small planes of numbers times products of two waves: the coefficients of cosine transforms.

Rule 1: separable: rows first, then columns; a row is one pixel of libvips whose bands are its numbers, so that both
        steps are `recomb`, in doubles, and one pipeline (`Repeated`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any

from fastproc.worker.vips.library import Image, pyvips
from fastproc.worker.vips.repeated import Repeated

Wave = Sequence[float]
#: Which products: place of the wave across and of the wave down.
Pair = tuple[int, int]


class Projection:
    """The sums of some pairs of waves, for planes of one size."""

    def __init__(
        self,
        planes: int,
        across: Sequence[Wave],
        down: Sequence[Wave],
        pairs: Sequence[Pair],
        read: Callable[[Image], Image] | None = None,
        *,
        format: str = "uchar",
    ) -> None:
        """`read` makes the planes that are projected from those that are given, as doubles."""
        width, height = len(across[0]), len(down[0])
        rows = pyvips.Image.new_from_array([list(wave) for wave in across])
        columns = pyvips.Image.new_from_array([_spread(down[y], x, len(across)) for x, y in pairs])

        def make(picture: Image) -> Image:
            numbers = read(picture) if read else picture.cast("double")
            return numbers.recomb(rows).bandfold(factor=height).recomb(columns)

        self._pipeline = Repeated((height, planes, width), make, format)
        self._count = len(pairs)

    def sums(self, planes: Any) -> list[list[float]]:
        """Return for each plane the sums in the order of the pairs. `planes`: one after the other, each row by row."""
        found = array("d", bytes(self._pipeline.run(planes))).tolist()
        return [found[start : start + self._count] for start in range(0, len(found), self._count)]


def _spread(wave: Wave, place: int, count: int) -> list[float]:
    """Return the wave's factors for one of the `count` numbers of each row, and zero for the others."""
    factors = [0.0] * (count * len(wave))
    factors[place::count] = wave
    return factors


def table(values: Sequence[float]) -> Callable[[Image], Image]:
    """Return what replaces each number of 8 bits by the table's."""
    numbers = pyvips.Image.new_from_array([list(values)])
    return lambda picture: picture.maplut(numbers)


def weighted(weights: Sequence[int], shift: int) -> Callable[[Image], Image]:
    """Return what makes one plane of several: the sum by these weights, rounded, without its lowest bits."""

    def read(picture: Image) -> Image:
        numbers = picture.cast("double")
        parts = [numbers.crop(0, n, picture.width, 1) * weight for n, weight in enumerate(weights)]
        # Exact: whole numbers below 2**53, and a division by a power of two.
        return (pyvips.Image.sum(parts) * (1 / (1 << shift)) + 0.5).floor()

    return read
