"""Reads an XMP value in each of the forms that RDF has for it: attribute, element, array, structure, qualified value.

Rule 1: a text where an array is expected is an array of one; an array where a text is expected gives its first item,
        or the one for every language.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastproc.worker.xmp.packet import Node

_ARRAYS = ("rdf:Bag", "rdf:Seq", "rdf:Alt")
_DESCRIPTION = "rdf:Description"
_VALUE = "rdf:value"
_NOT_MEMBERS = ("rdf:", "xml:")


def text(node: Node | None) -> str:
    """Return the value as a text; "" where there is none."""
    if node is None:
        return ""
    found = _items(node)
    if found is not None:
        default = [item for item in found if item.attributes.get("xml:lang", "").lower() == "x-default"]
        return text((default or found)[0]) if found else ""
    if "rdf:resource" in node.attributes:
        return node.attributes["rdf:resource"].strip()
    return text(member(node, _VALUE)) or "".join(node.words).strip()


def listed(node: Node | None) -> list[str]:
    """Return the texts of an array, without empty ones."""
    return [found for item in items(node) if (found := text(item))]


def items(node: Node | None) -> list[Node]:
    """Return the items of an array; what is no array is its only item."""
    if node is None:
        return []
    found = _items(node)
    return [node] if found is None else found


def _items(node: Node) -> list[Node] | None:
    for child in node.children:
        if child.name in _ARRAYS:
            return [item for item in child.children if item.name == "rdf:li"]
    return None


def member(node: Node | None, name: str) -> Node | None:
    """Return the member of a structure with that name."""
    return next((found for found in _members(node) if found.name == name), None) if node else None


def _members(node: Node) -> Iterator[Node]:
    holders = [node, *(child for child in node.children if child.name == _DESCRIPTION)]
    for holder in holders:
        for name, value in holder.attributes.items():
            if name == _VALUE or not name.startswith(_NOT_MEMBERS):
                yield Node(name, words=[value])
        yield from (child for child in holder.children if child.name != _DESCRIPTION)
