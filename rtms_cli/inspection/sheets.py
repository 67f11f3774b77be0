"""The summary as tables of plain values, for whoever draws them."""

from msgspec import Struct
from msgspec.structs import replace

from rtms_cli.inspection.summary import Stopped, Summary, Track
from rtms_cli.machine import Via
from rtms_cli.protocol.media import MEDIA_NAMES, MediaParams
from rtms_cli.protocol.numbers import (
    AudioChannel,
    Codec,
    ContentType,
    DataOption,
    Language,
    Numbered,
    Resolution,
    SampleRate,
    StopReason,
)
from rtms_cli.protocol.parties import label
from rtms_cli.protocol.times import clock_time
from rtms_cli.recording.quantiles import Spread

Cell = str | int | float | None

_TABLES: dict[str, type[Numbered]] = {
    "content_type": ContentType,
    "sample_rate": SampleRate,
    "channel": AudioChannel,
    "codec": Codec,
    "data_opt": DataOption,
    "resolution": Resolution,
    "src_language": Language,
}


_LEGENDS = {
    "lifecycle": "at: seconds since the capture began",
    "media": "asked: what we asked for; granted: what Zoom granted",
    "media received": "gaps: stretches in which nothing came, such as while a camera was off",
    "timing": "step: between two packets; late, early: by more than a step; lost: missing by their timestamps; "
    "double: the same packet again; order: older than the one before; jumps: of the timestamps; "
    "untimed: without a timestamp; jitter: in ms, percentiles (RFC 3550)",
    "sound": "silent: below −60 dBFS; level: of what is not silent",
    "participants": "joined, left: seconds since the capture began; by: what speaking was measured from",
    "messages": "in: from Zoom; out: to Zoom",
    "keep-alives": "open: without an answer; interval, answer: in ms",
    "connections": "opened, closed: seconds since the capture began; code: why it was closed (RFC 6455, 7.4)",
}
"""What the columns mean, by the sheet's title."""


class Column(Struct, frozen=True):
    """A column.

    Its unit is `text`, `count`, `bytes`, `seconds` (a length), `span` (a length that may be short), `at` (a moment, in
    seconds), `ms`, `share` (of 1) or `db`.
    """

    name: str
    unit: str = "text"


class Sheet(Struct, frozen=True):
    """A table; one without column names is a list of facts."""

    title: str
    columns: tuple[Column, ...]
    rows: list[tuple[Cell, ...]]
    legend: str = ""
    """What its columns mean, for who does not know."""


def sheets(summary: Summary) -> list[Sheet]:
    """The summary's tables, without those that have no row."""
    made = [
        _facts(summary),
        _steps(summary),
        _media(summary),
        _tracks(summary),
        _timing(summary),
        _sounds(summary),
        _losses(summary),
        _participants(summary),
        _messages(summary),
        _keep_alives(summary),
        _connections(summary),
        Sheet(
            "warnings",
            (Column("at", "at"), Column("channel"), Column("text")),
            [(warned.at, warned.channel, warned.text) for warned in summary.warnings],
        ),
    ]
    return [replace(sheet, legend=_LEGENDS.get(sheet.title, "")) for sheet in made if sheet.rows]


def _reason(stop: Stopped) -> str:
    """Why the stream ended, as documented."""
    return StopReason.explain(stop.reason) if stop.reason is not None else stop.name or "no reason was given"


