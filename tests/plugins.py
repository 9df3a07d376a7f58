"""Stages of other packages: left as an installer leaves them, and an interpreter that has them."""

from __future__ import annotations

import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def left(packages: Path, stage: str, module: str, text: str) -> None:
    """Leave a package of one module in the folder, whose entry point is the stage."""
    about = packages / f"{module}-1.0.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0.0\n")
    (about / "entry_points.txt").write_text(f"[fastproc.stages]\n{stage} = {module}\n")
    (packages / f"{module}.py").write_text(text)


def interpreter(folder: Path, packages: Path) -> str:
    """Return a Python, made in the folder, that has all that this one has, and the packages."""
    venv.EnvBuilder(symlinks=True).create(folder)
    [own] = folder.glob("lib/python3*/site-packages")
    # A worker ignores PYTHONPATH: what it may import must be installed, or lie beside what is.
    paths = [str(packages), str(ROOT), *(path for path in sys.path if "site-packages" in path)]
    (own / "everything.pth").write_text("\n".join(paths) + "\n")
    return str(folder / "bin" / "python")
