"""The command line: argv in, named exit codes out, one message for what a person can mend."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fastproc import __version__
from fastproc.commands import cli
from fastproc.commands.check import photo_id_of
from fastproc.config.settings import Config, table
from fastproc.core.errors import ConfigError, FleetHalted, StorageUnavailable, Unreachable
from fastproc.core.naming import SAFE_NAME
from fastproc.terminal.exits import Exit

COMMANDS = ["check", "demo", "enqueue", "init-db", "process", "quarantine", "run", "status"]


@pytest.fixture(autouse=True, scope="session")
def a_first_loop() -> None:
    """uvloop keeps a pipe for signals from its first loop on, which is no leak of a test."""

    async def nothing() -> None:
        return

    cli._run(nothing)


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of ours from outside, and the root logger as it was."""
    for row in table(Config()):
        monkeypatch.delenv(row.env, raising=False)
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


def test_the_commands_are_those_of_the_contract() -> None:
    assert sorted(cli.main.commands) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == Exit.OK
    assert len(result.output.splitlines()) > 3


def test_the_version_is_the_packages() -> None:
    assert __version__ in call("--version").output


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["process"],
        ["process", "no-such-file", "--out", "x"],
        ["enqueue"],
        ["enqueue", "a", "b", "--photo-id", "x"],
        ["enqueue", "a", "--attempts", "0"],
        ["enqueue", "a", "--delay", "-1"],
        ["status", "--nonsense"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str]) -> None:
    assert call(*arguments).exit_code == Exit.USAGE


@pytest.mark.parametrize("command", [["run"], ["check"], ["init-db"], ["status"], ["enqueue", "k"], ["demo"]])
def test_wrong_settings_end_every_command_with_all_problems_and_the_named_code(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "REDIS_PORT", "many")
    monkeypatch.setitem(os.environ, "MAX_SCANS", "0")
    result = call(*command)
    assert result.exit_code == Exit.CONFIG
    lines = result.stderr.splitlines()
    assert [line.split(":")[:2] for line in lines[:2]] == [
        ["fastproc", " REDIS_PORT"],
        ["fastproc", " MAX_SCANS"],
    ]
    assert lines[2:] == ["fastproc: exit 78 (CONFIG)"]
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError(["PIPELINE: no", "THUMBNAILS: no"]), Exit.CONFIG, ["PIPELINE: no", "THUMBNAILS: no"]),
        (Unreachable("Redis is away"), Exit.UNREACHABLE, ["Redis is away"]),
        (StorageUnavailable("S3 is away"), Exit.UNREACHABLE, ["S3 is away"]),
        (FleetHalted("none starts"), Exit.HALTED, ["none starts"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_person_can_mend_is_a_message_and_a_named_code(
    error: Exception, code: Exit, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli._run(raising(error))
    assert ended.value.code == code
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"fastproc: {line}" for line in [*said, f"exit {code.value} ({code.name})"]]


def test_what_nobody_expected_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli._run(raising(KeyError("odd")))
    assert ended.value.code == Exit.HALTED
    assert "KeyError: 'odd'" in caplog.text


def test_control_c_ends_with_the_shells_code() -> None:
    with pytest.raises(SystemExit) as ended:
        cli._run(raising(KeyboardInterrupt()))
    assert ended.value.code == 130


def raising(error: BaseException) -> Callable[[], Coroutine[Any, Any, None]]:
    async def work() -> None:
        raise error

    return work


def test_what_a_command_returns_comes_back() -> None:
    async def work() -> int:
        return 42

    assert cli._run(work) == 42


@pytest.mark.parametrize(
    ("key", "photo_id"),
    [
        ("photos/p-42.jpg", "p-42"),
        ("p 42 (1).jpeg", "p-42--1-"),
        ("ümlaut.png", "-mlaut"),
        (".hidden", "hidden"),
        ("..", "photo"),
        ("x/" + "a" * 200 + ".jpg", "a" * 128),
        ("a.b.c.jpg", "a.b.c"),
    ],
)
def test_a_photos_id_is_made_from_its_keys_file_name(key: str, photo_id: str) -> None:
    assert photo_id_of(key) == photo_id
    assert SAFE_NAME.fullmatch(photo_id)


def test_the_exit_codes_are_those_that_the_readme_names() -> None:
    assert {code.name: code.value for code in Exit} == {
        "OK": 0, "PHOTOS_FAILED": 1, "USAGE": 2, "UNREACHABLE": 69, "HALTED": 70, "CONFIG": 78,
    }  # fmt: skip
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    _, _, words = readme.partition("Exit codes:")
    assert all(str(code.value) in words.partition("\n\n")[0] for code in Exit)
