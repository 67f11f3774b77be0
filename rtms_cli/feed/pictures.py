"""What a picture says of streams: pure functions from snapshots to messages."""

from collections.abc import Iterable, Mapping
from typing import Any

from rtms_cli.feed.messages import Channel, Detail, KeepAlives, Person, Row, Tapped, Track, Warned, Worker
from rtms_cli.feed.telling import cut, name_of_folder
from rtms_cli.fleet.dispatch import FleetWorker
from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.parties import label
from rtms_cli.session.channel import ChannelSnapshot, Phase
from rtms_cli.station.observing import StreamSnapshot

MOST_PEOPLE = 1_000
MOST_TRACKS = 1_000
_KINDS = {
    "MEDIA_DATA_AUDIO": "audio",
    "MEDIA_DATA_VIDEO": "video",
    "MEDIA_DATA_SHARE": "share",
    "MEDIA_DATA_TRANSCRIPT": "transcript",
    "MEDIA_DATA_CHAT": "chat",
}


def row_of(view: StreamSnapshot, worker: int | None = None) -> Row:
    """A stream in short."""
    session, recording = view.session, view.recording
    stream = session.stream
    messages: dict[str, int] = {}
    for name, count in recording.counts.items():
        kind = _KINDS.get(name, "other")
        messages[kind] = messages.get(kind, 0) + count
    speaker = recording.speaker
    return Row(
        stream.stream_id,
        stream.product.value,
        cut(stream.id),
        None if view.folder is None else name_of_folder(view.folder),
        view.state,
        round(view.at_us / 1_000_000, 3),
        messages,
        sum(recording.nbytes.values()),
        recording.losses,
        len(recording.warnings),
        len(_names(view)),
        sum(max(0, channel.connects - 1) for channel in session.channels),
        _all_keep_alives(view),
        round(max((view.level(track) for track in recording.tracks if track.kind == "audio"), default=0.0), 4),
        "" if speaker is None else label(stream.product, speaker, recording.participants.get(speaker)),
        worker,
    )


def detail_of(view: StreamSnapshot) -> Detail:
    """What a picture says of a watched stream, beside its row."""
    session, recording = view.session, view.recording
    return Detail(
        session.stream.stream_id,
        None if view.folder is None else cut(view.folder),
        [(name, at_us / 1_000_000) for name, at_us in session.steps],
        [_channel(view, channel) for channel in session.channels],
        _people(view),
        [
            Track(
                cut(track.path), track.kind, track.user_id, track.user_name, track.seconds, track.packets,
                round(view.level(track), 4), track.gaps, track.gap_seconds,
            )
            for track in recording.tracks[:MOST_TRACKS]
        ],
        [
            Tapped(
                tap.what, cut(tap.target), tap.bytes, tap.user_id, tap.user_name, tap.drops, tap.late_seconds,
                tap.restarts,
            )
            for tap in recording.taps
        ],
        dict(recording.counts),
        dict(recording.nbytes),
        [Warned(cut(one.text), one.count, round(one.first_at, 3)) for one in recording.warnings],
        {name: cut(why) for name, why in session.refused.items()},
        session.stream_state,
        session.session_state,
        session.ending,
        recording.backlog_nbytes,
        recording.written_nbytes,
    )  # fmt: skip


def crew_workers(health: Iterable[Mapping[str, Any]]) -> list[Worker]:
    """Workers of this machine, by what `Crew.health` says of them."""
    return [Worker(f"worker {one['worker']}", str(one["state"]), one["streams"], one["restarts"]) for one in health]


def fleet_workers(workers: Iterable[FleetWorker]) -> list[Worker]:
    """Workers on a queue."""
    return [
        Worker(
            one.status.worker, one.status.state, one.streams, None, one.status.slots, round(one.silent_ms / 1000, 1)
        )
        for one in workers
    ]  # fmt: skip


def _channel(view: StreamSnapshot, channel: ChannelSnapshot) -> Channel:
    return Channel(
        channel.name,
        channel.phase.value,
        _age(view, channel.since_us) or 0.0,
        _age(view, channel.last_in_us),
        _keep_alives(view, channel),
        channel.connects,
        channel.close_code,
        cut(channel.note),
    )


def _age(view: StreamSnapshot, since_us: int | None) -> float | None:
    return None if since_us is None else round(max(0, view.at_us - since_us) / 1_000_000, 3)


def _keep_alives(view: StreamSnapshot, channel: ChannelSnapshot) -> KeepAlives:
    received, answered, slowest_ms = view.recording.keep_alive.get(channel.name, (0, 0, None))
    return KeepAlives(received, answered, slowest_ms, _age(view, channel.last_keep_alive_us))


def _all_keep_alives(view: StreamSnapshot) -> KeepAlives:
    received = answered = 0
    slowest: list[float] = []
    for its_received, its_answered, slowest_ms in view.recording.keep_alive.values():
        received, answered = received + its_received, answered + its_answered
        if slowest_ms is not None:
            slowest.append(slowest_ms)
    up = (channel for channel in view.session.channels if channel.phase is Phase.UP)
    ages = [age for channel in up if (age := _age(view, channel.last_keep_alive_us)) is not None]
    return KeepAlives(received, answered, max(slowest, default=None), max(ages, default=None))


def _names(view: StreamSnapshot) -> Mapping[UserId, str]:
    recording = view.recording
    names: dict[UserId, str] = {track.user_id: track.user_name or "" for track in recording.tracks}
    names |= recording.participants
    names.pop(None, None)
    return names


def _people(view: StreamSnapshot) -> list[Person]:
    """Everyone's audio first, then the participants as they were told."""
    recording, product = view.recording, view.session.stream.product
    sound = {track.user_id: track for track in recording.tracks if track.kind == "audio"}
    found = []
    for user_id, name in ([(None, "")] if None in sound else []) + list(_names(view).items())[:MOST_PEOPLE]:
        track = sound.get(user_id)
        found.append(
            Person(
                user_id,
                "everyone (mixed)" if user_id is None else label(product, user_id, name),
                None if track is None else round(view.level(track), 4),
                user_id is not None and user_id == recording.speaker,
                0 if track is None else track.gaps,
                0.0 if track is None else track.gap_seconds,
            )
        )
    return found
