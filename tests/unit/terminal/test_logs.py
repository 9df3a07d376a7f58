"""One record, one line, in logfmt and in JSON, whatever is in it; read back by parsers that are not ours."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.fields import fields
from fastproc.supervisor.log_level import set_level
from fastproc.terminal import logs
from fastproc.terminal.logs import Line, configure, take_over
from tests import logfmt

READERS: dict[str, Callable[[str], dict[str, Any]]] = {"text": logfmt.parsed, "json": json.loads}
#: What readers of lines and terminals obey.
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
#: Everything that Python's texts can hold, with what is most likely to break a line.
HOSTILE = st.text(
    st.one_of(
        st.characters(exclude_categories=()), st.sampled_from('"\\= \n\r\t\x00\x1b\x85\u2028\u202e\udc80')
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | HOSTILE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(HOSTILE, inner, max_size=4),
    max_leaves=8,
)


def record(message: str, *arguments: object, error: bool = False, **about: Any) -> logging.LogRecord:
    found = logging.LogRecord(
        "fastproc.job", logging.INFO, __file__, 1, message, arguments, sys.exc_info() if error else None
    )
    found.__dict__ |= fields(**about)
    return found


class Said:
    """The log of this process, while a test has configured it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def lines(self, form: str = "text") -> list[dict[str, Any]]:
        return [READERS[form](line) for line in self._capsys.readouterr().err.splitlines()]


def readable(words: str) -> str:
    """A text as it comes back: what is no character is shown by its number."""
    return words.encode("utf-8", "backslashreplace").decode()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    yield Said(capsys)
    logging.captureWarnings(False)
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks


# --- lines


@pytest.mark.parametrize("form", READERS)
@given(message=HOSTILE, value=HOSTILE)
def test_any_text_is_one_printable_line_and_comes_back_from_a_foreign_parser(
    form: Any, message: str, value: str
) -> None:
    line = Line(form).format(record("%s", message, photoId=value))
    assert len(line.splitlines()) == 1
    assert not FORBIDDEN.search(line)
    found = READERS[form](line)
    if not any(sign in message + value for sign in "=@:"):  # What looks like a secret is hidden.
        assert (found["message"], found["photoId"]) == (readable(message), readable(value))


@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize(
    ("message", "job"), [("\n", "7"), ("", "\n"), ("done", "7\n8"), ("a\nb", "7"), ("", "7")]
)
def test_plain_words_with_a_line_end_do_not_write_a_line(form: Any, message: str, job: str) -> None:
    line = Line(form).format(record(message, jobId=job))
    assert "\n" not in line
    found = READERS[form](line)
    assert (found["message"], found["jobId"]) == (message, job)


@pytest.mark.parametrize("form", READERS)
@given(value=JSON)
def test_any_value_is_one_printable_line(form: Any, value: Any) -> None:
    line = Line(form).format(record("x", what=value))
    assert len(line.splitlines()) == 1
    assert not FORBIDDEN.search(line)
    assert ("what" in READERS[form](line)) == (value is not None)


@pytest.mark.parametrize(
    ("value", "in_text", "in_json"),
    [
        (7, "7", 7),
        (0.25, "0.25", 0.25),
        (True, "true", True),
        ("", '""', ""),
        ("a/b:c", "a/b:c", "a/b:c"),
        ("a b", '"a b"', "a b"),
        ('say "x"', '"say \\"x\\""', 'say "x"'),
        ("a=b", '"a=b"', "a=b"),
        ("C:\\x", '"C:\\\\x"', "C:\\x"),
        ("é", '"é"', "é"),
        ("\x85\u202e", '"\\u0085\\u202e"', "\x85\u202e"),
        ("\udc80", '"\\\\udc80"', "\\udc80"),
        (("a", 1), '"[\\"a\\",1]"', ["a", 1]),
        (float("nan"), "null", None),
        (ValueError("odd"), "odd", "odd"),
    ],
    ids=str,
)
def test_a_value_is_written_like_this(value: object, in_text: str, in_json: object) -> None:
    assert Line().format(record("x", what=value)).partition(" what=")[2] == in_text
    assert json.loads(Line("json").format(record("x", what=value)))["what"] == in_json


def test_a_line_has_time_in_utc_level_logger_message_and_fields() -> None:
    entry = record("completed", jobId="1", ms=42, code=None)
    entry.created, entry.msecs = 1_700_000_000.25, 250.0
    expected = {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "logger": "fastproc.job",
        "message": "completed",
    }
    assert Line().format(entry) == " ".join(f"{k}={v}" for k, v in expected.items()) + " jobId=1 ms=42"
    assert json.loads(Line("json").format(entry)) == {**expected, "jobId": "1", "ms": 42}


def test_the_time_goes_on() -> None:
    line = Line()
    for at, shown in ((1.999, "01.999"), (2.0, "02.000"), (1.5, "01.500")):
        entry = record("x")
        entry.created = at
        assert line.format(entry).startswith(f"time=1970-01-01T00:00:{shown}Z ")


@pytest.mark.parametrize("form", READERS)
def test_a_photos_name_cannot_forge_a_line_or_a_field(form: Any) -> None:
    name = 'x" level=error\n{"time": 1}'
    found = READERS[form](Line(form).format(record("photo %s", name, photoId=name)))
    assert (found["level"], found["photoId"]) == ("info", name)


