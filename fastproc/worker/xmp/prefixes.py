"""Resolves the prefixes of an XML document while it is read, at a cost that grows with its length alone.

Rule 1: expat could do it, but copies the address of a namespace into each name: an XMP packet of 64 KB takes 190 MB
        so, and one of 250 KB 2 GB (CVE-2025-59375; fixed in expat 2.7.2, which not every Python has).
"""

from __future__ import annotations

from collections.abc import Callable


class Prefixes:
    """What prefixes mean at the place that has been reached."""

    def __init__(self, known: Callable[[str], str], usual: dict[str, str]) -> None:
        """`known` gives the name that the caller has for an address ("" for one of which nothing is wanted).

        `usual`: what prefixes mean that are not declared.
        """
        self._known, self._scope = known, dict(usual)
        #: For each open element: what the prefixes meant that it declares.
        self._before: list[list[tuple[str, str]]] = []

    @property
    def depth(self) -> int:
        """How many elements are open."""
        return len(self._before)

    def enter(self, attributes: list[str]) -> None:
        """An element begins; its attributes are a list of names and values, one after the other."""
        before = []
        for at in range(0, len(attributes), 2):
            first, _, prefix = attributes[at].partition(":")
            if first == "xmlns":
                before.append((prefix, self._scope.get(prefix, "")))
                self._scope[prefix] = self._known(attributes[at + 1])
        self._before.append(before)

    def leave(self) -> None:
        """The element that began last ends."""
        for prefix, meaning in reversed(self._before.pop()):
            self._scope[prefix] = meaning

    def resolved(self, name: str, *, attribute: bool = False) -> tuple[str, str]:
        """Return the namespace by the caller's name for it, "" if it has none, and the local name."""
        prefix, colon, local = name.partition(":")
        if colon:
            return self._scope.get(prefix, ""), local
        # A namespace without a prefix is for elements alone.
        return "" if attribute else self._scope.get("", ""), name
