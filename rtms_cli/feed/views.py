"""Rows and details of a feed as the snapshots that the dashboard draws: a remote recorder looks like a local one.

What a feed says may be made up, so nothing in it is taken for fit for a terminal, or for a number that can be reached.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rtms_cli.feed.messages import Channel, Detail, Picture, Row
from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.numbers import Product, StreamState
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import TapEntry, Warned
from rtms_cli.recording.recorder import RecorderSnapshot, TrackSnapshot
from rtms_cli.session.channel import ChannelSnapshot, Phase
from rtms_cli.session.life import Stage
from rtms_cli.session.session import SessionSnapshot
from rtms_cli.station.observing import StreamSnapshot
from rtms_cli.view.text import escape

Words = Sequence[tuple[str, str]]
"""Lines of a transcript or a chat: name, text."""

_TYPES = {
    "audio": "MEDIA_DATA_AUDIO",
    "video": "MEDIA_DATA_VIDEO",
    "share": "MEDIA_DATA_SHARE",
    "transcript": "MEDIA_DATA_TRANSCRIPT",
    "chat": "MEDIA_DATA_CHAT",
}
_PRODUCTS = {one.value: one for one in Product}
_PHASES = {one.value: one for one in Phase}
_LONGEST_S = 1e9
_PHASE_OF = {"lost": Phase.WAITING, "connecting": Phase.OPENING}


def views_of(picture: Picture, words: Mapping[str, tuple[Words, Words]] = {}) -> list[StreamSnapshot]:
    """The streams of a picture, with all that it says of those that are watched.

    :param words: the last lines of transcript and chat, by stream.
    """
    details = {one.stream_id: one for one in picture.watched}
    return [view_of(row, details.get(row.stream_id), *words.get(row.stream_id, ((), ()))) for row in picture.streams]


def view_of(row: Row, detail: Detail | None, transcript: Words = (), chat: Words = ()) -> StreamSnapshot:
    """A stream as it stands.

    :param detail: `None` if it is not watched; then there is only what a row in a table needs.
    """
    at_us = _us(row.seconds)
    stream = Stream(product_of(row.product), row.id, row.stream_id, "")
    if detail is None:
        return _in_short(row, stream, at_us)
    channels = tuple(_channel(one, at_us) for one in detail.channels)
    session = SessionSnapshot(
        stream,
        Stage.STREAMING,
        tuple((escape(name, 40), _us(at_s)) for name, at_s in detail.steps),
        channels,
        detail.stream_state,
        detail.session_state,
        {escape(name, 20): why for name, why in detail.refused.items()},
        detail.ending,
    )
    return StreamSnapshot(
        None if detail.folder is None else Path(detail.folder),
        at_us,
        session,
        _recording(row, detail, at_us, transcript, chat),
    )


def product_of(name: str) -> Product:
    """A product by its name; an unknown one is taken for a meeting."""
    return _PRODUCTS.get(name, Product.MEETING)


def _recording(row: Row, detail: Detail, at_us: int, transcript: Words, chat: Words) -> RecorderSnapshot:
    people: dict[UserId, str] = {one.user_id: one.name for one in detail.people if one.user_id is not None}
    return RecorderSnapshot(
        Path(detail.folder or ""),
        "recording",
        at_us,
        _named(detail.counts),
        _named(detail.nbytes),
        tuple(
            TrackSnapshot(
                one.path, one.kind, one.user_id, one.user_name, one.seconds, one.packets, one.level, one.gaps,
                min(one.gap_seconds, _LONGEST_S),
            )
            for one in detail.tracks
        ),
        tuple(transcript),
        tuple(chat),
        {
            escape(one.name, 40): (one.keep_alives.received, one.keep_alives.answered, _ms(one.keep_alives.slowest_ms))
            for one in detail.channels
        },
        people,
        next((one.user_id for one in detail.people if one.is_speaking), None),
        row.losses,
        tuple(Warned(one.text, one.count, min(one.t, _LONGEST_S)) for one in detail.warnings),
        tuple(
            TapEntry(
                escape(one.what, 20), one.target, one.user_id, one.user_name, one.nbytes, one.drops,
                late_seconds=min(one.late_seconds, _LONGEST_S), restarts=one.restarts,
            )
            for one in detail.taps
        ),
        detail.backlog_nbytes,
        detail.written_nbytes,
    )  # fmt: skip


def _in_short(row: Row, stream: Stream, at_us: int) -> StreamSnapshot:
    """A stream of which only the row is known; its one channel stands for how all of them stand."""
    channels: tuple[ChannelSnapshot, ...] = ()
    if (phase := _PHASE_OF.get(row.state)) is not None:
        channels = (ChannelSnapshot("", phase, at_us, None, 0, None, 1, None, ""),)
    state = next((one for one in StreamState if one.name.lower() == row.state), None)
    ending = row.state if row.state == "ending" else ""
    session = SessionSnapshot(stream, Stage.STREAMING, (), channels, state, None, {}, ending)
    counts = {_TYPES.get(kind, escape(kind, 40)): count for kind, count in row.messages.items()}
    recording = RecorderSnapshot(Path(), "recording", at_us, counts, nbytes={"": row.nbytes}, losses=row.losses)
    return StreamSnapshot(None if row.recording is None else Path(row.recording), at_us, session, recording)


def _channel(one: Channel, at_us: int) -> ChannelSnapshot:
    return ChannelSnapshot(
        escape(one.name, 40),
        _PHASES.get(one.phase, Phase.IDLE),
        at_us - _us(one.since_s),
        None if one.last_in_s is None else at_us - _us(one.last_in_s),
        one.keep_alives.answered,
        None if one.keep_alives.last_s is None else at_us - _us(one.keep_alives.last_s),
        one.connects,
        one.close_code,
        one.note,
    )


def _named(counts: Mapping[str, int]) -> dict[str, int]:
    return {escape(name, 60): count for name, count in counts.items()}


def _ms(slowest: float | None) -> float | None:
    return None if slowest is None else min(slowest, _LONGEST_S)


def _us(seconds: float) -> int:
    """Seconds as µs; what is beyond all reason becomes a number that can be drawn."""
    return round(max(0.0, min(seconds, _LONGEST_S)) * 1_000_000)