@pytest.mark.parametrize("form", READERS)
def test_an_exception_is_folded_into_the_line(form: Any) -> None:
    try:
        raise ValueError("what went wrong")
    except ValueError:
        line = Line(form).format(record("broken", error=True))
    found = READERS[form](line)
    assert (found["message"], found["error"]) == ("broken", "ValueError: what went wrong")
    assert found["traceback"].startswith("Traceback (most recent call last):\n")
    assert len(line.splitlines()) == 1


def test_a_traceback_is_told_once_and_then_only_its_error() -> None:
    line, said = Line(), []
    for number in range(1000):
        try:
            raise ValueError(f"photo {number}")
        except ValueError:
            said.append(logfmt.parsed(line.format(record("broken", error=True))))
    assert [found["error"] for found in said] == [f"ValueError: photo {n}" for n in range(1000)]
    assert [n for n, found in enumerate(said) if "traceback" in found] == [0]
    try:
        raise ValueError("at another place")
    except ValueError:
        assert "traceback" in line.format(record("broken", error=True))


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    words = logfmt.parsed(Line().format(record("a%sz", "b" * 100_000)))["message"]
    assert len(words) < logs.MAX_CHARS + 10
    assert (words[:2], words[-2:]) == ("ab", "bz")


def test_a_line_names_the_supervisor_where_there_are_several() -> None:
    assert " logger=fastproc.job supervisor=2 message=hello" in Line(supervisor=2).format(record("hello"))
    assert "supervisor" not in Line().format(record("hello"))


def test_secrets_are_hidden_in_words_fields_and_tracebacks() -> None:
    try:
        raise ValueError("GET https://s3/x?X-Amz-Signature=abcdef0123 by hush-hush")
    except ValueError:
        entry = record(
            "at %s", "redis://me:s3kr3t@h", error=True, what=["hush-hush"], where={"k": "hush-hush"}
        )
    for form in ("text", "json"):
        line = Line(form, secrets=["hush-hush"]).format(entry)
        assert not [secret for secret in ("abcdef", "hush", "s3kr3t") if secret in line]


@pytest.mark.parametrize("form", READERS)
def test_a_password_that_is_a_common_word_leaves_the_head_of_a_line_and_is_hidden_behind_it(
    form: Any,
) -> None:
    found = READERS[form](
        Line(form, secrets=["fastproc", "warning"]).format(record("a fastproc", code="x y"))
    )
    assert (found["level"], found["logger"], found["message"]) == ("info", "fastproc.job", "a ********")
    entry = record("done")
    entry.name = "a library=\n of fastproc"
    found = READERS[form](Line(form, secrets=["fastproc"]).format(entry))
    assert found["logger"] == "a library=\n of ********"


# --- the process


def test_configuring_twice_logs_once_at_the_level_that_was_set(said: Said) -> None:
    configure()
    configure("json")
    set_level("info")
    logging.getLogger("fastproc.x").info("once")
    logging.getLogger("fastproc.x").debug("not at all")
    assert [line["message"] for line in said.lines("json")] == ["once"]


@pytest.mark.parametrize("level", ["debug", "info", "warn", "warning", "error"])
def test_the_level_is_that_of_our_loggers_and_can_be_set_again(said: Said, level: str) -> None:
    configure()
    set_level("debug")
    set_level(level)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("fastproc.x").log(number, "x")
    least = {"warn": "warning"}.get(level, level)
    names = ["debug", "info", "warning", "error"]
    assert [line["level"] for line in said.lines()] == names[names.index(least) :]


@pytest.mark.parametrize("level", ["debug", "info"])
def test_other_libraries_are_heard_from_a_warning_on_even_where_they_log_more(said: Said, level: str) -> None:
    configure()
    set_level(level)
    for name in ("botocore.auth", "aiohttp", "asyncio", "fastproc_stage_square"):
        library = logging.getLogger(name)
        # What nobody hears need not even be made.
        assert not library.isEnabledFor(logging.INFO)
        library.debug("GET /x?X-Amz-Signature=1")
        before = library.level
        library.setLevel(logging.DEBUG)
        library.info("GET /x?X-Amz-Signature=1")
        library.setLevel(before)
        library.warning("it went wrong")
    assert [line["message"] for line in said.lines()] == ["it went wrong"] * 4


def test_with_only_errors_asked_for_libraries_warnings_are_not_heard(said: Said) -> None:
    configure()
    set_level("error")
    logging.getLogger("aiohttp").warning("x")
    assert said.lines() == []


def test_a_record_that_cannot_be_a_line_is_a_line_that_says_so(said: Said) -> None:
    configure()
    logging.getLogger("fastproc.x").warning("%d", "no number")
    [line] = said.lines()
    assert line["message"] == "a line of the log could not be written: TypeError"


def test_what_python_would_print_is_a_line(said: Said) -> None:
    configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        take_over()
        warnings.warn("old\nway", stacklevel=1)

    def fail() -> None:
        raise KeyError("in a thread")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()

    class Odd:
        def __del__(self) -> None:
            raise KeyError("in a finalizer")

    Odd()
    try:
        raise KeyError("in the process")
    except KeyError:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]  # there is one
    lines = said.lines()
    assert [line.get("error") for line in lines] == [
        None,
        "KeyError: 'in a thread'",
        "KeyError: 'in a finalizer'",
        "KeyError: 'in the process'",
    ]
    assert "old\nway" in lines[0]["message"]
