"""Decodes EXIF texts with an encoding of their own: UserComment, and the fields of Windows.

Source: Exif 3.0 (CIPA DC-008), 4.6.6.5 (UserComment); the XP fields as Windows Explorer writes them, UTF-16LE.
"""

from __future__ import annotations

import re
from typing import Final

from fastproc.worker import texts
from fastproc.worker.exif.tiff import Value

_CODE_BYTES: Final = 8
_JAPANESE: Final = ("iso2022_jp", "shift_jis", "euc_jp")
_PRINTABLE: Final = re.compile(rb"[\t\n\r\x20-\x7e]+")
#: So many bytes of ASCII are no text in UTF-16: six characters whose twelve bytes are all printable.
_PLAIN_BYTES: Final = 12


def user_comment(value: Value, order: str) -> str | None:
    """Return the comment; `order` is the byte order of the block: < or >.

    A comment without a known code is taken if it is plain ASCII; cameras leave other bytes there.
    """
    if not isinstance(value, bytes):
        return None
    code, raw = value[:_CODE_BYTES].rstrip(b"\0 ").upper(), value[_CODE_BYTES:]
    if code == b"UNICODE":
        return texts.clean(_utf_16(raw, order))
    if code == b"JIS":
        return texts.clean(_japanese(raw))
    if code in (b"ASCII", b""):
        return texts.clean(texts.decoded(raw.partition(b"\0")[0]))
    whole = value.partition(b"\0")[0]
    return texts.clean(whole.decode("latin-1")) if _PRINTABLE.fullmatch(whole) else None


def windows_text(value: Value) -> str | None:
    """Return the text of one of Windows' fields."""
    return texts.clean(_until_nul(value, "utf-16-le")) if isinstance(value, bytes) else None


def _utf_16(raw: bytes, order: str) -> str:
    """Decode UTF-16 by its mark; without one in the order which the text speaks for, else in that of the block.

    Programs write the order of their machine, whatever the block's is, and some write UTF-8.
    """
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _until_nul(raw[2:], "utf-16-le" if raw[:1] == b"\xff" else "utf-16-be")
    text = raw.rstrip(b"\0")
    if _PRINTABLE.fullmatch(text) and (len(text) & 1 or len(text) >= _PLAIN_BYTES):
        return text.decode("ascii")
    # The higher bytes of a text's characters differ less from each other than the lower ones.
    first, second = len(set(raw[0::2])), len(set(raw[1::2]))
    if first != second:
        return _until_nul(raw, "utf-16-be" if first < second else "utf-16-le")
    return _until_nul(raw, "utf-16-be" if order == ">" else "utf-16-le")


def _japanese(raw: bytes) -> str:
    text = raw.rstrip(b"\0 ")
    for codec in _JAPANESE:
        try:
            return text.decode(codec)
        except UnicodeDecodeError:
            continue
    return texts.decoded(text)


def _until_nul(raw: bytes, codec: str) -> str:
    return raw[: len(raw) & ~1].decode(codec, "replace").partition("\0")[0]
