"""Makes texts of untrusted files fit for publication: decoded, without control characters, cut at characters.

Rule 1: nothing raises, and every text that leaves is JSON that any store takes.
Rule 2: codecs that Python loads on first use are loaded here: later a worker may open no file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Any, Final

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")
#: Called with the name of a text or list that was longer than its bound.
OnCut = Callable[[str], None]

for _codec in ("latin-1", "cp1252", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
    codecs.lookup(_codec)
for _codec in ("iso2022_jp", "shift_jis", "euc_jp"):
    b'\x1b$B$"\x1b(B'.decode(_codec, "replace")


def decoded(raw: bytes, otherwise: str = "latin-1") -> str:
    """Return a text that should be UTF-8, and that older programs have written in another encoding."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        # A last character that was cut in two, here or in the camera, does not make the rest another encoding.
        cut_in_two = error.reason == "unexpected end of data" and error.start > 0
        return raw[: error.start].decode() if cut_in_two else raw.decode(otherwise, "replace")


def clean(text: str) -> str | None:
    """Return the text in one line; None if nothing is left of it."""
    return _UNPRINTABLE.sub(" ", text).strip() or None


def cut(fields: dict[str, Any], max_chars: int, on_cut: OnCut) -> None:
    """Cut the texts among the fields to so many characters."""
    for name, value in fields.items():
        if isinstance(value, str) and len(value) > max_chars:
            fields[name] = value[:max_chars].rstrip()
            on_cut(name)
