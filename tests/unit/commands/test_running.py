"""Running a command: named exit codes, and one message for what a person can correct."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from fastproc.commands import running
from fastproc.core.errors import ConfigError, FleetHalted, StorageUnavailable, Unreachable
from fastproc.terminal.exits import Exit


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError(["PIPELINE: no", "THUMBNAILS: no"]), Exit.CONFIG, ["PIPELINE: no", "THUMBNAILS: no"]),
        (Unreachable("Redis is away"), Exit.UNREACHABLE, ["Redis is away"]),
        (StorageUnavailable("S3 is away"), Exit.UNREACHABLE, ["S3 is away"]),
        (FleetHalted("none starts"), Exit.HALTED, ["none starts"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_person_can_correct_is_a_message_and_a_named_code(
    error: Exception, code: Exit, message: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        running.run(raising(error))
    assert ended.value.code == code
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"fastproc: {line}" for line in [*message, f"exit {code.value} ({code.name})"]]


def test_what_nobody_expected_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        running.run(raising(KeyError("odd")))
    assert ended.value.code == Exit.HALTED
    assert "KeyError: 'odd'" in caplog.text


def test_control_c_ends_with_the_shells_code() -> None:
    with pytest.raises(SystemExit) as ended:
        running.run(raising(KeyboardInterrupt()))
    assert ended.value.code == 130


def raising(error: BaseException) -> Callable[[], Coroutine[Any, Any, None]]:
    async def work() -> None:
        raise error

    return work


def test_what_a_command_returns_comes_back() -> None:
    async def work() -> int:
        return 42

    assert running.run(work) == 42


def test_the_exit_codes_are_those_that_the_readme_names() -> None:
    assert {code.name: code.value for code in Exit} == {
        "OK": 0, "PHOTOS_FAILED": 1, "USAGE": 2, "UNREACHABLE": 69, "HALTED": 70, "CONFIG": 78,
    }  # fmt: skip
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    _, _, words = readme.partition("Exit codes:")
    assert all(str(code.value) in words.partition("\n\n")[0] for code in Exit)
