"""The summary on one screen: what a person looks at first. `sheets` has everything."""

from rtms_cli.catalog.verdict import verdict
from rtms_cli.inspection.sheets import Cell, Column, Sheet, whose
from rtms_cli.inspection.summary import Stopped, Summary, Track
from rtms_cli.protocol.endings import Status, how_it_ended
from rtms_cli.protocol.times import clock_time
from rtms_cli.recording.ledger import Socket
from rtms_cli.recording.manifest import Connection, Manifest, Participant, Stop, TrackEntry, Warned

_MOST_NAMES = 6
_MOST_ROWS_OF_A_KIND = 2
_LEGEND = (
    "gaps: how long nothing came, such as while a camera was off; silent: below −60 dBFS; "
    "jitter: 95th percentile, in ms"
)


def verdict_of(summary: Summary, manifest: Manifest | None) -> str:
    """The verdict on what was looked at, with the silence that was measured.

    :param manifest: the recording's; `None` if there is only a capture.
    """
    told = manifest if manifest is not None else _as_manifest(summary)
    return verdict(told, silent=_silent(summary, None))


def overview(summary: Summary, manifest: Manifest | None, most_rows: int) -> list[Sheet]:
    """What it is, who was there, how it ended, what went wrong, and the media.

    :param most_rows: of the table of media; what does not fit is counted below it.
    """
    columns = (
        Column("kind"),
        Column("who"),
        Column("packets", "count"),
        Column("size", "bytes"),
        Column("length", "seconds"),
        Column("gaps", "span"),
        Column("silent", "share"),
        Column("jitter", "ms"),
    )
    rows = [_row(summary, track) for track in summary.tracks[:most_rows]]
    hidden = len(summary.tracks) - len(rows)
    legend = (f"and {hidden:,} more: --all\n" if hidden else "") + _LEGEND
    media = Sheet("", columns, rows, legend)
    return [Sheet("", (Column(""), Column("")), _facts(summary, manifest)), *([media] if rows else [])]


def _facts(summary: Summary, manifest: Manifest | None) -> list[tuple[Cell, ...]]:
    path, slash, _ = summary.capture.rpartition("/")
    where = ("capture", summary.capture) if manifest is None or not slash else ("recording", path)
    what = f"{summary.id}, stream {summary.rtms_stream_id}"
    rows: list[tuple[Cell, ...]] = [
        *([("title", manifest.title)] if manifest is not None and manifest.title else []),
        where,
        (summary.product.replace("_", " ") or "stream", what),
        ("when", f"{summary.created}, {clock_time(round(summary.seconds))}, {summary.lines:,} lines"),
    ]
    if summary.participants:
        names = [person.user_name or str(person.user_id) for person in summary.participants]
        more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
        rows.append(("people", ", ".join(names[:_MOST_NAMES]) + more))
    status = summary.status if manifest is None else manifest.status
    if status != Status.RECORDING:
        rows.append(("ended", _ending(status, summary.stop)))
    recorded = summary.recorded
    if recorded is not None:
        rows += [("manifest", f"cannot be read: {recorded.problem}")] if recorded.problem else []
        rows += _some("lost", [f"{loss.where}: {loss.what}" for loss in recorded.losses])
        rows += _some("sound", [f"{sound.path}: {sound.problem}" for sound in recorded.sounds if sound.problem])
    rows += _some("lost", [_reconnection(socket) for socket in _reconnected(summary)])
    rows += _some("warning", [f"at {clock_time(warned.at)}: {warned.text}" for warned in summary.warnings])
    counts = (
        ("unreadable", summary.unreadable, "not a message"),
        ("unknown", summary.unknown, "of a type that Zoom does not document"),
        ("dropped", summary.dropped, "not kept"),
    )
    rows += [(name, f"{count:,} {what}") for name, count, what in counts if count]
    return rows


def _some(label: str, texts: list[str]) -> list[tuple[Cell, ...]]:
    """The first texts, and how many more there are."""
    rows: list[tuple[Cell, ...]] = [(label, text) for text in texts[:_MOST_ROWS_OF_A_KIND]]
    hidden = len(texts) - len(rows)
    return [*rows, (label, f"and {hidden:,} more: --all")] if hidden > 0 else rows


def _reconnected(summary: Summary) -> list[Socket]:
    """The connections that were made again."""
    later: set[str] = set()
    found = []
    for socket in reversed(summary.connections):
        if socket.channel in later and not socket.refused:
            found.append(socket)
        later.add(socket.channel)
    return found[::-1]


def _reconnection(socket: Socket) -> str:
    when = "" if socket.closed is None else f" at {clock_time(socket.closed)}"
    code = "" if socket.code is None else f", code {socket.code}"
    return f"the {socket.channel} connection{when}{code}{f' ({socket.reason})' if socket.reason else ''}"


def _row(summary: Summary, track: Track) -> tuple[Cell, ...]:
    number, name = whose(track)
    jitter = None if track.jitter_ms is None else track.jitter_ms.p95
    gaps = track.gap_seconds if track.gap_count else None
    silent = _silent(summary, track) if track.kind == "audio" else None
    return track.kind, name or number, track.packets, track.bytes, track.duration, gaps, silent, jitter


def _silent(summary: Summary, track: Track | None) -> float | None:
    """The share of the sound files that is silent: those of a track, or all; `None` if that was not measured."""
    sounds = [one for one in (summary.recorded.sounds if summary.recorded else ()) if one.silence is not None]
    if track is not None:
        party = track.channel_id if track.channel_id is not None else track.user_id or None
        sounds = [one for one in sounds if one.party == party]
    whole = sum(one.duration for one in sounds)
    return sum((one.silence or 0.0) * one.duration for one in sounds) / whole if whole > 0 else None


def _as_manifest(summary: Summary) -> Manifest:
    """As much of a manifest as a verdict needs."""
    tracks = [
        TrackEntry(track.kind, "", track.user_id, duration=track.duration, offset=0.0, gaps=track.gaps)
        for track in summary.tracks
    ]
    tracks.append(TrackEntry("events", "", duration=summary.seconds, offset=0.0))
    stop = None if summary.stop is None else Stop(summary.stop.reason, summary.stop.name, summary.stop.said_by)
    return Manifest(
        schema=1,
        status=summary.status,
        product=summary.product,
        id=summary.id,
        rtms_stream_id=summary.rtms_stream_id,
        generator=summary.generator,
        process=None,
        started_at="",
        ended_at=None,
        origin_ms=summary.origin_ms,
        buffered_ms=None,
        media={},
        tracks=tracks,
        messages={},
        keep_alive={},
        connections=[Connection(one.channel) for one in summary.connections],
        connection_count=len(summary.connections),
        participants=[Participant(person.user_id, person.user_name) for person in summary.participants],
        stop=stop,
        warnings=[Warned(warned.text, 1, warned.at) for warned in summary.warnings],
    )


def _ending(status: str, stop: Stopped | None) -> str:
    if stop is None:
        return status
    return how_it_ended(status, stop.name or None if stop.reason is None else stop.reason, stop.said_by)
