"""What a list of recordings says of each: from its manifest, without reading its media.

A recording may come from someone else, so that a manifest that cannot be read is an entry too, with the reason.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from rtms_cli.capture import Capture, epoch_folders, part_of
from rtms_cli.errors import Problem, reason_of
from rtms_cli.protocol.endings import Status
from rtms_cli.recording.files import folder_size
from rtms_cli.recording.manifest import MANIFEST, Manifest, TrackEntry
from rtms_cli.recording.ownership import is_being_recorded
from rtms_cli.untrusted import is_folder

PAGE = "page.html"
"""Where `rtms play` writes a recording's page, in its folder."""
UNFINISHED, UNREADABLE = "unfinished", "unreadable"
STATUSES = (*(status.value for status in Status), UNFINISHED, UNREADABLE)
"""What `Entry.status` may be. `recording` is being recorded at this moment; `unfinished` is what a process has left
that died: `rtms repair` finishes it."""
_KINDS = ("audio", "video", "share", "transcript", "chat")
_CLOCKS_S = 60.0
"""By how much media may be longer than the time from the first message to the last: clocks differ."""


class Entry(Struct, frozen=True):
    """One recording."""

    name: str
    """The folder's name, or the last part of a URL."""
    path: str
    """The folder, or the URL."""
    status: str
    """One of `STATUSES`."""
    title: str | None = None
    """What `rtms name` has given it."""
    product: str = ""
    id: str = ""
    """Of the meeting, session, engagement or call."""
    rtms_stream_id: str = ""
    started_at: str = ""
    ended_at: str = ""
    seconds: float = 0.0
    people: list[str] = []
    """Names; an id if there is no name."""
    kinds: list[str] = []
    """Of media that there is: `audio`, `video`, `share`, `transcript`, `chat`."""
    losses: int = 0
    """Entries of `losses` in the manifest, and RTP packets that are missing."""
    nbytes: int = 0
    """Of all its files."""
    problem: str = ""
    """Why the manifest could not be read."""

    @property
    def began(self) -> datetime | None:
        """When it began; `None` if that is not known."""
        return read_time(self.started_at)


def read_time(text: str) -> datetime | None:
    """A time of a manifest; `None` if it is not one."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def folders(place: Path) -> Iterator[Path]:
    """The folders in `place` that hold a recording: a manifest or a capture. Links are not followed.

    :raises Problem: if `place` cannot be listed.
    """
    if not is_folder(place):
        return
    try:
        found = sorted(place.iterdir())
    except OSError as error:
        raise Problem(f"Cannot list {place}: {reason_of(error)}.") from None
    for path in found:
        if path.name.startswith(".") or os.path.islink(path) or not is_folder(path):  # noqa: PTH114  # which raise nothing
            continue
        if is_recording(path):
            yield path


def is_recording(folder: Path) -> bool:
    """Whether a folder holds a recording: a manifest or a capture."""
    return os.path.lexists(folder / MANIFEST) or _has_capture(folder)


def recordings_in(place: Path) -> list[Path]:
    """The same, where there must be such a folder.

    :raises Problem: if there is none, or it is a recording itself.
    """
    if not is_folder(place):
        raise Problem(f"There is no folder {place}.", "`rtms demo` records a simulated meeting into recordings/.")
    if os.path.lexists(place / MANIFEST):
        raise Problem(f"{place} is a recording itself.", f"rtms show {place}")
    return list(folders(place))


def entry_of(folder: Path) -> Entry:
    """What a list says of a recording's folder."""
    is_recorded = is_being_recorded(folder)
    try:
        manifest = Manifest.read(folder)
    except FileNotFoundError:
        return _without_manifest(folder, Status.RECORDING.value if is_recorded else UNFINISHED)
    except (OSError, ValueError) as error:
        why = reason_of(error)
        return Entry(folder.name, str(folder), UNREADABLE, nbytes=folder_size(folder), problem=why)
    status = manifest.status
    if is_recorded and status == Status.RECORDING:
        status = Status.RECORDING.value
    elif status == Status.RECORDING or epoch_folders(folder):
        status = UNFINISHED
    return described(folder.name, str(folder), status, manifest, folder_size(folder))


def _without_manifest(folder: Path, status: str) -> Entry:
    """What the capture's first line says."""
    try:
        header = Capture(folder).header
    except Problem as problem:
        return Entry(folder.name, str(folder), status, nbytes=folder_size(folder), problem=problem.what)
    return Entry(
        folder.name,
        str(folder),
        status,
        product=header.product,
        id=header.id,
        rtms_stream_id=header.rtms_stream_id,
        started_at=header.created,
        nbytes=folder_size(folder),
    )


def described(name: str, path: str, status: str, manifest: Manifest, nbytes: int) -> Entry:
    """What a list says of a recording, by its manifest."""
    kinds = {track.kind for track in manifest.tracks}
    return Entry(
        name=name,
        path=path,
        status=status if status in STATUSES else UNREADABLE,
        title=manifest.title,
        product=manifest.product,
        id=manifest.id,
        rtms_stream_id=manifest.rtms_stream_id,
        started_at=manifest.started_at,
        ended_at=manifest.ended_at or "",
        seconds=length(manifest),
        people=[person.user_name or str(person.user_id) for person in manifest.participants],
        kinds=[kind for kind in _KINDS if kind in kinds or (kind == "audio" and "encoded" in kinds)],
        losses=len(manifest.losses) + lost_packets(manifest.tracks),
        nbytes=nbytes,
    )


def lost_packets(tracks: Sequence[TrackEntry]) -> int:
    """RTP packets that are missing by their sequence numbers."""
    return sum(track.lost or 0 for track in tracks)


def length(manifest: Manifest) -> float:
    """How long a recording is, in seconds: up to the end of its last media.

    Where there are none, or their times cannot be, it is the time from the first message to the last.
    """
    began, ended = read_time(manifest.started_at), read_time(manifest.ended_at or "")
    wall = max(0.0, (ended - began).total_seconds()) if began is not None and ended is not None else None
    origin = manifest.origin_ms
    ends = [0.0]
    for track in manifest.tracks:
        if track.duration is not None and track.offset is not None:
            ends.append(track.offset + track.duration)
        elif track.last_timestamp is not None and origin is not None:
            ends.append((track.last_timestamp - origin) / 1000)
    media = max(ends)
    if wall is None:
        return media
    return media if 0.0 < media <= wall + _CLOCKS_S else wall


def newest_first(entries: Iterator[Entry]) -> list[Entry]:
    """Sorted by when they began; what does not say so comes last, by name."""
    first = datetime.min.replace(tzinfo=UTC)
    return sorted(entries, key=lambda entry: (entry.began or first, entry.name), reverse=True)


def _has_capture(folder: Path) -> bool:
    try:
        return any(part_of(path.name) is not None for path in folder.iterdir())
    except OSError:
        return False
