"""Runs queue_cost.py; a library that imports `queue` still gets the standard library's module.

A program's own folder is first on Python's path, so for every program in this folder `import queue` finds this file.
"""

from __future__ import annotations

import pathlib
import runpy
import sys

if __name__ == "__main__":
    runpy.run_path(str(pathlib.Path(__file__).with_name("queue_cost.py")), run_name="__main__")
else:
    folder = str(pathlib.Path(__file__).parent)
    position = sys.path.index(folder)
    sys.path.remove(folder)
    del sys.modules["queue"]
    import queue  # noqa: F401  # the standard library's, which the importer gets instead of this file

    sys.path.insert(position, folder)
