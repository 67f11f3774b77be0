"""What the simulator makes up: pure, decodable, and what a test may hold a recording against."""

import shutil
import struct
import subprocess
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtms_cli.simulator import media


@settings(deadline=None, max_examples=30)
@given(
    cuts=st.lists(st.integers(0, 16_000), max_size=5), voice=st.integers(0, 2), rate=st.sampled_from([8_000, 16_000])
)
def test_speech_is_the_same_however_it_is_cut(cuts: list[int], voice: int, rate: int) -> None:
    whole = media.speech(voice, 3, 0, 16_000, rate)
    edges = [0, *sorted(cuts), 16_000]
    pieces = [media.speech(voice, 3, start, stop - start, rate) for start, stop in pairwise(edges)]
    assert np.array_equal(np.concatenate(pieces), whole)


def test_mixed_is_the_sum_and_each_turn_is_one_voices() -> None:
    seconds, rate = 12, 8_000
    voices = [media.speech(voice, 3, 0, seconds * rate, rate).astype(int) for voice in range(3)]
    assert np.array_equal(media.mixed(3, 0, seconds * rate, rate), np.clip(sum(voices), -32_768, 32_767))
    for voice, samples in enumerate(voices):
        speaking = [media.is_speaking(voice, 3, at_ms) for at_ms in range(0, 12_000, 20)]
        heard = np.abs(samples.reshape(-1, rate // 50)).max(axis=1) > 0
        assert not (heard & ~np.array(speaking)).any()
        assert heard.sum() > 150


def test_png_is_decodable_and_shows_its_number() -> None:
    def pixels(data: bytes) -> bytes:
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        chunks, place = {}, 8
        while place < len(data):
            (size,) = struct.unpack(">I", data[place : place + 4])
            kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
            assert struct.unpack(">I", data[place + 8 + size : place + 12 + size])[0] == zlib.crc32(kind + body)
            chunks[kind] = body
            place += 12 + size
        assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (320, 176)
        return zlib.decompress(chunks[b"IDAT"])

    assert len({pixels(media.png(number)) for number in range(10)}) == 10


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is the judge here")
@pytest.mark.parametrize("number", [0, 42, 99])
def test_jpeg_decodes_to_the_picture_that_was_meant(number: int) -> None:
    command = ["ffmpeg", "-v", "error", "-f", "mjpeg", "-i", "-", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    done = subprocess.run(command, input=media.jpeg(number), capture_output=True, check=True)
    assert done.stderr == b""
    grey = np.frombuffer(done.stdout, np.uint8).reshape(176, 320)
    meant = np.kron(media.blocks(number, 320, 176, 60), np.ones((8, 8), np.uint8))
    assert np.abs(grey.astype(int) - meant).max() <= 5
