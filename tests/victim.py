"""A client that hostile frames are thrown at: a session and a recorder, and every message that a server can send."""

import json
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from frames import HEADER, ZERO_MS, tree

from rtms_cli.capture import Capture
from rtms_cli.machine import ChannelState, Command, Direction, Finish, Frame, Open, State, frame_of, state_frame
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.recorder import Recorder
from rtms_cli.session.session import Session
from rtms_cli.view.gist import frame_line

WHO: dict[str, object] = {"user_id": 1, "user_name": "A", "timestamp": ZERO_MS}
URLS = {"all": "ws://m", "audio": "ws://a"}
MESSAGES: list[dict[str, object]] = [
    {"msg_type": 2, "status_code": 0, "sequence": 1, "media_server": {"server_urls": URLS}},
    {"msg_type": 4, "status_code": 0, "media_params": {"audio": {"codec": 1, "sample_rate": 1, "channel": 1}}},
    {"msg_type": 6, "event": {"event_type": 3, "timestamp": ZERO_MS, "participants": [WHO]}},
    {"msg_type": 8, "state": 2, "reason": 14, "timestamp": ZERO_MS},
    {"msg_type": 9, "rtms_session_id": "s", "state": 3, "stop_reason": 6, "timestamp": ZERO_MS},
    {"msg_type": 11, "rtms_session_id": "s", "state": 2, "timestamp": ZERO_MS},
    {"msg_type": 12, "timestamp": ZERO_MS, "sequence": 7},
    {"msg_type": 14, "content": WHO | {"data": "AAEC", "length": 3}},
    {"msg_type": 15, "content": WHO | {"data": "/9j/", "length": 3}},
    {"msg_type": 16, "content": WHO | {"data": "iVBO", "length": 3}},
    {"msg_type": 17, "content": WHO | {"data": "x", "start_time": 1, "end_time": 2, "language": 9}},
    {"msg_type": 18, "content": WHO | {"data": "x"}},
    {"msg_type": 20, "rtms_stream_id": "s", "state": 1, "timestamp": ZERO_MS},
    {"msg_type": 22, "rtms_stream_id": "s", "status_code": 0, "reason": "", "timestamp": ZERO_MS},
    {"msg_type": 29, "user_id": 1, "status_code": 0, "reason": "", "timestamp": ZERO_MS},
]


def paths(value: object, prefix: tuple[str | int, ...] = ()) -> Iterable[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*prefix, key)
        yield from paths(one, (*prefix, key))


def changed(message: object, path: tuple[str | int, ...], odd: object, *, drop: bool = False) -> object:
    copy = json.loads(json.dumps(message))
    at = copy
    for key in path[:-1]:
        at = at[key]
    if drop:
        del at[path[-1]]
    else:
        at[path[-1]] = odd
    return copy


def encode(value: object) -> bytes:
    return json.dumps(value, default=str).encode()


def is_harmless(line: str) -> bool:
    """Whether a terminal only shows it; blanks of every kind are harmless too."""
    return all(char.isprintable() or unicodedata.category(char) == "Zs" for char in line)


class Client:
    """A session and a recorder as a driver runs them, with sockets that always open."""

    def __init__(self, folder: Path) -> None:
        stream = Stream(Product.MEETING, "uuid", "stream", "ws://127.0.0.1/s", 1)
        self.session = Session(stream, Signature("0" * 64), MediaRequest())
        self.recorder = Recorder(folder, HEADER)
        self.frames: list[Frame] = []
        self.at_us = 0
        self.finish: Finish | None = None
        self.obey(self.session.tick(0))

    def take(self, channel: str, raw: bytes, way: Direction = Direction.IN) -> None:
        self.at_us += 1_000
        frame = frame_of(self.at_us, channel, way, raw)
        self.frames.append(frame)
        assert is_harmless(frame_line(frame, Product.MEETING))
        self.obey(self.session.receive(frame))

    def state(self, channel: str, state: ChannelState) -> None:
        self.at_us += 1
        frame = state_frame(self.at_us, channel, state)
        self.frames.append(frame)
        self.obey(self.session.receive(frame))

    def obey(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Open(channel) if self.at_us < 10_000_000:
                    self.state(channel, ChannelState(State.OPEN))
                case Finish():
                    self.finish = command
                case _:
                    pass

    def greet(self) -> None:
        """Have it connected, so that what follows meets every state."""
        self.take("signaling", encode(MESSAGES[0]))
        self.take("media", encode(MESSAGES[1]))

    def done(self) -> None:
        """Write all of it, and see that the capture gives it back."""
        self.recorder.fold(self.frames)
        self.recorder.close()
        kept = list(Capture(self.recorder.folder))
        assert len(kept) == len(self.frames)
        total = sum(len(content) for content in tree(self.recorder.folder).values())
        assert total < 4 * sum(len(frame.raw) for frame in self.frames) + 2_000_000
