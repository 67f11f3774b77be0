"""What a recording's WAV files sound like, read block by block: silence, level, and the outline of the wave."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from rtms_cli.errors import reason_of
from rtms_cli.protocol.messages import UserId
from rtms_cli.recording.manifest import Loss, Manifest, TrackEntry
from rtms_cli.untrusted import open_sound

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DB_A_STEP = 0.375
"""Decibels from one level of an outline to the next."""
SILENT_DBFS = -60.0
"""What is below this for a whole window is silence."""
_WINDOW_S = 0.02
_PARTS = (20, 10, 5, 4, 2)
"""Into how many equal parts a window may be cut for an outline: the finest first."""
_BLOCK_WINDOWS = 500


class Sound(Struct, frozen=True):
    """One WAV file. `gaps` are seconds since the recording's zero, as the manifest lists them."""

    path: str
    party: UserId
    """Whose it is; `None` is everyone's."""
    user_name: str | None
    rate: int = 0
    channels: int = 0
    offset: float = 0.0
    """Where the file begins, in seconds since the recording's zero."""
    duration: float = 0.0
    silence: float | None = None
    """The share of 20 ms windows that are silent: below −60 dBFS."""
    rms_dbfs: float | None = None
    """The level of all windows that are not silent; `null` where all are."""
    peak_dbfs: float | None = None
    gap_count: int = 0
    gap_seconds: float = 0.0
    gaps: list[tuple[float, float]] = []
    problem: str = ""
    """Why the file could not be read."""


class Recorded(Struct, frozen=True):
    """What the recording's own files say, beside its capture."""

    status: str = ""
    sounds: list[Sound] = []
    losses: list[Loss] = []
    problem: str = ""
    """Why there is no manifest."""
    title: str | None = None
    """What `rtms name` has called the recording."""


class Outline(Struct, frozen=True):
    """The wave as a person sees it: how loud the largest sample of each stretch is.

    A level is a byte. 0 is digital silence, 255 is full scale (0 dBFS), and each step below is `DB_A_STEP` less.
    """

    seconds_a_point: float
    levels: bytes


def look_at(folder: Path, most_points: int = 0) -> tuple[Recorded, dict[str, Outline]]:
    """A recording's sound files and losses; outlines by the files' paths.

    :param most_points: of all outlines together. They are as fine as that allows, from 1 ms a point on. 0 makes none.
    """
    try:
        manifest = Manifest.read(folder)
    except (OSError, ValueError) as error:  # msgspec's own errors are ValueErrors
        return Recorded(problem=str(error)), {}
    sounds, outlines = [], {}
    tracks = [track for track in manifest.tracks if track.kind == "audio"]
    for track in tracks:
        sound, outline = _listen(folder, track, manifest.party(track), most_points // len(tracks))
        sounds.append(sound)
        if outline is not None:
            outlines[track.path] = outline
    return Recorded(manifest.status, sounds, manifest.losses, title=manifest.title), outlines


def dbfs(level: float) -> float | None:
    """A level (1.0 is full scale) in decibels; `None` for digital silence."""
    return 20 * math.log10(level) if level > 0 else None


def _listen(folder: Path, track: TrackEntry, whose: UserId, most_points: int) -> tuple[Sound, Outline | None]:
    known = Sound(
        track.path,
        whose,
        track.user_name,
        offset=track.offset or 0.0,
        gap_count=track.gap_count,
        gap_seconds=sum(end - start for start, end in track.gaps),
        gaps=track.gaps,
    )
    try:
        with open_sound(folder, track.path) as source:
            rate, channels, frames = source.samplerate, source.channels, source.frames
            ear = _Ear(rate, frames, most_points)
            size = _BLOCK_WINDOWS * ear.window
            while len(block := source.read(size, dtype="float32", always_2d=True)):
                ear.hear(block)
    except (OSError, RuntimeError) as error:  # while reading, the library's own error is a RuntimeError
        return _with(known, problem=reason_of(error)), None
    heard = _with(
        known,
        rate=rate,
        channels=channels,
        duration=frames / rate,
        silence=ear.silent / ear.windows if ear.windows else None,
        rms_dbfs=dbfs(math.sqrt(ear.power / ear.loud)) if ear.loud else None,
        peak_dbfs=dbfs(ear.peak),
    )
    return heard, ear.outline() if most_points else None


def _with(sound: Sound, **changes: object) -> Sound:
    from msgspec.structs import replace

    return replace(sound, **changes)


class _Ear:
    """Measures sound that comes in blocks of whole windows; only the last one may be shorter."""

    def __init__(self, rate: int, frames: int, most_points: int) -> None:
        self._rate = rate
        self.window = max(1, round(rate * _WINDOW_S))
        self.windows = self.silent = self.loud = 0
        self.power = self.peak = 0.0
        self._quiet = 10 ** (SILENT_DBFS / 10)
        fits = (parts for parts in _PARTS if self.window % parts == 0 and frames * parts <= most_points * self.window)
        self._point = self.window // next(fits, 1)
        self._points_together = math.ceil(frames / self._point / most_points) if most_points else 0
        self._peaks: list[NDArray[np.float32]] = []

    def hear(self, block: "NDArray[np.float32]") -> None:
        """Take the next block: samples by channels, −1 to 1."""
        import numpy as np

        count = math.ceil(len(block) / self.window)
        short = count * self.window - len(block)
        padded = np.pad(block, ((0, short), (0, 0))).reshape(count, -1).astype(np.float64)
        sizes = np.full(count, self.window * block.shape[1])
        sizes[-1] -= short * block.shape[1]
        powers = np.square(padded).sum(axis=1)
        loud = powers / sizes >= self._quiet
        self.windows += count
        self.silent += int(count - loud.sum())
        self.loud += int(sizes[loud].sum())
        self.power += float(powers[loud].sum())
        peaks = np.abs(padded).reshape(-1, self._point * block.shape[1]).max(axis=1)
        self.peak = max(self.peak, float(peaks.max()))
        if self._points_together:
            self._peaks.append(peaks.astype(np.float32))

    def outline(self) -> Outline:
        """Of all audio."""
        import numpy as np

        peaks = np.concatenate([*self._peaks, np.zeros(0, np.float32)])
        together = max(1, self._points_together)
        peaks = np.pad(peaks, (0, -len(peaks) % together)).reshape(-1, together).max(axis=1)
        loud = np.maximum(peaks, 1e-9)
        levels = np.clip(np.rint(255 + 20 * np.log10(loud) / DB_A_STEP), 1, 255)
        levels[peaks == 0] = 0
        return Outline(self._point * together / self._rate, levels.astype(np.uint8).tobytes())
