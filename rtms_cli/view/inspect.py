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
        """Its heading; empty if it needs none."""

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
        """The cells; `None` if there is nothing to say."""

    @property
    def legend(self) -> str:
        """What the columns mean; may be empty."""


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
        lines += [""] if lines else []
        lines += [sheet.title] if sheet.title else []
        for row in table:
            padded = [
                cell + " " * (width - cell_len(cell))
                if column.unit == "text"
                else " " * (width - cell_len(cell)) + cell
                for cell, column, width in zip(row, columns, widths, strict=True)
            ]
            lines.append(("  " + "  ".join(padded)).rstrip())
        lines += [f"  ({line})" for line in sheet.legend.splitlines()]
    return lines


def rich_sheets(sheets: Iterable[Sheet], width: int = 0) -> "RenderableType":
    """The tables for a terminal.

    Where one is too wide, its columns are continued below, beside its first ones again.

    :param width: the terminal's columns; 0 leaves the widths to Rich.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn: list[RenderableType] = []
    for sheet in sheets:
        columns, rows = sheet.columns, sheet.rows
        texts = [[written(row[number], column.unit) for row in rows] for number, column in enumerate(columns)]
        widths = _column_widths(columns, texts)
        drawn += [Text()] if drawn else []
        drawn += [Text(sheet.title, style="bold")] if sheet.title else []
        for part in _parts(columns, texts, widths, width):
            table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
            table.show_header = any(column.name for column in columns)
            room = _shared_out({number: widths[number] for number in part}, columns, texts, width)
            for number in part:
                is_text = columns[number].unit == "text"
                wraps = _wraps(columns, texts, number)
                table.add_column(
                    columns[number].name,
                    justify="left" if is_text else "right",
                    style=None if number else "cyan",
                    width=room[number] if width else None,
                    no_wrap=not wraps,
                    overflow="fold" if wraps else "ellipsis",
                )
            for row in zip(*(texts[number] for number in part), strict=True):
                table.add_row(*(Text(cell, style="dim" if cell == NOTHING else "") for cell in row))
            drawn.append(table)
        if sheet.legend:
            drawn.append(Text(sheet.legend, style="dim"))
    return Group(*drawn)


_BETWEEN = 2
"""Columns of the terminal between two of a table."""
_LEAST_TEXT = 10
"""What is left of a text that is cut."""
_LEAST_WRAPPED = 24
"""How wide sentences stay."""


def _column_widths(columns: Sequence[Column], texts: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    return [max(cell_len(column.name), *map(cell_len, cells)) for column, cells in zip(columns, texts, strict=True)]


def _least(column: Column, width: int, *, wraps: bool) -> int:
    """How narrow a column may be: only texts are cut, or wrapped."""
    return (
        min(width, max(_LEAST_WRAPPED if wraps else _LEAST_TEXT, len(column.name))) if column.unit == "text" else width
    )


def _wraps(columns: Sequence[Column], texts: Sequence[Sequence[str]], number: int) -> bool:
    """Whether a column has sentences, which nothing stands beside."""
    return number == len(columns) - 1 and any(" " in text for text in texts[number])


def _parts(
    columns: Sequence[Column], texts: Sequence[Sequence[str]], widths: Sequence[int], width: int
) -> list[list[int]]:
    """Which columns stand beside each other: all, or as many as there is room for, each time beside the first ones."""
    least = [
        _least(column, widths[number], wraps=_wraps(columns, texts, number)) + _BETWEEN
        for number, column in enumerate(columns)
    ]
    if not width or sum(least) - _BETWEEN <= width:
        return [list(range(len(columns)))]
    keys = next((number for number, column in enumerate(columns) if column.unit != "text"), 1) or 1
    parts, used = [list(range(keys))], sum(least[:keys])
    for number in range(keys, len(columns)):
        if used + least[number] - _BETWEEN > width and len(parts[-1]) > keys:
            parts.append(list(range(keys)))
            used = sum(least[:keys])
        parts[-1].append(number)
        used += least[number]
    return parts


def _shared_out(
    widths: dict[int, int], columns: Sequence[Column], texts: Sequence[Sequence[str]], width: int
) -> dict[int, int]:
    """The columns' widths in the room that there is: the widest text gives way first."""
    room = dict(widths)
    least = {number: _least(columns[number], room[number], wraps=_wraps(columns, texts, number)) for number in room}
    while width and sum(room.values()) + _BETWEEN * (len(room) - 1) > width:
        giving = {number: room[number] for number in room if room[number] > least[number]}
        if not giving:
            break
        room[max(giving, key=lambda number: giving[number])] -= 1
    return room


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
