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


class StreamListener(Listener, Protocol):
    """A listener for one session of a stream."""

    async def close(self) -> None:
        """Finish: the session has ended, and all has been told. Bounded in time."""

    def entries(self) -> Sequence[TapEntry]:
        """What the manifest says of it."""
