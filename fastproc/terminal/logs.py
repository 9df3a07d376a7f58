"""The log on stderr: one event is one line, as logfmt or as JSON, whatever is in it and whoever said it.

Rule 1: both formats have the same names: time (RFC 3339, UTC), level, logger, supervisor (where there are several),
        message, the event's own fields, and error and traceback of an exception.
Rule 2: a value can end neither its line nor its quotes: what a terminal, a parser or a reader of lines could obey is
        escaped. Names of photos and jobs come from strangers.
Rule 3: no secret passes (`core.masking`). Nobody should say one; this is the last line of defence.
Rule 4: the traceback of an exception is told once for each place that raises it, then once an hour, with how often.
Rule 5: what other libraries say below a warning is not shown, whatever their loggers are set to.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from fastproc.core.defects import Telling, defect
from fastproc.core.fields import FIELDS, At
from fastproc.core.masking import Known

Format = Literal["text", "json"]

#: Longest message, field and traceback: a stranger's text must not fill a disk. A worker's last words have 4 KiB.
MAX_CHARS: Final = 8192
#: Depth of a field that is a list or a dictionary.
MAX_DEPTH: Final = 8

#: What needs no quotes in logfmt. Source: the grammar of github.com/kr/logfmt, less what is not printable ASCII.
_PLAIN: Final = re.compile(r"[!#-<>-\[\]-~]+")
#: Beside what JSON escapes by itself: DEL, C1 controls, separators of lines, and marks that turn the direction of text.
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_OURS: Final = "fastproc"


def text(items: Iterable[tuple[str, Any]]) -> str:
    """Return a line of logfmt. Values in quotes have JSON's escapes, as Go's parsers read them."""
    return " ".join(f"{name}={_logfmt(value)}" for name, value in items)


def json(items: Iterable[tuple[str, Any]]) -> str:
    """Return a line with a JSON object."""
    return _encoded(dict(items))


def _logfmt(value: Any) -> str:
    if type(value) is int:
        return str(value)
    shown = value if isinstance(value, str) else _encoded(value)
    return shown if _PLAIN.fullmatch(shown) else _encoded(shown)


def _encoded(value: Any) -> str:
    found = msgspec.json.encode(value).decode()
    if found.isascii() and "\x7f" not in found:
        return found
    # Such a character can only stand inside a string.
    return _UNPRINTABLE.sub(lambda sign: f"\\u{ord(sign[0]):04x}", found)


class Line(logging.Formatter):
    """A record as one line. `supervisor`: which one of several speaks; 0 where there is one, or for their master."""

    def __init__(self, form: Format = "text", supervisor: int = 0, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._write = json if form == "json" else text
        self._who = [("supervisor", supervisor)] if supervisor else []
        self._known = Known(secrets)
        self._second = (-1, "")
        self._telling = Telling(time.time())

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        items = [
            ("time", self._time(record.created)),
            ("level", record.levelname.lower()),
            ("logger", record.name),
            *self._who,
            ("message", self._text(record.getMessage())),
        ]
        for name, value in getattr(record, FIELDS, {}).items():
            items.append((name, value if type(value) is int else self._value(value)))
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            items.append(("error", self._text("".join(traceback.format_exception_only(error)).rstrip())))
            if times := self._telling.seen(defect(error), record.created):
                items.append(("times", times if times > 1 else None))
                items.append(("traceback", self._text("".join(traceback.format_exception(error)).rstrip())))
        if record.stack_info:
            items.append(("stack", self._text(record.stack_info)))
        return self._write((name, value) for name, value in items if value is not None)

    def _time(self, at: float) -> str:
        second = int(at)
        if second != self._second[0]:
            # There are many lines in one second.
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int(at * 1000) % 1000:03d}Z"

    def _value(self, value: Any, depth: int = 0) -> Any:
        match value:
            case bool() | int() | float() | None:
                return value
            case str():
                return self._text(value)
            case At(at):
                return self._time(at)
            case list() | tuple() | set() | frozenset() if depth < MAX_DEPTH:
                return [self._value(each, depth + 1) for each in value]
            case dict() if depth < MAX_DEPTH:
                return {self._text(str(name)): self._value(each, depth + 1) for name, each in value.items()}
        return self._text(str(value))

    def _text(self, words: str) -> str:
        if len(words) > MAX_CHARS:
            # The end of a traceback says what happened, its beginning where.
            words = f"{words[: MAX_CHARS // 4]} ... {words[-MAX_CHARS * 3 // 4 :]}"
        words = self._known.masked(words)
        if not words.isascii():
            # Bytes of a name that is no UTF-8 are shown as their numbers.
            words = words.encode("utf-8", "backslashreplace").decode()
        return words


class ToStderr(logging.StreamHandler[Any]):
    """Writes lines; what cannot be one becomes a line that says so."""

    def filter(self, record: logging.LogRecord) -> Any:
        """Whether the record is shown."""
        if record.levelno < logging.WARNING and record.name.partition(".")[0] != _OURS:
            return False
        return super().filter(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say what could not be said; a stderr that takes nothing takes this no more."""
        kind = sys.exc_info()[0]
        name = kind.__name__ if kind else "an error"
        wrong = logging.LogRecord(
            record.name, logging.ERROR, "", 0, "a line of the log could not be written: %s", (name,), None
        )
        try:
            self.stream.write(self.format(wrong) + self.terminator)
        except (OSError, ValueError):
            return


def configure(form: Format = "text", supervisor: int = 0, secrets: Iterable[str] = ()) -> None:
    """Write the log to stderr from now on; the arguments are those of Line. The level is set elsewhere."""
    handler = ToStderr()
    handler.setFormatter(Line(form, supervisor, secrets))
    logging.getLogger().handlers[:] = [handler]


def take_over() -> None:
    """Make events of the log of what Python itself would print: warnings, exceptions that nobody could be told."""
    logging.captureWarnings(True)
    sys.unraisablehook = _unraisable
    threading.excepthook = _thread_ended


def _unraisable(about: sys.UnraisableHookArgs) -> None:
    error = (about.exc_type, about.exc_value or about.exc_type(), about.exc_traceback)
    logging.getLogger(_OURS).error("unexpected: nobody could be told of an exception", exc_info=error)


def _thread_ended(about: threading.ExceptHookArgs) -> None:
    if about.exc_type is SystemExit:
        return
    error = (about.exc_type, about.exc_value or about.exc_type(), about.exc_traceback)
    logging.getLogger(_OURS).error("unexpected: a thread has ended", exc_info=error)
