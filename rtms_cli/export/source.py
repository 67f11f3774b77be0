"""What an export reads: a recording's files, its people and its sentences, on the recording's clock.

Everything is in seconds since `origin_ms`, as the WAV files are.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from rtms_cli.capture import Capture, as_utf8
from rtms_cli.errors import Problem, reason_of
from rtms_cli.export.clock import NEAR_S, Clock, clock_of
from rtms_cli.export.indexes import indexed
from rtms_cli.machine import Item, in_batches
from rtms_cli.protocol.fields import name_or_none
from rtms_cli.protocol.messages import EventUpdate, UserId, loads, user_id
from rtms_cli.protocol.parties import BY_CHANNEL, Mention, Parties, label
from rtms_cli.protocol.sentences import Sentence, SentenceReader
from rtms_cli.protocol.times import milliseconds
from rtms_cli.recording.manifest import MANIFEST, Manifest, TrackEntry
from rtms_cli.recording.recorder import Recorder
from rtms_cli.untrusted import bounded_lines, is_folder, open_inside

_BATCH = 256


class Recorded(Struct, frozen=True):
    """An opened recording. Its files may come from someone else, so that nothing in them need be as it should."""

    folder: Path
    manifest: Manifest
    clock: Clock
    """Where it has jumped."""
    parties: Parties
    """The participants, by its events."""
    problems: list[str] = []
    """What could not be read so far, for people, each once."""

    @property
    def name(self) -> str:
        """What to call files that are made of it."""
        return self.folder.name

    @property
    def seconds(self) -> float:
        """Its length."""
        ends = [self.clock.seconds]
        for track in self.manifest.tracks:
            if track.kind == "audio":
                ends.append(self.clock.track(track) + (track.duration or 0.0))
            elif track.last_timestamp is not None and self.manifest.origin_ms is not None:
                at = self.clock.place((track.last_timestamp - self.manifest.origin_ms) / 1000)
                ends += [at] if at < self.clock.seconds + NEAR_S else []
        return max(ends)

    def tracks(self, kind: str) -> list[TrackEntry]:
        """The media files of a kind."""
        return [one for one in self.manifest.tracks if one.kind == kind]

    def tell(self, problem: str) -> None:
        """Take note of what could not be read."""
        if problem not in self.problems:
            self.problems.append(problem)

    def names(self) -> dict[UserId, str]:
        """Everyone's name, by events and media."""
        names: dict[UserId, str] = {}
        for person in self.manifest.participants:
            if person.user_name:
                names[person.user_id] = person.user_name
        for track in self.manifest.tracks:
            whose = self.party(track)
            if track.user_name and whose is not None:
                names.setdefault(whose, track.user_name)
        return names

    def party(self, track: TrackEntry) -> UserId:
        """Whose a track is; `None` for everyone's."""
        whose = self.manifest.party(track)
        return self.parties.party(whose) if whose and track.channel_id is None else whose

    def label(self, whose: UserId) -> str:
        """A party as people read it; `everyone` where it is nobody in particular."""
        return label(self.manifest.product, whose, self.names().get(whose)) or "everyone"

    def people(self, event: dict[str, Any]) -> list[Mention]:
        """The person in a line of `events.jsonl`."""
        return self.parties.people_of(EventUpdate(None, milliseconds(event.get("timestamp")), event))

    def lines(self, kind: str) -> Iterator[dict[str, Any]]:
        """The lines of `transcript.jsonl`, `chat.jsonl` or `events.jsonl`, also where an editor changed the encoding.

        A torn last one is left out. Times that cannot be are not there; ids and names are what those of messages are.
        """
        name, found, unread = f"{kind}.jsonl", 0, 0
        try:
            source = open_inside(self.folder, name)
        except FileNotFoundError:
            return
        except OSError as error:
            self.tell(f"{name} is left out: {reason_of(error)}")
            return
        with source, as_utf8(source) as text:
            try:
                for line in bounded_lines(text):
                    read = None if line is None else _read_line(line)
                    if read is not None:
                        found += 1
                        yield read
                    elif line is None or line.endswith(b"\n"):
                        unread += 1
            except OSError as error:
                self.tell(f"{name} ends early: {reason_of(error)}")
        known = sum(track.packets for track in self.manifest.tracks if track.path == name)
        if found + unread < known:
            self.tell(f"{name} has {found + unread} of {known} lines")
        if unread:
            self.tell(f"{unread} line{'' if unread == 1 else 's'} of {name} could not be read")

    def speakers(self) -> list[tuple[float, UserId, str]]:
        """The speakers, and when they began, by ACTIVE_SPEAKER_CHANGE."""
        changes = []
        for event in self.lines("events"):
            if event.get("event") == "ACTIVE_SPEAKER_CHANGE" and event.get("t") is not None:
                who = next(iter(self.people(event)), Mention(None))
                changes.append((self.at(float(event["t"])), who.party, who.name or ""))
        return sorted(changes, key=lambda change: change[0])

    def at(self, t: float) -> float:
        """A line's `t` in what is exported."""
        return self.clock.place(t)

    def sentences(self) -> list[Sentence]:
        """What was said, in order: sentences that were changed or taken back later as they stood in the end."""
        manifest = self.manifest
        reader = SentenceReader(self.parties, manifest.origin_ms, self.names(), self.speakers(), self.at)
        found = reader.read(self.lines("transcript"))
        for count, what in ((reader.without_time, "a time"), (reader.without_text, "a text")):
            if count:
                self.tell(f"{count} line{'' if count == 1 else 's'} of transcript.jsonl left out: without {what}")
        return found


