"""Makes camera raw files as their makers structure them, with sensor data that is noise and a JPEG of our own.

Each function returns the bytes of a file. `preview` is the JPEG that a right reader takes; smaller ones are beside it.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Sequence

from tests import pictures

#: One entry of a directory: tag, type, values. Bytes are written as they are, numbers by their type.
Field = tuple[int, int, "bytes | Sequence[int]"]
_CODES = {1: "B", 3: "H", 4: "I", 5: "I", 9: "i", 13: "I"}
#: A thumbnail, as most containers have one beside the preview.
SMALL = pictures.jpeg(160, 120, quality=40)
SENSOR = random.Random(7).randbytes(3_000)


class TiffWriter:
    """Lays out a file as cameras do: directories and small values in its first `room` bytes, data behind them."""

    def __init__(self, order: str = "<", magic: bytes = b"", head: bytes = b"", room: int = 2_048) -> None:
        self.order = order
        self.out = bytearray(magic or (b"II*\0" if order == "<" else b"MM\0*"))
        self.out += bytes(4) + head
        self._front = len(self.out)
        self.out += bytes(room)
        self._room = len(self.out)

    def data(self, body: bytes) -> int:
        """Append data; return its offset."""
        at = len(self.out)
        self.out += body + bytes(len(body) % 2)
        return at

    def _small(self, body: bytes) -> int:
        at = self._front
        self._front += len(body) + len(body) % 2
        assert self._front <= self._room
        self.out[at : at + len(body)] = body
        return at

    def directory(self, fields: Iterable[Field], following: int = 0) -> int:
        """Add a directory and its values; return its offset."""
        listed = sorted(fields, key=lambda each: each[0])
        at = self._small(bytes(2 + 12 * len(listed) + 4))
        entries = struct.pack(self.order + "H", len(listed))
        for tag, kind, value in listed:
            raw = value if isinstance(value, bytes) else self._packed(kind, value)
            count = len(raw) if isinstance(value, bytes) else len(value) // (2 if kind == 5 else 1)
            place = raw.ljust(4, b"\0")
            if len(raw) > 4:
                where = self._small(raw) if len(raw) <= 64 else self.data(raw)
                place = struct.pack(self.order + "I", where)
            entries += struct.pack(self.order + "HHI", tag, kind, count) + place
        entries += struct.pack(self.order + "I", following)
        self.out[at : at + len(entries)] = entries
        return at

    def _packed(self, kind: int, values: Sequence[int]) -> bytes:
        return struct.pack(f"{self.order}{len(values)}{_CODES[kind]}", *values)

    def done(self, first: int) -> bytes:
        """Return the file whose main directory is at `first`."""
        self.out[4:8] = struct.pack(self.order + "I", first)
        return bytes(self.out)


def preview(width: int = 640, height: int = 480, **options: object) -> bytes:
    return pictures.jpeg(width, height, **options)


def lossless(width: int = 4000, height: int = 3000) -> bytes:
    """What sensor data looks like to one who searches for JPEGs: a lossless JPEG (SOF3) with more pixels than any."""
    frame = b"\xff\xc3" + struct.pack(">HBHHB", 14, 14, height, width, 2) + b"\0\x11\0\1\x11\0"
    return b"\xff\xd8" + frame + b"\xff\xda\x00\x0a\x02\x00\x00\x01\x10\x01\x00\x00" + SENSOR + b"\xff\xd9"


def camera(make: bytes, orientation: int) -> list[Field]:
    return [
        (0x010F, 2, make + b"\0"),
        (0x0110, 2, b"Model 1\0"),
        (0x0112, 3, [orientation]),
        (0x0132, 2, b"2024:02:29 13:45:10\0"),
    ]


def links(tiff: TiffWriter, note: bytes = b"") -> list[Field]:
    """EXIF and position, as every container has them; `note` is a maker note."""
    exif: list[Field] = [
        (0x829A, 5, [1, 250]),
        (0x8827, 3, [400]),
        (0x9003, 2, b"2024:02:29 13:45:09\0"),
        (0xA434, 2, b"Wide 4.25mm f/1.8\0"),
    ]
    if note:
        exif.append((0x927C, 7, note))
    gps: list[Field] = [
        (1, 2, b"S\0"),
        (2, 5, [22, 1, 57, 1, 648, 100]),
        (3, 2, b"W\0"),
        (4, 5, [43, 1, 12, 1, 36, 1]),
    ]
    return [(0x8769, 4, [tiff.directory(exif)]), (0x8825, 4, [tiff.directory(gps)])]


def jpeg(tiff: TiffWriter, body: bytes, extra: Iterable[Field] = ()) -> list[Field]:
    return [(0x0103, 3, [6]), (0x0201, 4, [tiff.data(body)]), (0x0202, 4, [len(body)]), *extra]


def strip(tiff: TiffWriter, body: bytes, compression: int, extra: Iterable[Field] = ()) -> list[Field]:
    return [
        (0x0103, 3, [compression]),
        (0x0111, 4, [tiff.data(body)]),
        (0x0117, 4, [len(body)]),
        *extra,
    ]


def sensor(
    tiff: TiffWriter, compression: int, body: bytes = SENSOR, sides: tuple[int, int] = (4032, 3024)
) -> list[Field]:
    shape: list[Field] = [
        (0x00FE, 4, [0]),
        (0x0100, 4, [sides[0]]),
        (0x0101, 4, [sides[1]]),
        (0x0106, 3, [32803]),
    ]
    return strip(tiff, body, compression, shape)


def dng(
    large: bytes,
    orientation: int = 1,
    *,
    order: str = "<",
    sides: tuple[int, int] = (4032, 3024),
    more: Iterable[Field] = (),
) -> bytes:
    """Adobe's layout: a thumbnail in the main directory; lossless sensor data, a preview and a mask below it."""
    tiff = TiffWriter(order)
    small = tiff.data(SMALL)
    mask: list[Field] = [(0x00FE, 4, [4]), (0x0106, 3, [52527])]
    below = [
        tiff.directory(sensor(tiff, 7, lossless(), sides)),
        tiff.directory(strip(tiff, large, 7, [(0x00FE, 4, [1]), (0x0106, 3, [6])])),
        tiff.directory(strip(tiff, pictures.jpeg(700, 500, "L", quality=5), 7, mask)),
    ]
    main: list[Field] = [
        (0x00FE, 4, [1]),
        (0x0103, 3, [7]),
        (0x0106, 3, [6]),
        (0x0111, 4, [small]),
        (0x0117, 4, [len(SMALL)]),
        (0x014A, 4, below),
        (0xC612, 1, bytes([1, 4, 0, 0])),
    ]
    return tiff.done(tiff.directory([*main, *more, *camera(b"Acme", orientation), *links(tiff)]))


