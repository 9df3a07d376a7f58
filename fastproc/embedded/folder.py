"""A temporary folder for servers and their data: it is gone when its block ends, by Ctrl-C as well."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastproc import interruption


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Make a folder in the system's folder for temporary files. Raises OSError."""
    folder = None
    try:
        with interruption.held():
            folder = Path(tempfile.mkdtemp(prefix=prefix))
        yield folder
    finally:
        if folder is not None:
            with interruption.held():
                shutil.rmtree(folder, ignore_errors=True)
