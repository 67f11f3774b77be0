"""The user's audio and video files, in any format that FFmpeg reads, decoded on demand."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rtms_cli.errors import Problem, reason_of
from rtms_cli.simulator.codecs import Pcm, Picture
from rtms_cli.simulator.material import FilmFile, SoundFile
from rtms_cli.simulator.schedule import Span

if TYPE_CHECKING:
    from av import AudioFrame
    from av.container import InputContainer

_SCAN_HZ, _SCAN_MS = 8_000, 500
_LOUD = 300
"""RMS level of 16-bit samples above which a participant counts as speaking."""
_LEAST_RATE = 1_000
"""Lowest accepted sampling rate."""
_FORMATS = "Use a file that FFmpeg can read, such as WAV, MP3, FLAC, MP4 or MKV."


def load_sound(path: Path) -> SoundFile:
    """Scan a file for its length and pauses.

    :raises Problem: if the file has no audio.
    """
    count, loud = 0, list[Span]()
    window = _SCAN_HZ * _SCAN_MS // 1000
    rest = np.zeros(0, np.float64)
    for piece in _pcm(path, _SCAN_HZ, 1):
        count += len(piece)
        rest = np.concatenate((rest, piece[:, 0].astype(np.float64)))
        whole_windows = len(rest) // window
        levels = np.sqrt((rest[: whole_windows * window].reshape(-1, window) ** 2).mean(axis=1))
        first = (count - len(rest)) // window
        rest = rest[whole_windows * window :]
        for number in np.flatnonzero(levels > _LOUD).tolist():
            start_ms = (first + number) * _SCAN_MS
            if loud and loud[-1][1] == start_ms:
                loud[-1] = (loud[-1][0], start_ms + _SCAN_MS)
            else:
                loud.append((start_ms, start_ms + _SCAN_MS))
    if not count:
        raise Problem(f"{path} has no audio track.", _FORMATS)
    return SoundFile(path, count * 1000 // _SCAN_HZ, tuple(loud))


def load_film(path: Path) -> FilmFile:
    """Read a video file's length.

    :raises Problem: if the file has no video.
    """
    last_ms = -1
    for at_ms, _ in _frames(path):
        last_ms = at_ms
        if (told_ms := _told_duration_ms(path)) is not None:
            return FilmFile(path, told_ms)
    if last_ms < 0:
        raise Problem(f"{path} has no video track.", _FORMATS)
    return FilmFile(path, last_ms + 40)


class Sound:
    """A file's samples, read from beginning to end. Gaps between reads are skipped.

    :param rate: the sampling rate to convert to.
    """

    def __init__(self, path: Path, rate: int, channels: int) -> None:
        self._pieces = _pcm(path, rate, channels)
        self._at = 0
        self._waiting = np.zeros((0, channels), np.int16)
        self._channels = channels

    def take(self, start: int, count: int) -> Pcm:
        """Return samples (count, channels) from `start` on; silence after the end."""
        while self._at + len(self._waiting) < start + count and (piece := next(self._pieces, None)) is not None:
            self._waiting = np.concatenate((self._waiting, piece))
            self._drop_before(start)
        self._drop_before(start)
        taken = self._waiting[:count]
        silence = np.zeros((count - len(taken), self._channels), np.int16)
        return np.concatenate((taken, silence))

    def _drop_before(self, start: int) -> None:
        surplus = min(max(start - self._at, 0), len(self._waiting))
        self._waiting = self._waiting[surplus:]
        self._at += surplus


class Film:
    """A file's pictures, read from beginning to end."""

    def __init__(self, path: Path) -> None:
        self._frames = _frames(path)
        self._now: tuple[int, object] | None = next(self._frames, None)
        self._next = next(self._frames, None)

    def picture(self, at_ms: int, size: tuple[int, int]) -> Picture | None:
        """Return the picture at a time, scaled to a size and padded with black.

        :returns: `None` after the end of the video.
        """
        while self._next is not None and self._next[0] <= at_ms:
            self._now, self._next = self._next, next(self._frames, None)
        if self._now is None or (self._next is None and at_ms > self._now[0] + 1000):
            return None
        return _fitted(self._now[1], size)


def _fitted(frame: object, size: tuple[int, int]) -> Picture:
    import av

    assert isinstance(frame, av.VideoFrame)
    width, height = size
    scale = min(width / frame.width, height / frame.height)
    w, h = (
        max(2, min(whole_px, round(px * scale)) & ~1)
        for whole_px, px in zip(size, (frame.width, frame.height), strict=True)
    )
    scaled = frame.reformat(width=w, height=h, format="yuv420p").to_ndarray().astype(np.uint8)
    picture = np.full((height * 3 // 2, width), 128, np.uint8)
    picture[:height] = 16
    x, y = (width - w) // 4 * 2, (height - h) // 4 * 2
    picture[y : y + h, x : x + w] = scaled[:h]
    colours = picture[height:].reshape(2, height // 2, width // 2)
    colours[:, y // 2 : (y + h) // 2, x // 2 : (x + w) // 2] = scaled[h:].reshape(2, h // 2, w // 2)
    return picture


@contextmanager
def _opened(path: Path) -> Iterator["InputContainer"]:
    """Open the file for reading.

    :raises Problem: if FFmpeg cannot open or decode it.
    """
    import av

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            yield container
    except (OSError, av.FFmpegError) as error:
        raise Problem(f"Cannot read {path}: {_why(error)}.", _FORMATS) from None


def _pcm(path: Path, rate: int, channels: int) -> Iterator[Pcm]:
    """Yield the file's first audio track, resampled, in chunks of shape (count, channels)."""
    import av

    with _opened(path) as container:
        if not container.streams.audio:
            return
        for (rate_in, *_), frames in groupby(container.decode(audio=0), _form):  # the format can change within a file
            if rate_in < _LEAST_RATE:
                raise Problem(f"{path} has a sampling rate of {rate_in} Hz, which is too low.", _FORMATS)
            resampler = av.AudioResampler("s16", "stereo" if channels == 2 else "mono", rate)
            for frame in chain(frames, (None,)):
                for piece in resampler.resample(frame):
                    yield piece.to_ndarray().reshape(-1, channels).astype(np.int16)


def _form(frame: "AudioFrame") -> tuple[int, str, str]:
    return frame.sample_rate, frame.format.name, frame.layout.name


def _frames(path: Path) -> Iterator[tuple[int, object]]:
    """Yield the file's pictures with their times in ms."""
    with _opened(path) as container:
        if not container.streams.video:
            return
        first: float | None = None
        for frame in container.decode(video=0):
            seconds = frame.time or 0.0
            first = seconds if first is None else first
            yield round((seconds - first) * 1000), frame


def _told_duration_ms(path: Path) -> int | None:
    with _opened(path) as container:
        return None if container.duration is None else container.duration // 1000


def _why(error: Exception) -> str:
    return reason_of(error)
