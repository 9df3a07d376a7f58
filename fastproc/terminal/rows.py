"""Rows of values for people: a table where its columns fit, else some lines for each row. No value is cut off.

Rule 1: where there is little room, a column of words is folded at spaces, then one with `least` down to that width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from fastproc.terminal.style import QUIET, STRONG

#: What a value is called that is not there; a list leaves it out.
NOTHING: Final = "-"
_INDENT: Final = "  "


class Column(Struct, frozen=True):
    """A column: its name, whether it may be folded at spaces, and in how few characters within a word (0: not)."""

    name: str
    right: bool = False
    words: bool = False
    least: int = 0


class Rows(Struct, frozen=True):
    """Rows as long as the columns are many; a row's first value is what it is about, where there are several."""

    columns: tuple[Column, ...]
    cells: Sequence[Sequence[Text]]
    title: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Text(self.title, STRONG, overflow="fold")
        if widths := self._widths(options.max_width):
            yield self._table(widths)
            return
        for row in self.cells:
            pairs = [
                Text.assemble((column.name, QUIET), " ", value)
                for column, value in zip(self.columns, row, strict=True)
                if value.plain != NOTHING
            ]
            if len(self.cells) > 1:
                yield Text.assemble(row[0], overflow="fold")
                pairs = pairs[1:]
            yield from _filled(pairs, options.max_width)

    def _widths(self, room: int) -> list[int] | None:
        """Return the characters of each column, so that all fit into `room`; None where they do not."""
        cells = [[row[number].plain for row in self.cells] for number in range(len(self.columns))]
        widths = [
            max(map(cell_len, [column.name, *of])) for column, of in zip(self.columns, cells, strict=True)
        ]
        least = [_least(column, of) for column, of in zip(self.columns, cells, strict=True)]
        while sum(widths) + len(widths) - 1 > room:
            can = [number for number, width in enumerate(widths) if width > least[number]]
            if not can:
                return None
            widths[max(can, key=lambda number: (self.columns[number].words, widths[number]))] -= 1
        return widths

    def _table(self, widths: Sequence[int]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, header_style=STRONG)
        for column, width in zip(self.columns, widths, strict=True):
            side: Literal["left", "right"] = "right" if column.right else "left"
            table.add_column(column.name, justify=side, overflow="fold", width=width)
        for row in self.cells:
            table.add_row(*row)
        return table


def _least(column: Column, cells: Sequence[str]) -> int:
    """The characters that a column needs."""
    longest = max([0, *map(cell_len, cells)])
    if column.words:
        longest = max([0, *(cell_len(word) for cell in cells for word in cell.split())])
    return max(len(column.name), min(column.least or longest, longest))


def _filled(pairs: Sequence[Text], width: int) -> Iterator[Text]:
    """Yield indented lines of pairs; none is split that fits a line."""
    line = Text()
    for pair in pairs:
        if line and line.cell_len + len(", ") + pair.cell_len > width - len(_INDENT) - len(","):
            yield Text.assemble(_INDENT, line, ",", overflow="fold")
            line = Text()
        line = Text.assemble(line, ", " if line else "", pair)
    yield Text.assemble(_INDENT, line, overflow="fold")
