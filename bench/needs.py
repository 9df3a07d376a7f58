"""What the programs here need of the machine: each says in one line what is missing, and ends with exit code 2.

Rule 1: imported before everything that may be missing, so that a package that is not installed is told as well. Only
        in a program of this folder: whoever imports one keeps its own hook.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NoReturn

ROOT = Path(__file__).parents[1]
MISSING = 2


def end(words: str) -> NoReturn:
    """Say it on stderr and end."""
    print(f"{Path(sys.argv[0]).name}: {words}", file=sys.stderr)
    raise SystemExit(MISSING)


def photos(folder: Path) -> list[Path]:
    """Return the files of a folder, of which there must be one at least."""
    if not folder.is_dir():
        end(f"{folder} is not a folder of photos")
    return sorted(path for path in folder.iterdir() if path.is_file()) or end(
        f"there are no files in {folder}"
    )


def photo(path: Path) -> Path:
    """Return the path of one photo, which must be there."""
    return path if path.is_file() else end(f"{path} is not a photo")


def at_least(least: int) -> Callable[[str], int]:
    """Return the type of an argument: a whole number, not below what the figures take."""

    def number(given: str) -> int:
        if int(given) < least:
            raise argparse.ArgumentTypeError(f"{given} is too few: at least {least}")
        return int(given)

    return number


def node(modules: Path, package: str) -> None:
    """Node with a package of tests/*/node_modules must be there; the one that scripts/node installs counts."""
    os.environ["PATH"] = f"{Path(sys.prefix) / 'node'}{os.pathsep}{os.environ.get('PATH', '')}"
    if not shutil.which("node") or not (modules / package).is_dir():
        end(f"it needs Node with {package}: scripts/node installs both")


def root(why: str) -> None:
    """The program must be root's."""
    if os.geteuid() != 0:
        end(f"it must be run as root: {why}")


def program(name: str, package: str) -> None:
    """A program must be there; `package` is Debian's name of what has it."""
    if not shutil.which(name):
        end(f"it needs `{name}`: apt-get install {package}")


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell what is not installed in a line; everything else as ever."""
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("fastproc."):
        print(
            f"{Path(sys.argv[0]).name}: {error.name} is not installed: run scripts/setup,",
            end=" ",
            file=sys.stderr,
        )
        print("and this program by .venv/bin/python", file=sys.stderr)
        raise SystemExit(MISSING)
    if kind.__name__ == "ServerFailed" and "was not found" in str(error):
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(MISSING)
    sys.__excepthook__(kind, error, trace)


if Path(getattr(sys.modules["__main__"], "__file__", None) or "/").parent == Path(__file__).parent:
    sys.excepthook = _told
