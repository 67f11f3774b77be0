"""The simulator's machine: right handshakes, every refusal with its documented status code, and who is at fault."""

import json
from collections.abc import Sequence

import pytest

from rtms_cli.machine import (
    ChannelState,
    Close,
    Command,
    Direction,
    Finish,
    Send,
    State,
    frame_of,
    state_frame,
)
from rtms_cli.protocol.messages import KeepAliveRequest, SessionStateUpdate, Signature, StreamStateUpdate, encode
from rtms_cli.protocol.numbers import EVERY_MEDIA, MediaType, SessionState, StopReason, StreamState
from rtms_cli.simulator.deviations import Deviation, spoken
from rtms_cli.simulator.faults import Fault, FaultAt
from rtms_cli.simulator.host import HOST
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.show import MadeUp
from rtms_cli.simulator.zoom import Zoom

RIGHT = Signature("a" * 64)
IDS: dict[str, object] = {
    "meeting_uuid": "uuid==",
    "rtms_stream_id": "stream1",
    "signature": RIGHT,
    "protocol_version": 1,
    "sequence": 1,
}
URLS = {name: f"ws://{name}" for name in ("audio", "video", "share", "transcript", "chat", "all")}
SECOND = 1_000_000
AUDIO = {"content_type": 2, "sample_rate": 1, "channel": 1, "codec": 1, "data_opt": 1, "send_rate": 20}


class Server:
    """A Zoom, and a client that says what a test wants."""

    def __init__(self, scopes: MediaType = EVERY_MEDIA, seconds: float = 5, scenario: Scenario | None = None) -> None:
        self.zoom = Zoom(
            product="meeting", identity="uuid==", stream_id="stream1", signature=RIGHT, urls=URLS,
            show=MadeUp(scenario or Scenario(seconds)), epoch_ms=1_738_394_112_345, scopes=scopes,
        )  # fmt: skip
        self.at_us = 0
        self.zoom.tick(0)

    def open(self, channel: str) -> None:
        self.zoom.receive(state_frame(self.at_us, channel, ChannelState(State.OPEN)))

    def close(self, channel: str) -> Sequence[Command]:
        return self.zoom.receive(state_frame(self.at_us, channel, ChannelState(State.CLOSED, 1006)))

    def say(self, channel: str, msg_type: int, **fields: object) -> list[dict[str, object]]:
        raw = json.dumps({"msg_type": msg_type, **fields}).encode()
        self.commands = self.zoom.receive(frame_of(self.at_us, channel, Direction.IN, raw))
        return said(self.commands)

    def wait(self, seconds: float, *, alive: bool = True) -> list[dict[str, object]]:
        """Let time pass, as a driver does, from deadline to deadline; keep-alives are answered by who is alive."""
        until_us, heard = self.at_us + round(seconds * SECOND), []
        while (due_us := self.zoom.deadline_us) is not None and due_us <= until_us:
            self.at_us = max(self.at_us, due_us)
            self.commands = self.zoom.tick(self.at_us)
            commands = self.commands
            heard += said(commands)
            for command in commands:
                if alive and isinstance(command, Send) and isinstance(command.message, KeepAliveRequest):
                    asked = command.message
                    self.say(command.channel, 13, timestamp=asked.timestamp, sequence=asked.sequence)
            self.commands = commands
        self.at_us = until_us
        return heard

    def join(self, media_type: int = 1, **params: object) -> list[dict[str, object]]:
        self.open("signaling")
        self.say("signaling", 1, **IDS)
        self.open("media")
        return self.say("media", 3, **IDS, media_type=media_type, media_params=params)

    def findings(self) -> list[str]:
        return [finding.what for finding in self.zoom.report().findings]


def said(commands: Sequence[Command]) -> list[dict[str, object]]:
    return [json.loads(encode(command.message)) for command in commands if isinstance(command, Send)]


def types(messages: Sequence[dict[str, object]]) -> list[object]:
    return [message["msg_type"] for message in messages]


