"""Exceptions that nobody expected, as values: what they are, where they come from, and when to speak of them.

Rule 1: a defect has the exception's class and the places of its traceback: no message, no variables, no paths of this
        host. Its message may quote a photo or a signed URL; that stays in the log and in the job.
Rule 2: two exceptions of one class from one place are one defect. It is told once, then with its count at most once in
        AGAIN_S, and so are all defects together at most as fast as the bucket allows.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import Struct

from fastproc.core.limit import TokenBucket

#: Frames kept of a traceback, the outermost and the innermost: a recursion without end has a thousand.
OUTER_FRAMES: Final = 5
INNER_FRAMES: Final = 25
MAX_FRAMES: Final = OUTER_FRAMES + INNER_FRAMES
MAX_NAME_CHARS: Final = 128
#: Names of Python: modules, `Class.method`, `<lambda>`, `f.<locals>.g`.
NAME: Final = re.compile(rf"[\w.<>]{{1,{MAX_NAME_CHARS}}}")
_NOT_IN_NAME: Final = re.compile(r"[^\w.<>]")
#: Seconds until a defect that goes on is told again: once a shift is too rare, once a minute fills a mailbox.
AGAIN_S: Final = 3600.0
#: Defects that are remembered; beyond them the one not seen for the longest time is forgotten.
MAX_DEFECTS: Final = 100
#: Reports of all defects together: so many at once, and so many in that time.
REPORTS: Final = 10
REPORTS_S: Final = 600.0


class Frame(Struct, frozen=True):
    """One place of a traceback."""

    module: str
    function: str
    line: int


class Defect(Struct, frozen=True):
    """An exception nobody expected: its class with its module, its frames with the innermost last, its stage if any."""

    kind: str
    frames: tuple[Frame, ...] = ()
    stage: str = ""

    @property
    def place(self) -> str:
        """Where it was raised."""
        if not self.frames:
            return ""
        last = self.frames[-1]
        return f"{last.module}:{last.function}:{last.line}"

    def text(self) -> str:
        """The traceback in Python's form, without the message."""
        lines = (f"  module {each.module}, line {each.line}, in {each.function}" for each in self.frames)
        return "\n".join(["Traceback (most recent call last):", *lines, self.kind])


def defect(error: BaseException, stage: str = "") -> Defect:
    """Return what an exception is and where it comes from."""
    frames = []
    # `Any`: the types of tracebacks are in a module that reaches outside.
    at: Any = error.__traceback__
    while at is not None:
        frame, code = at.tb_frame, at.tb_frame.f_code
        function = getattr(code, "co_qualname", code.co_name)
        frames.append(Frame(_name(frame.f_globals.get("__name__", "?")), _name(function), at.tb_lineno or 0))
        at = at.tb_next
    if len(frames) > MAX_FRAMES:
        frames = frames[:OUTER_FRAMES] + frames[-INNER_FRAMES:]
    kind = type(error)
    full = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return Defect(_name(full), tuple(frames), stage)


def message_of(error: BaseException) -> str:
    """Return the exception's message; a stage's own class may raise where it is asked for it."""
    try:
        return str(error)
    except Exception as worse:
        return f"its message cannot be read: {type(worse).__name__}"


def _name(text: object) -> str:
    return _NOT_IN_NAME.sub("_", str(text))[-MAX_NAME_CHARS:] or "_"


class _Seen(Struct):
    """A defect's count since it was told last, and when that was; None: never."""

    count: int = 0
    told_at: float | None = None


class Telling:
    """When to speak of which defect. The caller brings `now` (monotonic seconds)."""

    def __init__(self, now: float) -> None:
        self._bucket = TokenBucket(REPORTS, REPORTS_S, now)
        self._seen: dict[tuple[str, str], _Seen] = {}

    def seen(self, found: Defect, now: float) -> int:
        """Count the defect; return how often it was seen since it was told last if it is to be told now, else 0."""
        key = (found.kind, found.place)
        about = self._seen.pop(key, None) or _Seen()
        # The dictionary's order is that of the last sight.
        self._seen[key] = about
        if len(self._seen) > MAX_DEFECTS:
            del self._seen[next(iter(self._seen))]
        about.count += 1
        is_due = about.told_at is None or now - about.told_at >= AGAIN_S
        if not is_due or self._bucket.take(now) > 0.0:
            return 0
        count, about.count, about.told_at = about.count, 0, now
        return count
