"""The user's own sound, film and transcript, as data; `decoding` and `subtitles` read them."""

from pathlib import Path

from msgspec import Struct

from rtms_cli.simulator.schedule import Span
from rtms_cli.simulator.subtitles import Line


class SoundFile(Struct, frozen=True):
    """A file with the sound of one participant."""

    path: Path
    duration_ms: int
    loud: tuple[Span, ...]
    """When there is something to hear, in steps of half a second."""


class FilmFile(Struct, frozen=True):
    """A file with what the first participant's camera sees."""

    path: Path
    duration_ms: int


class Material(Struct, frozen=True):
    """What the user brought; the sounds are the participants' in order."""

    sounds: tuple[SoundFile, ...] = ()
    film: FilmFile | None = None
    lines: tuple[Line, ...] = ()

    @property
    def duration_ms(self) -> int:
        """How long the longest of it is."""
        lengths = [sound.duration_ms for sound in self.sounds] + [line.end_ms for line in self.lines]
        return max([*lengths, self.film.duration_ms if self.film is not None else 0], default=0)
