"""The settings for `fastproc check`: a table on a wide terminal, else two lines each."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fastproc.terminal.style import QUIET, STRONG
from fastproc.terminal.text import clean

#: Below this width four columns leave no room for a sentence.
SETTINGS_TABLE_MIN_WIDTH = 110


class SettingsTable(Struct, frozen=True):
    """Settings as a table if there is room, else as two lines each: no value is cut off, every line can be searched.

    A star marks a value that differs from the default.
    """

    rows: tuple[tuple[str, str, str, str], ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.is_terminal and options.max_width >= SETTINGS_TABLE_MIN_WIDTH
        yield self._table() if wide else self._list()
        yield Text("* differs from the default", QUIET)

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style=STRONG)
        table.add_column("variable", no_wrap=True)
        table.add_column("value", overflow="fold", max_width=40)
        table.add_column("default", overflow="fold", max_width=28, style=QUIET)
        table.add_column("meaning", ratio=1)
        for variable, value, default, meaning in self.rows:
            star = "* " if value != default else "  "
            style = STRONG if value != default else ""
            table.add_row(
                Text(star + variable, style), Text(clean(value), style), Text(clean(default)), Text(meaning)
            )
        return table

    def _list(self) -> Group:
        lines: list[Text | Padding] = []
        for variable, value, default, meaning in self.rows:
            star = "* " if value != default else "  "
            text = Text.assemble(star, (variable, STRONG), f" = {clean(value)}", overflow="fold")
            if value != default:
                text.append(f"  (default: {clean(default)})", QUIET)
            lines += [text, Padding(Text(meaning, QUIET), (0, 0, 0, 6), expand=False)]
        return Group(*lines)


def settings_table(rows: Sequence[tuple[str, str, str, str]]) -> SettingsTable:
    """Return what `fastproc check` prints, from (variable, value, default, meaning). The caller masks secrets."""
    return SettingsTable(tuple(rows))
