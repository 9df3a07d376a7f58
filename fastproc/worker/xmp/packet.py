"""Reads the wanted properties of an untrusted XMP packet into small trees, at a bounded cost.

Rule 1: no packet raises: what was read before a fault or a bound stays, and the fault is told.
Rule 2: a document type is refused: XMP has none, and with it all entities, whose expansion has no bound.
Rule 3: prefixes are resolved here and not by expat (`xmp.prefixes`).
Rule 4: what is not wanted (the history of edits, settings of filters) is counted, but never kept.
Source: XMP specification (ISO 16684-1), 7 (serialisation); RDF/XML.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from xml.parsers import expat

from msgspec import Struct, field

from fastproc.worker import texts
from fastproc.worker.xmp import names
from fastproc.worker.xmp.prefixes import Prefixes

#: A property of a structure in an array lies some 16 levels deep.
MAX_DEPTH: Final = 64
#: Elements of the whole packet: the longest of real ones is a history of edits of some thousands.
MAX_ELEMENTS: Final = 20_000
#: What no XML may have, and a second XML declaration, which only the first bytes may have.
_FORBIDDEN: Final = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]+")
_DECLARATION: Final = re.compile(r"<\?xml\s[^<>]{0,200}\?>")
#: Attributes of RDF that some writers leave without their prefix.
_BARE: Final = {"about": "rdf:about", "resource": "rdf:resource", "parseType": "rdf:parseType"}
_ROOT: Final = "rdf:RDF"


class Node(Struct):
    """An element, or an attribute that stands for one: resolved name ("" if unknown), attributes, text, children."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)


class Refused(Exception):
    """The packet is not read any further."""


def properties(packet: bytes, wanted: Collection[str]) -> tuple[dict[str, Node], str]:
    """Return the wanted properties by name, and what was wrong with the packet ("" for nothing)."""
    reader = _Reader(wanted)
    document = _document(packet)
    if not document:
        return reader.found, ""
    parser = expat.ParserCreate("utf-8")
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_type
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        # One call: expat reads a long token again with each piece that it is given.
        parser.Parse(document.encode(), True)
    except Refused as error:
        return reader.found, str(error)
    except expat.ExpatError as error:
        # After the RDF nothing matters: padding, the packet's end.
        return reader.found, "" if reader.complete else expat.ErrorString(error.code)
    return reader.found, ""


def _refuse_type(name: str, system: str | None, public: str | None, internal: int) -> None:
    raise Refused("it has a document type")


def _document(packet: bytes) -> str:
    """Return the packet's text from its first to its last tag, in the encoding that its first bytes show."""
    at = packet.find(b"<")
    if at < 0:
        return ""
    # A character of the packet begins at an even place, or at a fourth one: the mark of the order is as long.
    wide = packet[at ^ 1 : (at ^ 1) + 1] == b"\0"
    widest = wide and packet[at ^ 2 : (at ^ 2) + 1] == b"\0"
    if wide:
        codec = ("utf-32" if widest else "utf-16") + ("-be" if at & 1 else "-le")
        start = at & ~(3 if widest else 1)
        text = packet[start:].decode(codec, "replace")
    else:
        text = texts.decoded(packet[at:], "cp1252")
    return _DECLARATION.sub("", _FORBIDDEN.sub(" ", text[: text.rfind(">") + 1]))


class _Reader:
    """What expat tells, one element after the other."""

    def __init__(self, wanted: Collection[str]) -> None:
        self.found: dict[str, Node] = {}
        self.complete = False
        self._wanted = wanted
        self._prefixes = Prefixes(names.short, {short: short for short in (*names.ADDRESSES, names.XML)})
        self._open: list[Node] = []
        self._elements = self._skipped = self._root = 0

    def start(self, name: str, attributes: list[str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise Refused(f"it has more than {MAX_ELEMENTS} elements")
        if self._skipped:
            self._skipped += 1
            return
        if self._prefixes.depth >= MAX_DEPTH:
            raise Refused(f"it is more than {MAX_DEPTH} levels deep")
        self._prefixes.enter(attributes)
        depth, resolved = self._prefixes.depth, self._resolved(name)
        if not self._root:
            if resolved == _ROOT:
                self._root = depth
        elif depth == self._root + 1:
            self._described(attributes)
        elif self._open or resolved in self._wanted:
            self._keep(resolved, attributes)
        else:
            self._prefixes.leave()
            self._skipped = 1

    def end(self, name: str) -> None:
        if self._skipped:
            self._skipped -= 1
            return
        if self._open:
            node = self._open.pop()
            if not self._open:
                self.found.setdefault(node.name, node)
        elif self._prefixes.depth == self._root:
            self.complete = True
        self._prefixes.leave()

    def text(self, words: str) -> None:
        if self._open and not self._skipped:
            self._open[-1].words.append(words)

    def _described(self, attributes: list[str]) -> None:
        """Keep the properties that an rdf:Description has as attributes."""
        for name, value in self._pairs(attributes).items():
            if name in self._wanted:
                self.found.setdefault(name, Node(name, words=[value]))

    def _keep(self, name: str, attributes: list[str]) -> None:
        node = Node(name, self._pairs(attributes))
        if self._open:
            self._open[-1].children.append(node)
        self._open.append(node)

    def _pairs(self, attributes: list[str]) -> dict[str, str]:
        """Return the attributes whose names are known."""
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        resolved = ((_BARE.get(name) or self._resolved(name, attribute=True), value) for name, value in pairs)
        return {name: value for name, value in resolved if name}

    def _resolved(self, name: str, *, attribute: bool = False) -> str:
        short, local = self._prefixes.resolved(name, attribute=attribute)
        return f"{short}:{local}" if short else ""
