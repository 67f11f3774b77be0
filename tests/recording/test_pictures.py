"""Pictures: what they are, how large, and where a player can start."""

import base64
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from frames import HEADER, ZERO_MS, granted, media
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.protocol.numbers import Codec
from rtms_cli.recording.h264 import from_configuration, from_lengths
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


VIDEO = {"content_type": 3, "resolution": 2, "data_opt": 3, "fps": 5}
JPEGS = [b"\xff\xd8\xff\xe0" + bytes([number]) * 9 + b"\xff\xd9" for number in range(3)]
PNGS = [b"\x89PNG\r\n\x1a\n" + bytes([number]) * 9 for number in range(3)]
UNITS = [b"\x67" + b"s" * 11, b"\x68pps", b"\x65" + b"i" * 300, b"\x41" + b"p" * 70]


def in_order(folder: Path, path: str) -> list[bytes]:
    """What an index says that is in a picture file."""
    content = (folder / path).read_bytes()
    lines = [json.loads(line) for line in (folder / f"{path}.index.jsonl").read_text().splitlines()]
    return [content[line["offset"] : line["offset"] + line["length"]] for line in lines]


def recorded(folder: Path, codec: int | None, payloads: list[bytes], msg_type: int = 15) -> Manifest:
    """What becomes of payloads where a codec was granted."""
    recorder = Recorder(folder, HEADER)
    grant: dict[str, Any] = {}
    if codec is not None:
        grant = {"video" if msg_type == 15 else "deskshare": {**VIDEO, "codec": codec}}
    recorder.fold([granted(**grant)])
    recorder.fold([media(msg_type, one, ZERO_MS + 40 * n, user_id=7) for n, one in enumerate(payloads)])
    recorder.close()
    manifest = Manifest.read(folder)
    assert manifest.losses == []
    return manifest


@pytest.mark.parametrize("msg_type", [15, 16])
@pytest.mark.parametrize(
    ("codec", "first", "then", "extension", "name"),
    [
        (Codec.JPG, JPEGS, [IDR, SLICE], "h264", "H264"),
        (Codec.JPG, JPEGS, PNGS, "pngs", "PNG"),
        (Codec.PNG, PNGS, JPEGS, "mjpeg", "JPG"),
        (Codec.H264, [IDR, SLICE], JPEGS, "mjpeg", "JPG"),
        (Codec.H264, [IDR, SLICE], PNGS, "pngs", "PNG"),
    ],
)
def test_pictures_of_another_codec_than_granted_have_their_own_file(
    tmp_path: Path, msg_type: int, codec: Codec, first: list[bytes], then: list[bytes], extension: str, name: str
) -> None:
    manifest = recorded(tmp_path, codec, first + then + first[:1], msg_type)
    mine, other = manifest.tracks
    kind = "video" if msg_type == 15 else "share"
    assert other.path == f"{kind}/7_2.{extension}"
    assert in_order(tmp_path, other.path) == then
    assert in_order(tmp_path, mine.path) == first + first[:1]
    assert [warned.text for warned in manifest.warnings] == [
        f"media: {kind} is {name}, though {codec.name} was granted; it is in {other.path}"
    ]


def test_nothing_but_another_codec_needs_one_file(tmp_path: Path) -> None:
    [track] = recorded(tmp_path, Codec.JPG, [IDR, SLICE]).tracks
    assert (track.path, track.codec) == ("video/7.h264", "H264")


def test_the_rest_of_a_picture_follows_its_beginning(tmp_path: Path) -> None:
    """A picture may come in several messages; the later ones begin like nothing that is known."""
    _, other = recorded(tmp_path, Codec.JPG, [*JPEGS, IDR, b"the rest", SLICE]).tracks
    assert in_order(tmp_path, other.path) == [IDR, b"the rest", SLICE]


@pytest.mark.parametrize(
    ("cover", "told"),
    [
        (lambda one: b"\r\n " + one, "white space before its pictures"),
        (base64.b64encode, "base64 within base64"),
    ],
)
def test_images_under_a_cover(cover: Callable[[bytes], bytes], told: str, tmp_path: Path) -> None:
    manifest = recorded(tmp_path, Codec.JPG, [*JPEGS, *map(cover, JPEGS)])
    assert [warned.text for warned in manifest.warnings] == [
        f"media: JPG with {told}; video/7.mjpeg is without, as players want"
    ]
    assert in_order(tmp_path, "video/7.mjpeg") == [*JPEGS, *JPEGS]


