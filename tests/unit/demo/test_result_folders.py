"""Folders of results: the newest few stay, only what a tour has made is removed, an interrupted one leaves none."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from fastproc.demo.result_folders import KEPT, result_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def made(parent: Path, name: str, age: int, *content: str) -> Path:
    folder = parent / f"fastproc-demo-{name}"
    folder.mkdir()
    for each in content:
        (folder / each).touch()
    os.utime(folder, (age, age))
    return folder


def interrupted_in(out: Path) -> None:
    (out / "results").touch()
    raise KeyboardInterrupt


def test_the_newest_few_stay_and_what_else_lies_there(temporary: Path) -> None:
    old = [made(temporary, str(n), 1_000_000 + n, "contact-sheet.jpg", "photos.db") for n in range(KEPT + 2)]
    theirs = [
        made(temporary, "with-more", 1, "contact-sheet.jpg", "my-notes.txt"),
        made(temporary, "empty", 2),
        made(temporary, "servers-of-another", 3, "valkey"),
    ]
    link = temporary / "fastproc-demo-link"
    link.symlink_to(old[-1])
    console = Console(file=io.StringIO())
    with result_folder(None, console) as out:
        (out / "contact-sheet.jpg").touch()
    assert [each.exists() for each in old] == [False, False, *[True] * KEPT]
    assert all(each.exists() for each in (*theirs, out, link))
    assert isinstance(console.file, io.StringIO)
    assert (
        console.file.getvalue()
        == f"removed: the results of 2 earlier runs; the last {KEPT} stay beside these\n"
    )


def test_a_tour_that_ends_early_leaves_no_folder_and_removes_none(temporary: Path) -> None:
    old = [made(temporary, str(n), 1_000_000 + n, "results") for n in range(KEPT + 2)]
    with pytest.raises(KeyboardInterrupt), result_folder(None, Console()) as out:
        interrupted_in(out)
    assert sorted(temporary.iterdir()) == sorted(old)


def test_a_named_folder_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), result_folder(tmp_path, Console()) as out:
        interrupted_in(out)
    assert (tmp_path / "results").exists()
