"""The photos of a load test: a folder's files, or a few painted ones of different sizes."""

from __future__ import annotations

from pathlib import Path

from fastproc.core.errors import ConfigError
from fastproc.demo import pictures

#: Of the painter's: 12, 4.5 (to be turned), 2.7 (progressive) and 0.3 megapixels.
_PAINTED = ("01-dawn-ridges.jpg", "05-sea-sunset.jpg", "10-aurora.jpg", "12-poppies-small.jpg")


def of_folder(folder: Path) -> list[Path]:
    """Return the files of a folder, in the order of their names. Raises ConfigError."""
    try:
        found = [file for file in sorted(folder.iterdir()) if file.is_file()]
    except OSError as error:
        raise ConfigError([f"{folder}: {error.strerror}"]) from None
    if not found:
        raise ConfigError([f"{folder}: there are no files in this folder"])
    return found


def painted(folder: Path) -> list[Path]:
    """Paint into `folder`, and return what was painted. Cost: about 2 s of one core."""
    for shot in pictures.SHOTS:
        if shot.name in _PAINTED:
            pictures.write(shot, folder / shot.name)
    return of_folder(folder)


def read(file: Path) -> bytes:
    """Return a photo's bytes. Raises ConfigError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError([f"{file}: {error.strerror}"]) from None
