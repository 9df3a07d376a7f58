"""`fastproc` and `python -m fastproc`."""

from __future__ import annotations

from fastproc import interruption


def main() -> None:
    """Run the command line."""
    interruption.install()
    # What takes a while to import comes after: Ctrl-C meanwhile ends in a line as well.
    from fastproc.commands import cli
    from fastproc.terminal import output

    with output.written():
        cli.main()


if __name__ == "__main__":
    main()
