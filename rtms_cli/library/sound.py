"""Reading a WAV file of a recording without copying it: its header, and its samples where they lie on the disk."""

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
    """Where a WAV file's samples lie."""

    rate: int
    channels: int
    start: int
    """The first byte of the data."""
    nbytes: int
    """Of whole samples that are there; less than the header says where the file was cut."""


def read_form(source: IO[bytes]) -> WavForm:
    """Read the header of a RIFF or RF64 file, of which nothing need be true.

    :raises ValueError: if it has no 16-bit PCM; the text goes on a sentence about the file.
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
                raise ValueError(f"it says {bits} bits of {channels} channels in form {form}, and not 16-bit PCM")
            if not _LEAST_RATE <= rate <= _MOST_RATE:
                raise ValueError(f"it says {rate} samples a second")
        source.seek(start + length + length % 2)
    raise ValueError("it has no samples")


def map_samples(source: IO[bytes], form: WavForm) -> npt.NDArray[np.int16]:
    """The samples, read from the disk as they are looked at; read-only. The file may be closed afterwards.

    :returns: of shape (n,), or (n, channels) where there are several.
    """
    if not form.nbytes:
        flat: npt.NDArray[np.int16] = np.zeros(0, "<i2")
    else:
        content = mmap.mmap(source.fileno(), form.start + form.nbytes, access=mmap.ACCESS_READ)
        flat = np.frombuffer(content, "<i2", form.nbytes // 2, form.start)
    return flat if form.channels == 1 else flat.reshape(-1, form.channels)
