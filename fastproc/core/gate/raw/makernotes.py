"""Finds previews that only a maker note names: older Olympus cameras have no other, some Nikons neither.

Rule 1: only the two layouts that are known by their first bytes are read; at most two directories of a note.
Source: ExifTool, Image::ExifTool::Nikon (PreviewIFD), Image::ExifTool::Olympus (CameraSettings, PreviewImageStart).
"""

from __future__ import annotations

from typing import Final

from fastproc.core.gate.raw.contents import Place
from fastproc.core.gate.raw.directories import Entry, Tiff

_NIKON: Final = b"Nikon\0\x02"
_NIKON_PREVIEW: Final = 0x0011
#: First bytes of an Olympus note -> offset of its directory, and whether offsets count from the note's beginning.
_OLYMPUS: Final = {
    b"OM SYSTEM\0\0\0II": (16, True),
    b"OLYMPUS\0II": (12, True),
    b"OLYMP\0": (8, False),
}
_OLYMPUS_SETTINGS: Final = 0x2020
#: Tags of a preview's offset and its bytes: TIFF's own (Nikon), in an Olympus note, in its camera settings.
_JPEG: Final = (0x0201, 0x0202)
_OLYMPUS_JPEG: Final = (0x0088, 0x0089)
_SETTINGS_JPEG: Final = (0x0101, 0x0102)


def previews(tiff: Tiff, note: Entry) -> list[Place]:
    """Return where a maker note says that there are JPEGs; `tiff` is the structure that the note is in."""
    head = bytes(tiff.data[note.at : note.at + 16])
    if head.startswith(_NIKON):
        return _nikon(tiff, note.at + 10)
    for sign, (directory, from_note) in _OLYMPUS.items():
        if head.startswith(sign):
            base = note.at if from_note else tiff.base
            return _olympus(Tiff(tiff.data, base, tiff.order), note.at + directory - base)
    return []


def _nikon(outer: Tiff, base: int) -> list[Place]:
    """A note of this kind has a whole TIFF structure in it."""
    inner = Tiff.at(outer.data, base)
    if inner is None:
        return []
    named = inner.directory(inner.first(), (_NIKON_PREVIEW,)).entries.get(_NIKON_PREVIEW)
    return _place(inner, inner.number(named) or 0, _JPEG)


def _olympus(note: Tiff, directory: int) -> list[Place]:
    found = note.directory(directory, (_OLYMPUS_SETTINGS,)).entries.get(_OLYMPUS_SETTINGS)
    if found is None:
        return _place(note, directory, _OLYMPUS_JPEG)
    # The settings are a directory as a value, or the offset of one.
    settings = note.number(found) or found.at - note.base
    return [*_place(note, settings, _SETTINGS_JPEG), *_place(note, directory, _OLYMPUS_JPEG)]


def _place(tiff: Tiff, directory: int, tags: tuple[int, int]) -> list[Place]:
    entries = tiff.directory(directory, tags).entries
    offset, size = (tiff.number(entries.get(tag)) for tag in tags)
    return [Place(tiff.base + offset, size)] if offset and size else []
