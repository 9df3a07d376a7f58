"""What was named is found: descended, or told why not; nothing that lies there ends the search or waits."""

from __future__ import annotations

import inspect
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastproc.commands.photos.files import Found, read_into, search
from fastproc.core.errors import SourceTooLarge


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def found(*given: str, out: str = "out") -> list[str]:
    return [str(each.path) for each in search([Path(name) for name in given], Path(out)) if each.is_photo]


def told(*given: str, out: str = "out") -> list[Found]:
    return [each for each in search([Path(name) for name in given], Path(out)) if not each.is_photo]


def test_folders_within_folders_are_descended_in_order() -> None:
    make("in/b.jpg", "in/a/z.jpg", "in/a/deeper/y.jpg", "in/c.jpg")
    assert found("in") == ["in/a/deeper/y.jpg", "in/a/z.jpg", "in/b.jpg", "in/c.jpg"]


def test_what_was_named_twice_is_found_once_in_the_order_of_the_names() -> None:
    make("in/a.jpg", "in/b.jpg")
    assert found("in/b.jpg", "in", "in/a.jpg") == ["in/b.jpg", "in/a.jpg"]


def test_hidden_names_are_left_out_unless_they_were_named() -> None:
    make("in/.a.jpg", "in/.trash/b.jpg", "in/c.jpg")
    assert found("in") == ["in/c.jpg"]
    assert found("in/.a.jpg", "in/.trash") == ["in/.a.jpg", "in/.trash/b.jpg"]


def test_a_path_that_does_not_exist_is_told_and_the_others_are_found() -> None:
    make("a.jpg")
    assert found("nowhere.jpg", "a.jpg", "a.jpg/b.jpg") == ["a.jpg"]
    assert told("nowhere.jpg", "a.jpg", "a.jpg/b.jpg") == [
        Found(Path("nowhere.jpg"), wrong="No such file or directory"),
        Found(Path("a.jpg/b.jpg"), wrong="Not a directory"),
    ]


def test_links_that_lead_nowhere_or_in_a_circle_are_told() -> None:
    make("in/a.jpg")
    os.symlink("gone.jpg", "in/dangling.jpg")
    os.symlink("round", "in/round")
    os.symlink("a.jpg", "in/link.jpg")
    os.symlink("..", "in/up")
    assert found("in") == ["in/a.jpg", "in/link.jpg"]
    assert told("in") == [
        Found(Path("in/dangling.jpg"), wrong="a link that leads nowhere"),
        Found(Path("in/round"), wrong="Too many levels of symbolic links"),
        Found(Path("in/up"), skipped="a link to a folder"),
    ]


def test_a_link_to_a_folder_is_followed_where_it_was_named() -> None:
    make("in/a.jpg")
    os.symlink("in", "link")
    assert found("link") == ["link/a.jpg"]


def test_what_is_no_file_is_left_out_of_a_folder_and_an_error_where_it_was_named() -> None:
    make("in/a.jpg")
    os.mkfifo("in/pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("in/socket.jpg")
    assert found("in", "/dev/null") == ["in/a.jpg"]
    assert told("in", "in/pipe.jpg", "/dev/null") == [
        Found(Path("in/pipe.jpg"), skipped="a pipe"),
        Found(Path("in/socket.jpg"), skipped="a socket"),
        Found(Path("/dev/null"), wrong="a device"),
    ]
    assert told("in/pipe.jpg") == [Found(Path("in/pipe.jpg"), wrong="a pipe")]


def test_a_folder_without_files_is_told_where_it_was_named() -> None:
    make("in/a.jpg")
    Path("in/empty").mkdir()
    Path("empty/within/more").mkdir(parents=True)
    assert told("in", "empty") == [Found(Path("empty"), wrong="a folder without files")]


def test_the_results_folder_is_not_descended() -> None:
    make("in/a.jpg", "in/out/a_thumb_sm.jpg")
    os.symlink("in/out", "results")
    assert found("in", out="in/out") == ["in/a.jpg"]
    assert found("in", out="results") == ["in/a.jpg"]
    assert told("in", out="in/out") == [Found(Path("in/out"), skipped="the folder of the results")]


def test_a_folder_that_is_to_hold_its_own_results_is_told_as_an_error() -> None:
    make("in/a.jpg")
    assert told("in", out="in") == [Found(Path("in"), wrong="the folder of the results")]


def test_a_folder_that_cannot_be_read_does_not_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read every folder, so the refusal is made here."""
    make("in/a.jpg", "in/locked/b.jpg", "in/z.jpg")
    real = os.scandir

    def scandir(path: Path) -> object:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert found("in") == ["in/a.jpg", "in/z.jpg"]
    assert told("in") == [Found(Path("in/locked"), wrong="Permission denied")]


def test_names_that_are_not_unicode_are_found() -> None:
    Path("in").mkdir()
    with open(b"in/caf\xe9.jpg", "wb"):
        pass
    assert [os.fsencode(name) for name in found("in")] == [b"in/caf\xe9.jpg"]


@pytest.fixture
def few_calls_deep() -> Iterator[int]:
    """Lets functions call each other a hundred times deeper than the test, and no deeper."""
    before, depth = sys.getrecursionlimit(), 100
    sys.setrecursionlimit(len(inspect.stack(0)) + depth)
    yield depth
    sys.setrecursionlimit(before)


def test_folders_as_deep_as_a_path_allows_are_descended(few_calls_deep: int) -> None:
    # No more levels than what removes the test's folder descends, also after a run that was killed.
    levels = 3 * few_calls_deep
    names = [f"{level:0>12}" for level in range(levels)]
    for level in range(levels):
        os.mkdir("/".join(names[: level + 1]))
    photo = "/".join([*names, "a.jpg"])
    assert os.pathconf("/", "PC_PATH_MAX") - len(photo) < 200
    Path(photo).touch()
    assert found(names[0]) == [photo]


def test_a_file_is_read_whole() -> None:
    Path("a.jpg").write_bytes(b"123456")
    target = bytearray(10)
    assert read_into(Path("a.jpg"), memoryview(target)) == 6
    assert target == b"123456\0\0\0\0"


def test_a_file_over_the_limit_is_not_read() -> None:
    Path("a.jpg").write_bytes(b"123456")
    target = bytearray(5)
    with pytest.raises(SourceTooLarge, match=r"6 bytes, more than MAX_SOURCE_BYTES \(5\)"):
        read_into(Path("a.jpg"), memoryview(target))
    assert target == bytes(5)


def test_a_file_that_grew_over_the_limit_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.jpg").write_bytes(b"123456")
    real = os.stat("a.jpg")
    small = os.stat_result((*real[:6], 5, *real[7:10]))
    monkeypatch.setattr(os, "fstat", lambda fd: small)
    with pytest.raises(SourceTooLarge, match="it grew"):
        read_into(Path("a.jpg"), memoryview(bytearray(5)))


def test_a_file_that_became_a_pipe_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("a.jpg")
    make("b.jpg")
    with pytest.raises(OSError, match="a pipe"):
        read_into(Path("a.jpg"), memoryview(bytearray(5)))
    was_a_file = Path("b.jpg").stat()
    monkeypatch.setattr(Path, "stat", lambda path, **how: was_a_file)
    with pytest.raises(OSError, match="a pipe"):
        read_into(Path("a.jpg"), memoryview(bytearray(5)))