def _facts(summary: Summary) -> Sheet:
    stop = "nothing said so" if summary.stop is None else _reason(summary.stop)
    said_by = "" if summary.stop is None else f" (said by {summary.stop.said_by})"
    rows: list[tuple[Cell, ...]] = [
        *([("title", summary.recorded.title)] if summary.recorded is not None and summary.recorded.title else []),
        ("capture", summary.capture),
        ("of", f"{summary.product} {summary.id}, stream {summary.rtms_stream_id}"),
        ("created", f"{summary.created} by {summary.generator}"),
        ("length", f"{clock_time(round(summary.seconds))}, {summary.lines:,} lines"),
        *([("announced", f"by {Via(summary.announced_by).in_words}")] if summary.announced_by else []),
        ("status", summary.status),
        ("stop", f"{stop}{said_by}"),
    ]
    if summary.recorded is not None and summary.recorded.problem:
        rows.append(("manifest", f"cannot be read: {summary.recorded.problem}"))
    counts = (
        ("unreadable", summary.unreadable),
        ("unknown types", summary.unknown),
        ("dropped", summary.dropped),
        ("not listed", summary.unlisted),
    )
    rows += [(name, str(count)) for name, count in counts if count or name in ("unreadable", "unknown types")]
    return Sheet("", (Column(""), Column("")), rows)


def _steps(summary: Summary) -> Sheet:
    rows: list[tuple[Cell, ...]] = []
    before: float | None = None
    for step in summary.steps:
        after = None if before is None else (step.at - before) * 1000
        rows.append((step.at, after, step.step.replace("_", " "), step.channel))
        before = step.at
    return Sheet("lifecycle", (Column("at", "at"), Column("after ms", "ms"), Column("step"), Column("channel")), rows)


def _media(summary: Summary) -> Sheet:
    asked, granted = MediaParams.read(summary.asked), MediaParams.read(summary.granted)
    rows: list[tuple[Cell, ...]] = []
    for kind in MEDIA_NAMES.values():
        one, other = _values(getattr(asked, kind)), _values(getattr(granted, kind))
        if kind in summary.kinds_asked and not one and not other:
            rows.append((kind, None, "(defaults)", None))
        rows += [
            (kind, name, _label(name, one.get(name)), _label(name, other.get(name)))
            for name in [*one, *(name for name in other if name not in one)]
        ]
    return Sheet("media", (Column("kind"), Column("parameter"), Column("asked"), Column("granted")), rows)


def _values(params: object) -> dict[str, object]:
    values = params.to_json() if hasattr(params, "to_json") else {}
    return values if isinstance(values, dict) else {}


