"""What a photo that is uploaded by hand is called: its id, its object key and its content type, from its file name.

For the commands and the demo. The service never guesses: its jobs name photo and key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Content types by suffix. An upload without one of these is judged by its content alone.
_CONTENT_TYPES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "heic": "image/heic",
    "avif": "image/avif",
    "gif": "image/gif",
    "jxl": "image/jxl",
}


def content_type(name: str) -> str:
    """Return the content type for a file name, `application/octet-stream` for a suffix that is not a photo's."""
    return _CONTENT_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")


def object_key(name: str) -> str:
    """Return the key under which a file of that name is uploaded."""
    return f"photos/{name}"


def photo_id(key: str) -> str:
    """Return an id for the photo of an object key: the file name without its suffix; `-` for what an id cannot have."""
    name = key.rstrip("/").rpartition("/")[2]
    stem, _, suffix = name.rpartition(".")
    kept = stem if stem and suffix else name
    return re.sub(r"[^A-Za-z0-9._-]", "-", kept)[:128].lstrip(".") or "photo"


def photo_ids(names: Sequence[str]) -> list[str]:
    """Return an id for each file name; a number is added where two names would have the same id."""
    ids: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for name in names:
        new = base = photo_id(name)
        while new in ids:
            # The next number that this name was not given yet: a thousand files of one name are no million steps.
            numbers[base] = number = numbers.get(base, 1) + 1
            new = f"{base}-{number}"
        ids[new] = None
    return list(ids)
