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

POINTS = 2000
"""The most points of an outline."""
SILENT_DBFS = -60.0
"""What is below this for a whole window is silence."""
_WINDOW_S = 0.02
_BLOCK_WINDOWS = 500


class Sound(Struct, frozen=True):
    """One WAV file. `gaps` are seconds since the recording's zero, as the manifest lists them."""

    path: str
    party: UserId
    """Whose it is; `None` is everybody's."""
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


class Outline(Struct, frozen=True):
    """The wave as a person sees it: the largest sample of each stretch, 0 to 1."""

    seconds_a_point: float
    peaks: list[float]


def look_at(folder: Path) -> tuple[Recorded, dict[str, Outline]]:
    """A recording's sound files and losses; outlines by the files' paths."""
    try:
        manifest = Manifest.read(folder)
    except (OSError, ValueError) as error:  # msgspec's own errors are ValueErrors
        return Recorded(problem=str(error)), {}
    sounds, outlines = [], {}
    for track in manifest.tracks:
        if track.kind == "audio":
            sound, outline = _listen(folder, track, manifest.party(track))
            sounds.append(sound)
            if outline is not None:
                outlines[track.path] = outline
    return Recorded(manifest.status, sounds, manifest.losses), outlines


def dbfs(level: float) -> float | None:
    """A level (1.0 is full scale) in decibels; `None` for digital silence."""
    return 20 * math.log10(level) if level > 0 else None


def _listen(folder: Path, track: TrackEntry, whose: UserId) -> tuple[Sound, Outline | None]:
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
            ear = _Ear(rate, frames)
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
    return heard, Outline(ear.stride / rate, ear.outline())


def _with(sound: Sound, **changes: object) -> Sound:
    from msgspec.structs import replace

    return replace(sound, **changes)


class _Ear:
    """Measures sound that comes in blocks of whole windows; only the last one may be shorter."""

    def __init__(self, rate: int, frames: int) -> None:
        self.window = max(1, round(rate * _WINDOW_S))
        self.stride = self.window * max(1, math.ceil(frames / self.window / POINTS))
        self.windows = self.silent = self.loud = 0
        self.power = self.peak = 0.0
        self._peaks: list[float] = []
        self._quiet = 10 ** (SILENT_DBFS / 10)

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
        peaks = np.abs(padded).max(axis=1)
        self.windows += count
        self.silent += int(count - loud.sum())
        self.loud += int(sizes[loud].sum())
        self.power += float(powers[loud].sum())
        self.peak = max(self.peak, float(peaks.max()))
        self._peaks += peaks.tolist()

    def outline(self) -> list[float]:
        """The largest sample of each stretch."""
        step = self.stride // self.window
        return [round(max(self._peaks[start : start + step]), 4) for start in range(0, len(self._peaks), step)]