def _label(name: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and name in _TABLES:
        return _TABLES[name].label(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def whose(track: Track) -> tuple[Cell, Cell]:
    """The id and the name of the one whose track it is."""
    mixed = track.kind == "audio" and not track.user_id and track.channel_id is None
    return str(track.user_id), track.user_name or ("everyone" if mixed else None)


_USER = (Column("kind"), Column("user"), Column("name"))


def _tracks(summary: Summary) -> Sheet:
    columns = (
        *_USER,
        Column("packets", "count"),
        Column("size", "bytes"),
        Column("length", "seconds"),
        Column("gaps", "count"),
        Column("gaps in all", "span"),
        Column("longest", "span"),
    )
    rows: list[tuple[Cell, ...]] = []
    for track in summary.tracks:
        timed = track.step_ms is not None
        longest = max((end - start for start, end in track.gaps), default=None)
        gaps = (track.gap_count, track.gap_seconds if track.gap_count else None) if timed else (None, None)
        rows.append((track.kind, *whose(track), track.packets, track.bytes, track.duration, *gaps, longest))
    return Sheet("media received", columns, rows)


def _timing(summary: Summary) -> Sheet:
    columns = (
        *_USER,
        Column("step ms", "count"),
        Column("late", "count"),
        Column("early", "count"),
        Column("lost", "count"),
        Column("double", "count"),
        Column("order", "count"),
        Column("jumps", "count"),
        Column("untimed", "count"),
        Column("jitter p50", "ms"),
        Column("p95", "ms"),
        Column("p99", "ms"),
        Column("max", "ms"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            track.kind,
            *whose(track),
            track.step_ms,
            track.late,
            track.early,
            track.lost,
            track.duplicates,
            track.out_of_order,
            track.jumps,
            track.untimed,
            *_percentiles(track.jitter_ms),
        )
        for track in summary.tracks
        if track.step_ms is not None
    ]
    return Sheet("timing", columns, rows)


def _percentiles(spread: Spread | None) -> tuple[Cell, Cell, Cell, Cell]:
    return (None,) * 4 if spread is None else (spread.p50, spread.p95, spread.p99, spread.max)


def _sounds(summary: Summary) -> Sheet:
    columns: tuple[Column, ...] = (
        Column("file"),
        Column("name"),
        Column("rate", "count"),
        Column("length", "seconds"),
        Column("silent", "share"),
        Column("level dBFS", "db"),
        Column("peak dBFS", "db"),
        Column("gaps", "count"),
        Column("gaps in all", "span"),
        Column("problem"),
    )
    rows: list[tuple[Cell, ...]] = []
    for sound in summary.recorded.sounds if summary.recorded else ():
        name = label(summary.product, sound.party, sound.user_name) or "everyone"
        heard = (sound.rate, sound.duration, sound.silence, sound.rms_dbfs, sound.peak_dbfs)
        values = (None,) * len(heard) if sound.problem else heard
        gaps = (sound.gap_count, sound.gap_seconds if sound.gap_count else None)
        rows.append((sound.path, name, *values, *gaps, sound.problem or None))
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return Sheet("sound", columns, rows)


def _losses(summary: Summary) -> Sheet:
    columns = (
        Column("what"),
        Column("where"),
        Column("count", "count"),
        Column("size", "bytes"),
        Column("first", "at"),
        Column("last", "at"),
        Column("error"),
    )
    rows: list[tuple[Cell, ...]] = [
        (loss.what, loss.where, loss.count, loss.bytes, loss.first_at, loss.last_at, loss.first_error)
        for loss in (summary.recorded.losses if summary.recorded else ())
    ]
    return Sheet("losses", columns, rows)


def _participants(summary: Summary) -> Sheet:
    columns = (
        Column("user"),
        Column("name"),
        Column("joined", "at"),
        Column("left", "at"),
        Column("speaking", "seconds"),
        Column("by"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            str(person.user_id),
            person.user_name,
            person.joined,
            person.left,
            person.speaking,
            person.speaking_from and person.speaking_from.replace("_", " "),
        )
        for person in summary.participants
    ]
    return Sheet("participants", columns, rows)


def _messages(summary: Summary) -> Sheet:
    columns = (Column("type"), Column("name"), Column("way"), Column("count", "count"), Column("size", "bytes"))
    rows: list[tuple[Cell, ...]] = [
        (None if count.msg_type is None else str(count.msg_type), count.name, count.direction, count.count, count.bytes)
        for count in summary.messages
    ]
    return Sheet("messages", columns, rows)


def _keep_alives(summary: Summary) -> Sheet:
    columns = (
        Column("channel"),
        Column("asked", "count"),
        Column("answered", "count"),
        Column("wrong", "count"),
        Column("open", "count"),
        Column("interval p50", "ms"),
        Column("max", "ms"),
        Column("answer p50", "ms"),
        Column("slowest", "ms"),
    )
    rows: list[tuple[Cell, ...]] = []
    for facts in summary.keep_alive:
        interval, answer = _percentiles(facts.interval_ms), _percentiles(facts.answer_ms)
        counts = (facts.asked, facts.answered, facts.wrong, facts.unanswered)
        rows.append((facts.channel, *counts, interval[0], interval[3], answer[0], answer[3]))
    return Sheet("keep-alives", columns, rows)


def _connections(summary: Summary) -> Sheet:
    columns = (
        Column("channel"),
        Column("opened", "at"),
        Column("closed", "at"),
        Column("code"),
        Column("by"),
        Column("reason"),
        Column("url"),
    )
    rows: list[tuple[Cell, ...]] = []
    for socket in summary.connections:
        by = "refused" if socket.refused else None if socket.closed is None else "us" if socket.ours else "server"
        code = None if socket.code is None else str(socket.code)
        rows.append((socket.channel, socket.opened, socket.closed, code, by, socket.reason, socket.url))
    return Sheet("connections", columns, rows)
