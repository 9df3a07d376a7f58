"""The results of a run: a line a photo, and one sentence that sums them up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct
from rich.text import Text

from fastproc.terminal.rows import Column, Rows
from fastproc.terminal.style import BAD, GOOD, QUIET
from fastproc.terminal.text import clean, human_duration, human_size


class ResultRow(Struct, frozen=True, kw_only=True):
    """One photo of a run, as a person sees it.

    `width` and `height` are as displayed, 0 when unknown; `thumbnails` is the number of thumbnails; `saved_bytes` is
    what the optimised copy saves, None when there is no copy; `status` is `processing_status` of the photo's row: only
    `completed` is a success; `code` is the error's code; `meant` says that this failure was wanted.
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
    meant: bool = False

    @property
    def ok(self) -> bool:
        return self.code is None and self.status == "completed"


#: Columns of the table; a name is folded to half of what a camera's has.
_COLUMNS = (
    Column("photo", least=12),
    Column("type"),
    *(Column(name, right=True) for name in ("pixels", "size", "thumbs", "saved", "time")),
    Column("result", words=True),
)


def results_table(rows: Sequence[ResultRow]) -> Rows:
    """Return a line a photo, or some where the terminal is narrow; the last value is `ok` or the error's code."""
    return Rows(_COLUMNS, [_cells(row) for row in rows])


def _cells(row: ResultRow) -> list[Text]:
    return [
        Text(clean(row.photo)),
        Text(clean(row.format) or "-"),
        Text(f"{row.width}x{row.height}" if row.width else "-"),
        Text(human_size(row.size_bytes)),
        Text(str(row.thumbnails)),
        Text("-" if row.saved_bytes is None else f"{row.saved_bytes / max(1, row.size_bytes):.0%}"),
        Text(human_duration(row.duration_ms)),
        _result(row),
    ]


def _result(row: ResultRow) -> Text:
    if row.ok:
        return Text("ok", GOOD)
    code = clean(row.code or row.status)
    return Text(f"{code}, as meant", QUIET) if row.meant else Text(code, BAD)


def summary_line(rows: Sequence[ResultRow], elapsed_s: float) -> str:
    """Return the run in one line: how many photos, how fast, what the copies save, and the codes of what failed."""
    photos = f"{len(rows)} photo{'s' * (len(rows) != 1)}"
    failed = [row for row in rows if not row.ok]
    parts = [
        f"{photos} in {human_duration(elapsed_s * 1000)}",
        f"{len(rows) / elapsed_s:.1f} photos/s" if rows and elapsed_s > 0 else "",
        f"{sum(row.thumbnails for row in rows)} thumbnails",
        f"{human_size(saved)} saved" if (saved := sum(row.saved_bytes or 0 for row in rows)) else "",
        _failures(failed) if failed else "none failed",
    ]
    return ", ".join(part for part in parts if part)


def _failures(failed: Sequence[ResultRow]) -> str:
    meant = sum(row.meant for row in failed)
    words = ", as meant" if meant == len(failed) else f" ({meant} of them as meant)" if meant else ""
    count = Counter(clean(row.code or row.status) for row in failed)
    codes = ", ".join(f"{code} x{many}" if many > 1 else code for code, many in sorted(count.items()))
    return f"{len(failed)} failed{words}: {codes}"
