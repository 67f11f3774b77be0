"""Runs of packets make the same files as their frames, one by one, whatever comes and however it is cut."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from frames import HEADER, ZERO_MS, audio, granted, media, packed, said, state, tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from rtms_cli.machine import Direction, Frame, Packets, State, frame_of
from rtms_cli.protocol.messages import MEDIA_HEADS, Media, read, read_packets
from rtms_cli.recording import runs
from rtms_cli.recording.recorder import Recorder

H264 = b"\0\0\0\1\x41" + bytes(range(1, 250)) * 12
IDR = b"\0\0\0\1\x67\x42\0\x1e\0\0\0\1\x65" + bytes(40)
JPG = b"\xff\xd8\xff\xc0\0\x11\x08\0\x10\0\x20" + bytes(30)
L16, STEREO = {"codec": 1, "sample_rate": 1, "channel": 1}, {"codec": 1, "sample_rate": 1, "channel": 2}
OPUS, G711 = {"codec": 4, "sample_rate": 3, "channel": 1}, {"codec": 2, "sample_rate": 0, "channel": 1}
RTP = {"codec": 1, "sample_rate": 1, "channel": 1, "content_type": 1}
USERS = st.sampled_from([7, 7, 7, 7, 0, 8, None, "9", 2**40])
NAMES = st.sampled_from(["Ann", "Ann", "Ann", "Ben", "", None, 5, 'B"n~', "Zoë", "+49 170 5550123"])
STEPS = st.sampled_from([20, 20, 20, 20, 20, 20, 20, 0, 10, 13, 40, 400, -20, -300, 2_000, 70_000, 4_000_000, None])
SIZES = st.sampled_from([640, 640, 640, 640, 640, 1280, 320, 641, 0])
LENGTHS = st.sampled_from([None, None, None, 640, "right", "right", 12])
PICTURES = {"slice": H264, "idr": IDR, "jpg": JPG, "empty": b"", "gif": b"GIF89a", "zero": b"\0"}
PAYLOADS = st.sampled_from(["slice", "slice", "slice", *PICTURES])
OTHER = st.sampled_from(["transcript", "chat", "event", "asks", "closed", "open", "granted", "finished", "mark", "odd"])
CHANNELS = st.sampled_from(["media", "media", "media", "media.video"])
SOUND = st.tuples(st.just("sound"), USERS, NAMES, STEPS, SIZES, LENGTHS, CHANNELS)
PICTURE = st.tuples(st.sampled_from([15, 15, 16]), USERS, NAMES, STEPS, PAYLOADS, LENGTHS, CHANNELS)
SAID = st.one_of(SOUND, SOUND, SOUND, PICTURE, st.tuples(OTHER, STEPS))
_ODD = (
    b'{"msg_type":14,"content":{"data":123456,"timestamp":%d}}',
    b'{"msg_type": 14,"content":{"data":"AA\\/A","user_id":7,"timestamp":%d}}',
    b'{"msg_type":14,"msg_type":12,"timestamp":%d}',
    b'{"msg_type":14,"content":{"data":"AAAA","timestamp":%d},"content":{}}',
    b'{"msg_type":15,"x":{"data":"AAAA"},"content":{"data":"\\u007e","user_id":7,"timestamp":%d}}',
    b'{"msg_type":14,"content":{"user_name":"\xff","data":"AAAA","timestamp":%d}}',
    b'{"msg_type":14,"skipped":"\xff","content":{"data":"AAAA","timestamp":%d}}',
    b'{"msg_type":14,"signature":"x","timestamp":%d',
    b'{"msg_type":16,\n"content":{"data":"AAAA","user_id":7,\r"timestamp":%d}}',
    b'{"content":{"data":"AAAA","user_id":7,"timestamp":%d},"msg_type":14}',
    b'{"msg_type":14,"deep":' + b"[" * 70 + b"]" * 70 + b',"content":{"data":"AAAA","timestamp":%d}}',
)


def frames_from(granted_audio: dict[str, object], sayings: Sequence[tuple[object, ...]]) -> list[Frame]:
    """A session in which all of that is said."""
    params: dict[str, Any] = {"audio": {"content_type": 2, **granted_audio, "send_rate": 20}, "video": {"codec": 7}}
    frames = [granted(**params), granted("media.video", **params)]
    latest = 60_000
    for number, (what, *rest) in enumerate(sayings):
        at_us = 1_000_000 + 20_000 * number
        if what in ("sound", 15, 16):
            user, name, step, content, length, channel = rest
            latest += step or 0  # type: ignore[operator]
            stamp = None if step is None else ZERO_MS + latest
            data = bytes([number % 251]) * content if isinstance(content, int) else PICTURES[str(content)]
            fields = {"user_name": name, "length": len(data) if length == "right" else length}
            kind = 14 if what == "sound" else what
            frames.append(
                media(kind, data, stamp, user_id=user, at_us=at_us, channel=channel,  # type: ignore[arg-type]
                      **{key: value for key, value in fields.items() if value is not None})
            )  # fmt: skip
            continue
        (step,) = rest
        latest += step or 0  # type: ignore[operator]
        frames.append(_other(str(what), latest, at_us, number))
    return frames


def _other(what: str, latest: int, at_us: int, number: int) -> Frame:
    match what:
        case "transcript" | "chat":
            return media(17 if what == "transcript" else 18, "said", ZERO_MS + latest, user_id=7, at_us=at_us)
        case "event":
            people = [{"user_id": 7, "channel_id": number % 3, "user_name": "Cid"}]
            event = {"event_type": 3, "timestamp": ZERO_MS + latest, "participants": people}
            return said({"msg_type": 6, "event": event}, at_us, "signaling")
        case "asks":
            return said({"msg_type": 12, "timestamp": ZERO_MS + latest}, at_us)
        case "closed" | "open" | "mark" | "finished":
            fields = {"status": "interrupted"} if what == "finished" else {}
            return state(State(what), at_us, **fields)
        case "granted":
            return granted(at_us=at_us)
        case _:
            return frame_of(at_us, "media", Direction.IN, _ODD[number % len(_ODD)] % (ZERO_MS + latest))


def record(folder: Path, items: Sequence[Frame | Packets], cuts: Sequence[int], product: str) -> dict[str, bytes]:
    """The files of a recording."""
    folder.mkdir()
    recorder = Recorder(folder, structs.replace(HEADER, product=product), keep_encoded=True)
    edges = sorted({0, len(items), *(min(cut, len(items)) for cut in cuts)})
    for start, end in pairwise(edges):
        recorder.fold(items[start:end])
    recorder.close()
    return tree(folder)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    params=st.sampled_from([L16, L16, L16, STEREO, OPUS, G711, RTP]),
    product=st.sampled_from(["meeting", "meeting", "contact_center", "phone"]),
    sayings=st.lists(SAID, min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    folds=st.lists(st.integers(0, 60), max_size=4),
)
def test_runs_make_the_files_of_their_frames(
    params: dict[str, object],
    product: str,
    sayings: list[tuple[object, ...]],
    cuts: list[int],
    folds: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    frames = frames_from(params, sayings)
    folder = tmp_path_factory.mktemp("runs")
    alone = record(folder / "alone", frames, (), product)
    together = record(folder / "together", packed(frames, cuts), folds, product)
    assert together.keys() == alone.keys()
    for name, content in alone.items():
        assert together[name] == content, name


def test_a_flow_is_placed_in_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two speakers and a camera, after a beginning, no packet is taken as a frame."""
    frames = [granted(video={"codec": 7})]
    for number in range(60):
        for user in (7, 8):
            frames.append(audio(bytes([user]) * 640, ZERO_MS + 20 * number, user_id=user, at_us=20_000 * number))
        frames.append(media(15, H264, ZERO_MS + 20 * number, user_id=7, at_us=20_000 * number))
    recorder = Recorder(tmp_path, HEADER)
    recorder.fold(packed(frames[:7]))
    monkeypatch.setattr(runs, "read", None)
    recorder.fold(packed(frames[7:]))
    recorder.close()
    assert {track.path: track.packets for track in recorder.manifest().tracks} == dict.fromkeys(
        ("audio/7.wav", "audio/8.wav", "video/7.h264"), 60
    )


