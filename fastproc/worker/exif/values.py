"""Reads one value of an EXIF block as what a field means: a number, a text, a word. None for anything else.

Rule 1: numbers are finite and texts are clean, so that the result is JSON; texts are not cut here.
"""

from __future__ import annotations

from collections.abc import Callable

from fastproc.worker import texts
from fastproc.worker.exif.tiff import Value


def number(value: Value) -> float | None:
    """Return the first number, as int if it is whole, else to six significant digits; None if there is none."""
    if not isinstance(value, tuple):
        return None
    first = value[0]
    if first != first or abs(first) > 1e12:
        return None
    return int(first) if first == int(first) else float(f"{first:.6g}")


def positive(value: Value) -> float | None:
    found = number(value)
    return found if found is not None and found > 0 else None


def text(value: Value) -> str | None:
    return texts.clean(texts.decoded(value.partition(b"\0")[0])) if isinstance(value, bytes) else None


def digits(value: Value) -> str | None:
    """Return the digits of a part of a second, which some cameras fill up with spaces."""
    found = (text(value) or "")[:9]
    return found if found.isascii() and found.isdigit() else None


def orientation(value: Value) -> int | None:
    found = number(value)
    return int(found) if found in (1, 2, 3, 4, 5, 6, 7, 8) else None


def stars(value: Value) -> int | None:
    """Return a rating of 0 to 5."""
    found = number(value)
    return int(found) if found in (0, 1, 2, 3, 4, 5) else None


def flash(value: Value) -> bool | None:
    found = number(value)
    return None if found is None else bool(int(found) & 1)


def word(words: tuple[str, ...]) -> Callable[[Value], str | None]:
    def read(value: Value) -> str | None:
        found = number(value)
        return words[int(found)] if found is not None and 0 <= found < len(words) else None

    return read
