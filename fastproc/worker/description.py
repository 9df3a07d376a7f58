"""What a file says of its photo in words: EXIF, and title, people, rights and dates from XMP, IPTC and EXIF.

Rule 1: XMP comes before IPTC, and IPTC before EXIF: what people wrote for publication, before what cameras write.
        IPTC comes first where its digest says that it was changed after the XMP.
Rule 2: nothing fails a photo; what was not read or was cut is told.
Rule 3: an orientation is for the decoder alone: the pictures are upright, and nobody should turn them again.
Source: Metadata Working Group, Guidelines for Handling Image Metadata 2.0, chapters 3 and 5. Where EXIF has a field too
they ask it first, and so take a camera's own words (`OLYMPUS DIGITAL CAMERA`) for the caption.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final

from fastproc.core.gate.reading import Buffer
from fastproc.core.model import Options
from fastproc.worker import iim, texts
from fastproc.worker.containers import reading
from fastproc.worker.containers.contents import Contents
from fastproc.worker.exif import fields as exif_fields
from fastproc.worker.vips.opening import Traits
from fastproc.worker.xmp import fields as xmp_fields

#: Longest text: as much as IPTC has room for (2:120).
MAX_TEXT_CHARS: Final = 2000
#: name -> most items of a list, most characters of an item. Stock agencies take 50 keywords.
MAX_LISTS: Final = {"creator": (20, 200), "keywords": (200, 100)}

#: Fields of EXIF that say the same, in their order.
_TEXTS_OF_EXIF: Final = {
    "title": ("xpTitle",),
    "description": ("description", "xpComment"),
    "copyright": ("copyright",),
}
_LISTS_OF_EXIF: Final = {"creator": ("artist", "xpAuthor"), "keywords": ("xpKeywords",)}
_ORDER: Final = (
    "title",
    "description",
    "creator",
    "credit",
    "copyright",
    "usageTerms",
    "webStatement",
    "keywords",
    "rating",
    "captureDate",
    "city",
    "country",
    "digitalSourceType",
    "faces",
)
_Fields = dict[str, Any]


class Description:
    """The words of one file, read when they are asked for."""

    def __init__(
        self, data: Buffer, format: str, traits: Traits, options: Options, warn: Callable[[str], None]
    ) -> None:
        """`traits` are those of the file's decoder; `warn` is called with what was not read as it should be."""
        self._data, self._format, self._traits, self._warn = data, format, traits, warn
        self._max_exif_bytes = options.limits.max_exif_bytes
        self._with_position = options.exif_gps == "keep"

    @cached_property
    def exif(self) -> _Fields:
        """The EXIF fields that may be published, {} if there are none or they cannot be read."""
        return {name: value for name, value in self._exif.items() if name != "orientation"}

    @cached_property
    def orientation(self) -> int | None:
        """The orientation of a PNG where its decoder does not look: EXIF after the picture or in a text, then XMP.

        Source: Pillow, ImageOps.exif_transpose. In other formats XMP does not turn a picture: no browser does that.
        """
        if self._format != "png":
            return None
        found: int | None = self._exif.get("orientation") if self._contents.turns else None
        return found or self._xmp.get("orientation")

    @cached_property
    def fields(self) -> _Fields:
        """The contract's `descriptive`, {} if there is nothing to say."""
        written, changed = iim.parse(self._contents.resources)
        fields = merged(self._xmp, written, self._exif, iptc_is_newer=changed)
        if "gps" not in self._exif:
            fields |= {name: self._xmp[name] for name in ("gps", "gpsDateTime") if name in self._xmp}
        if self._contents.credentials:
            fields["contentCredentials"] = True
        texts.cut(fields, MAX_TEXT_CHARS, self._was_cut)
        for name, (items, chars) in MAX_LISTS.items():
            found = fields.get(name, [])
            if len(found) > items or any(len(item) > chars for item in found):
                fields[name] = [item[:chars].rstrip() for item in found[:items]]
                self._was_cut(name)
        return fields

    @cached_property
    def _contents(self) -> Contents:
        found = reading.contents(self._data, self._format)
        if self._traits.xmp:
            found.add_xmp(self._traits.xmp)
        for what in found.unread:
            self._warn(what)
        return found

    @cached_property
    def _exif(self) -> _Fields:
        block = self._traits.exif
        if not block and self._format == "png":
            block = self._contents.exif
        if not block:
            return {}
        if len(block) > self._max_exif_bytes:
            self._warn(f"EXIF of {len(block)} bytes was not read (MAX_EXIF_BYTES)")
            return {}
        return exif_fields.parse(block, with_position=self._with_position, on_cut=self._exif_was_cut)

    @cached_property
    def _xmp(self) -> _Fields:
        """The fields of all packets, the first one first, each with its extension."""
        found: _Fields = {}
        packets = list(self._contents.xmp)
        for packet in packets:
            fields, fault = xmp_fields.parse(packet, with_position=self._with_position)
            found = fields | found
            if fault:
                self._warn(f"XMP was not read to its end: {fault}")
            extension = self._contents.extensions.pop(fields.get("extension", ""), None)
            if extension:
                packets.append(extension)
        return found

    def _was_cut(self, name: str) -> None:
        self._warn(f"descriptive {name} is too long and was cut")

    def _exif_was_cut(self, name: str) -> None:
        self._warn(f"EXIF {name} is longer than {exif_fields.MAX_TEXT_CHARS} characters and was cut")


