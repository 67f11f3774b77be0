"""A capture as the show: what the machine sends, to whom and when, without sockets."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from rtms_cli.capture import Capture, Header, capture_line
from rtms_cli.errors import Problem
from rtms_cli.machine import (
    BROKEN,
    ChannelState,
    Close,
    Command,
    Direction,
    Finish,
    Frame,
    Send,
    State,
    frame_of,
    state_frame,
)
from rtms_cli.protocol.messages import Signature
from rtms_cli.simulator.recorded import READING_S, Recorded, Recording
from rtms_cli.simulator.zoom import Zoom

IDS = {"meeting_uuid": "m==", "rtms_stream_id": "s"}
SIGNED = {**IDS, "signature": "good", "protocol_version": 1, "sequence": 1}
GRANTED = {"audio": {"content_type": 2, "sample_rate": 0, "channel": 2, "codec": 1, "data_opt": 2, "send_rate": 40}}


def audio(number: int) -> bytes:
    """A packet that no writer of ours would write so."""
    return b'{ "content":{"data":"AAEC", "user_id":"7","timestamp":%d}, "new": 1,"msg_type":14}' % (5_000 + number)


def said(number: int) -> bytes:
    return b'{"msg_type":"MEDIA_DATA_TRANSCRIPT","content":"line %d","user_id":7,"timestamp":%d}' % (
        number,
        5_000 + number,
    )


def event(number: int) -> bytes:
    return b'{"msg_type":6,"event":{"event_type":%d,"timestamp":6000,"odd":[1,  2]}}' % number


def lines(*frames: tuple[float, str, str, bytes | dict[str, object]], ids: dict[str, str] | None = None) -> bytes:
    """A capture: the handshakes up to 7 at 1.5 s, and these frames after it."""
    sent: list[tuple[float, str, str, bytes | dict[str, object]]] = [
        (0.0, "signaling", "out", {"msg_type": 1, **SIGNED}),
        (0.5, "signaling", "in", {"msg_type": 2, "status_code": 0, "media_server": {"server_urls": {"all": "ws://x"}}}),
        (0.5, "signaling", "out", {"msg_type": 5, "events": [{"event_type": 2, "subscribe": True}]}),
        (0.9, "media", "out", {"msg_type": 3, **SIGNED, "media_type": 9}),
        (1.0, "media", "in", {"msg_type": 4, "status_code": 0, "media_params": GRANTED}),
        (1.2, "signaling", "in", event(1)),
        (1.5, "signaling", "out", {"msg_type": 7, "rtms_stream_id": "s"}),
        *frames,
    ]
    header = ids if ids is not None else {"id": "m==", "rtms_stream_id": "s"}
    written = [
        Header(
            1, "2026-01-01T00:00:00Z", "a test", "meeting", header.get("id", ""), header.get("rtms_stream_id", "")
        ).line()
    ]
    for at_s, channel, direction, body in sent:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        written.append(capture_line(frame_of(round(at_s * 1e6), channel, Direction(direction), raw)))
    return b"".join(written)


STATE_1 = b'{"msg_type":8, "state":1,"timestamp":6500}'
STOPPED = b'{"msg_type":9,"state":5,"stop_reason":6}'
TERMINATED = b'{"msg_type":8,"state":4,  "reason":23}'
SHOW = lines(
    (1.6, "signaling", "in", STATE_1),
    (1.7, "media", "in", audio(1)),
    (1.7, "media", "in", said(1)),
    (1.8, "signaling", "in", event(2)),
    (1.8, "signaling", "in", event(3)),
    (1.9, "media", "in", b'{"msg_type":12,"timestamp":1,"sequence":9}'),
    (1.9, "media", "out", b'{"msg_type":13,"timestamp":1,"sequence":9}'),
    (2.0, "media", "in", b"no json"),
    (2.1, "media", "in", b"\xff\xfe"),
    (2.5, "media", "in", audio(2)),
    (2.6, "signaling", "in", STOPPED),
    (2.6, "signaling", "in", TERMINATED),
    (2.7, "media", "in", audio(3)),
)


def recording(tmp_path: Path, written: bytes = SHOW) -> Recording:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(written)
    return Recording(Capture(path))


class Client:
    """Feeds the machine, and remembers what it sent: when, where, what."""

    def __init__(self, machine: Zoom, *, answers: bool = True) -> None:
        self.machine = machine
        self.answers = answers
        self.now_us = 0
        self.heard: list[tuple[int, str, bytes | int]] = []
        self.binary: list[bytes] = []
        self.finish: Finish | None = None
        self.lost: list[tuple[int, str, int]] = []

    def take(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, Send):
                number = command.message.msg_type
                raw = command.raw if command.raw is not None else number
                self.heard.append((self.now_us // 1000, command.channel, raw))
                if command.binary and command.raw is not None:
                    self.binary.append(command.raw)
                if number == 12 and self.answers:
                    body = {"msg_type": 13, "sequence": command.message.sequence}  # type: ignore[attr-defined]
                    self.say(command.channel, **body, timestamp=command.message.timestamp)  # type: ignore[attr-defined]
            elif isinstance(command, Close):
                self.lost.append((self.now_us // 1000, command.channel, command.code))
            elif isinstance(command, Finish):
                self.finish = command

    def feed(self, frame: Frame) -> None:
        self.take(self.machine.receive(frame))

    def state(self, channel: str, state: State, code: int | None = None) -> None:
        self.feed(state_frame(self.now_us, channel, ChannelState(state, code)))

    def say(self, channel: str, **body: object) -> None:
        self.feed(frame_of(self.now_us, channel, Direction.IN, json.dumps(body).encode()))

    def run(self, until_s: float = 1000, most_ticks: int = 10_000) -> None:
        """Tick whenever a tick is due."""
        for _ in range(most_ticks):
            due_us = self.machine.deadline_us
            if due_us is None or self.finish is not None or due_us > until_s * 1e6:
                return
            self.now_us = max(self.now_us, due_us)
            self.take(self.machine.tick(self.now_us))
        raise AssertionError("the machine is never done")

    def join(self, media: dict[str, int], *, events: Sequence[int] = (2,), signature: str = "good") -> None:
        signed = SIGNED | {"signature": signature}
        self.state("signaling", State.OPEN)
        self.say("signaling", msg_type=1, **signed)
        self.say("signaling", msg_type=5, events=[{"event_type": one, "subscribe": True} for one in events])
        for channel, kinds in media.items():
            self.state(channel, State.OPEN)
            self.say(channel, msg_type=3, **signed, media_type=kinds)
        self.say("signaling", msg_type=7, rtms_stream_id="s")

    def got(self) -> list[tuple[int, str, bytes]]:
        """What came from the capture."""
        return [(at, channel, raw) for at, channel, raw in self.heard if isinstance(raw, bytes)]


def machine(recorded: Recording, *, speed: float = 1, at_once: bool = False) -> Zoom:
    urls = {"audio": "ws://a", "all": "ws://all"}
    return Zoom(
        product=recorded.product, identity=recorded.id, stream_id=recorded.stream_id, signature=Signature("good"),
        urls=urls, epoch_ms=recorded.zoom_ms, show=Recorded(recorded, at_once=at_once), speed=speed,
        on_demand=True,
    )  # fmt: skip


EVERYTHING = [
    (0, "signaling", event(1)),
    (100, "signaling", STATE_1),
    (200, "media", audio(1)),
    (200, "media", said(1)),
    (300, "signaling", event(2)),
    (300, "signaling", event(3)),
    (500, "media", b"no json"),
    (600, "media", b"\xff\xfe"),
    (1000, "media", audio(2)),
    (1100, "signaling", STOPPED),
    (1200, "media", audio(3)),
    (1200, "signaling", TERMINATED),
]


def test_everything_comes_verbatim_at_its_time_and_the_end_comes_last(tmp_path: Path) -> None:
    client = Client(machine(recording(tmp_path)))
    client.join({"media": 32})
    client.run()
    assert client.got() == EVERYTHING
    assert client.binary == [b"\xff\xfe"]
    assert client.finish == Finish("complete", 23, "the simulator")
    assert [number for _, _, number in client.heard if isinstance(number, int)] == [2, 4]
    report = client.machine.report()
    assert (report.ready, report.untaken, report.findings) == (True, {}, ())
    assert report.sent["MEDIA_DATA_AUDIO"] == 3


def test_what_was_granted_then_is_granted_now(tmp_path: Path) -> None:
    client = Client(machine(recording(tmp_path)))
    client.state("signaling", State.OPEN)
    client.say("signaling", msg_type=1, **SIGNED)
    client.state("media", State.OPEN)
    asked = {"audio": {"codec": 4, "sample_rate": 3, "channel": 2, "send_rate": 20}, "video": {"codec": 7, "fps": 25}}
    asked_3 = {"msg_type": 3, **SIGNED, "media_type": 3, "media_params": asked}
    frame = frame_of(0, "media", Direction.IN, json.dumps(asked_3).encode())
    sent = [command for command in client.machine.receive(frame) if isinstance(command, Send)]
    body = sent[0].message.body()
    assert body["status_code"] == 0
    params = body["media_params"]
    assert isinstance(params, dict)
    assert params["audio"] == GRANTED["audio"]
    assert params["video"]["codec"] == 7


@pytest.mark.parametrize(
    ("media", "events", "expected"),
    [
        ({"media.a": 1}, (2,), [audio(1), audio(2), audio(3)]),
        ({"media.t": 8}, (2,), [said(1)]),
        ({"media.a": 1, "media.t": 8}, (2,), [audio(1), said(1), audio(2), audio(3)]),
        ({"media.c": 16}, (), []),
    ],
)
def test_fewer_kinds_and_split_sockets(
    media: dict[str, int], events: Sequence[int], expected: list[bytes], tmp_path: Path
) -> None:
    client = Client(machine(recording(tmp_path)))
    client.join(media, events=events)
    client.run()
    packets = [(channel, raw) for _, channel, raw in client.got() if b"content" in raw]
    assert [raw for _, raw in packets] == expected
    assert all((channel == "media.t") == (b"TRANSCRIPT" in raw) for channel, raw in packets)
    news = [raw for _, channel, raw in client.got() if channel == "signaling" and b'"event"' in raw]
    assert news == [event(1), *([event(2)] if events else []), event(3)]  # 1 and 3 came unasked then
    assert client.machine.report().untaken == {}


def test_at_once_the_end_waits_until_the_client_has_read(tmp_path: Path) -> None:
    client = Client(machine(recording(tmp_path), at_once=True), answers=False)
    client.join({"media": 32})
    client.run(until_s=1)
    assert [(channel, raw) for _, channel, raw in client.got()] == [row[1:] for row in EVERYTHING[:9]]
    assert client.heard[-1][1:] == ("media", 12)
    client.answers = True
    client.say("media", msg_type=13, sequence=1, timestamp=client.machine.client.zoom_ms(0))
    client.run()
    assert [(channel, raw) for _, channel, raw in client.got()] == [row[1:] for row in EVERYTHING]
    assert client.now_us == 0
    assert client.machine.report().findings == ()

    deaf = Client(machine(recording(tmp_path), at_once=True), answers=False)
    deaf.join({"media": 32})
    deaf.run()
    assert deaf.got()[-1][2] == TERMINATED
    assert deaf.now_us == READING_S * 1_000_000


def test_a_client_that_breaks_comes_back_and_one_that_closes_is_gone(tmp_path: Path) -> None:
    client = Client(machine(recording(tmp_path)))
    client.join({"media": 32})
    client.run(until_s=0.25)
    client.state("media", State.CLOSED, BROKEN)
    client.run(until_s=1.15)
    client.state("media#2", State.OPEN)
    client.say("media#2", msg_type=3, **SIGNED, media_type=32)
    assert client.heard[-1][1:] == ("media#2", audio(2))  # it had waited
    client.run()
    assert client.got()[-2:] == [(1200, "media#2", audio(3)), (1200, "signaling", TERMINATED)]

    client = Client(machine(recording(tmp_path)))
    client.join({"media": 32})
    client.run(until_s=0.25)
    client.state("signaling", State.CLOSED, 1000)
    assert client.finish is not None
    (finding,) = client.machine.report().findings
    assert "closed the connection before the end" in finding.what


def test_a_client_that_takes_9_for_the_end_is_right(tmp_path: Path) -> None:
    client = Client(machine(recording(tmp_path)))
    client.join({"media": 32})
    client.run(until_s=1.15)
    assert client.got()[-1][2] == STOPPED
    client.state("media", State.CLOSED, 1000)
    client.state("signaling", State.CLOSED, 1000)
    assert client.finish is not None
    assert client.machine.report().findings == ()


def test_wrong_clients_are_refused_and_the_next_is_served(tmp_path: Path) -> None:
    client = Client(machine(recording(tmp_path)))
    client.join({"media": 32}, signature="bad")
    assert client.got() == []
    client.run()  # nobody is given up while nobody has come
    assert client.finish is None
    client.state("signaling#2", State.OPEN)
    client.say("signaling#2", msg_type=1, **SIGNED)
    assert client.heard[-1][1:] == ("signaling#2", 2)
    assert "1: the signature is wrong" in [finding.what for finding in client.machine.report().findings]


def test_at_once_interruptions_keep_their_pace(tmp_path: Path) -> None:
    show = lines(
        (2.0, "signaling", "in", event(7)),
        (12.0, "signaling", "in", b'{"msg_type":8,"state":2,"reason":13}'),
        (20.0, "media", "in", audio(1)),
        (90.0, "media", "in", audio(2)),
    )
    client = Client(machine(recording(tmp_path, show), at_once=True))
    client.join({"media": 1})
    client.run(until_s=10)
    assert client.got()[-1] == (10_000, "signaling", b'{"msg_type":8,"state":2,"reason":13}')
    client.now_us = 13_000_000
    client.join({"media#2": 1})
    client.run()
    assert [row for row in client.got() if row[1] == "media#2"] == [
        (13_000, "media#2", audio(1)),
        (13_000, "media#2", audio(2)),
    ]


def test_interruptions_that_the_server_told_of(tmp_path: Path) -> None:
    interrupted = b'{"msg_type":8,"state":2,"reason":16}'
    show = lines((2.0, "signaling", "in", interrupted), (3.0, "media", "in", audio(1)), (9.0, "media", "in", audio(2)))
    client = Client(machine(recording(tmp_path, show)))
    client.join({"media": 1})
    client.run(until_s=2)
    client.state("media", State.CLOSED, 1000)
    client.state("media#2", State.OPEN)
    client.say("media#2", msg_type=3, **SIGNED, media_type=1)
    client.run()
    assert [raw for _, channel, raw in client.got() if channel == "media#2"] == [audio(1), audio(2)]
    assert client.machine.report().findings == ()
    assert client.heard[-2:] == [(7500, "signaling", 9), (7500, "signaling", 8)]  # said by ourselves: nobody did then


def closed(at_s: float, channel: str, code: int, *, ours: bool = False) -> tuple[float, str, str, dict[str, object]]:
    return at_s, channel, "state", {"state": "closed", "code": code, "ours": ours}


@pytest.mark.parametrize(
    ("lost", "joined", "closes"),
    [
        ([closed(2, "media", 1001), closed(2, "media", 1000, ours=True)], {"media": 9}, [("media", 1001)]),
        ([closed(2, "media", 1005)], {"media.audio": 1, "media.transcript": 8},
         [("media.audio", BROKEN), ("media.transcript", BROKEN)]),
        ([closed(2, "media.audio", 4000)], {"media.audio": 1, "media.transcript": 8}, [("media.audio", 4000)]),
        ([closed(2, "media.video", 1000)], {"media.audio": 1}, []),
        ([closed(2, "signaling", 1006), closed(2, "media", 1006)], {"media": 9},
         [("signaling", BROKEN), ("media", BROKEN)]),
        ([closed(1, "media", 1006)], {"media": 9}, []),  # before the client was ready
    ],
)  # fmt: skip
def test_sockets_that_were_lost(
    tmp_path: Path,
    lost: list[tuple[float, str, str, bytes | dict[str, object]]],
    joined: dict[str, int],
    closes: list[tuple[str, int]],
) -> None:
    """They are lost again, and the end is not taken for a loss."""
    show = lines(
        *sorted(lost, key=lambda line: line[0]),
        (6.0, "media", "in", audio(1)),
        (7.0, "signaling", "in", TERMINATED),
        closed(7.1, "media", 1000),
        closed(7.1, "signaling", 1005),
    )
    client = Client(machine(recording(tmp_path, show)))
    client.join(joined)
    client.run(until_s=3)
    assert client.lost == [(500, name, code) for name, code in closes]
    client.now_us = 4_000_000
    for name, _ in closes:
        client.state(name, State.CLOSED, 1006)
        if name != "signaling":
            client.state(f"{name}#2", State.OPEN)
    if ("signaling", BROKEN) in closes:
        client.join({"media#2": 9})
    else:
        for name, _ in closes:
            client.say(f"{name}#2", msg_type=3, **SIGNED, media_type=joined[name])
    client.run()
    assert [(at, raw) for at, _, raw in client.got() if raw in (audio(1), TERMINATED)] == [
        (4500, audio(1)),
        (5500, TERMINATED),
    ]
    assert client.machine.report().findings == ()


def test_at_once_a_loss_keeps_its_pace(tmp_path: Path) -> None:
    show = lines(closed(2, "media", 1006), (60.0, "media", "in", audio(1)), (90.0, "media", "in", audio(2)))
    client = Client(machine(recording(tmp_path, show), at_once=True))
    client.join({"media": 1})
    client.run(until_s=2)
    assert client.lost == [(0, "media", BROKEN)]
    client.now_us = 3_000_000
    client.state("media#2", State.OPEN)
    client.say("media#2", msg_type=3, **SIGNED, media_type=1)
    client.run()
    assert [row for row in client.got() if row[1] == "media#2"] == [
        (3000, "media#2", audio(1)),
        (3000, "media#2", audio(2)),
    ]


def test_ids_from_the_handshake_and_captures_with_nothing(tmp_path: Path) -> None:
    found = recording(tmp_path, lines((2.0, "media", "in", audio(1)), ids={}))
    assert (found.id, found.stream_id, found.zoom_ms) == ("m==", "s", 6_300)
    header = SHOW.splitlines(keepends=True)[0]
    with pytest.raises(Problem, match="nothing to serve"):
        recording(tmp_path, header)
