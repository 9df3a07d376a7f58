"""Reads raw files that are TIFF structures: DNG, CR2, NEF, ARW, ORF, RW2, PEF, SRW, 3FR and their kin.

Rule 1: a TIFF is a raw file if it says so (DNG, CR2, the magic numbers of ORF and RW2), or if one of its directories
        has the samples of a sensor. Every other TIFF is a picture that nothing here reads.
Rule 2: a preview is a JPEG of one piece in a directory that describes an ordinary picture: sensor data may be JPEGs
        too (lossless, or lossy in a DNG), and so may masks and depth maps.
Source: DNG 1.7.1 (chapters 2 and 4); TIFF/EP (ISO 12234-2); ExifTool's and LibRaw's tag tables.
"""

from __future__ import annotations

from typing import Final

from fastproc.core.gate.raw import makernotes
from fastproc.core.gate.raw.contents import Contents, Part, Place
from fastproc.core.gate.raw.directories import Directory, Tiff

_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC = 0x0100, 0x0101, 0x0103, 0x0106
_MAKE, _ORIENTATION, _DNG_VERSION = 0x010F, 0x0112, 0xC612
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 0x0111, 0x0117, 0x0144, 0x0145
_JPEG_AT, _JPEG_BYTES, _JPEG_TABLES = 0x0201, 0x0202, 0x015B
_EXIF, _GPS, _MAKER_NOTE = 0x8769, 0x8825, 0x927C
#: Panasonic's: a whole JPEG as a value; where the sensor data begins, where the offset of strips says ELSEWHERE.
_JPEG_FROM_RAW, _RAW_DATA = 0x002E, 0x0118
_SHAPE: Final = (_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES)
_JPEGS: Final = (_JPEG_AT, _JPEG_BYTES, _JPEG_TABLES, _JPEG_FROM_RAW, _RAW_DATA)
_WANTED: Final = frozenset({*_SHAPE, *_JPEGS, _MAKE, _ORIENTATION, _DNG_VERSION, _EXIF, _GPS})

#: What begins a file, before the offset of its main directory. ORF and RW2 have numbers of their own for TIFF's 42.
MAGICS: Final = {
    b"II*\0": "",
    b"MM\0*": "",
    b"IIRO": "orf",
    b"IIRS": "orf",
    b"MMOR": "orf",
    b"IIU\0": "rw2",
}
#: Photometric interpretations of a sensor's samples: colour filter array, linear raw.
_SENSOR: Final = frozenset({32803, 34892})
#: Those of a picture: grey, RGB, YCbCr. (Cameras leave it out for previews.)
_PICTURE: Final = frozenset({None, 1, 2, 6})
#: Compressions that only sensor data has: Sony, Samsung, Nikon, Kodak, Pentax.
_SENSOR_COMPRESSIONS: Final = frozenset({32767, 32769, 32770, 32772, 34713, 65000, 65535})
#: The camera's maker, as the first letters of its name -> kind.
_MAKERS: Final = {
    "nikon": "nef",
    "sony": "arw",
    "pentax": "pef",
    "ricoh": "pef",
    "samsung": "srw",
    "hasselblad": "3fr",
    "seiko": "erf",
    "mamiya": "mef",
    "kodak": "dcr",
    "eastman": "dcr",
    "leaf": "mos",
    "phase": "iiq",
}
_ELSEWHERE: Final = 0xFFFFFFFF


def kind_of(data: memoryview) -> str | None:
    """Return which kind of raw file a TIFF is; None if it is a picture of another kind. Cost: 10 to 100 us."""
    contents = read(data)
    return contents.kind if contents else None


def read(data: memoryview) -> Contents | None:
    """Return what the directories say; None for a TIFF that is no raw file. The first bytes are one of MAGICS."""
    tiff = Tiff.at(data, 0)
    directories = list(tiff.walk(_WANTED)) if tiff else []
    if tiff is None or not directories:
        return None
    main = directories[0]
    kind = _kind(tiff, directories)
    if kind is None:
        return None
    sensors = [each for each in directories if _is_sensor(tiff, each)]
    # An ORF's main directory is the sensor's picture, and looks like a grey one.
    sensors += [main] if kind == "orf" else []
    previews = [place for each in directories for place in _previews(tiff, each)]
    exif, gps = (tiff.number(main.entries.get(tag)) or 0 for tag in (_EXIF, _GPS))
    note = tiff.directory(exif, (_MAKER_NOTE,)).entries.get(_MAKER_NOTE)
    orientation = tiff.number(main.entries.get(_ORIENTATION))
    return Contents(
        kind=kind,
        previews=(*previews, *(makernotes.previews(tiff, note) if note else ())),
        orientation=orientation if orientation in range(1, 9) else None,
        sides=max((_sides(tiff, each) for each in sensors), default=(0, 0)),
        end=max(
            tiff.first() + 2, *(place.end for place in previews), *(_end(tiff, each) for each in directories)
        ),
        main=Part(tiff, tiff.first()),
        exif=Part(tiff, exif) if exif else None,
        gps=Part(tiff, gps) if gps else None,
    )


def _kind(tiff: Tiff, directories: list[Directory]) -> str | None:
    main = directories[0]
    if named := MAGICS.get(bytes(tiff.data[:4])):
        return named
    if _DNG_VERSION in main.entries:
        return "dng"
    if bytes(tiff.data[8:11]) == b"CR\2":
        return "cr2"
    if not any(_is_sensor(tiff, each) for each in directories):
        return None
    maker = tiff.text(main.entries.get(_MAKE), 32).lower()
    return next((kind for name, kind in _MAKERS.items() if maker.startswith(name)), "raw")


def _is_sensor(tiff: Tiff, directory: Directory) -> bool:
    entries = directory.entries
    return (
        tiff.number(entries.get(_PHOTOMETRIC)) in _SENSOR
        or tiff.number(entries.get(_COMPRESSION)) in _SENSOR_COMPRESSIONS
    )


def _sides(tiff: Tiff, directory: Directory) -> tuple[int, int]:
    entries = directory.entries
    return tiff.number(entries.get(_WIDTH)) or 0, tiff.number(entries.get(_HEIGHT)) or 0


def _previews(tiff: Tiff, directory: Directory) -> list[Place]:
    """Return where a directory may have a JPEG: by its own tags, as its only strip or tile, or as a value."""
    entries, found = directory.entries, []
    if value := entries.get(_JPEG_FROM_RAW):
        found.append(Place(value.at, value.size))
    if tiff.number(entries.get(_PHOTOMETRIC)) not in _PICTURE or _JPEG_TABLES in entries:
        return found
    pairs = ((_JPEG_AT, _JPEG_BYTES), (_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES))
    for at, size in pairs:
        place, length = entries.get(at), entries.get(size)
        if place and length and place.count == length.count == 1:
            offset, count = tiff.number(place), tiff.number(length)
            if offset and count and offset != _ELSEWHERE:
                found.append(Place(offset, count))
    return found


def _end(tiff: Tiff, directory: Directory) -> int:
    """Return where the last strip or tile ends, as far as it is said. Cameras write them in order.

    Of 60 cameras' raw files none has one that ends beyond the file. Panasonic's have no size.
    """
    entries = directory.entries
    last = (tiff.number(entries.get(_RAW_DATA)) or 0) + 1
    for at, size in ((_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES)):
        ends = zip(tiff.ends(entries.get(at)), tiff.ends(entries.get(size)), strict=False)
        last = max([last, *(offset + count for offset, count in ends if offset != _ELSEWHERE)])
    return last
