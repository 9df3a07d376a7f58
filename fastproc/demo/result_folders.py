"""The folders of the tour's results: a new one each time, of which the newest few stay.

Rule 1: only what a tour has made is removed: a folder of ours by name, owner and content. Whoever puts something beside
        the results keeps all of it, and --keep names a folder that stays.
Rule 2: a tour that is interrupted leaves none.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console

from fastproc import interruption
from fastproc.terminal.text import print_line

#: Results of earlier tours that stay beside the new one, to compare with.
KEPT: Final = 2

_PREFIX: Final = "fastproc-demo-"
#: All that a tour puts there; `pictures` was there in versions that kept them with the results.
_CONTENT: Final = {"results", "photos.db", "contact-sheet.jpg", "pictures"}


@contextmanager
def result_folder(keep: Path | None, console: Console) -> Iterator[Path]:
    """Yield the folder for the results: `keep`, or a new temporary one, which goes where the block fails."""
    if keep:
        yield keep
        return
    out = None
    try:
        with interruption.held():
            out = Path(tempfile.mkdtemp(prefix=_PREFIX))
        yield out
    except BaseException:
        if out is not None:
            with interruption.held():
                shutil.rmtree(out, ignore_errors=True)
        raise
    if removed := remove_old(out.parent, besides=out):
        print_line(
            console, f"removed: the results of {removed} earlier runs; the last {KEPT} stay beside these"
        )


def remove_old(parent: Path, *, besides: Path) -> int:
    """Remove older results but the newest KEPT; return how many were removed."""
    found = sorted(
        (path for path in parent.glob(f"{_PREFIX}*") if path != besides and _is_ours(path)), key=_age
    )
    old = found[:-KEPT]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return len(old)


def _is_ours(path: Path) -> bool:
    try:
        mine = not path.is_symlink() and path.is_dir() and path.stat().st_uid == os.geteuid()
        content = {each.name for each in path.iterdir()} if mine else set()
    except OSError:
        return False
    return bool(content) and content <= _CONTENT


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
