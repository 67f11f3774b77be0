"""The user's own audio, video and transcript as data. `decoding` and `subtitles` read the files."""

from pathlib import Path

from msgspec import Struct

from rtms_cli.simulator.schedule import Span
from rtms_cli.simulator.subtitles import Line


class SoundFile(Struct, frozen=True):
    """A file with one participant's audio."""

    path: Path
    duration_ms: int
    loud: tuple[Span, ...]
    """When the audio is not silent, in steps of half a second."""


class FilmFile(Struct, frozen=True):
    """A video file for the first participant's camera."""

    path: Path
    duration_ms: int


class Material(Struct, frozen=True):
    """The user's files. The audio files belong to the participants in order."""

    sounds: tuple[SoundFile, ...] = ()
    film: FilmFile | None = None
    lines: tuple[Line, ...] = ()

    @property
    def duration_ms(self) -> int:
        """Length of the longest file."""
        lengths = [sound.duration_ms for sound in self.sounds] + [line.end_ms for line in self.lines]
        return max([*lengths, self.film.duration_ms if self.film is not None else 0], default=0)
