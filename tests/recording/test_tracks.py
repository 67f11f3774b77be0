"""Pictures: what they are and where a player can start."""

import pytest

from rtms_cli.protocol.numbers import Codec
from rtms_cli.recording.tracks import is_key_frame, sniff_codec

AUD, SEI, SPS, PPS, IDR, SLICE = (b"\0\0\1" + bytes([0x60 | unit]) + b"x" for unit in (9, 6, 7, 8, 5, 1))


@pytest.mark.parametrize(
    ("unit", "key"),
    [
        (IDR, True),
        (SPS, True),
        (AUD + SPS + PPS, True),
        (b"\0" + AUD + SEI + b"\0" + IDR, True),
        (SLICE, False),
        (AUD + SLICE + IDR, False),
        (AUD + SEI, False),
        (b"", False),
        (b"\0\0\1", False),
        (b"no start code", False),
        (AUD * 1000 + IDR, False),
    ],
)
def test_key_frames(unit: bytes, key: bool) -> None:
    assert is_key_frame(Codec.H264, unit) is key


def test_every_image_is_a_key_frame() -> None:
    assert is_key_frame(Codec.JPG, b"?")
    assert is_key_frame(Codec.PNG, b"")
    assert not is_key_frame(None, IDR)


@pytest.mark.parametrize(
    ("payload", "codec"),
    [
        (b"\xff\xd8\xff\xe0", Codec.JPG),
        (b"\x89PNG\r\n", Codec.PNG),
        (IDR, Codec.H264),
        (b"\0" + IDR, Codec.H264),
        (b"", None),
        (b"RTP", None),
    ],
)
def test_codecs_are_told_by_their_first_bytes(payload: bytes, codec: Codec | None) -> None:
    assert sniff_codec(payload) == codec
