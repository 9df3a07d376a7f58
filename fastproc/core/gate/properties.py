"""Reads which properties a HEIF file gives to which items: transforms, colours, the coder's set-up.

Rule 1: properties are found by association (`ipma`), never by a search: another item's colours are not the picture's.
Rule 2: what cannot be read is left out.
Source: ISO/IEC 23008-12, 6.5 and 9.3 (ipco, ipma, colr, clli, mdcv); ISO/IEC 23091-2 (nclx's numbers); the AV1
        binding, 2.3 (av1C); ISO/IEC 14496-15, 8.3.3 (hvcC).
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from fastproc.core.colours import ColourTag
from fastproc.core.gate.reading import peak_nits

#: A property: its type and its content.
Property = tuple[bytes, bytes]
#: Most boxes of one level, and most items with properties.
MAX_BOXES: Final = 2_000
#: Properties that turn, mirror or crop, one of each is enough: each costs a copy of the picture.
TRANSFORMS: Final = (b"irot", b"imir", b"clap")


def children(body: bytes, at: int) -> Iterator[Property]:
    """Yield type and content of the boxes in a box's content, from `at` on."""
    for _ in range(MAX_BOXES):
        if at + 8 > len(body):
            return
        length, kind = struct.unpack_from(">I4s", body, at)
        if length < 8:
            return
        yield kind, body[at + 8 : at + length]
        at += length


def of_items(body: bytes) -> dict[int, tuple[Property, ...]]:
    """Return the properties of each item, in order, from the content of `iprp`. Raises IndexError, struct.error."""
    known: list[Property] = []
    found: dict[int, tuple[Property, ...]] = {}
    for kind, content in children(body, 0):
        if kind == b"ipco":
            known = list(children(content, 0))
        elif kind == b"ipma":
            for item, places in _associations(content):
                named = tuple(known[place - 1] for place in places if 0 < place <= len(known))
                found[item] = found.get(item, ()) + named
    return found


def _associations(content: bytes) -> Iterator[tuple[int, list[int]]]:
    """Yield each item and the places of its properties, from the content of one `ipma`; 0 names none."""
    item_size = 4 if content[0] > 0 else 2
    step, mask = (2, 0x7FFF) if content[3] & 1 else (1, 0x7F)
    at = 8
    for _ in range(min(struct.unpack_from(">I", content, 4)[0], MAX_BOXES)):
        item, at = int.from_bytes(content[at : at + item_size]), at + item_size
        count, at = content[at], at + 1
        yield (
            item,
            [int.from_bytes(content[at + step * n : at + step * (n + 1)]) & mask for n in range(count)],
        )
        at += step * count


def transforms(properties: Sequence[Property]) -> int:
    """Return how often the properties have the same transform, at most."""
    kinds = [kind for kind, _ in properties]
    return max(kinds.count(kind) for kind in TRANSFORMS)


def colour(items: Mapping[int, Sequence[Property]], primary: int, parts: Collection[int]) -> ColourTag | None:
    """Return how the picture says its colours by numbers: the primary item, else the parts that it is made of."""
    for item in (primary, *sorted(parts)):
        properties = items.get(item, ())
        for kind, content in properties:
            if kind == b"colr" and content[:4] == b"nclx" and len(content) >= 11:
                primaries, transfer, _, whole = struct.unpack_from(">HHHB", content, 4)
                return ColourTag(
                    primaries=primaries,
                    transfer=transfer,
                    full_range=bool(whole & 0x80),
                    peak_nits=_peak(properties),
                )
    return None


def has_profile(items: Mapping[int, Sequence[Property]], parts: Collection[int]) -> bool:
    """Return whether a part of the picture has a colour profile."""
    return any(
        kind == b"colr" and content[:4] in (b"prof", b"rICC")
        for item in parts
        for kind, content in items.get(item, ())
    )


def is_grey(items: Mapping[int, Sequence[Property]], parts: Collection[int]) -> bool:
    """Return whether all parts that say how they are coded have no colour."""
    said = [grey for item in parts for grey in map(_coded_grey, items.get(item, ())) if grey is not None]
    return bool(said) and all(said)


def _coded_grey(one: Property) -> bool | None:
    kind, content = one
    if kind == b"av1C" and len(content) > 2:
        return bool(content[2] & 0x10)
    if kind == b"hvcC" and len(content) > 16:
        return content[16] & 3 == 0
    return None


def _peak(properties: Sequence[Property]) -> float:
    found = dict(properties)
    light, display = found.get(b"clli", b""), found.get(b"mdcv", b"")
    return peak_nits(
        float(struct.unpack_from(">H", light)[0]) if len(light) >= 4 else 0.0,
        struct.unpack_from(">I", display, 16)[0] / 10_000 if len(display) >= 24 else 0.0,
    )
