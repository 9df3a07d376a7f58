"""The command line: the commands of the contract, each explained, imported only when it is asked for."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from fastproc import __version__
from fastproc.commands import cli
from fastproc.terminal.exits import Exit
from tests import logfmt

COMMANDS = [
    "bench",
    "cancel",
    "check",
    "demo",
    "drain",
    "enqueue",
    "errors",
    "init-db",
    "jobs",
    "pause",
    "process",
    "quarantine",
    "resume",
    "retry",
    "run",
    "set",
    "status",
    "top",
    "webhooks",
]
FOLDER = Path(cli.__file__).parent


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


def test_the_commands_are_those_of_the_contract() -> None:
    assert sorted(cli.main.list_commands(click.Context(cli.main))) == COMMANDS


def test_every_file_of_the_folder_is_a_command_but_those_that_list_and_run_them() -> None:
    files = {path.stem.replace("_", "-") for path in FOLDER.glob("*.py")}
    assert files - {"--init--", "cli", "hosts", "orders", "running"} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_list_of_commands_and_a_commands_own_help_agree(command: str) -> None:
    found = cli.main.get_command(click.Context(cli.main), command)
    assert found is not None
    assert (found.help or "").partition("\n")[0] == cli.COMMANDS[command]
    assert cli.COMMANDS[command] in call("--help").output


def test_the_list_of_commands_imports_none_of_them() -> None:
    imported = {
        node.module
        for node in ast.walk(ast.parse((FOLDER / "cli.py").read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    assert imported == {"__future__", "fastproc"}


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
        ["enqueue", "a", "--delay", "1" + "0" * 20],
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
    if command == ["run"]:
        # The service tells its log.
        assert {logfmt.parsed(line)["level"] for line in lines} == {"error"}
        lines = [f"fastproc: {logfmt.parsed(line)['message']}" for line in lines]
    assert [line.split(":")[:2] for line in lines[:2]] == [
        ["fastproc", " REDIS_PORT"],
        ["fastproc", " MAX_SCANS"],
    ]
    assert lines[2:] == ["fastproc: exit 78 (CONFIG)"]
    assert result.stdout == ""


def test_what_is_wrong_with_the_settings_is_said_in_the_format_that_they_ask_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(os.environ, "REDIS_PORT", "many")
    monkeypatch.setitem(os.environ, "LOG_FORMAT", "json")
    lines = [json.loads(line) for line in call("run").stderr.splitlines()]
    assert [line["message"].split()[0] for line in lines] == ["REDIS_PORT:", "exit"]
