"""Reads which items a HEIF file's picture is made of: their types, where their data lies, what their properties say.

Rule 1: of all items only the primary one and those that it is derived from are looked at: tiles of a grid, the layers
        of an overlay. What else a file has (masks, thumbnails, depth) is no part of the picture.
Rule 2: what cannot be read is left out, and the decoder judges it: a box that is not there says nothing.
Source: ISO/IEC 14496-12, 8.11 (meta, iloc, iinf, pitm, iref).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import Struct

from fastproc.core.colours import ColourTag
from fastproc.core.gate import properties
from fastproc.core.gate.properties import children

#: Most items that a picture is followed to.
MAX_PARTS: Final = 1_000

_Extents = list[tuple[int, int]]
_Read = TypeVar("_Read")


class Parts(Struct, frozen=True):
    """What the picture is made of: the types of its items, the end of its data in the file, what its properties say.

    `transforms`: how often an item has the same transform, at most. All empty where the file does not say.
    """

    types: frozenset[bytes] = frozenset()
    end: int = 0
    transforms: int = 0
    colour: ColourTag | None = None
    grey: bool = False
    profiled: bool = False


class Item(Struct, frozen=True):
    """A coded part of a picture: where its data lies in the file (offset, length), and its properties."""

    extents: tuple[tuple[int, int], ...]
    properties: tuple[properties.Property, ...]


def coded_parts(meta: bytes, kind: bytes) -> tuple[Item, ...]:
    """Return the parts of that type of a primary picture that is derived from others; () if it is not."""
    boxes = dict(children(meta, 12))
    try:
        primary = _primary(boxes[b"pitm"])
        wanted = _derived(primary, _references(boxes.get(b"iref", b""))) - {primary}
    except (KeyError, IndexError, struct.error):
        return ()
    types = _or_nothing(_types, boxes.get(b"iinf", b""))
    extents = _or_nothing(_extents, boxes.get(b"iloc", b""))
    said = _or_nothing(properties.of_items, boxes.get(b"iprp", b""))
    return tuple(
        Item(tuple(extents[item]), said.get(item, ()))
        for item in sorted(wanted)
        if types.get(item) == kind and item in extents
    )


def parts(meta: bytes) -> Parts:
    """Return what the `meta` box, with its header, says of the primary picture."""
    boxes = dict(children(meta, 12))
    try:
        primary = _primary(boxes[b"pitm"])
        wanted = _derived(primary, _references(boxes.get(b"iref", b"")))
    except (KeyError, IndexError, struct.error):
        return Parts()
    types = _or_nothing(_types, boxes.get(b"iinf", b""))
    extents = _or_nothing(_extents, boxes.get(b"iloc", b""))
    said = _or_nothing(properties.of_items, boxes.get(b"iprp", b""))
    return Parts(
        types=frozenset(types[item] for item in wanted if item in types),
        end=max((at + length for item in wanted for at, length in extents.get(item, ())), default=0),
        transforms=max(properties.transforms(said.get(item, ())) for item in wanted),
        colour=properties.colour(said, primary, wanted),
        grey=properties.is_grey(said, wanted),
        profiled=properties.has_profile(said, wanted),
    )


def _or_nothing(read: Callable[[bytes], dict[int, _Read]], body: bytes) -> dict[int, _Read]:
    try:
        return read(body)
    except (IndexError, struct.error):
        return {}


def _primary(body: bytes) -> int:
    return int.from_bytes(body[4:6] if body[0] == 0 else body[4:8])


def _references(body: bytes) -> dict[int, list[int]]:
    """Return which items each item is derived from (`dimg`)."""
    found: dict[int, list[int]] = {}
    wide = bool(body) and body[0] > 0
    for kind, content in children(body, 4):
        if kind == b"dimg":
            [item] = struct.unpack_from(">I" if wide else ">H", content)
            [count] = struct.unpack_from(">H", content, 4 if wide else 2)
            start, step = (6, 4) if wide else (4, 2)
            found[item] = [
                int.from_bytes(content[start + step * n : start + step * (n + 1)])
                for n in range(min(count, MAX_PARTS))
            ]
    return found


def _derived(primary: int, references: dict[int, list[int]]) -> set[int]:
    found, left = {primary}, [primary]
    while left and len(found) < MAX_PARTS:
        for item in references.get(left.pop(), ()):
            if item not in found:
                found.add(item)
                left.append(item)
    return found


def _types(body: bytes) -> dict[int, bytes]:
    found = {}
    for kind, content in children(body, 6 if body[:1] == b"\0" else 8):
        if kind == b"infe" and content[0] in (2, 3):
            wide = content[0] == 3
            item = int.from_bytes(content[4:8] if wide else content[4:6])
            found[item] = content[10:14] if wide else content[8:12]
    return found


def _extents(body: bytes) -> dict[int, _Extents]:
    """Return where items lie in the file: (offset, length). Those that lie in the `meta` box itself are left out."""
    version, sizes, more = body[0], body[4], body[5]
    offset_size, length_size, base_size = sizes >> 4, sizes & 15, more >> 4
    index_size = more & 15 if version else 0
    at = 6
    wide = 4 if version == 2 else 2

    def number(size: int) -> int:
        nonlocal at
        if at + size > len(body):
            raise IndexError("the iloc box is cut short")
        at += size
        return int.from_bytes(body[at - size : at])

    found: dict[int, _Extents] = {}
    for _ in range(min(number(wide), MAX_PARTS * 2)):
        item = number(wide)
        method = number(2) & 15 if version else 0
        number(2)
        base, extents = number(base_size), []
        for _ in range(min(number(2), MAX_PARTS)):
            number(index_size)
            extents.append((base + number(offset_size), number(length_size)))
        if method == 0:
            found[item] = extents
    return found