def test_a_client_that_does_everything_right() -> None:
    server = Server()
    server.open("signaling")
    (answer,) = server.say("signaling", 1, **(IDS | {"sequence": 7}))
    assert (answer["status_code"], answer["sequence"], answer["media_server"]) == (
        0, 7, {"server_urls": {**{k: v for k, v in URLS.items() if k != "share"}, "deskshare": "ws://share"}}
    )  # fmt: skip
    server.open("media")
    (granted,) = server.say("media", 3, **IDS, media_type=9, media_params={"audio": AUDIO})
    assert granted["status_code"] == 0
    params = granted["media_params"]
    assert isinstance(params, dict)
    assert params["audio"] == AUDIO
    assert set(params) == {"audio", "transcript"}
    assert types(server.say("signaling", 7, rtms_stream_id="stream1"))[:2] == [8, 9]
    heard = server.wait(4.9)
    assert types(heard).count(14) == 245 or types(heard).count(14) == 246
    assert 17 in types(heard)
    assert 15 not in types(heard)
    end = server.wait(1)
    assert types(end)[-2:] == [9, 8]
    assert isinstance(server.commands[-1], Finish)
    assert server.findings() == []


@pytest.mark.parametrize(
    ("fields", "status", "why"),
    [
        ({"signature": "b" * 64}, 3, "the signature is wrong"),
        ({"rtms_stream_id": "other"}, 2, "no such stream"),
        ({"meeting_uuid": "other"}, 2, "no such stream"),
        ({"signature": None}, 4, "is missing"),
        ({"meeting_uuid": None}, 4, "is missing"),
        ({"protocol_version": 2}, 4, "protocol_version 2 is not 1"),
    ],
)
@pytest.mark.parametrize("msg_type", [1, 3])
def test_handshakes_that_are_refused(msg_type: int, fields: dict[str, object], status: int, why: str) -> None:
    server = Server()
    channel = "signaling" if msg_type == 1 else "media"
    if msg_type == 3:
        server.open("signaling")
        server.say("signaling", 1, **IDS)
        fields = fields | {"media_type": 1}
    server.open(channel)
    (answer,) = server.say(channel, msg_type, **(IDS | fields))
    assert (answer["msg_type"], answer["status_code"]) == (msg_type + 1, status)
    assert any(isinstance(command, Close) for command in server.commands)
    (finding,) = server.findings()
    assert why in finding
    assert server.say(channel, 12) == []  # nobody listens there any more


@pytest.mark.parametrize("missing", [("protocol_version",), ("sequence",), ("protocol_version", "sequence")])
def test_handshakes_without_what_real_servers_do_without_are_noted(missing: tuple[str, ...]) -> None:
    server = Server()
    server.open("signaling")
    (answer, *_) = server.say("signaling", 1, **{name: value for name, value in IDS.items() if name not in missing})
    assert (answer["msg_type"], answer["status_code"]) == (2, 0)
    assert server.findings() == [f"1 without {' and '.join(missing)}; accepted anyway"]
    assert server.zoom.report().mistakes == []


@pytest.mark.parametrize(
    ("message", "names"),
    [
        (SessionStateUpdate("s", SessionState.STOPPED, stop_reason=5), ("STOPPED", "STOP_BC_APP_DISABLED_BY_HOST")),
        (StreamStateUpdate(state=StreamState.PAUSED, reason=12), ("PAUSED", "STOP_BC_MEETING_CONNECTION_INTERRUPTED")),
        (StreamStateUpdate(state=StreamState.TERMINATED, reason=6), ("TERMINATED", "STOP_BC_MEETING_ENDED")),
    ],
)
def test_numbers_by_their_names(message: SessionStateUpdate | StreamStateUpdate, names: tuple[str, str]) -> None:
    """Only stop reasons have older names, though states have the same numbers."""
    sent = spoken("signaling", message, frozenset({Deviation.NAMES}))
    assert sent is not None
    body = json.loads(sent.raw or b"")
    assert (body["state"], body.get("reason") or body.get("stop_reason")) == names