@pytest.mark.parametrize(
    ("payload", "form"),
    [
        (b"GIF89a", "GIF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"\0\0\0\x1cftypavif", "HEIF or AVIF"),
        (b"\0\0\0\1\x40\1\x0c\1", "HEVC"),
        (b"\0\0\1\x46\1\x10", "HEVC"),
    ],
)
@pytest.mark.parametrize("granted_", [Codec.JPG, Codec.H264])
def test_what_rtms_does_not_have_is_named(payload: bytes, form: str, granted_: Codec, tmp_path: Path) -> None:
    manifest = recorded(tmp_path, granted_, [payload])
    (track,) = [track for track in manifest.tracks if track.kind == "video"]
    assert f"media: video is {form}, which RTMS does not have; it is in {track.path}" in [
        warned.text for warned in manifest.warnings
    ]


def test_what_begins_like_no_picture_is_kept_and_told(tmp_path: Path) -> None:
    manifest = recorded(tmp_path, Codec.JPG, [*JPEGS, b"BM", b"/9j/!", b"/9j/AAAAA"])
    assert in_order(tmp_path, "video/7.mjpeg") == [*JPEGS, b"BM", b"/9j/!", b"/9j/AAAAA"]
    [warned] = manifest.warnings
    assert (warned.text, warned.count) == (
        "media: video payloads that begin like no picture; they are in video/7.mjpeg", 3,
    )  # fmt: skip


def with_lengths(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def with_start_codes(*units: bytes) -> bytes:
    return b"".join(b"\0\0\0\1" + unit for unit in units)


CONFIGURATION = b"\1\x42\x00\x1f\xff\xe1\0\x0c" + UNITS[0] + b"\1\0\x04" + UNITS[1]


@pytest.mark.parametrize("codec", [Codec.H264, Codec.JPG, None])
@pytest.mark.parametrize(
    ("sent", "changed"),
    [
        ([with_lengths(*UNITS[:3]), with_lengths(UNITS[3])], "lengths (AVCC) before its NAL units"),
        ([with_lengths(unit) for unit in UNITS], "lengths (AVCC) before its NAL units"),
        ([CONFIGURATION, *(with_lengths(unit) for unit in UNITS[2:])], "lengths (AVCC) before its NAL units"),
        ([with_start_codes(*UNITS[:3]), with_lengths(UNITS[3])], "lengths (AVCC) before its NAL units"),
        (UNITS, "nothing before its NAL units"),
        ([with_start_codes(*UNITS)], ""),
        ([b"\0" + with_start_codes(*UNITS)], ""),
        ([b"\0\0\1" + unit for unit in UNITS], ""),
    ],
)
def test_h264_gets_start_codes(tmp_path: Path, codec: Codec | None, sent: list[bytes], changed: str) -> None:
    if codec is not Codec.H264 and sent is UNITS:
        return  # that it is H.264 at all, only the grant can say
    manifest = recorded(tmp_path, codec, sent)
    [track] = manifest.tracks
    assert track.path == "video/7.h264"
    content = (tmp_path / track.path).read_bytes().lstrip(b"\0")
    assert content.replace(b"\0\0\0\1", b"\0\0\1") == b"".join(b"\0\0\1" + unit for unit in UNITS).lstrip(b"\0")
    about = [warned.text for warned in manifest.warnings if "start codes" in warned.text]
    assert about == ([f"media: H.264 with {changed}; {track.path} has start codes, as players want"] if changed else [])


@given(st.binary(max_size=60))
def test_any_bytes_may_have_lengths(payload: bytes) -> None:
    for start in (b"", b"\0\0\0\1\x67", b"\0\0\0\5\x65", CONFIGURATION[:7]):
        changed = from_lengths(start + payload)
        assert changed is None or len(changed) == len(start + payload)
        from_configuration(start + payload)
