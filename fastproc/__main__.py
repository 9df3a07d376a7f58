"""`fastproc` and `python -m fastproc`."""

from __future__ import annotations

from fastproc.commands.cli import main

if __name__ == "__main__":
    main()
