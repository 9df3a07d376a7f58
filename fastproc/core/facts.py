"""What a stage's facts may be: JSON that any reader, row and store takes. The worker leaves the rest out and says so.

Rule 1: the same bounds are checked twice: in the worker, where a stage of somebody's own is corrected without harm to
        its photo; and in the supervisor, where a worker that breaks them was taken over.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

#: As JSON, all facts of a photo. They come in one packet; where that is all control characters, JSON is six times as
#: long.
MAX_BYTES: Final = 256 << 10
#: Levels of a photo's facts: stages, their keys, and what these hold.
MAX_DEPTH: Final = 12
MAX_KEY_CHARS: Final = 128
#: Values in one fact: a list that holds itself, or one list a thousand times, has no end.
MAX_VALUES: Final = 50_000
#: What every reader of JSON carries exactly.
MAX_NUMBER: Final = 2**53
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def fault_of(value: Any, *, tuples: bool = False) -> str:
    """Say what is wrong with a fact, "" where nothing is. `tuples` are lists, as they will be when they were sent."""
    lists = (list, tuple) if tuples else (list,)
    count, levels = 0, MAX_DEPTH - 2  # Around a fact are its stage and all stages.
    level: list[Any] = [value]
    for _ in range(levels):
        following: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                if fault := next(filter(None, map(fault_of_key, each)), ""):
                    return fault
                following += each.values()
            elif isinstance(each, lists):
                following += each
            elif fault := _fault_of_one(each):
                return fault
        if not following:
            return ""
        count, level = count + len(following), following
        if count > MAX_VALUES:
            return f"more than {MAX_VALUES} values"
    return f"facts within facts: more than {levels} levels"


def _fault_of_one(value: Any) -> str:
    """What is wrong with a value that holds no others."""
    if isinstance(value, str):
        if not value.isascii() and _SURROGATE.search(value):
            return "a text that is no Unicode"
        # PostgreSQL's JSON knows no zero character; every other one is escaped by the encoder.
        return "a text with a zero character" if "\0" in value else ""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            return "a number that is not finite"
        return "" if abs(value) <= MAX_NUMBER else "a number beyond 2^53"
    return f"a value of type {type(value).__name__}"


def fault_of_key(key: Any) -> str:
    """Say what is wrong with a key, "" where nothing is."""
    if not isinstance(key, str):
        return f"a key that is no text but {type(key).__name__}"
    if len(key) > MAX_KEY_CHARS:
        return f"a key of more than {MAX_KEY_CHARS} characters"
    return "" if key.isalnum() or not _CONTROL.search(key) else "a key with a control character"
