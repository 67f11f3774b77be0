"""Recordings to begin with: small, whole, and with something of every kind that a recording can hold."""

import io
import json
import shutil
import wave
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from frames import HEADER, ZERO_MS, audio, media, said, state

from rtms_cli.capture import Header
from rtms_cli.machine import Direction, Frame, State, frame_of
from rtms_cli.recording.recorder import Recorder

RATE = 16_000
ANN, BOB = 16_778_240, 16_779_264
PICTURES = {
    "audio": {"content_type": 2, "sample_rate": 1, "channel": 1, "codec": 1, "data_opt": 2, "send_rate": 20},
    "video": {"content_type": 3, "codec": 7, "resolution": 1, "data_opt": 3, "fps": 25},
    "deskshare": {"content_type": 3, "codec": 5, "resolution": 1, "fps": 1},
    "transcript": {"content_type": 5, "src_language": 9},
}
STARTED = {
    "event": "meeting.rtms_started",
    "event_ts": ZERO_MS - 500,
    "payload": {
        "meeting_uuid": "uuid==",
        "rtms_stream_id": "stream123==",
        "server_urls": "wss://127.0.0.1:1/s",
        "operator_id": "o",
        "signature": "0" * 64,
    },
}
LEVEL = 12_345
"""The sample that a private file is made of: it must never turn up in an export."""


def build(folder: Path) -> None:
    """Make `meeting`, `calls` and `events` below a folder, and `private` with what nobody may read or change."""
    _recording(folder / "meeting", HEADER, _meeting())
    calls = Header(1, HEADER.created, HEADER.generator, "contact_center", "engagement", "stream9")
    _recording(folder / "calls", calls, _calls())
    private = folder / "private"
    private.mkdir()
    with wave.open(str(private / "private.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(np.full(RATE, LEVEL, "<i2").tobytes())
    (private / "bashrc").write_text("PRIVATE\n")
    shutil.copytree(folder / "meeting", private / "meeting")


def _recording(folder: Path, header: Header, frames: list[Frame]) -> None:
    folder.mkdir(parents=True)
    recorder = Recorder(folder, header)
    recorder.fold(frames)
    recorder.close()


def _meeting() -> list[Frame]:
    people = [{"user_id": ANN, "user_name": "Ann"}, {"user_id": BOB, "user_name": "Bob"}]
    urls = {"all": "wss://127.0.0.1:1/m"}
    frames = [
        frame_of(0, "webhook", Direction.IN, json.dumps(STARTED).encode()),
        state(State.OPENING, 1_000, "signaling", url="wss://127.0.0.1:1/s"),
        state(State.OPEN, 2_000, "signaling"),
        said({"msg_type": 1, "rtms_stream_id": "stream123==", "signature": "x"}, 3_000, "signaling", Direction.OUT),
        said({"msg_type": 2, "status_code": 0, "media_server": {"server_urls": urls}}, 4_000, "signaling"),
        state(State.OPEN, 5_000),
        said({"msg_type": 3, "media_type": 32, "media_params": PICTURES}, 6_000, "media", Direction.OUT),
        said({"msg_type": 4, "status_code": 0, "media_params": PICTURES}, 7_000),
        said({"msg_type": 7, "rtms_stream_id": "stream123=="}, 8_000, "signaling", Direction.OUT),
        _event(3, 10, participants=people),
        _event(2, 20, **people[0]),
        _event(5, 100, **people[1]),
        said({"msg_type": 12, "timestamp": ZERO_MS + 30}, 38_000, "signaling"),
        said({"msg_type": 13, "timestamp": ZERO_MS + 30}, 39_000, "signaling", Direction.OUT),
    ]
    frames += [
        audio(_tone(300 + 200 * (who == BOB), ms), ZERO_MS + ms, user_id=who, user_name=name, at_us=ms * 1000 + 50_000)
        for ms in [*range(0, 300, 20), *range(400, 600, 20)]
        for who, name in ((ANN, "Ann"), (BOB, "Bob"))
    ]
    frames += [
        media(15, unit, ZERO_MS + 40 * number, user_id=ANN, user_name="Ann", at_us=60_000 + 40_000 * number)
        for number, unit in enumerate(h264())
    ]
    frames += [
        media(
            16, jpeg(80 * number), ZERO_MS + 200 * number, user_id=BOB, user_name="Bob", at_us=70_000 + 200_000 * number
        )
        for number in range(3)
    ]
    for number, text in enumerate(("Good morning.", "Grüße, 山田.", "Bye.")):
        start = ZERO_MS + 150 * number
        who = {"user_id": (ANN, BOB)[number % 2], "user_name": ("Ann", "Bob")[number % 2]}
        frames += [
            media(17, text, start + 140, start_time=start, end_time=start + 140, language=9, at_us=700_000, **who),  # type: ignore[arg-type]
            media(18, text, start + 140, at_us=700_000, **who),  # type: ignore[arg-type]
        ]
    frames += [
        _event(2, 300, **people[1]),
        _event(6, 500, **people[1]),
        _event(4, 590, participants=[{"user_id": BOB}]),
        said({"msg_type": 8, "state": 4, "reason": 6, "timestamp": ZERO_MS + 700}, 750_000, "signaling"),
        state(State.CLOSED, 760_000, "media", code=1000),
        state(State.CLOSED, 770_000, "signaling", code=1000),
        state(State.FINISHED, 780_000, "signaling", status="complete", code=6, reason="stream"),
    ]
    return sorted(frames, key=lambda frame: frame.at_us)


def _calls() -> list[Frame]:
    frames = [said({"msg_type": 4, "status_code": 0, "media_params": {"audio": PICTURES["audio"]}}, 1_000)]
    for channel in (0, 1):
        frames += [
            audio(_tone(400, ms), ZERO_MS + ms, user_id=None, channel_id=channel, at_us=ms * 1000 + 2_000)
            for ms in range(0, 200, 20)
        ]
        content = {
            "channel_id": channel,
            "data": "Hello",
            "timestamp": ZERO_MS + 200,
            "start_time": ZERO_MS,
            "language": 9,
        }
        frames.append(said({"msg_type": 17, "content": content}, 300_000))
    return sorted(frames, key=lambda frame: frame.at_us)


def _event(kind: int, ms: int, **fields: object) -> Frame:
    body = {"event_type": kind, "timestamp": ZERO_MS + ms, **fields}
    return said({"msg_type": 6, "event": body}, ms * 1000 + 50_000, "signaling")


def _tone(hertz: int, start_ms: int) -> bytes:
    time = np.arange(start_ms * RATE // 1000, (start_ms + 20) * RATE // 1000) / RATE
    return (16_000 * np.sin(2 * np.pi * hertz * time)).astype("<i2").tobytes()


@cache
def h264() -> tuple[bytes, ...]:
    """Eight access units."""
    context = cast("Any", av.CodecContext.create("libx264", "w"))
    context.width, context.height, context.pix_fmt, context.time_base = 64, 48, "yuv420p", Fraction(1, 25)
    context.options = {"tune": "zerolatency", "preset": "ultrafast", "x264opts": "keyint=4:scenecut=0"}
    units: list[bytes] = []
    for number in range(8):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 30 * number, np.uint8), format="rgb24")
        frame.pts = number
        units += [bytes(packet) for packet in context.encode(frame)]
    return tuple(units)


@cache
def jpeg(level: int) -> bytes:
    """One grey picture."""
    from PIL import Image

    sink = io.BytesIO()
    Image.new("L", (64, 48), level).convert("RGB").save(sink, "JPEG")
    return sink.getvalue()