def _manifest(folder: Path) -> Manifest:
    try:
        return Manifest.read(folder)
    except (OSError, ValueError) as error:
        why = reason_of(error)
        remedy = "Move it away, and `rtms repair` writes a new one."
        raise Problem(f"{folder / MANIFEST} cannot be read: {why}.", remedy) from None


_MOST_S = 1e10
_MOST_SIDE = 1 << 14
"""The widest and highest picture that is exported."""


def _read_line(line: bytes) -> dict[str, Any] | None:
    """A line of JSON whose values have the types that they should have; `None` if it is not one."""
    try:
        read = loads(line.decode("utf-8", "replace").encode())
    except ValueError:
        return None
    if not isinstance(read, dict):
        return None
    for name in ("t", "start_time", "end_time", "timestamp"):
        value = read.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1 << 62:
            read[name] = None
    if read["t"] is not None and abs(read["t"]) > _MOST_S:
        read["t"] = None
    read["user_id"], read["user_name"] = user_id(read.get("user_id")), name_or_none(read.get("user_name"))
    return read


def _recorded(folder: Path, manifest: Manifest, problems: Sequence[str] = ()) -> Recorded:
    origin = manifest.origin_ms or 0
    left_out = {track.path: why for track in manifest.tracks if (why := _why_not(folder, track))}
    manifest.tracks = [track for track in manifest.tracks if track.path not in left_out]
    for track in manifest.tracks:
        track.sizes = [size for size in track.sizes if 0 < min(size[1:]) and max(size[1:]) <= _MOST_SIDE]

    def times(track: TrackEntry) -> Iterator[float]:
        try:
            for one in indexed(folder / track.path):
                if (at := one.time_ms(origin)) is not None:
                    yield (at - origin) / 1000
        except (OSError, Problem):
            return  # who needs the pictures says so

    clock = clock_of(manifest, times)
    recorded = Recorded(folder, manifest, clock, Parties(manifest.product), [
        *problems, *(f"{path} is left out: {why}" for path, why in left_out.items()), *clock.notes,
    ])  # fmt: skip
    for event in recorded.lines("events") if manifest.product in BY_CHANNEL else ():
        recorded.people(event)
    for person in manifest.participants:
        for user in person.user_ids:
            recorded.parties.tie(user, person.user_id)
    return recorded


def _why_not(folder: Path, track: TrackEntry) -> str:
    """Why a track cannot be used: its file is not there, or not in the recording, or its times cannot be."""
    try:
        open_inside(folder, track.path).close()
    except OSError as error:
        return reason_of(error)
    stamps = (track.first_timestamp or 0, track.last_timestamp or 0)
    if max(abs(track.offset or 0.0), abs(track.duration or 0.0)) > _MOST_S or max(map(abs, stamps)) >= 1 << 62:
        return "its times cannot be"
    return ""


def recorded_in(folder: Path) -> Recorded:
    """Open a recording's folder, also an unfinished one.

    :raises Problem: if it has no manifest that can be read.
    """
    if not is_folder(folder) or not os.path.lexists(folder / MANIFEST):
        remedy = "`rtms replay` builds a recording from a capture, and `rtms repair` a missing manifest."
        raise Problem(f"{folder} is not a recording: there is no {MANIFEST} in it.", remedy)
    return _recorded(folder, _manifest(folder))


@contextmanager
def open_recording(
    path: Path | Capture, read: Callable[[Capture], Iterable[Item]] = Capture.items
) -> Iterator[Recorded]:
    """Open a recording's folder, also an unfinished one, or a bare capture, which is replayed into a temporary folder.

    :param read: returns the capture's items; it may show how far they have been read.
    :raises Problem: if it is neither.
    """
    if isinstance(path, Path) and is_folder(path) and os.path.lexists(path / MANIFEST):
        yield _recorded(path, _manifest(path))
        return
    capture = path if isinstance(path, Capture) else Capture(path)
    with tempfile.TemporaryDirectory(prefix="rtms-export-") as folder:
        recorder = Recorder(Path(folder), capture.header)
        for batch in in_batches(read(capture), _BATCH):
            recorder.fold(batch)
        recorder.close()
        yield _recorded(Path(folder), Manifest.read(Path(folder)), capture.problems)
