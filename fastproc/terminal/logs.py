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

import contextlib
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Literal

import msgspec

from fastproc.core.defects import Telling, defect
from fastproc.core.fields import FIELDS, At, fields
from fastproc.core.masking import Known
from fastproc.terminal.stderr import Stderr

Format = Literal["text", "json"]

#: Longest message, field and traceback: a stranger's text must not fill a disk. A worker's last words have 4 KiB.
MAX_CHARS: Final = 8192
#: Depth of a field that is a list or a dictionary.
MAX_DEPTH: Final = 8

#: What needs no quotes in logfmt. Source: the grammar of github.com/kr/logfmt, less what is not printable ASCII.
_is_bare: Final = re.compile(r"[!#-<>-\[\]-~]+").fullmatch
#: Lines of words that need no quotes, without the signs `:` and `@` that secrets have around them.
_is_simple: Final = re.compile(r"[!#-9;<>?A-\[\]-~\n]+").fullmatch
#: Beside what JSON escapes by itself: DEL, C1 controls, separators of lines, and marks that turn the direction of text.
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_OURS: Final = "fastproc"
_ROOM: Final = "fastproc."
_LEVELS: Final = {number: logging.getLevelName(number).lower() for number in (10, 20, 30, 40)}


def text(found: Mapping[str, Any]) -> str:
    """Return a line of logfmt. Values in quotes have JSON's escapes, as Go's parsers read them."""
    return " ".join([f"{name}={_logfmt(value)}" for name, value in found.items() if value is not None])


def _simple(found: Mapping[str, Any]) -> str:
    """The same of values that need no quotes."""
    return " ".join([f"{name}={value}" for name, value in found.items() if value is not None])


def json(found: Mapping[str, Any]) -> str:
    """Return a line with a JSON object."""
    return _encoded({name: value for name, value in found.items() if value is not None})


def _logfmt(value: Any) -> str:
    if type(value) is int:
        return str(value)
    shown = value if type(value) is str else _encoded(value)
    return shown if _is_bare(shown) else _encoded(shown)


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
        self._write, self._write_simple = (json, json) if form == "json" else (text, _simple)
        self._who = {"supervisor": supervisor} if supervisor else {}
        self._known = Known(secrets)
        self._second = (-1, "")
        self._telling = Telling(time.time())

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        level, is_ours = _LEVELS.get(record.levelno) or record.levelname.lower(), _is_ours(record.name)
        # Names of ours stay as they are, whatever word is somebody's password.
        logger = record.name if is_ours else self._text(record.name)
        head = {"time": self._time(record.created), "level": level, "logger": logger, **self._who}
        message, about = record.getMessage(), getattr(record, FIELDS, {})
        is_plain = is_ours and not record.exc_info and not record.stack_info
        if is_plain and self._is_simple(message, about):
            return self._write_simple({**head, "message": message, **about})
        found = {"message": message, **about}
        if record.exc_info and (error := record.exc_info[1]) is not None:
            found |= self._told(error, record.created)
        if record.stack_info:
            found["stack"] = record.stack_info
        return self._write(head | {name: self._value(value) for name, value in found.items()})

    def _is_simple(self, message: str, about: Mapping[str, Any]) -> bool:
        """Whether nothing in a line needs a closer look, as in most: numbers and plain words, and none is a secret."""
        words = [message]
        for value in about.values():
            if type(value) is str and value:
                words.append(value)
            elif type(value) is not int and value is not None:
                return False
        text = "\n".join(words)
        # No word has a line end of its own: a stranger's id could write a line.
        is_plain = bool(message) and text.count("\n") == len(words) - 1 and _is_simple(text) is not None
        return is_plain and len(text) < MAX_CHARS and not self._known.has_one(text)

    def _told(self, error: BaseException, at: float) -> dict[str, Any]:
        about: dict[str, Any] = {"error": "".join(traceback.format_exception_only(error)).rstrip()}
        if times := self._telling.seen(defect(error), at):
            about["times"] = times if times > 1 else None
            about["traceback"] = "".join(traceback.format_exception(error)).rstrip()
        return about

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

    def __init__(self) -> None:
        super().__init__()
        self._stderr: Stderr | None = None
        with contextlib.suppress(OSError, ValueError):  # In tests it may be no file.
            self._stderr = Stderr(self.stream.fileno(), self._tell_dropped)

    def filter(self, record: logging.LogRecord) -> Any:
        """Whether the record is shown."""
        if record.levelno < logging.WARNING and not _is_ours(record.name):
            return False
        return not self.filters or super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, in one piece."""
        try:
            self._say(self.format(record))
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait a moment for a stderr that is slow."""
        if self._stderr:
            self._stderr.flush()

    def _say(self, line: str) -> None:
        if self._stderr:
            self._stderr.write(f"{line}\n".encode())
        else:
            self.stream.write(line + "\n")

    def _tell_dropped(self, lines: int) -> None:
        # Not by the logger: whoever waits for the thread that calls this (`flush`) holds its lock.
        words = "stderr took nothing for a while; lines of the log were dropped"
        record = logging.LogRecord(_OURS, logging.WARNING, "", 0, words, None, None)
        vars(record).update(fields(unsaid=lines))
        self._say(self.format(record))

    def handleError(self, record: logging.LogRecord) -> None:
        """Say what could not be said; a stderr that takes nothing takes this no more."""
        kind = sys.exc_info()[0]
        name = kind.__name__ if kind else "an error"
        wrong = logging.LogRecord(
            record.name, logging.ERROR, "", 0, "a line of the log could not be written: %s", (name,), None
        )
        try:
            self._say(self.format(wrong))
        except (OSError, ValueError):
            return


def _is_ours(logger: str) -> bool:
    return logger == _OURS or logger.startswith(_ROOM)


def configure(form: Format = "text", supervisor: int = 0, secrets: Iterable[str] = ()) -> None:
    """Write the log to stderr from now on; the arguments are those of Line. The level is set elsewhere."""
    handler = ToStderr()
    handler.setFormatter(Line(form, supervisor, secrets))
    logging.getLogger().handlers[:] = [handler]


def take_over() -> None:
    """Make events of the log of what Python itself would print: warnings, exceptions that nobody could be told."""
    logging.captureWarnings(True)
    # What no line shows need not be found out. Source: the logging HOWTO of Python's documentation, Optimization.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    setattr(logging, "logAsyncioTasks", False)  # noqa: B010  # From Python 3.12 on.
    setattr(logging, "_srcfile", None)  # noqa: B010
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _thread_ended


def _uncaught(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
    logging.getLogger(_OURS).error("unexpected error", exc_info=(kind, error, frames))


def _unraisable(about: sys.UnraisableHookArgs) -> None:
    error = (about.exc_type, about.exc_value or about.exc_type(), about.exc_traceback)
    logging.getLogger(_OURS).error("unexpected: nobody could be told of an exception", exc_info=error)


def _thread_ended(about: threading.ExceptHookArgs) -> None:
    if about.exc_type is SystemExit:
        return
    error = (about.exc_type, about.exc_value or about.exc_type(), about.exc_traceback)
    logging.getLogger(_OURS).error("unexpected: a thread has ended", exc_info=error)