@pytest.mark.parametrize(
    ("deviation", "answer"),
    [
        (Deviation.STATUS, {"status": 0}),
        (Deviation.SEVERAL_URLS, {"srt_passphrase": "hush-hush", "srt_pbkey_length": 16}),
    ],
)
def test_ways_to_answer(deviation: Deviation, answer: dict[str, object]) -> None:
    server = Server(scenario=Scenario(5, deviations=frozenset({deviation})))
    server.open("signaling")
    server.say("signaling", 1, **IDS)
    greeting = next(json.loads(command.raw or b"") for command in server.commands if isinstance(command, Send))
    assert {name: greeting[name] for name in answer} == answer
    assert ("status_code" in greeting) is (deviation is not Deviation.STATUS)


MATRIX: list[tuple[int | None, dict[str, dict[str, int]], int]] = [
    (None, {}, 7), (0, {}, 14), (64, {}, 14), (-1, {}, 14), (1, {}, 0), (32, {}, 0), (31, {}, 0),
    (1, {"audio": AUDIO | {"codec": 9}}, 22), (1, {"audio": AUDIO | {"send_rate": 30}}, 24),
    (1, {"audio": AUDIO | {"sample_rate": 9}}, 20), (1, {"audio": AUDIO | {"channel": 3}}, 21),
    (1, {"audio": AUDIO | {"content_type": 9}}, 19), (1, {"audio": AUDIO | {"data_opt": 9}}, 23),
    (2, {"video": {"codec": 5, "fps": 30}}, 27), (2, {"video": {"codec": 7, "fps": 99}}, 30),
    (2, {"video": {"codec": 7, "fps": 25, "resolution": 9}}, 28),
    (2, {"video": {"codec": 7, "fps": 25, "data_opt": 1}}, 29),
    (4, {"deskshare": {"codec": 5, "fps": 30}}, 33), (4, {"deskshare": {"codec": 7, "fps": 30, "resolution": 9}}, 34),
    (8, {"transcript": {"content_type": 1}}, 37), (8, {"transcript": {"content_type": 5, "src_language": 99}}, 43),
    (16, {"chat": {"content_type": 1}}, 39),
]  # fmt: skip


@pytest.mark.parametrize(("media_type", "params", "status"), MATRIX)
def test_media_requests(media_type: int | None, params: dict[str, dict[str, int]], status: int) -> None:
    server = Server()
    server.open("signaling")
    server.say("signaling", 1, **IDS)
    server.open("media")
    (answer,) = server.say("media", 3, **IDS, media_type=media_type, media_params=params)
    assert answer["status_code"] == status
    assert bool(server.findings()) == (status != 0)


@pytest.mark.parametrize(("bit", "status"), [(1, 9), (2, 10), (4, 11), (8, 12), (16, 13)])
def test_no_scope_has_its_own_code_and_is_nobodys_fault(bit: int, status: int) -> None:
    server = Server(EVERY_MEDIA & ~MediaType(bit))
    (answer,) = server.join(31)
    assert answer["status_code"] == status
    assert server.findings() == []
    server.open("media#2")
    (answer,) = server.say("media#2", 3, **IDS, media_type=31 & ~bit, media_params={})
    assert answer["status_code"] == 0


def test_a_second_connection() -> None:
    server = Server()
    server.join(1)
    server.open("signaling#2")
    (answer,) = server.say("signaling#2", 1, **IDS)
    assert answer["status_code"] == 8
    server.open("media#2")
    (answer,) = server.say("media#2", 3, **IDS, media_type=1, media_params={})
    assert answer["status_code"] == 16
    server.open("media#3")
    (answer,) = server.say("media#3", 3, **IDS, media_type=30, media_params={})
    assert answer["status_code"] == 0
    server.open("media#4")
    (answer,) = server.say("media#4", 3, **IDS, media_type=31, media_params={})
    assert answer["status_code"] == 15


