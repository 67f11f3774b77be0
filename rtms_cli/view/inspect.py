"""Draws what an inspection found: tables, findings, a timeline. Whoever found it brings plain values.

Everything from outside is escaped here, cell by cell.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from rtms_cli.protocol.times import clock_time, spoken_length
from rtms_cli.view.text import escape, size_of

if TYPE_CHECKING:
    from rich.console import RenderableType

Cell = str | int | float | None
NOTHING = "–"


class Column(Protocol):
    """A column's name, and how its cells are written."""

    @property
    def name(self) -> str:
        """Its heading; empty where it needs none."""

    @property
    def unit(self) -> str:
        """`text`, `count`, `bytes`, `seconds`, `span`, `at`, `ms`, `share` or `db`."""


class Sheet(Protocol):
    """A table of plain values."""

    @property
    def title(self) -> str:
        """Its heading; may be empty."""

    @property
    def columns(self) -> Sequence[Column]:
        """One for each cell of a row."""

    @property
    def rows(self) -> Sequence[Sequence[Cell]]:
        """The cells; `None` where there is nothing to say."""


class Lane(Protocol):
    """One row of a timeline."""

    @property
    def kind(self) -> str:
        """`socket`, `audio`, `video`, `share`, `speaker`, `transcript`, `chat`, `events`, `gap` or `reconnect`."""

    @property
    def name(self) -> str:
        """Whose it is."""

    @property
    def spans(self) -> Sequence[tuple[float, float]]:
        """When there was something: seconds, in order, not overlapping."""


def written(cell: Cell, unit: str) -> str:
    """A cell for people, fit for a terminal."""
    if cell is None or cell == "":
        return NOTHING
    if isinstance(cell, str):
        return escape(cell)
    match unit:
        case "bytes":
            return size_of(int(cell))
        case "seconds":
            return clock_time(round(cell))
        case "span":
            return spoken_length(cell)
        case "at":
            return f"{cell:.3f}"
        case "share":
            return f"{cell:.0%}"
        case "db":
            return f"{cell:.1f}"
        case "ms":
            return f"{cell:,.1f}"
        case _:
            return f"{cell:,}"


def plain_sheets(sheets: Iterable[Sheet]) -> list[str]:
    """The tables as aligned lines."""
    from rich.cells import cell_len

    lines: list[str] = []
    for sheet in sheets:
        columns = sheet.columns
        table = [[written(cell, column.unit) for cell, column in zip(row, columns, strict=True)] for row in sheet.rows]
        if any(column.name for column in columns):
            table.insert(0, [column.name for column in columns])
        widths = [max(map(cell_len, cells)) for cells in zip(*table, strict=True)]
        lines += ["", sheet.title] if sheet.title else []
        for row in table:
            padded = [
                cell + " " * (width - cell_len(cell))
                if column.unit == "text"
                else " " * (width - cell_len(cell)) + cell
                for cell, column, width in zip(row, columns, widths, strict=True)
            ]
            lines.append(("  " + "  ".join(padded)).rstrip())
    return lines


def rich_sheets(sheets: Iterable[Sheet]) -> "RenderableType":
    """The tables for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn: list[RenderableType] = []
    for sheet in sheets:
        named = any(column.name for column in sheet.columns)
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_header=named)
        for number, column in enumerate(sheet.columns):
            justify = "left" if column.unit == "text" else "right"
            table.add_column(column.name, justify=justify, style=None if number else "cyan")  # type: ignore[arg-type]
        for row in sheet.rows:
            cells = [written(cell, column.unit) for cell, column in zip(row, sheet.columns, strict=True)]
            table.add_row(*(Text(cell, style="dim" if cell == NOTHING else "") for cell in cells))
        drawn += [Text(), Text(sheet.title, style="bold")] if sheet.title else []
        drawn.append(table)
    return Group(*drawn)


_CONTINUOUS = frozenset(("socket", "audio", "video", "share", "speaker", "gap", "reconnect"))
_STYLES = {
    "socket": "blue", "audio": "green", "video": "magenta", "share": "yellow", "speaker": "bright_green",
    "transcript": "cyan", "chat": "cyan", "events": "white", "gap": "bright_red",
    "reconnect": "red",
}  # fmt: skip
_LONGEST_LABEL = 28


def timeline(lanes: Sequence[Lane], seconds: float, width: int) -> list[tuple[str, str, str]]:
    """The lanes as text, `width` columns wide: label, bar and style of each; the first row is the scale.

    A full cell had something all the time, a shaded one some of the time, a blank one never.
    """
    from rich.cells import cell_len, set_cell_size

    labels = [f"{lane.kind} {escape(lane.name)}".rstrip() for lane in lanes]
    room = min(_LONGEST_LABEL, max(map(cell_len, labels), default=0))
    columns = max(10, width - room - 2)
    rows = [(" " * room, _scale(seconds, columns), "dim")]
    for lane, label in zip(lanes, labels, strict=True):
        bar = _bar(lane.spans, seconds, columns, continuous=lane.kind in _CONTINUOUS)
        rows.append((set_cell_size(label, room), bar, _STYLES.get(lane.kind, "")))
    return rows


def _bar(spans: Sequence[tuple[float, float]], seconds: float, columns: int, *, continuous: bool) -> str:
    cell = seconds / columns
    covered = [0.0] * columns
    for start, end in spans:
        first, last = (min(columns - 1, max(0, int(moment / cell))) if cell else 0 for moment in (start, end))
        for index in range(first, last + 1):
            inside = min(end, (index + 1) * cell) - max(start, index * cell)
            covered[index] += max(0.0, inside / cell) if cell else 1.0
    if not continuous:
        return "".join("•" if part > 0 else " " for part in covered)
    return "".join("█" if part > 0.97 else "▓" if part > 0.5 else "░" if part > 0 else " " for part in covered)


_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_MARK = 10
"""Columns that a mark of the scale takes at least."""


def _scale(seconds: float, columns: int) -> str:
    """Marks at round times."""
    step_s = next((step_s for step_s in _STEPS_S if seconds * _MARK <= step_s * columns), _STEPS_S[-1])
    line = ""
    for moment in range(0, int(seconds) + 1, step_s):
        column = int(moment * columns / seconds) if seconds else 0
        if column < len(line) + (moment > 0) or column + _MARK > columns + 2:
            continue
        line = line.ljust(column) + "╵" + clock_time(moment)
    return line
