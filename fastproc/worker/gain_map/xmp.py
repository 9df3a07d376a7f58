"""Reads properties of gain maps from an untrusted XMP packet, at a cost that grows with its length alone.

Rule 1: expat reads the XML; prefixes may have any name, and are resolved by `xmp.prefixes`. A packet with a document
        type is refused at once: without one there are no entities to expand.
Rule 2: a packet is UTF-8 (XMP Specification, Part 3, 1.1.3), whatever it declares: Python would import a codec for
        another encoding, and the jail lets no file be opened.
Rule 3: only properties of the gain maps' namespaces are kept, of each at most four values of some characters.
Rule 4: what was read before an error counts: writers pad packets with zeros.
"""

from __future__ import annotations

from typing import Final
from xml.parsers import expat

from fastproc.worker.xmp.prefixes import Prefixes

ADOBE: Final = "http://ns.adobe.com/hdr-gain-map/1.0/"
APPLE: Final = "http://ns.apple.com/HDRGainMap/1.0/"
APPLE_PIXELS: Final = "http://ns.apple.com/pixeldatainfo/1.0/"
_WANTED: Final = (ADOBE, APPLE, APPLE_PIXELS)
#: A packet fits one segment.
MAX_PACKET_BYTES: Final = 65_536
#: A value in a list in a property in a description in RDF is at 6.
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 4
MAX_VALUE_CHARS: Final = 100

#: (namespace, name) -> values.
Properties = dict[tuple[str, str], list[str]]


class _RefusedError(Exception):
    """The packet has what no XMP packet needs."""


class _Reader:
    """Collects the wanted properties: attributes, texts of elements, and items of lists."""

    def __init__(self) -> None:
        self.found: Properties = {}
        self._depth, self._inside = 0, 0
        self._property: tuple[str, str] | None = None
        self._text = ""
        self._prefixes = Prefixes(lambda address: address if address in _WANTED else "", {})

    def start(self, name: str, attributes: list[str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _RefusedError
        self._prefixes.enter(attributes)
        for attribute, value in zip(attributes[::2], attributes[1::2], strict=True):
            self._keep(self._prefixes.resolved(attribute, attribute=True), value)
        if self._property is None and (own := self._prefixes.resolved(name))[0] in _WANTED:
            self._property, self._inside = own, self._depth
        self._text = ""

    def text(self, text: str) -> None:
        if self._property is not None and len(self._text) < MAX_VALUE_CHARS:
            self._text += text[:MAX_VALUE_CHARS]

    def end(self, name: str) -> None:
        if self._property is not None:
            self._keep(self._property, self._text)
            if self._inside == self._depth:
                self._property = None
        self._text = ""
        self._depth -= 1
        self._prefixes.leave()

    def refuse(self, *_: object) -> None:
        raise _RefusedError

    def _keep(self, name: tuple[str, str], value: str) -> None:
        text = value.strip()[:MAX_VALUE_CHARS]
        if text and name[0] in _WANTED:
            values = self.found.setdefault(name, [])
            if len(values) < MAX_VALUES:
                values.append(text)


def properties(packet: bytes) -> Properties:
    """Return the properties of the gain maps' namespaces, {} if there are none or the packet is refused."""
    reader = _Reader()
    parser = expat.ParserCreate("UTF-8")
    parser.ordered_attributes = True
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(packet[:MAX_PACKET_BYTES], True)
    except _RefusedError:
        return {}
    except expat.ExpatError:
        return reader.found  # By rule 4.
    return reader.found
