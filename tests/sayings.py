"""Sessions made of whatever may be said in them, for tests that compare two ways of reading them."""

from collections.abc import Mapping, Sequence
from typing import Any

from frames import ZERO_MS, granted, media, said, state
from hypothesis import strategies as st

from rtms_cli.machine import Direction, Frame, State, frame_of

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
LENGTHS = st.sampled_from([None, None, None, 640, "right", "right", 12, "extra", "nested"])
PICTURES = {"slice": H264, "idr": IDR, "jpg": JPG, "empty": b"", "gif": b"GIF89a", "zero": b"\0"}
PAYLOADS = st.sampled_from(["slice", "slice", "slice", *PICTURES])
OTHER = st.sampled_from(["transcript", "chat", "event", "asks", "closed", "open", "granted", "finished", "mark", "odd"])
CHANNELS = st.sampled_from(["media", "media", "media", "media.video", "media.share"])
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


def frames_from(granted_audio: Mapping[str, object], sayings: Sequence[tuple[object, ...]]) -> list[Frame]:
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
            fields: dict[str, object] = {"user_name": name, "length": len(data) if length == "right" else length}
            if isinstance(length, str) and length != "right":
                fields |= {"length": None, "level": {"now": 5} if length == "nested" else 1.5}
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
