"""Made-up media: speech-like audio and pictures of a counter. Everything is a pure function of participant and time.

This lets a test compute the exact samples and pictures that were sent.
"""

import struct
import zlib
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rtms_cli.simulator.schedule import TURN_MS

Pcm = npt.NDArray[np.int16]

PAUSE_MS = 400


def speech(voice: int, voices: int, start: int, count: int, rate: int) -> Pcm:
    """Return samples of one participant: syllables of a buzzing voice on its turn, silence otherwise.

    :param voice: the voice's number, from 0. Each voice has a different pitch.
    :param start: the first sample's number, counted from the start of the session.
    """
    t = np.arange(start, start + count, dtype=np.float64) / rate
    in_round = (t * 1000) % (TURN_MS * voices) - TURN_MS * voice
    speaking = (in_round >= 0) & (in_round < TURN_MS - PAUSE_MS)
    if not speaking.any():
        return np.zeros(count, np.int16)
    return np.asarray(_voice(voice, t, rate) * speaking).astype(np.int16)


def talk(voice: int, start: int, count: int, rate: int) -> Pcm:
    """Return samples of one participant that speaks without pause."""
    t = np.arange(start, start + count, dtype=np.float64) / rate
    return _voice(voice, t, rate).astype(np.int16)


def _voice(voice: int, t: npt.NDArray[np.float64], rate: int) -> npt.NDArray[np.float64]:
    pitch = 105.0 + 45.0 * voice
    phase = 2 * np.pi * pitch * t + 3.0 * np.sin(2 * np.pi * 0.7 * t)
    buzz = sum(np.sin(k * phase) / k for k in range(1, 9) if k * pitch < rate / 2)
    syllables = np.sin(np.pi * 3.7 * t) ** 2 * (0.75 + 0.25 * np.sin(2 * np.pi * 0.9 * t))
    return np.asarray(9_000 * buzz * syllables)


def mixed(voices: int, start: int, count: int, rate: int) -> Pcm:
    """Return the mixed audio of all participants."""
    total = np.zeros(count, np.int32)
    for voice in range(voices):
        total += speech(voice, voices, start, count, rate)
    return np.clip(total, -32_768, 32_767).astype(np.int16)


def is_speaking(voice: int, voices: int, at_ms: int) -> bool:
    """Return whether it is this participant's turn. A muted participant sends no packets."""
    return at_ms % (TURN_MS * voices) // TURN_MS == voice


_FONT = {
    "0": (7, 5, 5, 5, 7),
    "1": (2, 6, 2, 2, 7),
    "2": (7, 1, 7, 4, 7),
    "3": (7, 1, 7, 1, 7),
    "4": (5, 5, 7, 1, 1),
    "5": (7, 4, 7, 1, 7),
    "6": (7, 4, 7, 5, 7),
    "7": (7, 1, 1, 1, 1),
    "8": (7, 5, 7, 5, 7),
    "9": (7, 5, 7, 1, 7),
}


def blocks(number: int, width: int, height: int, shade: int) -> npt.NDArray[np.uint8]:
    """Return a picture of a number, with one value per block of 8×8 pixels."""
    picture = np.full((height // 8, width // 8), shade, np.uint8)
    text = f"{number % 100:02d}"
    scale = max(1, picture.shape[0] // 10)
    for place, digit in enumerate(text):
        for row, bits in enumerate(_FONT[digit]):
            for column in range(3):
                if bits >> (2 - column) & 1:
                    y, x = (row + 2) * scale, (place * 4 + column + 2) * scale
                    picture[y : y + scale, x : x + scale] = 235
    return picture


def pixels_of(grid: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Expand blocks to 8×8 pixels each."""
    return grid.repeat(8, axis=0).repeat(8, axis=1)


def yuv(number: int, width: int, height: int, shade: int) -> npt.NDArray[np.uint8]:
    """Return a picture of a number in planar YUV 4:2:0, in grey."""
    picture = np.full((height * 3 // 2, width), 128, np.uint8)
    picture[:height] = pixels_of(blocks(number, width, height, shade))
    return picture


@cache
def jpeg(number: int, width: int = 320, height: int = 176, shade: int = 60) -> bytes:
    """Return a grey baseline JPEG. Every block is flat, so only its DC value is coded."""
    grid = blocks(number, width, height, shade)
    levels = grid.astype(np.int32) - 128  # quantised by 8; a flat block's DC is 8 × its value
    rows: dict[tuple[int, ...], str] = {}  # most rows are alike
    pieces: list[str] = []
    previous = 0
    for row in levels.tolist():
        coded = (previous, *row)
        if coded not in rows:
            rows[coded] = "".join(_coded(level - before) for before, level in pairwise(coded))
        pieces.append(rows[coded])
        previous = row[-1]
    stream = "".join(pieces)
    stream += "1" * (-len(stream) % 8)
    scan = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\x00")
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
            _segment(0xDB, b"\0" + bytes([8] * 64)),
            _segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"),
            _segment(0xC4, b"\0" + bytes(_DC_COUNTS) + bytes(range(12))),
            _segment(0xC4, b"\x10" + bytes([0, 0, 0, 1] + [0] * 12) + b"\0"),
            _segment(0xDA, b"\1\1\0\0\x3f\0"),
            scan,
            b"\xff\xd9",
        )
    )


@cache
def png(number: int, width: int = 320, height: int = 176, shade: int = 60) -> bytes:
    """Return a grey PNG."""
    pixels = pixels_of(blocks(number, width, height, shade))
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


_DC_COUNTS = (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)


def _huffman(counts: tuple[int, ...]) -> tuple[str, ...]:
    codes, code = [], 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            codes.append(format(code, f"0{length}b"))
            code += 1
        code <<= 1
    return tuple(codes)


_DC_CODES = _huffman(_DC_COUNTS)
_END_OF_BLOCK = "0000"


def _coded(difference: int) -> str:
    """Return the bits of a block, from its difference to the previous block."""
    size = abs(difference).bit_length()
    bits = difference if difference > 0 else difference + (1 << size) - 1
    return _DC_CODES[size] + (format(bits, f"0{size}b") if size else "") + _END_OF_BLOCK


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data
