"""Pictures of a recording by their index: which frame lies where in its file, and when it is to be seen."""

from collections.abc import Iterator
from heapq import merge
from pathlib import Path

from msgspec import Struct

from rtms_cli.export.indexes import Indexed, indexed
from rtms_cli.export.source import Recorded
from rtms_cli.export.units import Message, Part, Unit, access_units
from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.numbers import Codec
from rtms_cli.recording.manifest import TrackEntry
from rtms_cli.recording.pictures import foreign_form, sniff_codec
from rtms_cli.untrusted import open_inside

_SIGNATURE = 16
_STEP_MS = 40.0
"""How long a picture stands where nothing says it."""
_MOST_STEP_MS = 1000
_MOST_ALIKE = 1000


class Shot(Struct, frozen=True):
    """One picture: an image, or an access unit."""

    at: float
    """Seconds since the beginning of what is exported."""
    track: TrackEntry
    is_key: bool
    """Whether a player can begin here."""
    parts: tuple[Part, ...]
    """Where in the file it lies."""
    prefix: bytes = b""
    """What a player needs before it."""

    def read(self, folder: Path) -> bytes:
        """Its payload."""
        found = [self.prefix]
        with open_inside(folder, self.track.path) as source:
            for offset, length in self.parts:
                source.seek(offset)
                found.append(source.read(length))
        return b"".join(found)


def shots(recorded: Recorded, kind: str, user: UserId = None) -> Iterator[Shot]:
    """All pictures of a kind in the order of their timestamps, of everyone or of one user.

    Within a track they come in order but for jitter, which is sorted out over a second's worth.
    """
    origin = recorded.manifest.origin_ms or 0
    tracks = [track for track in recorded.tracks(kind) if user is None or recorded.party(track) == user]
    found = (_sorted(recorded, track, origin) for track in tracks)
    yield from merge(*found, key=lambda shot: shot.at)


def _sorted(recorded: Recorded, track: TrackEntry, origin: int) -> Iterator[Shot]:
    waiting: list[Shot] = []
    place = recorded.clock.follower()
    for at, unit in _spread(_units(recorded, track, origin)):
        waiting.append(Shot(place((at - origin) / 1000), track, unit.is_key, tuple(unit.parts), unit.prefix))
        if len(waiting) > 64:
            waiting.sort(key=lambda shot: shot.at)
            yield from waiting[:32]
            del waiting[:32]
    yield from sorted(waiting, key=lambda shot: shot.at)


def _indexed(recorded: Recorded, track: TrackEntry) -> Iterator[Indexed]:
    """What a track's file has, held against what the manifest says."""
    count = 0
    for one in indexed(recorded.folder / track.path):
        count += 1
        yield one
    if count < track.packets:
        recorded.tell(f"{track.path} has {count} of {track.packets} packets")


def _units(recorded: Recorded, track: TrackEntry, origin: int) -> Iterator[Unit]:
    """A track's pictures, in the order of its file."""
    lines = _indexed(recorded, track)
    with open_inside(recorded.folder, track.path) as source:
        if track.codec == Codec.H264.name:
            timed = ((one, one.time_ms(origin)) for one in lines)
            found = (Message(one.offset, one.length, at) for one, at in timed if at is not None)
            yield from access_units(source, found)
            return
        current: Unit | None = None
        for one in lines:
            source.seek(one.offset)
            start = source.read(min(one.length, _SIGNATURE))
            if current is not None and track.codec and sniff_codec(start) is None and not foreign_form(start):
                current.parts.append((one.offset, one.length))  # the rest of a picture in several messages
                continue
            if current is not None:
                yield current
            at = one.time_ms(origin)
            current = None if at is None else Unit(at, True, [(one.offset, one.length)])
        if current is not None:
            yield current


def _spread(units: Iterator[Unit]) -> Iterator[tuple[float, Unit]]:
    """When each picture is to be seen, in ms: those of one timestamp share the time until the next one."""
    alike: list[Unit] = []
    step = _STEP_MS
    for unit in units:
        if alike and (unit.timestamp != alike[0].timestamp or len(alike) >= _MOST_ALIKE):
            ahead = unit.timestamp - alike[0].timestamp
            step = ahead / len(alike) if 0 < ahead <= _MOST_STEP_MS * len(alike) else _STEP_MS
            yield from _placed(alike, step)
            alike = []
        alike.append(unit)
    yield from _placed(alike, step)


def _placed(alike: list[Unit], step: float) -> Iterator[tuple[float, Unit]]:
    for number, unit in enumerate(alike):
        yield unit.timestamp + number * step, unit
