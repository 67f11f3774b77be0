"""How views subscribe to a station: what they hear of it, and what they see when they look."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.numbers import StreamState
from rtms_cli.protocol.times import iso_time
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import RecorderSnapshot, TrackSnapshot
from rtms_cli.session.channel import Phase
from rtms_cli.session.session import SessionSnapshot

log = logging.getLogger(__name__)

MOST_IGNORED = 100
"""Webhooks that started nothing, and are remembered."""
SOUND_US = 1_500_000
"""How long a level says what is heard: longer than between two writes."""
_LONGEST = 500

NOT_RECORDED = RecorderSnapshot(Path(), "not recorded")
"""What stands for the recorder's counters where a stream has no recorder."""


class StreamSnapshot(Struct, frozen=True):
    """One stream as it stands, copied, so that looking never disturbs the data."""

    folder: Path | None
    """`None` if nothing is recorded."""
    at_us: int
    """The session's clock."""
    session: SessionSnapshot
    recording: RecorderSnapshot

    @property
    def state(self) -> str:
        """How it stands, in a word: `streaming`, `connecting`, `lost`, `ending`, or a state of Zoom's (`paused`, …)."""
        session = self.session
        if session.ending:
            return "ending"
        phases = {channel.phase for channel in session.channels if channel.phase not in (Phase.GONE, Phase.IDLE)}
        if Phase.WAITING in phases:
            return "lost"
        if phases - {Phase.UP}:
            return "connecting"
        if session.stream_state is not None and session.stream_state != StreamState.ACTIVE:
            return StreamState.label(session.stream_state).partition(" ")[2].lower()
        return "streaming"

    def level(self, track: TrackSnapshot) -> float:
        """The peak of what a track says now, 0 to 1; nothing is sent for a participant who is muted."""
        is_old = track.written_us is not None and self.at_us - track.written_us > SOUND_US
        return 0.0 if is_old else track.level

    def health(self) -> dict[str, object]:
        """How it stands, for `GET /healthz`."""
        stream = self.session.stream
        return {
            "stream_id": stream.stream_id,
            "product": stream.product,
            "folder": None if self.folder is None else str(self.folder),
            "seconds": self.at_us / 1_000_000,
            "state": "ending" if self.session.ending else "recording",
            "messages": sum(self.recording.counts.values()),
            "losses": self.recording.losses,
        }


class IgnoredWebhook(Struct, frozen=True):
    """A webhook that started nothing."""

    at: str
    what: str
    """Its event and stream, for people."""
    why: str


class IgnoredWebhooks:
    """The last webhooks that started nothing, and how many there were."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self.last: deque[IgnoredWebhook] = deque(maxlen=MOST_IGNORED)
        self.count = 0

    def add(self, what: str, why: str) -> None:
        """Remember one."""
        self.count += 1
        self.last.append(IgnoredWebhook(iso_time(self._now()), what[:_LONGEST], why[:_LONGEST]))


class ConnectionStatus(Struct, frozen=True):
    """How a connection stands that belongs to no stream, in a line for people."""

    text: str
    is_good: bool


class Observer(Protocol):
    """Subscribes to a station: the dashboard, plain lines, JSON lines. Called on the event loop; must be quick.

    A folder is `None` if nothing is recorded.
    """

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """A recording began, or goes on after an interruption."""

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """A frame that is not a media packet."""

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """How far every stream is, by stream id; every few seconds."""

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """A session ended, and its files are finished; the manifest is as it should be on the disk."""

    def on_notice(self, text: str) -> None:
        """Something that does not concern a running stream."""

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """Something that scripts may want to know of: `tap`, `hook`, …; the text says the same to people."""


class Observers:
    """Any number of observers as one: each hears everything, in the order in which they subscribed.

    A defect in one is logged when it shows first, and costs neither the recording nor the other observers.
    """

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = list(observers)
        self._broken: set[int] = set()

    def add(self, observer: Observer) -> None:
        """Let one more observer hear everything from now on."""
        self._observers.append(observer)

    def on_started(self, stream: Stream, folder: Path | None, only: Observer | None = None) -> None:
        """See `Observer`.

        :param only: the one who hears it, where not all of them do.
        """
        for observer in self._observers if only is None else [only]:
            with self._guarded(observer):
                observer.on_started(stream, folder)

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """See `Observer`."""
        for observer in self._observers:
            with self._guarded(observer):
                observer.on_frame(stream_id, frame)

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """See `Observer`."""
        for observer in self._observers:
            with self._guarded(observer):
                observer.on_progress(snapshots)

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """See `Observer`."""
        for observer in self._observers:
            with self._guarded(observer):
                observer.on_finished(stream, folder, finish, manifest)

    def on_notice(self, text: str) -> None:
        """See `Observer`."""
        for observer in self._observers:
            with self._guarded(observer):
                observer.on_notice(text)

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """See `Observer`."""
        for observer in self._observers:
            with self._guarded(observer):
                observer.on_event(name, fields, text)

    @contextmanager
    def _guarded(self, observer: Observer) -> Iterator[None]:
        try:
            yield
        except Exception:  # an observer's affair, whatever it is
            if id(observer) not in self._broken:
                self._broken.add(id(observer))
                log.exception("a defect in %s: what it shows is not to be relied on", type(observer).__name__)
