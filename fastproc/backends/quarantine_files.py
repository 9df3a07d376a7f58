"""What photos in quarantine are called wherever they lie: `<id>.photo`, with `<id>.json` beside it.

Rule 1: names are made of the photo's hash; nothing that a producer wrote gets into a path.
Rule 2: the photo is written before its JSON, so that no JSON promises a photo that is not there.
"""

from __future__ import annotations

import msgspec

from fastproc.core.errors import ConfigError
from fastproc.core.evidence import ID, Evidence

PHOTO, ABOUT = ".photo", ".json"
#: A JSON with a long reason and 4 KiB of stderr has 8 KiB.
MAX_ABOUT_BYTES = 1 << 20

_decoder = msgspec.json.Decoder(Evidence)


def encode(evidence: Evidence) -> bytes:
    """Return the JSON, indented for people."""
    return msgspec.json.format(msgspec.json.encode(evidence))


def decode(id: str, text: bytes) -> Evidence:
    """Raises ConfigError."""
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise ConfigError([f"QUARANTINE: {id}: {error}"]) from None


def check_id(id: str) -> None:
    """Raises ConfigError for anything that is not an id."""
    if not ID.fullmatch(id):
        raise ConfigError(
            [f"{id!r} is not the id of a photo in quarantine: expected 16 characters of 0-9 a-f"]
        )
