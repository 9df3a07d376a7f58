"""Which of Socket.IO's rooms hear of an event, by the patterns of EVENTS_SOCKETIO_ROOMS.

Rule 1: a pattern whose field the event does not have, or has as an empty text, names no room.
Rule 2: for JavaScript the rooms 7 and "7" are two. A pattern that is one field alone, with a whole number in it, names
        both, because nobody can say which of them a server joined; text names the room of that text alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

#: What a pattern may name; each is a field of every event's data.
FIELDS: Final = ("clientId", "sessionId", "photoId", "jobId")
#: JavaScript's largest exact integer.
MAX_NUMBER: Final = 2**53 - 1
#: Of a job that is refused because its `clientId` is longer than the contract's 256, nobody can be told by it.
MAX_ROOM_CHARS: Final = 1024

Room = str | int

_FIELD: Final = re.compile(r"\{(" + "|".join(FIELDS) + r")\}")


def is_pattern(text: str) -> bool:
    """Return whether the text names at least one field, and has no other braces."""
    rest = _FIELD.sub("", text)
    return rest != text and not re.search(r"[{}]", rest)


def of(patterns: Sequence[str], data: Mapping[str, Any]) -> tuple[Room, ...]:
    """Return the rooms that hear of an event with that data, each once."""
    found: dict[Room, None] = {}
    for pattern in patterns:
        fields = {name: data.get(name) for name in _FIELD.findall(pattern)}
        if any(value is None or value == "" for value in fields.values()):
            continue
        name = _FIELD.sub(lambda match, fields=fields: str(fields[match[1]]), pattern)  # type: ignore[misc]
        if len(name) > MAX_ROOM_CHARS:
            continue
        found[name] = None
        number = fields.get(pattern[1:-1])
        if isinstance(number, int) and abs(number) <= MAX_NUMBER:
            found[number] = None
    return tuple(found)


def exact(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data with whole numbers that JavaScript does not have, and MessagePack may not, as text."""
    return {
        name: str(value) if isinstance(value, int) and abs(value) > MAX_NUMBER else value
        for name, value in data.items()
    }
