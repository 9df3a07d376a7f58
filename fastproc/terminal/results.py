"""The results of a run: a table with a line a photo, and one sentence that sums them up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct
from rich import box
from rich.table import Table
from rich.text import Text

from fastproc.terminal.style import BAD, GOOD, STRONG
from fastproc.terminal.text import clean, human_duration, human_size


class ResultRow(Struct, frozen=True, kw_only=True):
    """One photo of a run, as a person sees it.

    `width` and `height` are as displayed, 0 when unknown; `thumbnails` is the number of thumbnails; `saved_bytes` is
    what the optimised copy saves, None when there is no copy; `status` is `processing_status` of the photo's row: only
    `completed` is a success; `code` is the error's code.
    """

    photo: str
    format: str
    width: int
    height: int
    size_bytes: int
    thumbnails: int
    saved_bytes: int | None
    duration_ms: float
    status: str
    code: str | None = None

    @property
    def ok(self) -> bool:
        return self.code is None and self.status == "completed"


def results_table(rows: Sequence[ResultRow]) -> Table:
    """Return a table with a line a photo; the last column is `ok` or the error's code.

    It fits 80 columns: long names are folded.
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, header_style=STRONG)
    table.add_column("photo", overflow="fold", min_width=12)
    table.add_column("type", no_wrap=True)
    for name in ("pixels", "size", "thumbs", "saved", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(clean(row.photo)),
            Text(clean(row.format) or "-"),
            f"{row.width}x{row.height}" if row.width else "-",
            human_size(row.size_bytes),
            str(row.thumbnails),
            "-" if row.saved_bytes is None else f"{row.saved_bytes / max(1, row.size_bytes):.0%}",
            human_duration(row.duration_ms),
            Text("ok", GOOD) if row.ok else Text(clean(row.code or row.status), BAD),
        )
    return table


def summary_line(rows: Sequence[ResultRow], elapsed_s: float) -> str:
    """Return the run in one line: how many photos, how fast, what the copies save, and the codes of what failed."""
    photos = f"{len(rows)} photo{'s' * (len(rows) != 1)}"
    failed = Counter(row.code or row.status for row in rows if not row.ok)
    codes = ", ".join(
        f"{clean(code)} x{count}" if count > 1 else clean(code) for code, count in sorted(failed.items())
    )
    parts = [
        f"{photos} in {human_duration(elapsed_s * 1000)}",
        f"{len(rows) / elapsed_s:.1f} photos/s" if rows and elapsed_s > 0 else "",
        f"{sum(row.thumbnails for row in rows)} thumbnails",
        f"{human_size(saved)} saved" if (saved := sum(row.saved_bytes or 0 for row in rows)) else "",
        f"{failed.total()} failed: {codes}" if failed else "none failed",
    ]
    return ", ".join(part for part in parts if part)
