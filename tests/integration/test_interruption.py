"""Ctrl-C, SIGTERM: a command ends at once, in one line, with a code, and leaves no process and no folder."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastproc.embedded.child import HOST, free_ports
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import PATIENCE_S, Place
from tests.silent import silent
from tests.terminal import Terminal, processes_of

DEMO = [sys.executable, "-m", "fastproc", "demo"]
LINE = "\rfastproc: exit 130 (SIGINT)\n"


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for temporary files, to see what is left in it. Short: a server's socket lies below it (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="ft-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def environment(home: Path, tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "TERM": "xterm",
        "TMPDIR": str(home),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = pictures.jpeg(4000, 3000)
    for number in range(12):
        (folder / f"{number:02}.jpg").write_bytes(photo)
    return folder


def left(home: Path) -> list[str]:
    """What a command has left in the folder, and of processes, which have a moment to be gone."""
    deadline = time.monotonic() + 2
    while (found := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [*found, *(path.name for path in home.iterdir())]


@pytest.mark.parametrize(
    ("moment", "presses"), [("painting a dozen", 1), ("starting Valkey", 1), ("%", 1), ("%", 2)]
)
def test_ctrl_c_ends_the_demo_at_once_whatever_it_does(
    moment: str, presses: int, home: Path, photos: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    given = [] if "painting" in moment else [str(photos)]
    terminal = Terminal([*DEMO, *given], tmp_path, environment)
    try:
        terminal.wait_for(moment)
        before = terminal.press_ctrl_c()
        for _ in range(presses - 1):
            time.sleep(0.03)
            terminal.press_ctrl_c()
        code, said = terminal.wait(), terminal.said[before:]
    finally:
        terminal.close()
    assert code == 128 + signal.SIGINT, said
    assert LINE in said
    assert "Traceback" not in said
    assert "servers stopped" not in said
    assert left(home) == []


def test_a_demo_that_is_told_to_end_leaves_nothing(
    home: Path, photos: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    with subprocess.Popen(
        [*DEMO, str(photos)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        while "ok" not in (line := process.stdout.readline()):
            assert line, "it has ended"
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM, rest
    lines = [line for line in rest.splitlines() if "/12 " not in line]
    assert lines == ["fastproc: exit 143 (SIGTERM)"]
    assert left(home) == []


@pytest.fixture
def nobody() -> Iterator[str]:
    """The port of a server that takes connections and says nothing."""
    with silent() as port:
        yield str(port)


@pytest.mark.parametrize(
    "arguments",
    [["check"], ["status"], ["enqueue", "--upload", "one.jpg"], ["init-db"]],
    ids=" ".join,
)
def test_a_command_that_waits_for_a_server_ends_at_ctrl_c(
    arguments: list[str], nobody: str, home: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "one.jpg").write_bytes(pictures.jpeg())
    servers = {
        "REDIS_URL": f"redis://{HOST}:{nobody}", "MINIO_ENDPOINT": HOST, "MINIO_PORT": nobody,
        "DATABASE_URL": f"postgresql://u:p@{HOST}:{nobody}/x", "LOG_LEVEL": "debug",
    }  # fmt: skip
    terminal = Terminal([sys.executable, "-m", "fastproc", *arguments], tmp_path, environment | servers)
    try:
        terminal.wait_for("" if arguments != ["check"] else "differs from the default")
        time.sleep(0.35)
        before = terminal.press_ctrl_c()
        code, said = terminal.wait(), terminal.said[before:]
    finally:
        terminal.close()
    assert (code, said.replace("^C", "")) == (130, LINE), terminal.said
    assert left(home) == []


@pytest.mark.parametrize(("words", "delay_s"), [("", 0.0), ("S3: ", 0.0), ("S3: ", 0.15)], ids=str)
def test_ctrl_c_ends_a_service_that_starts_in_one_line(
    words: str, delay_s: float, place: Place, home: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    settings = {**place.environment, **environment, "HTTP_PORT": "0", "WORKER_CONCURRENCY": "2"}
    terminal = Terminal([sys.executable, "-m", "fastproc", "run"], tmp_path, settings)
    try:
        terminal.wait_for(words)
        time.sleep(delay_s)
        before = terminal.press_ctrl_c()
        code, said = terminal.wait(), terminal.said[before:].replace("^C", "")
    finally:
        terminal.close()
    # Before anything of its own is there, or as it always ends.
    assert code == (Exit.OK if words else 130), said
    last = "stopped before it had started; no job was taken" if words else "exit 130 (SIGINT)"
    assert said.endswith(f'message="{last}"\n'), said
    assert len(said.splitlines()) == (1 if words else 2), said  # The other one is what the line begins at.
    assert left(home) == []


def test_a_command_whose_terminal_has_closed_ends_with_its_code_and_leaves_nothing(
    nobody: str, home: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    servers = {"REDIS_URL": f"redis://{HOST}:{nobody}"}
    terminal = Terminal([sys.executable, "-m", "fastproc", "status"], tmp_path, environment | servers)
    time.sleep(0.35)
    assert terminal.hang_up() == 128 + signal.SIGHUP
    assert left(home) == []


def test_a_service_whose_standard_streams_are_closed_ends_with_its_own_code(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    # Its first sockets would have their numbers, at which the loop's library aborts.
    words = shlex.join([sys.executable, "-m", "fastproc", "run"])
    settings = {"REDIS_PORT": str(free_ports(1)[0]), "HTTP_PORT": "0"}
    ended = subprocess.run(
        ["sh", "-c", f"exec {words} <&- >&- 2>&-"],
        env=environment | settings,
        cwd=tmp_path,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == Exit.UNREACHABLE
