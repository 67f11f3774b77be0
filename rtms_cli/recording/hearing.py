"""Listens while a recording is made: gets what its files get, as soon as its place is known.

A listener is told on the thread that folds, in the order in which things came. So what is passed on live is what the
files hold, and nothing is read or decoded twice.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from rtms_cli.recording.manifest import TapEntry

if TYPE_CHECKING:
    from rtms_cli.recording.audio import AudioTrack
    from rtms_cli.recording.tracks import PictureTrack, TextTrack


class Listener(Protocol):
    """Hears what a recorder keeps. It must not block; what it raises is its own affair where it is guarded."""

    def on_audio(self, track: "AudioTrack", start: int, chunks: Sequence[bytes]) -> None:
        """Samples have their place in a WAV file.

        :param start: the first one's, counted from the track's zero (`AudioTrack.zero_ms`).
        :param chunks: PCM as in the file, one behind the other.
        """

    def on_picture(self, track: "PictureTrack", timestamp: int | None, payload: bytes) -> None:
        """A picture or an access unit is kept."""

    def on_line(self, track: "TextTrack", line: bytes) -> None:
        """A line of transcript.jsonl, chat.jsonl or events.jsonl is kept; with its line break."""

    def on_turn(self, at_us: int) -> None:
        """All that came until a moment has been told: after each batch, and every 20 ms of a live stream."""


class Pair:
    """Two listeners as one, the one behind the other."""

    def __init__(self, first: Listener, second: Listener) -> None:
        self._both = first, second

    def on_audio(self, track: "AudioTrack", start: int, chunks: Sequence[bytes]) -> None:
        """See `Listener`."""
        for one in self._both:
            one.on_audio(track, start, chunks)

    def on_picture(self, track: "PictureTrack", timestamp: int | None, payload: bytes) -> None:
        """See `Listener`."""
        for one in self._both:
            one.on_picture(track, timestamp, payload)

    def on_line(self, track: "TextTrack", line: bytes) -> None:
        """See `Listener`."""
        for one in self._both:
            one.on_line(track, line)

    def on_turn(self, at_us: int) -> None:
        """See `Listener`."""
        for one in self._both:
            one.on_turn(at_us)


class StreamListener(Listener, Protocol):
    """A listener for one session of a stream."""

    async def close(self) -> None:
        """Finish: the session has ended, and all has been told. Bounded in time."""

    def entries(self) -> Sequence[TapEntry]:
        """What the manifest says of it."""


class Audience:
    """Those that listen to a recorder: what the session began with, and a guest, which comes and goes."""

    def __init__(self) -> None:
        self._listener: StreamListener | None = None
        self._guest: Listener | None = None
        self.heard: Listener | None = None
        """All of them as one."""

    @property
    def has_taps(self) -> bool:
        """Whether the manifest mentions any."""
        return self._listener is not None

    def listen(self, listener: StreamListener | None) -> Listener | None:
        """Replace what the session began with; returns all of them as one."""
        self._listener = listener
        return self._joined()

    def invite(self, guest: Listener | None) -> Listener | None:
        """Replace the guest; returns all of them as one."""
        self._guest = guest
        return self._joined()

    def entries(self) -> Sequence[TapEntry]:
        """What the manifest says of them."""
        return () if self._listener is None else self._listener.entries()

    def _joined(self) -> Listener | None:
        first, second = self._listener, self._guest
        self.heard = Pair(first, second) if first is not None and second is not None else first or second
        return self.heard