@pytest.mark.parametrize(
    ("channel", "msg_type", "fields", "found"),
    [
        ("signaling", 7, {"rtms_stream_id": "other"}, "a wrong rtms_stream_id"),
        ("signaling", 5, {"events": [{"event_type": 7, "subscribe": True}]}, "which is sent without a subscription"),
        ("signaling", 5, {"events": [{"event_type": 99, "subscribe": True}]}, "which is not an event type"),
        ("signaling", 13, {"timestamp": 1}, "without a pending request"),
        ("signaling", 14, {"content": {}}, "is not a message that a client may send"),
        ("signaling", 21, {"rtms_stream_id": "other"}, "another rtms_stream_id"),
        ("media", 7, {"rtms_stream_id": "stream1"}, "is not a message that a client may send here"),
        ("media", 99, {}, "is not a message that a client may send"),
    ],
)
def test_what_a_client_must_not_say(channel: str, msg_type: int, fields: dict[str, object], found: str) -> None:
    server = Server()
    server.join()
    server.say(channel, msg_type, **fields)
    (finding,) = server.findings()
    assert found in finding


def test_ready_that_crosses_the_loss_of_the_media_connection() -> None:
    """The client could not know: it is ready, and gets media when it is back."""
    server = Server(scenario=Scenario(5, faults=(FaultAt(1000, Fault.EVENT_7),)))
    server.join()
    assert 14 in types(server.say("signaling", 7, rtms_stream_id="stream1"))
    server.close("signaling")
    server.open("signaling")
    server.say("signaling", 1, **IDS)
    server.open("media#2")
    server.say("media#2", 3, **IDS, media_type=1, media_params={})
    server.wait(1)
    assert types(server.say("signaling", 7, rtms_stream_id="stream1")) == [8, 9]
    server.open("media#3")
    assert 14 in types(server.say("media#3", 3, **IDS, media_type=1, media_params={}))
    assert server.findings() == ["the client closed the connection before the end"]


def test_ready_too_early_and_twice() -> None:
    server = Server()
    server.open("signaling")
    server.say("signaling", 1, **IDS)
    assert server.say("signaling", 7, rtms_stream_id="stream1") == []
    server.open("media")
    server.say("media", 3, **IDS, media_type=1, media_params={})
    assert server.say("signaling", 7, rtms_stream_id="stream1")
    server.say("signaling", 7, rtms_stream_id="stream1")
    assert ["before any media" in server.findings()[0], "twice" in server.findings()[1]] == [True, True]


def test_keep_alives_are_asked_every_ten_seconds_and_must_be_answered_rightly() -> None:
    server = Server(seconds=300)
    server.join(8)
    server.say("signaling", 7, rtms_stream_id="stream1")
    asked = [message for message in server.wait(10.5, alive=False) if message["msg_type"] == 12]
    assert len(asked) == 2  # one a socket
    assert all(isinstance(message["sequence"], int) for message in asked)
    for channel, message in zip(("signaling", "media"), asked, strict=True):
        server.say(channel, 13, timestamp=message["timestamp"], sequence=message["sequence"])
    assert server.findings() == []
    report = server.zoom.report()
    assert (report.keep_alives, report.answered, report.slowest_answer_ms) == (2, 2, 500.0)
    asked = [message for message in server.wait(10, alive=False) if message["msg_type"] == 12]
    server.say("signaling", 13, timestamp=1, sequence=asked[0]["sequence"])
    assert "not that of the 12" in server.findings()[0]
    server.wait(45, alive=False)
    cut = [finding for finding in server.findings() if "were not answered: connection closed" in finding]
    assert len(cut) == 2


@pytest.mark.parametrize(
    ("deaf", "closed", "waits_s"), [("signaling", ["signaling", "media"], 60), ("media", ["media"], 65)]
)
def test_a_connection_that_is_cut_is_a_lost_one(deaf: str, closed: list[str], waits_s: int) -> None:
    """Signaling takes the media with it, and the server waits as long as for any lost connection (PROTOCOL §9)."""
    server = Server(seconds=300)
    server.join(8)
    server.say("signaling", 7, rtms_stream_id="stream1")
    for _ in range(4):
        asked = [message for message in server.wait(10, alive=False) if message["msg_type"] == 12]
        cut = [command.channel for command in server.commands if isinstance(command, Close)]
        for channel, message in zip(("signaling", "media"), asked, strict=False):
            if channel != deaf:
                server.say(channel, 13, timestamp=message["timestamp"], sequence=message["sequence"])
    assert cut == closed
    assert server.zoom.client.give_up_us == server.at_us + waits_s * SECOND


