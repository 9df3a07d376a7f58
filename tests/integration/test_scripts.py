"""The scripts where something is missing: a sentence and an exit code, before anything is done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def clone() -> Iterator[Path]:
    """What the scripts need of a checkout, in a folder that everybody may read: the suite's own is closed to others."""
    with tempfile.TemporaryDirectory(prefix="clone-") as folder:
        os.chmod(folder, 0o755)
        for name in ("scripts", "requirements"):
            shutil.copytree(ROOT / name, Path(folder, "clone", name))
        shutil.copy(ROOT / "pyproject.toml", Path(folder, "clone"))
        yield Path(folder, "clone")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may become another user, and mount")
@pytest.mark.parametrize("how", ["user", "mount"])
@pytest.mark.parametrize("script", ["setup", "demo", "test", "check"])
def test_a_checkout_that_cannot_be_written_gets_a_sentence(script: str, how: str, clone: Path) -> None:
    start = {
        "user": ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", f"scripts/{script}"],
        "mount": ["unshare", "--mount", "sh", "-c",
                  f"mount --bind . . && mount -o remount,ro,bind {clone} && cd {clone} && scripts/{script}"],
    }  # fmt: skip
    found = run(*start[how], cwd=clone)
    assert found.returncode == 1, found.stderr
    assert found.stderr == (
        f"setup: {clone} cannot be written, and the environment (.venv) belongs there; copy it first:"
        f" git clone {clone} FOLDER\n"
    )
    assert found.stdout == ""


def test_ctrl_c_ends_the_setup_in_one_line_and_leaves_no_temporary_file(clone: Path) -> None:
    temporary = clone.parent / "tmp"
    temporary.mkdir()
    # A shell that runs in the background has SIGINT ignored.
    with subprocess.Popen(
        ["env", "--default-signal=INT", "scripts/setup"],
        cwd=clone,
        env={**os.environ, "TMPDIR": str(temporary), "VENV": ".venv"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not (clone / ".venv/pyvenv.cfg").exists():  # So pip is installed, by two more processes.
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "setup: interrupted; the next run goes on\n")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["4194305"], "there is no process 4194305"),  # More than the kernel gives (PID_MAX_LIMIT, 2**22).
        (["x"], "PID must be a number, not 'x'"),
        (["1", "soon"], "SECONDS must be a whole number, not 'soon'"),
        ([], "which process?"),
    ],
)
def test_profile_refuses_what_is_no_process(arguments: list[str], why: str, tmp_path: Path) -> None:
    found = run("scripts/profile", *arguments, OUT=str(tmp_path / "out"))
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith(f"profile: {why}")
    assert not (tmp_path / "out").exists()


def test_profile_refuses_a_process_without_python(tmp_path: Path) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        while os.path.basename(os.readlink(f"/proc/{process.pid}/exe")).startswith("python"):
            time.sleep(0.001)  # It is the child of a moment ago still.
        found = run("scripts/profile", str(process.pid), OUT=str(tmp_path / "out"))
        process.communicate()
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith(f"profile: process {process.pid} is no Python, and has none below it")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[str]]:
    """A process that computes, with a child that does; both say their numbers."""
    child = "import os; print(os.getpid(), flush=True)\nwhile True: pass"
    program = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); {child}"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        os.killpg(process.pid, 9)


def test_profile_draws_a_process_and_its_children(busy: subprocess.Popen[str], tmp_path: Path) -> None:
    assert busy.stdout is not None
    pids = sorted(int(busy.stdout.readline()) for _ in range(2))
    found = run("scripts/profile", str(busy.pid), "1", OUT=str(tmp_path), VENV=sys.prefix)
    if "no permission" in found.stderr:
        pytest.skip("needs root, where ptrace_scope allows nobody else to look into processes")
    assert found.returncode == 0, found.stderr
    assert sorted(tmp_path.iterdir()) == sorted(tmp_path / f"{pid}.svg" for pid in pids)
    assert "<svg" in (tmp_path / f"{pids[0]}.svg").read_text()
