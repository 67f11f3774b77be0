"""Record, inspect and simulate Zoom Realtime Media Streams (RTMS).

What `__all__` names is for programs, and stays (docs/library.md). It is imported when it is first used.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rtms_cli.capture import Capture
    from rtms_cli.errors import Exit, Problem
    from rtms_cli.library.items import Audio, Chat, Event, Item, Picture, State, Transcript
    from rtms_cli.library.recordings import AudioTrack, PictureTrack, Recording, Track
    from rtms_cli.library.running import Streams, join, listen
    from rtms_cli.library.streams import Outcome, Stream
    from rtms_cli.machine import Direction, Frame
    from rtms_cli.recording.manifest import Manifest, Participant, TrackEntry

__all__ = [
    "Audio",
    "AudioTrack",
    "Capture",
    "Chat",
    "Direction",
    "Event",
    "Exit",
    "Frame",
    "Item",
    "Manifest",
    "Outcome",
    "Participant",
    "Picture",
    "PictureTrack",
    "Problem",
    "Recording",
    "State",
    "Stream",
    "Streams",
    "Track",
    "TrackEntry",
    "Transcript",
    "__version__",
    "join",
    "listen",
]

_HOMES = {
    "capture": ("Capture",),
    "errors": ("Exit", "Problem"),
    "library.items": ("Audio", "Chat", "Event", "Item", "Picture", "State", "Transcript"),
    "library.running": ("Streams", "join", "listen"),
    "library.streams": ("Outcome", "Stream"),
    "library.recordings": ("AudioTrack", "PictureTrack", "Recording", "Track"),
    "machine": ("Direction", "Frame"),
    "recording.manifest": ("Manifest", "Participant", "TrackEntry"),
}
"""Where the names are defined, by module."""


if not TYPE_CHECKING:  # else any name would do

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for."""
        from importlib import import_module

        for home, names in _HOMES.items():
            if name in names:
                found: object = getattr(import_module(f"{__name__}.{home}"), name)
                globals()[name] = found
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
