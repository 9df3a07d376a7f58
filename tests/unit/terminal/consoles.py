"""Consoles to print on, and rows to print: for the tests of what a person sees."""

from __future__ import annotations

import io

from rich.console import Console

from fastproc.terminal.results import ResultRow

#: A name with markup, an escape sequence and a line break in it.
EVIL = "[red]a[/nonsense]\x1b[2J\n.jpg"


def row(photo: str = "a.jpg", **changes: object) -> ResultRow:
    fields: dict[str, object] = {
        "format": "jpeg",
        "width": 4000,
        "height": 3000,
        "size_bytes": 4 << 20,
        "thumbnails": 3,
        "saved_bytes": 1 << 20,
        "duration_ms": 132.4,
        "status": "completed",
    }
    return ResultRow(photo=photo, **{**fields, **changes})


FAILED = row(
    "c.jpg", width=0, height=0, thumbnails=0, saved_bytes=None, status="failed", code="FILE_CORRUPTED"
)


def terminal(width: int = 120, colour: bool = True) -> Console:
    kind = "truecolor" if colour else None
    return Console(
        file=io.StringIO(), width=width, force_terminal=True, force_interactive=True, color_system=kind
    )


def log(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=False)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def printed(thing: object, console: Console) -> list[str]:
    console.print(thing)
    return [line.rstrip() for line in text_of(console).splitlines() if line.strip()]
