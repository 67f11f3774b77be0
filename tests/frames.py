"""Frames as a server would have sent them, for tests that need no socket."""

import base64
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import structs

from rtms_cli.capture import Header
from rtms_cli.machine import ChannelState, Direction, Frame, Item, Packets, State, frame_of, state_frame
from rtms_cli.protocol.messages import MEDIA_HEADS

HEADER = Header(1, "2026-11-22T22:15:00.000Z", "rtms-cli test", "meeting", "uuid==", "stream123==")
ZERO_MS = 1_738_394_112_345
"""A timestamp to begin with."""


def said(body: dict[str, object], at_us: int = 0, channel: str = "media", way: Direction = Direction.IN) -> Frame:
    """A message, in or out."""
    return frame_of(at_us, channel, way, json.dumps(body).encode())


def media(
    msg_type: int,
    data: bytes | str,
    timestamp: object,
    *,
    user_id: object = 0,
    at_us: int = 0,
    channel: str = "media",
    **fields: object,
) -> Frame:
    """One of 14–18: bytes go as base64, text as it is."""
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    content = {"user_id": user_id, "data": text, "timestamp": timestamp, **fields}
    return said({"msg_type": msg_type, "content": content}, at_us, channel)


def audio(pcm: bytes, timestamp: object, **fields: object) -> Frame:
    """An L16 packet."""
    return media(14, pcm, timestamp, **fields)  # type: ignore[arg-type]


def granted(channel: str = "media", at_us: int = 0, **params: object) -> Frame:
    """A `4` that accepts, with these parameters; the default is L16, 16 kHz, mono."""
    audio_params = {"content_type": 2, "sample_rate": 1, "channel": 1, "codec": 1, "data_opt": 1, "send_rate": 20}
    return said({"msg_type": 4, "status_code": 0, "media_params": {"audio": audio_params, **params}}, at_us, channel)


def state(what: State, at_us: int = 0, channel: str = "media", **fields: object) -> Frame:
    """A change of a channel."""
    return state_frame(at_us, channel, ChannelState(what, **fields))  # type: ignore[arg-type]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def packed(frames: Sequence[Frame], cuts: Iterable[int] = ()) -> list[Item]:
    """Frames as a driver puts them: media in runs, which end at the cuts too."""
    items: list[Item] = []
    edges = set(cuts)
    for place, frame in enumerate(frames):
        if frame.direction is not Direction.IN or not frame.raw.startswith(MEDIA_HEADS):
            items.append(frame)
            continue
        last = items[-1] if items else None
        if place in edges or not isinstance(last, Packets) or last.channel != frame.channel:
            items.append(Packets(frame.channel, [frame.at_us], [frame.raw], len(frame.raw)))
        else:
            last.at_us.append(frame.at_us)
            last.raws.append(frame.raw)
            items[-1] = structs.replace(last, nbytes=last.nbytes + len(frame.raw))
    return items