RAW = st.builds(
    lambda number, blank, fields, tail: (
        b'{"msg_type":%b%d,' % (blank, number) + json.dumps(fields, ensure_ascii=False).encode()[1:] + tail
    ),
    st.sampled_from([14, 15, 16]),
    st.sampled_from([b"", b" "]),
    st.fixed_dictionaries({
        "content": st.fixed_dictionaries(
            {"data": st.sampled_from(["AAAA", "A" * 3000, "~" * 3000, "", "\\", '"', 5, None, "é" * 2000])},
            optional={
                "user_id": st.one_of(st.integers(), st.text(max_size=4)),
                "user_name": st.one_of(st.none(), st.text(max_size=5), st.just('"data":"~"')),
                "timestamp": st.one_of(st.just(ZERO_MS), st.just(ZERO_MS * 1000), st.integers(), st.none()),
                "length": st.one_of(st.integers(), st.booleans()),
                "channel_id": st.one_of(st.integers(0, 2), st.text(max_size=3)),
                "extra": st.sampled_from([{"data": "B" * 2500}, [[]] * 40, 1.5]),
            },
        )
    }),
    st.sampled_from([b"", b"", b"", b" ", b"}", b'{"data":"AAAA"}']),
)  # fmt: skip


@given(raws=st.lists(RAW, min_size=1, max_size=4))
def test_packets_that_are_read_together_say_what_each_says(raws: list[bytes]) -> None:
    assert all(raw.startswith(MEDIA_HEADS) for raw in raws)
    packets = read_packets(raws)
    for raw, packet in zip(raws, packets or (), strict=packets is not None):
        alone = read(raw)
        assert isinstance(alone, Media)
        content = packet.content
        assert (alone.msg_type, alone.letters().decode()) == (packet.msg_type, content.data)
        assert (alone.user_id, alone.user_name, alone.timestamp) == (
            content.user_id, content.user_name, content.timestamp,
        )  # fmt: skip
        assert (alone.length, alone.channel_id) == (content.length, content.channel_id)