def lossy_dng(large: bytes) -> bytes:
    """A DNG whose sensor data is an ordinary JPEG of linear samples, larger than the preview."""
    tiff = TiffWriter()
    linear: list[Field] = [(0x00FE, 4, [0]), (0x0100, 4, [700]), (0x0101, 4, [500]), (0x0106, 3, [34892])]
    below = [
        tiff.directory(strip(tiff, pictures.jpeg(700, 500, quality=5), 34892, linear)),
        tiff.directory(strip(tiff, large, 7, [(0x00FE, 4, [1]), (0x0106, 3, [6])])),
    ]
    main: list[Field] = [(0x014A, 4, below), (0xC612, 1, bytes([1, 4, 0, 0]))]
    return tiff.done(tiff.directory([*main, *camera(b"Acme", 1), *links(tiff)]))


def cr2(large: bytes, orientation: int = 1) -> bytes:
    """Canon: the preview is the main directory's strip; a thumbnail, an RGB picture and the sensor's follow."""
    tiff = TiffWriter(head=b"CR\2\0" + bytes(4))
    last = tiff.directory(strip(tiff, lossless(), 6))
    rgb = tiff.directory(strip(tiff, SENSOR[:900], 1, [(0x0106, 3, [2])]), last)
    small = tiff.directory(jpeg(tiff, SMALL), rgb)
    fields = [*strip(tiff, large, 6), *camera(b"Canon", orientation), *links(tiff)]
    return tiff.done(tiff.directory(fields, small))


