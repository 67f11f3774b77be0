"""Draws lists of recordings, one recording in ten lines, and what a search found.

Everything from outside is escaped here.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

from rtms_cli.protocol.endings import how_it_ended
from rtms_cli.protocol.times import clock_time
from rtms_cli.recording.manifest import Manifest
from rtms_cli.view.text import escape, size_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

STYLES = {
    "complete": "green",
    "recording": "bold cyan",
    "interrupted": "yellow",
    "unfinished": "yellow",
    "failed": "red",
    "revoked": "red",
    "unreadable": "red",
}
"""In which colour a recording's status is shown."""
_STAMP_LENGTH = len("20261128T094330Z")
_NARROWEST, _NARROW, _WIDE, _WIDER = 52, 74, 100, 130
"""Columns of a terminal from which on there is room for when, for the names of people, and for kinds."""
_MOST_NAMES = 6
_ID_LENGTH = 24


class Listed(Protocol):
    """What a list shows of a recording; see `catalog.entries.Entry`."""

    @property
    def name(self) -> str:
        """Its folder's name."""

    @property
    def status(self) -> str:
        """How it stands."""

    @property
    def title(self) -> str | None:
        """What a person has called it."""

    @property
    def product(self) -> str:
        """What it is a recording of."""

    @property
    def id(self) -> str:
        """Of the meeting, session, engagement or call."""

    @property
    def started_at(self) -> str:
        """ISO 8601."""

    @property
    def began(self) -> datetime | None:
        """The same as a time."""

    @property
    def seconds(self) -> float:
        """How long it is."""

    @property
    def people(self) -> list[str]:
        """Names."""

    @property
    def kinds(self) -> list[str]:
        """Of media."""

    @property
    def losses(self) -> int:
        """How much is missing."""

    @property
    def nbytes(self) -> int:
        """Of all files."""


class Found(Protocol):
    """What a search shows of a line; see `catalog.search.Hit`."""

    @property
    def recording(self) -> str:
        """The folder's name."""

    @property
    def title(self) -> str:
        """What a person has called it; may be empty."""

    @property
    def began(self) -> str:
        """ISO 8601."""

    @property
    def kind(self) -> str:
        """`transcript`, `chat` or `title`."""

    @property
    def at(self) -> float:
        """Seconds since the recording's zero."""

    @property
    def who(self) -> str:
        """The speaker."""

    @property
    def text(self) -> str:
        """The line."""

    @property
    def before(self) -> list[str]:
        """The lines before it."""

    @property
    def after(self) -> list[str]:
        """The lines behind it."""


def local_time(began: datetime | None) -> str:
    """A time in this machine's zone, to the minute; `?` where it is not known."""
    try:
        return "?" if began is None else began.astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError):  # at the edges of what a date can be
        return "?"


def short_names(names: Sequence[str]) -> dict[str, str]:
    """For each name its shortest beginning, cut no shorter than the time in it, that no other one has."""
    shortest = {}
    ordered = sorted(names)
    for before, name, after in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False):
        same = max(_shared(before, name), _shared(name, after))
        shortest[name] = name[: max(_STAMP_LENGTH, same + 1)]
    return shortest


def _shared(one: str, other: str) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def what_of(listed: Listed) -> str:
    """The title, or the id if there is none."""
    return listed.title or (f"{listed.product} {listed.id}".strip() or "?")


