"""Reads the directories of an untrusted TIFF structure at a bounded cost: raw files are made of them.

Rule 1: of a directory only wanted tags are kept, the first of each; of a value only as many numbers as are asked for.
Rule 2: a walk reads each directory once, and only so many: links may form loops, and many may lead to one place.
Rule 3: what lies outside the file, or has an impossible type, counts as absent.
Source: TIFF 6.0, section 2; Adobe's TIFF technical note 1 (SubIFDs).
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from typing import Final

from msgspec import Struct

#: A camera's largest directory has about 100 entries (DNG).
MAX_ENTRIES: Final = 256
#: A raw file has up to about 12 directories: sensor, previews, masks, maker notes.
MAX_DIRECTORIES: Final = 64
#: Directories that one SubIFDs entry may name.
MAX_CHILDREN: Final = 16
SUB_DIRECTORIES: Final = 0x014A

#: type -> bytes of one value.
SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
#: Types of whole numbers without a sign -> their code in `struct`.
_NUMBERS: Final = {1: "B", 3: "H", 4: "I", 13: "I"}


class Entry(Struct, frozen=True):
    """One value: its TIFF type, how many it is, and where in the file it begins."""

    kind: int
    count: int
    at: int

    @property
    def size(self) -> int:
        """Its bytes."""
        return SIZES[self.kind] * self.count


class Directory(Struct, frozen=True):
    """The entries of one directory by tag, and the offset of the directory that follows (0: none)."""

    entries: dict[int, Entry] = {}
    following: int = 0


class Tiff:
    """A TIFF structure in a file. Offsets in it count from `base`; `order` is the byte order as in `struct`."""

    def __init__(self, data: memoryview, base: int, order: str) -> None:
        self.data, self.base, self.order = data, base, order

    @classmethod
    def at(cls, data: memoryview, base: int) -> Tiff | None:
        """Return the structure that begins at `base` with its byte order; None where there is none."""
        order = {b"II": "<", b"MM": ">"}.get(bytes(data[base : base + 2]))
        return cls(data, base, order) if order else None

    def first(self) -> int:
        """Return the offset of the main directory; 0 if there is none."""
        return self._unpack("I", self.base + 4)

    def directory(self, offset: int, wanted: Collection[int] | None = None) -> Directory:
        """Return the entries at `offset` with a wanted tag (None: every tag); none where there is no directory."""
        at = self.base + offset
        count = min(self._unpack("H", at), MAX_ENTRIES) if offset else 0
        found: dict[int, Entry] = {}
        body = bytes(self.data[at + 2 : at + 2 + 12 * count])
        whole = struct.iter_unpack(self.order + "HHII", body[: len(body) // 12 * 12])
        for number, (tag, kind, values, place) in enumerate(whole):
            if (wanted is None or tag in wanted) and tag not in found and kind in SIZES and values:
                inside = SIZES[kind] * values <= 4
                start = at + 10 + 12 * number if inside else self.base + place
                if start + SIZES[kind] <= len(self.data):
                    found[tag] = Entry(kind, values, start)
        return Directory(found, self._unpack("I", at + 2 + 12 * count) if count else 0)

    def walk(self, wanted: Collection[int]) -> Iterator[Directory]:
        """Yield the main directory, those that follow it, and the sub-directories of all, each once."""
        left, seen = [self.first()], {0}
        while left and len(seen) <= MAX_DIRECTORIES:
            offset = left.pop(0)
            if offset in seen:
                continue
            seen.add(offset)
            found = self.directory(offset, {SUB_DIRECTORIES, *wanted})
            yield found
            left.append(found.following)
            left += self.numbers(found.entries.get(SUB_DIRECTORIES), MAX_CHILDREN)
            del left[MAX_DIRECTORIES:]

    def numbers(self, entry: Entry | None, most: int) -> tuple[int, ...]:
        """Return the first `most` whole numbers of a value; () for another type, and where the file ends before."""
        code = _NUMBERS.get(entry.kind) if entry else None
        if entry is None or code is None:
            return ()
        try:
            return struct.unpack_from(f"{self.order}{min(entry.count, most)}{code}", self.data, entry.at)
        except struct.error:
            return ()

    def number(self, entry: Entry | None) -> int | None:
        """Return the first whole number of a value; None if there is none."""
        return next(iter(self.numbers(entry, 1)), None)

    def ends(self, entry: Entry | None) -> tuple[int, ...]:
        """Return the first and the last whole number of a value; () if there is none."""
        if entry is None or entry.kind not in _NUMBERS:
            return ()
        last = Entry(entry.kind, 1, entry.at + SIZES[entry.kind] * (entry.count - 1))
        return (*self.numbers(entry, 1), *self.numbers(last, 1))

    def text(self, entry: Entry | None, most: int) -> str:
        """Return the beginning of a text; "" if there is none."""
        if entry is None or SIZES[entry.kind] != 1:
            return ""
        return bytes(self.data[entry.at : entry.at + min(entry.count, most)]).decode("latin-1")

    def _unpack(self, code: str, at: int) -> int:
        try:
            [number] = struct.unpack_from(self.order + code, self.data, at)
        except struct.error:
            return 0
        return int(number)
