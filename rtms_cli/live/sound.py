"""Converts PCM to a tap's format: rate, channels, encoding."""

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rtms_cli.live.pieces import SoundForm

if TYPE_CHECKING:
    import av

UNKNOWN_SIZE = 0xFFFFFFFF
"""The size in a WAV header for data of unknown length."""


class Converter:
    """Converts consecutive chunks of audio.

    :param rate_hz: sampling rate of the input: 16-bit samples, interleaved channels.
    :param form: the output format.
    """

    def __init__(self, rate_hz: int, channels: int, form: SoundForm) -> None:
        self._from = rate_hz, channels
        self._channels = form.channels
        self._form = form
        self._resampler = None if rate_hz == form.rate_hz else _resampler(form)
        self._encode = _ENCODERS[form.encoding]() if form.encoding in _ENCODERS else _as_it_is

    def __call__(self, pcm: bytes) -> bytes:
        """Convert the next chunk. The output may be shorter if the resampler waits for more samples."""
        if self._from[1] != self._channels:
            pcm = _with_channels(pcm, self._channels)
        if self._resampler is not None:
            pcm = self._resampled(pcm)
        return self._encode(pcm)

    def finish(self) -> bytes:
        """Return the remaining samples, and reset the converter."""
        if self._resampler is None:
            return b""
        rest = b"".join(out.to_ndarray().tobytes() for out in self._resampler.resample(None))
        self._resampler = _resampler(self._form)
        return self._encode(rest)

    def _resampled(self, pcm: bytes) -> bytes:
        import av

        assert self._resampler is not None
        if not pcm:
            return b""
        samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=_layout(self._channels))
        frame.sample_rate = self._from[0]
        return b"".join(out.to_ndarray().tobytes() for out in self._resampler.resample(frame))


def _resampler(form: SoundForm) -> "av.AudioResampler":
    import av

    return av.AudioResampler("s16", _layout(form.channels), form.rate_hz)


def _with_channels(pcm: bytes, channels: int) -> bytes:
    """Duplicate mono to both channels, or average stereo."""
    samples = np.frombuffer(pcm, "<i2")
    if channels == 2:
        return samples.repeat(2).tobytes()
    mean: bytes = samples.reshape(-1, 2).mean(axis=1).round().astype("<i2").tobytes()
    return mean


def _layout(channels: int) -> str:
    return "stereo" if channels == 2 else "mono"


def _as_it_is(pcm: bytes) -> bytes:
    return pcm


def _f32le() -> Callable[[bytes], bytes]:
    return lambda pcm: (np.frombuffer(pcm, "<i2").astype("<f4") / 32768).tobytes()


def _mulaw() -> Callable[[bytes], bytes]:
    """Return a G.711 µ-law encoder. It uses a table of all samples, created once by FFmpeg."""
    import av

    context: Any = av.CodecContext.create("pcm_mulaw", "w")
    context.sample_rate, context.layout, context.format = 8000, "mono", "s16"
    every = np.arange(-32768, 32768).astype("<i2").reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(every, format="s16", layout="mono")
    frame.sample_rate = 8000
    coded = b"".join(bytes(packet) for packet in context.encode(frame))
    table = np.frombuffer(coded, np.uint8)
    return lambda pcm: table[np.frombuffer(pcm, "<i2").astype(np.int32) + 32768].tobytes()


_ENCODERS = {"f32le": _f32le, "mulaw": _mulaw}


def sound_header(form: SoundForm, nbytes: int | None = None) -> bytes:
    """Return what precedes the audio: a 44-byte header for `wav`, otherwise nothing.

    :param nbytes: size of the audio, if known.
    """
    if form.encoding != "wav":
        return b""
    size = UNKNOWN_SIZE if nbytes is None or nbytes > UNKNOWN_SIZE - 36 else nbytes
    riff = UNKNOWN_SIZE if size == UNKNOWN_SIZE else size + 36
    block = 2 * form.channels
    form_chunk = struct.pack("<HHIIHH", 1, form.channels, form.rate_hz, form.rate_hz * block, block, 16)
    return struct.pack("<4sI4s4sI16s4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16, form_chunk, b"data", size)
