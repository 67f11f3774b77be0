"""Pictures of a recording by their index: which frame lies where in its file, and when it is to be seen."""

from collections.abc import Iterator
from heapq import merge
from pathlib import Path

import msgspec
from msgspec import Struct

from rtms_cli.export.source import Recorded
from rtms_cli.protocol.messages import UserId
from rtms_cli.recording.manifest import TrackEntry


class Indexed(Struct):
    """One line of an index."""

    offset: int
    length: int
    timestamp: int | None
    key: bool
    parameter_sets: bool = False


class Shot(Struct, frozen=True):
    """One picture, or one access unit."""

    at: float
    """Seconds since the recording's origin."""
    track: TrackEntry
    where: Indexed

    def read(self, folder: Path) -> bytes:
        """Its payload."""
        with (folder / self.track.path).open("rb") as source:
            source.seek(self.where.offset)
            return source.read(self.where.length)


def indexed(path: Path) -> Iterator[Indexed]:
    """A picture file's index; a torn last line is left out, and what lies behind the file's end."""
    size = path.stat().st_size
    decoder = msgspec.json.Decoder(Indexed)
    with path.with_name(f"{path.name}.index.jsonl").open("rb") as source:
        for line in source:
            if line.endswith(b"\n"):
                one = decoder.decode(line)
                if one.offset + one.length <= size:
                    yield one


def shots(recorded: Recorded, kind: str, user: UserId = None) -> Iterator[Shot]:
    """All pictures of a kind in the order of their timestamps, of everybody or of one user.

    Within a track they come in order but for jitter, which is sorted out over a second's worth.
    """
    origin = recorded.manifest.origin_ms or 0
    tracks = [track for track in recorded.tracks(kind) if user is None or track.user_id == user]
    yield from merge(*(_sorted(recorded.folder, track, origin) for track in tracks), key=lambda shot: shot.at)


def _sorted(folder: Path, track: TrackEntry, origin: int) -> Iterator[Shot]:
    waiting: list[Shot] = []
    for where in indexed(folder / track.path):
        if where.timestamp is None:
            continue
        waiting.append(Shot((where.timestamp - origin) / 1000, track, where))
        if len(waiting) > 64:
            waiting.sort(key=lambda shot: shot.at)
            yield from waiting[:32]
            del waiting[:32]
    yield from sorted(waiting, key=lambda shot: shot.at)
