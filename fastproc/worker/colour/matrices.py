"""Three by three matrices between primaries: from chromaticities to XYZ, adapted to another white.

Source: SMPTE RP 177 (primaries to XYZ); ICC.1:2022 annex E (Bradford's adaptation, the D50 of profiles).
"""

from __future__ import annotations

from typing import Final

from fastproc.worker.colour.cicp import Chromaticities, Point

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

#: The white of profiles.
D50: Final[Vector] = (0.9642, 1.0, 0.8249)
_BRADFORD: Final[Matrix] = (
    (0.8951, 0.2664, -0.1614),
    (-0.7502, 1.7135, 0.0367),
    (0.0389, -0.0685, 1.0296),
)


def product(first: Matrix, second: Matrix) -> Matrix:
    """Return the matrix that applies `second`, then `first`."""
    a, b, c = (_times(first, column) for column in zip(*second, strict=True))
    return (a[0], b[0], c[0]), (a[1], b[1], c[1]), (a[2], b[2], c[2])


def inverse(matrix: Matrix) -> Matrix:
    """Raises ZeroDivisionError where there is none."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    whole = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return (
        ((e * i - f * h) / whole, (c * h - b * i) / whole, (b * f - c * e) / whole),
        ((f * g - d * i) / whole, (a * i - c * g) / whole, (c * d - a * f) / whole),
        ((d * h - e * g) / whole, (b * g - a * h) / whole, (a * e - b * d) / whole),
    )


def transposed(matrix: Matrix) -> Matrix:
    """Return the matrix with its rows as columns."""
    a, b, c = zip(*matrix, strict=True)
    return a, b, c


def to_xyz(chromaticities: Chromaticities) -> Matrix:
    """Return the matrix from linear light to XYZ, unadapted. Raises ZeroDivisionError for impossible points."""
    white, *primaries = (_whole(point) for point in chromaticities)
    red, green, blue = primaries
    columns = transposed((red, green, blue))
    scale = _times(inverse(columns), white)
    return transposed((_scaled(red, scale[0]), _scaled(green, scale[1]), _scaled(blue, scale[2])))


def adapted(chromaticities: Chromaticities, white: Vector) -> Matrix:
    """Return the matrix from linear light to XYZ under another white. Raises ZeroDivisionError."""
    return product(_adaptation(_whole(chromaticities[0]), white), to_xyz(chromaticities))


def between(source: Chromaticities, target: Chromaticities) -> Matrix:
    """Return the matrix from linear light of one set of primaries to that of another. Raises ZeroDivisionError."""
    return product(inverse(to_xyz(target)), adapted(source, _whole(target[0])))


def _adaptation(source: Vector, target: Vector) -> Matrix:
    before, after = _times(_BRADFORD, source), _times(_BRADFORD, target)
    gains: Matrix = (
        (after[0] / before[0], 0.0, 0.0),
        (0.0, after[1] / before[1], 0.0),
        (0.0, 0.0, after[2] / before[2]),
    )
    return product(inverse(_BRADFORD), product(gains, _BRADFORD))


def _whole(point: Point) -> Vector:
    """Return XYZ, with Y of 1 where the point has light."""
    x, y = point
    # Primaries without light (H.273's 10) have y 0: any scale will do.
    return (x / y, 1.0, (1 - x - y) / y) if y else (x, 0.0, 1 - x)


def _times(matrix: Matrix, vector: Vector) -> Vector:
    a, b, c = (sum(m * v for m, v in zip(row, vector, strict=True)) for row in matrix)
    return a, b, c


def _scaled(vector: Vector, by: float) -> Vector:
    return vector[0] * by, vector[1] * by, vector[2] * by
