"""Reads IPTC's older form (IIM) from the resources of Photoshop that hold it in a JPEG, at a bounded cost.

Rule 1: nothing raises: a walk ends where the structure does, and what was read before stays.
Rule 2: a text is UTF-8 where the record says so or its bytes are, else Windows-1252.
Source: IPTC-IIM 4.2; Photoshop File Formats, Image Resources; MWG 2.0, 3.3 (digest), 3.4 (character set).
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any, Final

from fastproc.worker import dates, texts

_IPTC, _DIGEST = 0x0404, 0x0425
#: Photoshop writes some 30 resources, and a photo agency some 100 datasets.
MAX_RESOURCES: Final = 1000
MAX_DATASETS: Final = 2000
_TAG: Final = 0x1C
#: Escape sequences that announce UTF-8 in dataset 1:90 (ISO 2022).
_UTF_8: Final = (b"\x1b%G", b"\x1b%/G", b"\x1b%/H", b"\x1b%/I")

#: name -> dataset of record 2, and its bound in bytes: a text of that length may be the beginning of a longer one.
TEXTS: Final = {
    "title": (5, 64),
    "description": (120, 2000),
    "credit": (110, 32),
    "copyright": (116, 128),
    "city": (90, 32),
    "country": (101, 64),
}
LISTS: Final = {"creator": (80, 32), "keywords": (25, 64)}
_DATE, _TIME = 55, 60


def parse(resources: bytes) -> tuple[dict[str, Any], bool]:
    """Return the fields, and whether they were changed after XMP was written beside them.

    `resources` are those of Photoshop, or the records alone.
    """
    if resources[:1] == bytes([_TAG]):
        return _fields(resources), False
    found = _resources(resources)
    records = found.get(_IPTC, b"")
    digest = found.get(_DIGEST, b"")
    changed = len(digest) == 16 and hashlib.md5(records, usedforsecurity=False).digest() != digest
    return _fields(records), changed


def _resources(data: bytes) -> dict[int, bytes]:
    """Return the two resources that are wanted; of each the first."""
    found: dict[int, bytes] = {}
    at = 0
    for _ in range(MAX_RESOURCES):
        # Some writers leave out a byte that makes a length even, some add one.
        at = data.find(b"8BIM", max(0, at - 1), at + 6)
        if at < 0 or at + 12 > len(data):
            break
        kind, name = struct.unpack_from(">HB", data, at + 4)
        at += 6 + (name + 2 & ~1)
        if at + 4 > len(data):
            break
        size = int.from_bytes(data[at : at + 4])
        at += 4
        if kind in (_IPTC, _DIGEST):
            found.setdefault(kind, data[at : at + size])
        at += size + 1 & ~1
    return found


def _fields(records: bytes) -> dict[str, Any]:
    datasets, utf_8 = _datasets(records)

    def text(raw: bytes) -> str | None:
        raw = raw.partition(b"\0")[0]
        return texts.clean(raw.decode("utf-8", "replace") if utf_8 else texts.decoded(raw, "cp1252"))

    read: dict[str, Any] = {
        name: text(datasets[number][0]) for name, (number, _) in TEXTS.items() if number in datasets
    }
    for name, (number, _) in LISTS.items():
        read[name] = list(dict.fromkeys(filter(None, map(text, datasets.get(number, [])))))
    date, time = (text(datasets.get(number, [b""])[0]) or "" for number in (_DATE, _TIME))
    read["captureDate"] = dates.of_iim(date, time)
    return {name: value for name, value in read.items() if value}


def _datasets(records: bytes) -> tuple[dict[int, list[bytes]], bool]:
    """Return the datasets of record 2 by number, and whether the texts are announced as UTF-8."""
    found: dict[int, list[bytes]] = {}
    utf_8, at = False, 0
    for _ in range(MAX_DATASETS):
        if at + 5 > len(records) or records[at] != _TAG:
            break
        record, number, size = struct.unpack_from(">BBH", records, at + 1)
        at += 5
        if size & 0x8000:
            # An extended dataset: this is the length of its length.
            length = size & 0x7FFF
            size, at = int.from_bytes(records[at : at + min(length, 8)]), at + length
        value = records[at : at + size]
        if record == 2:
            found.setdefault(number, []).append(value)
        elif (record, number) == (1, 90):
            utf_8 = value in _UTF_8
        at += size
    return found, utf_8
