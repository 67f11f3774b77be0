"""Pictures: what they are, how large, and where a player can start."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from frames import HEADER, ZERO_MS, granted, media
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.protocol.numbers import Codec
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.pictures import Picture, read_picture, sniff_codec
from rtms_cli.recording.recorder import Recorder

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
    assert read_picture(Codec.H264, unit).is_key is key


def test_every_image_is_a_key_frame() -> None:
    assert read_picture(Codec.JPG, b"?") == Picture(True)
    assert read_picture(Codec.PNG, b"") == Picture(True)
    assert read_picture(None, IDR) == Picture(False)


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


def pictures(encoder: str, size: tuple[int, int], count: int, options: dict[str, str]) -> list[bytes]:
    """Grey pictures of an encoder, each a payload as RTMS has it."""
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = size
    context.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(encoder, options.get("pix_fmt", "yuv420p"))
    context.time_base = Fraction(1, 25)
    context.options = {name: value for name, value in options.items() if name != "pix_fmt"}
    made = []
    for number in range(count):
        image = np.full((size[1], size[0], 3), 8 * number, np.uint8)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = number
        made += [bytes(packet) for packet in context.encode(frame)]
    return made + [bytes(packet) for packet in context.encode(None)]


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (1920, 1080), (322, 184), (16, 32)])
@pytest.mark.parametrize(
    ("codec", "encoder", "options"),
    [
        (Codec.H264, "libx264", {"profile": "baseline"}),
        (Codec.H264, "libx264", {"profile": "high"}),
        (Codec.H264, "libx264", {"profile": "high", "x264opts": "interlaced"}),
        (Codec.H264, "libx264", {"profile": "high444", "pix_fmt": "yuv444p", "x264opts": "cqm=jvt"}),
        (Codec.JPG, "mjpeg", {}),
        (Codec.PNG, "png", {}),
    ],
)
def test_sizes(codec: Codec, encoder: str, options: dict[str, str], size: tuple[int, int]) -> None:
    [payload] = pictures(encoder, size, 1, options)
    assert sniff_codec(payload) == codec
    assert read_picture(codec, payload) == Picture(True, codec is Codec.H264, size)


@given(st.binary(max_size=80), st.sampled_from([Codec.H264, Codec.JPG, Codec.PNG, None]))
def test_any_bytes_are_read(payload: bytes, codec: Codec | None) -> None:
    for start in (b"", b"\0\0\1\x67", b"\xff\xd8\xff\xc0", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        read_picture(codec, start + payload)


def test_the_index_and_the_manifest_tell_of_them(tmp_path: Path) -> None:
    first = pictures("libx264", (640, 360), 3, {"tune": "zerolatency"})
    second = pictures("libx264", (320, 180), 2, {"tune": "zerolatency"})
    video = {"content_type": 3, "codec": 7, "resolution": 2, "data_opt": 3, "fps": 25}
    recorder = Recorder(tmp_path, HEADER)
    recorder.fold([granted(video=video)])
    for number, payload in enumerate(first + second + first):
        recorder.fold([media(15, payload, ZERO_MS + 40 * number, user_id=7)])
    recorder.close()
    [track] = Manifest.read(tmp_path).tracks
    assert track.sizes == [(ZERO_MS, 640, 360), (ZERO_MS + 120, 320, 180), (ZERO_MS + 200, 640, 360)]
    lines = [json.loads(line) for line in (tmp_path / "video/7.h264.index.jsonl").read_text().splitlines()]
    assert [(line["key"], line["parameter_sets"]) for line in lines] == [
        (True, True), (False, False), (False, False), (True, True), (False, False), (True, True), (False, False),
        (False, False),
    ]  # fmt: skip
    content = (tmp_path / "video/7.h264").read_bytes()
    assert [content[line["offset"] : line["offset"] + line["length"]] for line in lines] == first + second + first