def nef(large: bytes, orientation: int = 1) -> bytes:
    """Nikon: an uncompressed thumbnail; below it the preview and the sensor's; a smaller preview in the maker note."""
    tiff = TiffWriter()
    inner = TiffWriter(room=256)
    ifd = inner.directory(jpeg(inner, SMALL))
    note = b"Nikon\0\2\x10\0\0" + inner.done(inner.directory([(0x0011, 4, [ifd])]))
    about = links(tiff, note)
    below = [tiff.directory(jpeg(tiff, large)), tiff.directory(sensor(tiff, 34713))]
    main = [*strip(tiff, bytes(4_800), 1, [(0x0106, 3, [2])]), (0x014A, 4, below)]
    return tiff.done(tiff.directory([*main, *camera(b"NIKON CORPORATION", orientation), *about]))


def old_nef(large: bytes) -> bytes:
    """One whose only JPEG is the maker note's."""
    tiff, inner = TiffWriter(), TiffWriter(">", room=256)
    ifd = inner.directory(jpeg(inner, large))
    note = b"Nikon\0\2\x10\0\0" + inner.done(inner.directory([(0x0011, 4, [ifd])]))
    below = [tiff.directory(sensor(tiff, 34713))]
    return tiff.done(tiff.directory([(0x014A, 4, below), *camera(b"NIKON", 1), *links(tiff, note)]))


def arw(large: bytes, orientation: int = 1) -> bytes:
    """Sony: a preview in the main directory, a thumbnail in the next, a large JPEG in the one after (newer models)."""
    tiff = TiffWriter()
    last = tiff.directory(jpeg(tiff, large))
    small = tiff.directory(jpeg(tiff, SMALL), last)
    below = tiff.directory(sensor(tiff, 32767))
    main = [*jpeg(tiff, SMALL), (0x014A, 4, [below])]
    return tiff.done(tiff.directory([*main, *camera(b"SONY", orientation), *links(tiff)], small))


def pef(large: bytes, orientation: int = 1) -> bytes:
    """Pentax: the sensor's data is the main directory's, the preview comes last in the file."""
    tiff = TiffWriter(">")
    about, main = links(tiff), sensor(tiff, 65535)
    after = tiff.directory(jpeg(tiff, large))
    small = tiff.directory(jpeg(tiff, SMALL), after)
    return tiff.done(tiff.directory([*main, *camera(b"PENTAX", orientation), *about], small))


def orf(large: bytes, orientation: int = 1, *, note: str = "new") -> bytes:
    """Olympus: only the maker note names the preview. `note`: new (offsets from the note), om (the same), old."""
    tiff = TiffWriter(magic=b"IIRO")
    head = {"new": b"OLYMPUS\0II\3\0", "om": b"OM SYSTEM\0\0\0II\4\0", "old": b"OLYMP\0\1\0"}[note]
    main = strip(tiff, SENSOR, 1, [(0x0100, 4, [4640]), (0x0101, 4, [3472]), (0x0106, 3, [1])])
    if note == "old":
        at = tiff.data(large)
        entries = struct.pack("<HHHII", 2, 0x0088, 4, 1, at) + struct.pack("<HHII", 0x0089, 4, 1, len(large))
        body = head + entries + bytes(4)
    else:
        # The note's directory has one entry, the offset of the settings, which name the JPEG behind them.
        settings = len(head) + 2 + 12 + 4
        picture = settings + 2 + 24 + 4
        body = head + struct.pack("<HHHII", 1, 0x2020, 13, 1, settings) + bytes(4)
        body += struct.pack("<HHHII", 2, 0x0101, 4, 1, picture) + struct.pack(
            "<HHII", 0x0102, 4, 1, len(large)
        )
        body += bytes(4) + large
    return tiff.done(tiff.directory([*main, *camera(b"OLYMPUS", orientation), *links(tiff, body)]))


