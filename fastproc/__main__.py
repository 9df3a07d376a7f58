"""`fastproc` and `python -m fastproc`."""

from __future__ import annotations

import os
import sys

from fastproc import interruption


def main() -> None:
    """Run the command line."""
    _open_standard_streams()
    interruption.install(is_service=sys.argv[1:2] == ["run"])
    # What takes a while to import comes after: Ctrl-C meanwhile ends in a line as well.
    from fastproc.commands import cli
    from fastproc.terminal import output

    with output.written():
        cli.main()


def _open_standard_streams() -> None:
    """Open what the caller has closed of stdin, stdout and stderr: with a socket there, the loop's library aborts."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


if __name__ == "__main__":
    main()
