"""Writes results into a folder, whole or not at all, and never over a photo that is being processed.

Rule 1: a file gets its name only when all of it is written: a full disk leaves no half picture, and a result of an
        earlier run stays until its successor is there. A link of that name is replaced, not followed.
Rule 2: no result replaces a photo of this run, or the result of another photo of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from fastproc.commands.photos.files import Identity


class ResultFolder:
    """The folder of --out. `photos` are the files that must not be replaced."""

    def __init__(self, path: Path, photos: Iterable[Path]) -> None:
        """Raises OSError if the folder cannot be made, or nothing can be written there."""
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._photos = {name for photo in photos for name in _names(photo)}
        self._written: set[str] = set()
        # Found here, and not after the first photos have been processed.
        (probe := self._unfinished("probe")).write_bytes(b"")
        probe.unlink()

    def write(self, files: Sequence[tuple[str, bytes]]) -> tuple[Path, ...]:
        """Write all files (name, content) of a photo, or none. Raises OSError."""
        written: list[Path] = []
        try:
            for name, body in files:
                written.append(self.make(name, partial(_save, body)))
        except OSError:
            for path in written:
                with contextlib.suppress(OSError):
                    path.unlink()
            raise
        return tuple(written)

    def make(self, name: str, write: Callable[[Path], object]) -> Path:
        """Let `write` make the file under another name, give it its own, and return its path. Raises OSError."""
        path, unfinished = self.path / name, self._unfinished(name)
        if name in self._written or self._photos & set(_names(path)):
            raise FileExistsError(errno.EEXIST, f"{name} is a photo, or a result, of this run")
        try:
            write(unfinished)
            unfinished.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
        self._written.add(name)
        return path

    def _unfinished(self, name: str) -> Path:
        """Return a hidden name with the same suffix, which no run takes for a photo."""
        return self.path / f".{os.getpid()}.{name}"


def _save(body: bytes, path: Path) -> None:
    path.write_bytes(body)


def _names(path: Path) -> tuple[Identity, ...]:
    """Return the identities of a path: of the file, and of the link if it is one; none where there is none."""
    try:
        link, file = path.lstat(), path.stat()
    except OSError:
        return ()
    return (link.st_dev, link.st_ino), (file.st_dev, file.st_ino)
