"""One record, one line, whatever is in it."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.terminal.logs import OneLine, configure


def record(message: str, *arguments: object, error: bool = False) -> logging.LogRecord:
    return logging.LogRecord(
        "fastproc.job", logging.INFO, __file__, 1, message, arguments, sys.exc_info() if error else None
    )


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


@given(st.text(), st.text())
def test_a_record_is_one_printable_line_whatever_is_in_it(message: str, argument: str) -> None:
    line = OneLine().format(record(message.replace("%", "%%") + " %s", argument))
    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", line)
    line.encode()


@pytest.mark.parametrize("sign", [*map(chr, range(32)), "\x7f", "\x85", "\x9b", "\u2028", "\u2029", "\udc80"])
def test_no_sign_that_a_terminal_or_a_reader_of_lines_obeys_passes(sign: str) -> None:
    assert sign not in OneLine().format(record("%s", f"a{sign}b"))


def test_a_photos_name_cannot_forge_a_line() -> None:
    line = OneLine().format(record("photo %s", "x\n2026-01-01T00:00:00.000Z INFO fastproc: all is well"))
    assert "x\\n2026-01-01" in line


def test_the_terminals_escape_codes_do_not_pass() -> None:
    assert "\x1b" not in OneLine().format(record("%s", "\x1b[2J"))


def test_a_line_has_time_in_utc_level_room_and_message() -> None:
    entry = record("completed %s", "job=1")
    entry.created, entry.msecs = 1_700_000_000.25, 250.0
    assert OneLine().format(entry) == "2023-11-14T22:13:20.250Z INFO fastproc.job: completed job=1"


def test_a_traceback_is_folded_into_the_line() -> None:
    try:
        raise ValueError("what went wrong")
    except ValueError:
        line = OneLine().format(record("broken", error=True))
    assert len(line.splitlines()) == 1
    assert "Traceback" in line
    assert line.endswith("ValueError: what went wrong")


@pytest.mark.parametrize(
    ("level", "number"),
    [("debug", 10), ("info", 20), ("warn", 30), ("warning", 30), ("error", 40)],
)
def test_the_level_is_as_asked(root: logging.Logger, level: str, number: int) -> None:
    configure(level)
    assert root.level == number


def test_configuring_twice_logs_once(root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", stream := io.StringIO())
    configure("info")
    configure("info")
    logging.getLogger("fastproc.x").info("once")
    logging.getLogger("fastproc.x").debug("not at all")
    assert [line.partition("INFO ")[2] for line in stream.getvalue().splitlines()] == ["fastproc.x: once"]


def test_a_line_names_the_supervisor_where_there_are_several() -> None:
    assert " INFO fastproc.job supervisor=2: hello" in OneLine(2).format(record("hello"))
    assert "supervisor" not in OneLine().format(record("hello"))
