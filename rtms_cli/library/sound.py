"""Reads a recording's WAV file without copying it: the header, and the samples as a memory map."""

import mmap
import os
import struct
from typing import IO

import numpy as np
import numpy.typing as npt
from msgspec import Struct

_MOST_CHUNKS = 64
_LEAST_RATE, _MOST_RATE, _MOST_CHANNELS = 1_000, 384_000, 8
_UNKNOWN = 0xFFFFFFFF


class WavForm(Struct, frozen=True):
    """The position and format of a WAV file's samples."""

    rate: int
    channels: int
    start: int
    """The first byte of the data."""
    nbytes: int
    """Size of the complete samples, which is less than in the header if the file was truncated."""


def read_form(source: IO[bytes]) -> WavForm:
    """Read the header of a RIFF or RF64 file. The file is untrusted.

    :raises ValueError: if it is not 16-bit PCM. The text continues a sentence about the file.
    """
    size = os.fstat(source.fileno()).st_size
    head = source.read(12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise ValueError("it is not a WAV file")
    rate = channels = block = 0
    large = _UNKNOWN
    for _ in range(_MOST_CHUNKS):
        chunk = source.read(8)
        if len(chunk) < 8:
            break
        name, length = struct.unpack("<4sI", chunk)
        start = source.tell()
        if name == b"data":
            if not rate:
                break
            nbytes = min(large if head[:4] == b"RF64" and length == _UNKNOWN else length, max(0, size - start))
            return WavForm(rate, channels, start, nbytes // block * block)
        body = source.read(min(length, 28))
        if name == b"ds64" and len(body) >= 16:
            large = int.from_bytes(body[8:16], "little")
        if name == b"fmt " and len(body) >= 16:
            form, channels, rate, _, block, bits = struct.unpack("<HHIIHH", body[:16])
            if (form, bits) != (1, 16) or not 0 < channels <= _MOST_CHANNELS or block != 2 * channels:
                raise ValueError(f"it has {bits} bits, {channels} channels and format {form} instead of 16-bit PCM")
            if not _LEAST_RATE <= rate <= _MOST_RATE:
                raise ValueError(f"its sampling rate is {rate} Hz")
        source.seek(start + length + length % 2)
    raise ValueError("it has no samples")


def map_samples(source: IO[bytes], form: WavForm) -> npt.NDArray[np.int16]:
    """Map the samples, read-only. They are read from the disk on access. The file may be closed afterwards.

    :returns: an array of shape (n,), or (n, channels) with several channels.
    """
    if not form.nbytes:
        flat: npt.NDArray[np.int16] = np.zeros(0, "<i2")
    else:
        content = mmap.mmap(source.fileno(), form.start + form.nbytes, access=mmap.ACCESS_READ)
        flat = np.frombuffer(content, "<i2", form.nbytes // 2, form.start)
    return flat if form.channels == 1 else flat.reshape(-1, form.channels)
