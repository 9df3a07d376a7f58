"""Keeps the tour's painted pictures for the next tour, because painting them takes longer than processing them.

Rule 1: an album is named by what decides its bytes: the painter's source and Pillow's version. Another painter begins
        another album; the few that were used last stay.
Rule 2: a picture counts only with the sum that was noted when it was complete: one that was cut short or changed is
        painted again.
Rule 3: where no album can be kept (no home, a disk that cannot be written), the pictures are painted each time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import PIL

from fastproc.demo import pictures

#: Albums that stay: this painter's, and those of the versions between which a developer goes back and forth.
KEPT: Final = 3

_PREFIX: Final = "demo-pictures-"
_SUMS: Final = "sums.json"


def folder() -> Path | None:
    """Return where the pictures of this painter are kept; None where there is no such place."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    if not os.path.isabs(given):
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        given = os.path.join(home, ".cache")
    return Path(given, "fastproc", _PREFIX + _edition())


def filled(album: Path, on_paint: Callable[[], None]) -> list[Path]:
    """Return the pictures, painted where they are not in the album yet; `on_paint` is called before the first of those.

    Raises OSError where nothing can be kept.
    """
    album.mkdir(parents=True, exist_ok=True)
    sums, painted = _noted(album), 0
    # Also what says that this album was used last.
    (album / _SUMS).touch()
    for shot in pictures.writable():
        path = album / shot.name
        if _sum(path) == sums.get(shot.name, ""):
            continue
        if not painted:
            on_paint()
        painted += 1
        _whole(path, lambda file, shot=shot: pictures.write(shot, file))  # type: ignore[misc]
        sums[shot.name] = _sum(path)
        _whole(album / _SUMS, lambda file: file.write_bytes(msgspec.json.encode(sums)))
    _remove_old(album)
    return [album / shot.name for shot in pictures.writable()]


def _edition() -> str:
    source = hashlib.sha256(PIL.__version__.encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        source.update(file.read_bytes())
    return source.hexdigest()[:12]


def _noted(album: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode((album / _SUMS).read_bytes(), type=dict[str, str])
    except (OSError, ValueError):
        return {}


def _sum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "none"


def _whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let the file be written under another name, and give it its own when it is complete."""
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _remove_old(album: Path) -> None:
    with suppress(OSError):
        albums = [each for each in album.parent.glob(f"{_PREFIX}*") if not each.is_symlink()]
        albums.sort(key=lambda each: (each / _SUMS).stat().st_mtime if (each / _SUMS).exists() else 0.0)
        for old in albums[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
