"""Text for people: free of control characters, sizes and durations in readable units, one line as it is."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


def print_line(console: Console, text: str, style: str = "") -> None:
    """Print the text as it is: no markup, no highlighting, never folded, `?` for each control character."""
    console.print(Text(clean(text), style), soft_wrap=True)


def human_size(size: float) -> str:
    """Return bytes in a readable unit: `812 B`, `489 KiB`, `3.1 MiB`."""
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 999.5:
            return f"{size:.1f} {unit}" if size < 99.95 and unit != "KiB" else f"{size:.0f} {unit}"
    return f"{size / 1024:.1f} TiB"


def human_duration(ms: float) -> str:
    """Return milliseconds in a readable unit: `8.4 ms`, `132 ms`, `2.3 s`, `1 min 05 s`, `2 h 03 min`."""
    if ms < 9.95:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 59_950:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def clean(text: str) -> str:
    """Return the text with a `?` for each control character: a file's name must not control the terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