def test_requests_are_answered() -> None:
    server = Server()
    server.join()
    (state,) = server.say("signaling", 10, rtms_session_id="x")
    assert (state["msg_type"], state["rtms_session_id"], state["state"]) == (11, "x", 2)
    (state,) = server.say("signaling", 19, rtms_stream_id="stream1")
    assert (state["msg_type"], state["state"]) == (20, 1)
    (answer,) = server.say("signaling", 28, user_id=16778240, subscribe=True)
    assert (answer["msg_type"], answer["status_code"]) == (29, 0)
    (answer,) = server.say("signaling", 28, user_id=16778240, subscribe=True)
    assert answer["status_code"] == 44
    answers = server.say("signaling", 21, rtms_stream_id="stream1")
    assert types(answers) == [22, 9, 8]
    assert answers[-1]["reason"] == 20


def test_audio_waits_for_a_client_that_is_away_and_media_that_cannot_wait_is_counted() -> None:
    server = Server(seconds=30)
    server.join(3)
    server.say("signaling", 7, rtms_stream_id="stream1")
    server.wait(1)
    server.close("media")
    assert server.wait(4) == []
    server.open("media#2")
    server.say("media#2", 3, **IDS, media_type=3, media_params={})
    burst = said(server.commands)
    assert types(burst)[0] == 4
    assert types(burst).count(14) >= 199
    contents = [message["content"] for message in burst if message["msg_type"] == 14]
    stamps = [content["timestamp"] for content in contents if isinstance(content, dict)]
    assert stamps == sorted(stamps)
    assert server.zoom.report().untaken == {"MEDIA_DATA_VIDEO": 20}
    assert server.findings() == ["the client closed the connection before the end"]


@pytest.mark.parametrize(("lost", "deadline"), [("signaling", 60), ("media", 65)])
def test_a_client_that_does_not_come_back_ends_the_stream(lost: str, deadline: int) -> None:
    server = Server(seconds=300)
    server.join(8)
    server.say("signaling", 7, rtms_stream_id="stream1")
    server.close(lost)
    server.wait(deadline - 1)
    assert not any(isinstance(command, Finish) for command in server.commands)
    server.wait(2)
    assert server.commands[-1] == Finish("complete", 19, "the simulator")


def test_a_client_that_never_comes() -> None:
    server = Server()
    server.wait(61)
    assert server.commands[-1] == Finish("complete", 19, "the simulator")
    assert server.findings() == ["no client connected or reconnected in time"]


def test_an_api_call_pauses_the_stream_and_goes_on_and_stops_it() -> None:
    server = Server()
    server.join()
    server.say("signaling", 7, rtms_stream_id="stream1")

    def asked(action: bytes) -> list[tuple[object, object]]:
        server.commands = server.zoom.receive(frame_of(server.at_us, HOST, Direction.IN, action))
        return [(message["msg_type"], message["state"]) for message in said(server.commands)]

    assert types(server.wait(1)).count(14) > 40
    assert asked(b"pause") == [(8, StreamState.PAUSED), (9, SessionState.PAUSED)]
    assert asked(b"pause") == []
    assert types(server.wait(1)).count(14) == 0
    assert asked(b"resume") == [(8, StreamState.RESUMED), (9, SessionState.RESUMED)]
    assert 40 < types(server.wait(1)).count(14) < 60
    assert asked(b"stop") == [(9, SessionState.STOPPED), (8, StreamState.TERMINATED)]
    assert server.commands[-1] == Finish("complete", 25, "the simulator")
    assert server.findings() == []
    assert server.zoom.report().untaken == {}


def test_a_stream_that_ends_before_it_begins_is_over() -> None:
    fault = FaultAt(-1, Fault.STOP, int(StopReason.STOP_BC_MEETING_ENDED))
    zoom = Zoom(
        product="meeting", identity="uuid==", stream_id="stream1", signature=RIGHT, urls=URLS,
        show=MadeUp(Scenario(5, faults=(fault,))), epoch_ms=1_738_394_112_345,
    )  # fmt: skip
    assert [command for command in zoom.tick(0) if isinstance(command, Finish)]
