"""Finds and reads the photos among what was named: files, folders, and whatever else lies there.

Rule 1: nothing that is found ends the search. What cannot be read is told with the reason, and so is what is left out.
Rule 2: folders are descended. A link to a folder is followed only where it was named itself: others may lead in a
        circle, or out of the folder. Hidden names are left out, unless they were named.
Rule 3: the folder of the results is left out: a second run must not process what the first one made.
Rule 4: only regular files are opened: opening a pipe waits for a writer, and a device may do anything.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from fastproc.core.errors import SourceTooLarge

#: What a path is that is no file, in words.
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
#: A folder is known by its device and number, whatever leads to it.
Identity = tuple[int, int]


class Found(Struct, frozen=True):
    """A file to process; or what cannot be processed, with the reason in `wrong`, or is left out, in `skipped`."""

    path: Path
    wrong: str = ""
    skipped: str = ""

    @property
    def is_photo(self) -> bool:
        return not (self.wrong or self.skipped)


def search(given: Sequence[Path], out: Path) -> list[Found]:
    """Return what is at the named places and in the folders among them, in order, each path once."""
    results = identity(out)
    found: dict[Path, Found] = {}
    for path in given:
        for each in _at(path, results):
            found.setdefault(each.path, each)
    return list(found.values())


def identity(path: Path) -> Identity | None:
    """Return what is the same for every name of a file or folder, None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _at(named: Path, results: Identity | None) -> Iterator[Found]:
    """Yield what is at a place that was named, with everything below it."""
    left, empty = [named], True
    while left:
        path = left.pop()
        try:
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode) and path is not named and path.is_symlink():
                yield Found(path, skipped="a link to a folder")
            elif stat.S_ISDIR(mode) and identity(path) == results:
                empty = empty and path is not named
                yield _results(path, named)
            elif stat.S_ISDIR(mode):
                left += sorted(_visible(path), reverse=True)
            elif stat.S_ISREG(mode):
                empty = False
                yield Found(path)
            elif path is named:
                yield Found(path, wrong=kind_of(mode))
                return
            else:
                yield Found(path, skipped=kind_of(mode))
        except OSError as error:
            empty = False
            yield Found(path, wrong=reason(error, path))
    if empty:
        yield Found(named, wrong="a folder without files")


def _results(path: Path, named: Path) -> Found:
    """Say that a folder is the one of the results: whoever named it for its photos gets none, and must know."""
    words = "the folder of the results"
    return Found(path, wrong=words) if path is named else Found(path, skipped=words)


def _visible(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [folder / entry.name for entry in entries if not entry.name.startswith(".")]


def kind_of(mode: int) -> str:
    """Return what a path is that is no file, in words."""
    return next((words for test, words in _KINDS if test(mode)), "no file")


def reason(error: OSError, path: Path) -> str:
    """Return why a path cannot be read, in words."""
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return "a link that leads nowhere"
    return error.strerror or type(error).__name__


def read_into(path: Path, target: memoryview) -> int:
    """Read a file into memory and return its size in bytes. Raises OSError; SourceTooLarge if it does not fit."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(0, kind_of(mode))
    # What was a file a moment ago may be a pipe now: it must not be waited for.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as source:
        about = os.fstat(source.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError(0, kind_of(about.st_mode))
        if about.st_size > len(target):
            raise SourceTooLarge(f"{about.st_size} bytes, more than MAX_SOURCE_BYTES ({len(target)})")
        size = source.readinto(target)
        if source.read(1):
            raise SourceTooLarge(f"more than MAX_SOURCE_BYTES ({len(target)}): it grew while it was read")
        return size