def rw2(large: bytes, orientation: int = 1) -> bytes:
    """Panasonic: the preview is a value; the offset of strips says that it is in another tag."""
    tiff = TiffWriter(magic=b"IIU\0")
    samples = tiff.data(SENSOR)
    main: list[Field] = [
        (0x002E, 7, large),
        (0x0111, 4, [0xFFFFFFFF]),
        (0x0117, 4, [20_511_792]),
        (0x0118, 4, [samples]),
    ]
    return tiff.done(tiff.directory([*main, *camera(b"Panasonic", orientation), *links(tiff)]))


def raf(large: bytes) -> bytes:
    """Fujifilm: a header with three places; EXIF and orientation are the JPEG's own."""
    jpeg, meta = 160, bytes(64)
    places = (jpeg, len(large), jpeg + len(large), len(meta), jpeg + len(large) + len(meta), len(SENSOR))
    head = b"FUJIFILMCCD-RAW 0201FF393101" + b"X-Test".ljust(32, b"\0") + b"0100" + bytes(20)
    return (head + struct.pack(">6I", *places)).ljust(jpeg, b"\0") + large + meta + SENSOR


def cr3(large: bytes, orientation: int = 1, *, medium: bytes = b"", co64: bool = True) -> bytes:
    """Canon's boxes: EXIF in parts, a thumbnail, a preview, and tracks of which the first has the full-size JPEG."""
    part = TiffWriter()
    cmt1 = part.done(part.directory(camera(b"Canon", orientation)))
    part = TiffWriter()
    cmt2 = part.done(
        part.directory([(0x829A, 5, [1, 250]), (0x8827, 3, [400]), (0xA434, 2, b"Wide 4.25mm f/1.8\0")])
    )
    part = TiffWriter()
    cmt4 = part.done(
        part.directory(
            [(1, 2, b"S\0"), (2, 5, [22, 1, 57, 1, 0, 1]), (3, 2, b"W\0"), (4, 5, [43, 1, 0, 1, 0, 1])]
        )
    )
    small = SMALL
    canon = pictures.box(
        b"uuid",
        bytes.fromhex("85c0b687820f11e08111f4ce462b6a48"),
        pictures.box(b"CNCV", b"CanonCR3_001/00.09.00/00.00.00"),
        pictures.box(b"CMT1", cmt1),
        pictures.box(b"CMT2", cmt2),
        pictures.box(b"CMT4", cmt4),
        pictures.box(b"THMB", bytes(4), struct.pack(">HHIHH", 160, 120, len(small), 1, 0), small),
    )
    medium = medium or SMALL
    view = pictures.box(b"PRVW", bytes(4), struct.pack(">HHHHI", 1, 324, 216, 1, len(medium)), medium)
    shown = pictures.box(
        b"uuid", bytes.fromhex("eaf42b5e1c984b88b9fbb7dc406e4d16"), struct.pack(">Q", 1), view
    )
    head = pictures.box(b"ftyp", b"crx ", struct.pack(">I", 1), b"crx isom")

    def film(at: int) -> bytes:
        tracks = (_track(at, len(large), co64=co64), _track(at + len(large), len(SENSOR), co64=co64))
        return pictures.box(b"moov", canon, *tracks)

    data = len(head) + len(film(0)) + len(shown) + 16
    mdat = struct.pack(">I4sQ", 1, b"mdat", 16 + len(large) + len(SENSOR)) + large + SENSOR
    return head + film(data) + shown + mdat


def _track(at: int, size: int, *, co64: bool) -> bytes:
    place = (
        pictures.box(b"co64", bytes(4), struct.pack(">IQ", 1, at))
        if co64
        else pictures.box(b"stco", bytes(4), struct.pack(">II", 1, at))
    )
    table = pictures.box(b"stbl", pictures.box(b"stsz", bytes(4), struct.pack(">III", 0, 1, size)), place)
    return pictures.box(
        b"trak", pictures.box(b"tkhd", bytes(84)), pictures.box(b"mdia", pictures.box(b"minf", table))
    )


#: Kind of container -> a maker of it from its largest JPEG and an orientation. RAF has none of its own.
TURNABLE = {"dng": dng, "cr2": cr2, "nef": nef, "arw": arw, "pef": pef, "orf": orf, "rw2": rw2, "cr3": cr3}
ALL = {**TURNABLE, "raf": lambda large: raf(large)}
