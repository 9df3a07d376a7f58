"""Reads directories of an untrusted TIFF structure (as in EXIF) at a bounded cost.

Rule 1: only wanted tags are read, and of each only as much as a wanted tag can need. So many entries for the same
        64 KiB, maker notes and tags of gigabytes cost nothing.
Rule 2: a directory is read on request, and its link to the next is never followed: there is no loop.
Rule 3: an entry outside the block, or of a type that its tag does not have, counts as absent.
Rule 4: a rational without a denominator keeps its place as "not a number": in a list the places have a meaning.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Mapping
from typing import Any, Final

#: Raw bytes for the types ASCII and undefined, else a tuple of numbers.
Value = Any

#: A camera's largest directory has about 60 entries.
MAX_ENTRIES: Final = 512
MAX_TEXT_BYTES: Final = 8192
#: The most numbers that any wanted tag has (lens specification: 4; GPS position: 3).
MAX_NUMBERS: Final = 4

#: ASCII, undefined, and UTF-8 (Exif 3.0).
TEXTS: Final = frozenset({2, 7, 129})
#: Types of single bytes. A tag that may have no others is read as raw bytes, of BYTE as well.
OCTETS: Final = TEXTS | {1}
WHOLE: Final = frozenset({1, 3, 4, 6, 8, 9})
#: Rationals, and the floats that some programs write in their place.
FRACTIONS: Final = frozenset({5, 10, 11, 12})
#: LONG, and IFD, which is the same.
POINTERS: Final = frozenset({4, 13})
#: type -> struct code and bytes of one value; rationals are two integers.
_TYPES: Final = {
    1: ("B", 1),
    2: ("s", 1),
    3: ("H", 2),
    4: ("I", 4),
    5: ("II", 8),
    6: ("b", 1),
    7: ("s", 1),
    8: ("h", 2),
    9: ("i", 4),
    10: ("ii", 8),
    11: ("f", 4),
    12: ("d", 8),
    13: ("I", 4),
    129: ("s", 1),
}


class Reader:
    """Directories of one TIFF structure."""

    def __init__(self, block: bytes, order: str, wanted: Mapping[int, Collection[int]]) -> None:
        """`order` is the byte order as in `struct`: < or >. Only `wanted` tags are read, of the types given there."""
        self._block, self._order, self._wanted = block, order, wanted

    def first(self) -> int:
        """Return the offset of the main directory; 0 if there is none."""
        return int(self._unpack("I", 4) or 0)

    def directory(self, at: int) -> dict[int, Value]:
        """Return the wanted tags of the directory at offset `at`; {} for 0 and where there is none."""
        count = self._unpack("H", at) if at else 0
        found: dict[int, Value] = {}
        for entry in range(at + 2, at + 2 + 12 * min(count or 0, MAX_ENTRIES), 12):
            tag = self._unpack("H", entry)
            if tag is not None and tag in self._wanted and tag not in found:
                value = self._value(entry, self._wanted[tag])
                if value is not None:
                    found[tag] = value
        return found

    def _value(self, entry: int, kinds: Collection[int]) -> Value:
        kind, count = self._unpack("H", entry + 2), self._unpack("I", entry + 4)
        if kind not in _TYPES or kind not in kinds or not count:
            return None
        code, size = _TYPES[kind]
        at = entry + 8 if size * count <= 4 else self._unpack("I", entry + 8)
        if at is None:
            return None
        if kind in TEXTS or OCTETS.issuperset(kinds):
            return self._block[at : at + min(count, MAX_TEXT_BYTES)]
        numbers = self._numbers(code * min(count, MAX_NUMBERS), at)
        if numbers and kind in (5, 10):
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            numbers = tuple(a / b if b else math.nan for a, b in pairs)
        return numbers or None

    def _numbers(self, codes: str, at: int) -> tuple[float, ...]:
        try:
            return struct.unpack_from(self._order + codes, self._block, at)
        except struct.error:
            return ()

    def _unpack(self, code: str, at: int) -> int | None:
        numbers = self._numbers(code, at)
        return int(numbers[0]) if numbers else None
