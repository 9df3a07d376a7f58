"""A reader of the log that stands still, is slow or gone: nobody waits for it, and what it misses is counted."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastproc.terminal import stderr
from fastproc.terminal.stderr import Stderr

LINES = [b"%d %s\n" % (number, b"x" * (10 if number % 3 else 9000)) for number in range(60)]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe, which holds a third of LINES; the test closes its end for reading."""
    read, write = os.pipe()
    yield read, write
    os.close(write)


def all_of(read: int, size: int) -> bytes:
    found = b""
    while len(found) < size:
        assert select.select([read], [], [], 10)[0], f"nothing more comes after {len(found)} bytes"
        found += os.read(read, size - len(found))
    return found


def test_a_reader_that_stands_still_is_not_waited_for_and_gets_all_when_it_goes_on(
    pipe: tuple[int, int],
) -> None:
    read, write = pipe
    said = Stderr(write, lambda lines: pytest.fail("nothing was dropped"))
    for line in LINES:
        said.write(line)  # Where one waited for the reader, the test would not end.
    assert all_of(read, sum(map(len, LINES))) == b"".join(LINES)
    said.flush()
    said.write(b"and on\n")
    assert all_of(read, 7) == b"and on\n"
    os.close(read)


def test_what_has_no_room_is_dropped_whole_and_counted(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = pipe
    monkeypatch.setattr(stderr, "MAX_WAITING_BYTES", 200_000)
    dropped: list[int] = []
    said = Stderr(write, dropped.append)
    lines = [b"%04d\n" % number + b"x" * 994 + b"\n" for number in range(1000)]
    for line in lines:
        said.write(line)
    kept = 0
    while not dropped:
        assert all_of(read, 1000) == lines[kept]
        kept += 1
    # It is told as soon as stderr takes some again; others wait still.
    while kept < 1000 - dropped[0]:
        assert all_of(read, 1000) == lines[kept]
        kept += 1
    os.close(read)
    # What may wait, and what a pipe holds.
    assert 200 <= kept <= 300
    assert len(dropped) == 1


def test_a_pipe_that_nobody_reads_any_more_and_a_full_disk_stop_nobody(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.close(read)
    for fd in (write, os.open("/dev/full", os.O_WRONLY)):
        said = Stderr(fd, lambda lines: pytest.fail("nothing was dropped"))
        for line in [b"short\n", *LINES]:
            said.write(line)
        said.flush()
        if fd != write:
            os.close(fd)


def test_a_terminal_that_nobody_reads_is_not_waited_for() -> None:
    read, write = os.openpty()
    said = Stderr(write, lambda lines: pytest.fail("nothing was dropped"))
    for number in range(1000):
        said.write(b"%04d %s\n" % (number, b"x" * 95))  # A terminal takes some 10 kB.
    text = all_of(read, 102_000)  # It ends a line with two characters.
    assert [int(line[:4]) for line in text.splitlines()] == list(range(1000))
    said.flush()
    os.close(read)
    os.close(write)


def test_a_pipe_that_refuses_what_has_no_room_gets_every_line(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.set_blocking(write, False)
    said = Stderr(write, lambda lines: pytest.fail("nothing was dropped"))
    for line in LINES:
        said.write(line)
    assert all_of(read, sum(map(len, LINES))) == b"".join(LINES)
    said.flush()
    os.close(read)


def test_a_file_has_its_lines_at_once(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        Stderr(file.fileno(), lambda lines: None).write(b"short\n")
        assert (tmp_path / "log").read_bytes() == b"short\n"
