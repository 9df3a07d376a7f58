"""The files of a run go with it when it passes, stay when it fails, and those of another run are never touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(folder: Path, body: str, *options: str) -> list[str]:
    """Run one test in a process of its own; return what is left in the folder for temporary files."""
    (folder / "test_it.py").write_text(
        f"def test_it(tmp_path):\n    (tmp_path / 'file').touch()\n    {body}\n"
    )
    temporary = folder / "temporary"
    (temporary / "pytest-of-another" / "pytest-0").mkdir(parents=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "xdist",
            "-p",
            "tests.files",
            "-c",
            os.devnull,
            *options,
            "test_it.py",
        ],
        cwd=folder,
        # No other plug-ins than xdist: most of the time goes into their import.
        env=os.environ
        | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        check=False,
    )
    return sorted(each.name for each in temporary.iterdir())


def test_a_run_that_passes_leaves_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "pass") == ["pytest-of-another"]


@pytest.mark.parametrize("options", [(), ("--numprocesses", "2")], ids=["alone", "in parallel"])
def test_a_run_that_fails_keeps_its_files(tmp_path: Path, options: tuple[str, ...]) -> None:
    own, other = run(tmp_path, "assert False", *options)
    assert (own.startswith("fastproc-tests-"), other) == (True, "pytest-of-another")
    assert len(list((tmp_path / "temporary" / own).rglob("file"))) == 1


def test_a_folder_that_was_asked_for_stays(tmp_path: Path) -> None:
    assert run(tmp_path, "pass", "--basetemp", str(tmp_path / "asked")) == ["pytest-of-another"]
    assert len(list((tmp_path / "asked").rglob("file"))) == 1
