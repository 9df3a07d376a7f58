"""What commands write: characters that a locale lacks, and a reader that goes away early."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import click
import pytest
from rich.console import Console

from fastproc.commands import running
from fastproc.terminal.output import written

SIGPIPE = 141


@pytest.fixture(autouse=True, scope="module")
def _loop_has_run() -> None:
    """The first loop of a process opens a pipe for signals, which stays."""

    async def nothing() -> None: ...

    running.run(nothing)


@contextmanager
def unread() -> Iterator[TextIO]:
    """A stdout that nobody reads any more, during the block."""
    reading, writing = os.pipe()
    os.close(reading)
    before = sys.stdout, sys.stderr
    with os.fdopen(writing, "w", encoding="utf-8") as stdout:
        sys.stdout = stdout
        try:
            yield stdout
        finally:
            sys.stdout, sys.stderr = before


def by_rich() -> None:
    Console().print("text")


def by_click() -> None:
    command = click.Command("one", callback=lambda: click.echo("text"))
    command.main([], prog_name="one")


def by_python() -> None:
    # It lies in a buffer until the end.
    print("text")
    sys.exit(1)


def by_work() -> None:
    async def work() -> None:
        print("text" * 5000)  # More than a buffer.

    running.run(work)


@pytest.mark.parametrize("write", [by_rich, by_click, by_python, by_work])
def test_a_command_whose_output_is_not_read_ends_as_by_sigpipe_and_says_nothing(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, write: Callable[[], None]
) -> None:
    with unread() as stdout:
        with pytest.raises(SystemExit) as end, written():
            write()
        assert end.value.code == SIGPIPE
        # What is written now goes nowhere: the interpreter's last flush has no error.
        stdout.write("more")
        stdout.flush()
    assert capfd.readouterr().err == ""
    assert not caplog.records


@pytest.mark.parametrize("code", [0, 1, 69])
def test_a_command_that_is_read_keeps_its_exit_code(code: int) -> None:
    with pytest.raises(SystemExit) as end, written():
        sys.exit(code)
    assert end.value.code == code


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-15", "utf-8"])
def test_json_is_the_same_in_any_locale_and_no_character_ends_a_command(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, value = io.BytesIO(), ["\u00fcn\u00ef", "\u20ac", "\u2588", "\U0001f600", "\u65e5"]
    with io.TextIOWrapper(found, encoding=encoding) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with written():
            print(json.dumps(value, ensure_ascii=False))
        said = found.getvalue()
    assert json.loads(said.decode(encoding)) == value