def merged(xmp: _Fields, written: _Fields, exif: _Fields, *, iptc_is_newer: bool = False) -> _Fields:
    """Return one set of fields from XMP, IPTC and EXIF, by rule 1."""
    first, second = (written, xmp) if iptc_is_newer else (xmp, written)
    fields = _of_exif(exif) | second | first
    for name, (_, max_bytes) in iim.TEXTS.items():
        # IPTC has little room: it may hold the beginning of what XMP holds whole.
        short, whole = written.get(name, ""), xmp.get(name, "")
        if whole.startswith(short) and len(short.encode()) >= max_bytes - 3:
            fields[name] = whole
    date = _exactest(_dates(first, second, xmp, exif))
    if date:
        fields["captureDate"] = date
    return {name: fields[name] for name in _ORDER if name in fields}


def _of_exif(exif: _Fields) -> _Fields:
    found: _Fields = {}
    for name, sources in _TEXTS_OF_EXIF.items():
        found[name] = next((exif[source] for source in sources if source in exif), None)
    for name, sources in _LISTS_OF_EXIF.items():
        text = next((exif[source] for source in sources if source in exif), "")
        # A value with a semicolon in it stands in quotes (MWG 2.0, 5.2).
        parts = next(csv.reader([text], delimiter=";", skipinitialspace=True), [])
        found[name] = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    found["rating"] = exif.get("rating")
    return {name: value for name, value in found.items() if value not in (None, [])}


def _dates(first: _Fields, second: _Fields, xmp: _Fields, exif: _Fields) -> Iterator[str]:
    """Yield the dates on which the photo may have been taken, the best first; the last two are of its digitisation."""
    found = (
        first.get("captureDate"),
        # What IPTC says comes after both dates of XMP, unless it is newer.
        xmp.get("dateTimeOriginal") if first is xmp else second.get("captureDate"),
        second.get("captureDate") if first is xmp else xmp.get("dateTimeOriginal"),
        exif.get("dateTimeOriginal"),
        xmp.get("createDate"),
        exif.get("dateTimeDigitized"),
    )
    yield from (date for date in found if date)


def _exactest(dates: Iterator[str]) -> str | None:
    """Return the first date, or a later one that says the same more exactly."""
    chosen = next(dates, None)
    for date in dates:
        if chosen and date.startswith(chosen):
            chosen = date
    return chosen
