"""What an export reads: a recording's files, its people and its sentences, on the recording's clock.

Everything is in seconds since `origin_ms`, as the WAV files are.
"""

import json
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct

from rtms_cli.capture import Capture
from rtms_cli.errors import Problem
from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.numbers import Language
from rtms_cli.recording.manifest import MANIFEST, Manifest, TrackEntry
from rtms_cli.recording.recorder import Recorder

_BATCH = 256
_SENTENCE_S = 4.0
"""How long a sentence is taken to be where nothing says when it ends."""


class Sentence(Struct, frozen=True):
    """What somebody said."""

    start: float
    end: float
    user_id: UserId
    name: str
    language: str
    text: str


class Recorded(Struct, frozen=True):
    """An opened recording."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """What to call files that are made of it."""
        return self.folder.name

    @property
    def seconds(self) -> float:
        """Its length."""
        ends = [(track.offset or 0.0) + (track.duration or 0.0) for track in self.manifest.tracks]
        origin = self.manifest.origin_ms
        if origin is not None:
            stamps = [track.last_timestamp for track in self.manifest.tracks if track.last_timestamp is not None]
            ends += [(stamp - origin) / 1000 for stamp in stamps]
        return max(ends, default=0.0)

    def tracks(self, kind: str) -> list[TrackEntry]:
        """The media files of a kind that are there."""
        return [one for one in self.manifest.tracks if one.kind == kind and (self.folder / one.path).is_file()]

    def names(self) -> dict[UserId, str]:
        """Everybody's name, as events and media told it."""
        names: dict[UserId, str] = {}
        for person in self.manifest.participants:
            if person.user_name:
                names[person.user_id] = person.user_name
        for track in self.manifest.tracks:
            if track.user_name and track.user_id:
                names.setdefault(track.user_id, track.user_name)
        return names

    def lines(self, kind: str) -> Iterator[dict[str, Any]]:
        """The lines of `transcript.jsonl`, `chat.jsonl` or `events.jsonl`; a torn last one is left out."""
        path = self.folder / f"{kind}.jsonl"
        if not path.is_file():
            return
        with path.open(encoding="utf-8", errors="replace") as source:
            for line in source:
                if line.endswith("\n"):
                    yield json.loads(line)

    def speakers(self) -> list[tuple[float, UserId, str]]:
        """Who began to speak when, as ACTIVE_SPEAKER_CHANGE told."""
        changes = []
        for event in self.lines("events"):
            if event.get("event") == "ACTIVE_SPEAKER_CHANGE" and event.get("t") is not None:
                people = event.get("participants") or [event]
                changes.append((float(event["t"]), people[0].get("user_id"), people[0].get("user_name") or ""))
        return sorted(changes, key=lambda change: change[0])

    def sentences(self) -> list[Sentence]:
        """What was said, in order: sentences that were changed or taken back later as they stood in the end."""
        names, speakers, origin = self.names(), self.speakers(), self.manifest.origin_ms
        starts = [start for start, _, _ in speakers]
        found: dict[tuple[object, object], Sentence] = {}
        for number, line in enumerate(self.lines("transcript")):
            start = _seconds(line.get("start_time"), origin)
            start = start if start is not None else line.get("t")
            if start is None:
                continue
            start = max(0.0, start)  # a sentence may have begun before the first packet that we got
            user, name = line.get("user_id"), line.get("user_name")
            if not user and not name and (at := bisect_right(starts, start) - 1) >= 0:
                _, user, name = speakers[at]
            end = _seconds(line.get("end_time"), origin)
            key = (line.get("user_id"), line.get("start_time") or number)
            if line.get("attribute") == "DELETE":
                found.pop(key, None)
            elif line.get("text"):
                found[key] = Sentence(
                    start,
                    end if end is not None and end > start else start + _SENTENCE_S,
                    user,
                    name or names.get(user) or ("" if user is None else str(user)),
                    language_of(line.get("language")),
                    line["text"],
                )
        return sorted(found.values(), key=lambda sentence: sentence.start)


def language_of(value: object) -> str:
    """A transcript's language for people: Zoom sends a number, or a text."""
    known = Language.find(value)
    if isinstance(known, Language):
        return known.gist
    return "" if value is None else str(value)


def _manifest(folder: Path) -> Manifest:
    try:
        return Manifest.read(folder)
    except (OSError, ValueError) as error:
        raise Problem(f"{folder / MANIFEST} cannot be read: {error}.", "`rtms repair` makes a new one.") from None


@contextmanager
def opened(path: Path) -> Iterator[Recorded]:
    """Open a recording's folder, also an unfinished one, or a bare capture, which is replayed into a temporary folder.

    :raises Problem: where it is neither.
    """
    if path.is_dir() and (path / MANIFEST).is_file():
        yield Recorded(path, _manifest(path))
        return
    capture = Capture(path)
    with tempfile.TemporaryDirectory(prefix="rtms-export-") as folder:
        recorder = Recorder(Path(folder), capture.header)
        frames = iter(capture)
        while batch := list(islice(frames, _BATCH)):
            recorder.fold(batch)
        recorder.close()
        yield Recorded(Path(folder), Manifest.read(Path(folder)))


def _seconds(stamp: object, origin_ms: int | None) -> float | None:
    if not isinstance(stamp, int) or origin_ms is None or stamp <= 0:
        return None
    return (stamp - origin_ms) / 1000