def recordings_table(entries: Sequence[Listed], width: int) -> "RenderableType":
    """A row a recording; what is cut where the terminal is too narrow are titles, names and kinds."""
    from rich.table import Table
    from rich.text import Text

    short = short_names([entry.name for entry in entries])
    columns = {
        "recording": [Text(escape(short[entry.name]), style="cyan") for entry in entries],
        "when": [Text(local_time(entry.began)[0 if width >= _WIDE else 5 :]) for entry in entries],
        "length": [Text(clock_time(round(entry.seconds)), justify="right") for entry in entries],
        "what": [Text(escape(what_of(entry)), style="bold" if entry.title else "") for entry in entries],
        "people": [Text(escape(", ".join(entry.people))) for entry in entries],
        "kinds": [Text(" ".join(entry.kinds)) for entry in entries],
        "status": [_standing(entry) for entry in entries],
        "size": [Text(size_of(entry.nbytes), justify="right") for entry in entries],
    }
    if width < _WIDE:
        columns["people"] = [Text(str(len(entry.people) or "")) for entry in entries]
    left_out = ("when", "people", "kinds") if width < _NARROW else ("kinds",) if width < _WIDER else ()
    for name in (*left_out, *(("length", "what", "size") if width < _NARROWEST else ())):
        del columns[name]
    most = {name: max(len(name), *(cell.cell_len for cell in cells)) for name, cells in columns.items()}
    elastic = [name for name in ("kinds", "people", "what") if name in most and (name != "people" or width >= _WIDE)]
    left = width - 2 * len(most) - sum(most[name] for name in most if name not in elastic)
    for number, name in enumerate(elastic):
        most[name] = max(8, min(most[name], left // (len(elastic) - number)))
        left -= most[name]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        least = most[name] if name == "recording" else None  # it is what people type
        justify: Literal["left", "right"] = "right" if name in ("length", "size") else "left"
        table.add_column(
            name, no_wrap=True, overflow="ellipsis", min_width=least, max_width=most[name], justify=justify
        )
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def _standing(entry: Listed) -> "Text":
    from rich.text import Text

    lost = (f", {entry.losses:,} lost", "red") if entry.losses else ""
    return Text.assemble((entry.status, STYLES.get(entry.status, "")), lost)


def recording_line(entry: Listed) -> str:
    """The same for a pipe: fields with tabs between them, of which none has one in it."""
    fields = (
        entry.name,
        entry.status,
        entry.started_at,
        clock_time(round(entry.seconds)),
        str(entry.nbytes),
        str(entry.losses),
        entry.product,
        entry.title or entry.id,
    )
    return "\t".join(escape(field) for field in fields)


def recording_lines(manifest: Manifest, entry: Listed, verdict: str) -> Iterator[tuple[str, str]]:
    """A recording in ten lines: a label and its text each; the first one is the verdict."""
    yield "", verdict
    if manifest.title:
        yield "title", manifest.title
    yield "recording", entry.name
    yield "when", f"{local_time(entry.began)}, {clock_time(round(entry.seconds))}, {size_of(entry.nbytes)}"
    yield manifest.product.replace("_", " "), f"{manifest.id}, stream {manifest.rtms_stream_id}"
    if manifest.participants:
        names = [person.user_name or str(person.user_id) for person in manifest.participants]
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        yield "people", ", ".join(names[:_MOST_NAMES]) + more
    if media := ", ".join(_media(manifest)):
        yield "media", media
    yield "ended", ending_of(manifest, entry.status)
    for loss in manifest.losses[:1]:
        more = f", and {len(manifest.losses) - 1} more" if len(manifest.losses) > 1 else ""
        yield "lost", f"{loss.where}: {loss.what}{more}"
    for warned in manifest.warnings[:1]:
        more = f", and {len(manifest.warnings) - 1} more" if len(manifest.warnings) > 1 else ""
        yield "warning", f"{warned.text}{more}"


def ending_of(manifest: Manifest, status: str | None = None) -> str:
    """How a recording ended, and by whom; see `how_it_ended`.

    :param status: how it stands, if not as its manifest says.
    """
    status, stop = status or manifest.status, manifest.stop
    if stop is None:
        return status
    return how_it_ended(status, stop.name or None if stop.reason is None else stop.reason, stop.said_by)


def _media(manifest: Manifest) -> Iterator[str]:
    """What there is of each kind: `audio (1 file)`, `chat (3)`."""
    for kind in ("audio", "encoded", "video", "share"):
        if count := sum(track.kind == kind for track in manifest.tracks):
            yield f"{kind} ({count} file{'s' if count > 1 else ''})"
    for kind in ("transcript", "chat"):
        if count := sum(track.packets for track in manifest.tracks if track.kind == kind):
            yield f"{kind} ({count:,})"


def labelled(lines: Iterable[tuple[str, str]]) -> Iterator["Text"]:
    """Those lines for a terminal."""
    from rich.text import Text

    for label, text in lines:
        if label:
            style = {"lost": "red", "warning": "yellow"}.get(label, "")
            yield Text.assemble((f"{escape(label):11}", "dim"), (escape(text), style))
        else:
            yield Text(escape(text), style="bold")


def found_lines(
    hits: Sequence[Found], words: str, short: dict[str, str], link: Callable[[Found], str | None]
) -> Iterator["Text"]:
    """What a search found, under a heading for each recording, with the words marked.

    :param link: where the moment is in the recording's page, if there is one.
    """
    from rich.text import Text

    marked = _marks(words)
    last = ""
    for hit in hits:
        if hit.recording != last:
            if last:
                yield Text()
            last = hit.recording
            heading = f"{hit.title}  " if hit.title else ""
            yield Text.assemble((escape(heading), "bold"), (escape(short.get(last, last)), "cyan"))
        for line in hit.before:
            yield Text(f"{'':13}{escape(line)}", style="dim")
        mark = {"chat": "chat ", "title": "title "}.get(hit.kind, "")
        url = link(hit)
        line_text = Text.assemble(
            "  ",
            (f"{clock_time(hit.at):>9}", f"cyan link {url}" if url else "cyan"),
            "  ",
            (mark, "dim"),
            (escape(hit.who) + ": " if hit.who else "", "bold"),
        )
        said = Text(escape(hit.text, 2_000))
        if marked is not None:
            said.highlight_regex(marked, "bold yellow")
        yield line_text.append_text(said)
        for line in hit.after:
            yield Text(f"{'':13}{escape(line)}", style="dim")


def _marks(words: str) -> re.Pattern[str] | None:
    """What finds the words in a line, to mark them."""
    parts = [part for phrase, word in re.findall(r'"([^"]*)"?|(\S+)', words) if (part := (phrase or word).rstrip("*"))]
    return re.compile("|".join(map(re.escape, parts)), re.IGNORECASE) if parts else None


def found_line(hit: Found) -> str:
    """The same for a pipe: recording, time, kind, speaker and text, with tabs between them."""
    fields = (hit.recording, clock_time(hit.at), hit.kind, hit.who, hit.text)
    return "\t".join(escape(field, 10_000) for field in fields)
