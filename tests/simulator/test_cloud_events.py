"""The simulator's event WebSocket, on a clock that the test moves."""

import pytest

from rtms_cli.machine import (
    BROKEN,
    WEBHOOK,
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
from rtms_cli.protocol.event_socket import (
    HEARTBEAT,
    ConnectionBuilt,
    EventDelivery,
    HeartbeatAnswer,
    read_event_message,
)
from rtms_cli.protocol.messages import Unreadable
from rtms_cli.simulator import cloud_events, cloud_tokens
from rtms_cli.simulator.cloud_events import EventServer
from rtms_cli.simulator.cloud_faults import CloudFault, CloudFaultAt
from rtms_cli.simulator.cloud_tokens import TokenOffice, Worth

S = 1_000_000
ID = "sub-1"


class Played:
    """A server, and what it commands, with the time of each command."""

    def __init__(self, *faults: CloudFaultAt, outlives_token: bool = False, lifetime_s: int = 3600) -> None:
        self.tokens = TokenOffice(b"seed", lifetime_s)
        self.server = EventServer(self.tokens, [ID], faults, outlives_token=outlives_token)
        self.said: list[Command] = []
        self.now_s = 0.0
        self.at(0)

    def at(self, now_s: float) -> None:
        """Let time pass, with a tick whenever one is due."""
        while (due_us := self.server.deadline_us) is not None and due_us < now_s * S:
            self.said += self.server.tick(max(due_us, round(self.now_s * S)))
        self.now_s = now_s
        self.said += self.server.tick(round(now_s * S))

    def receive(self, frame: Frame) -> None:
        self.said += self.server.receive(frame)

    def connect(self, subscription: str = ID, token: str | None = None) -> str | None:
        now_us = round(self.now_s * S)
        channel = self.server.admit(now_us, subscription, self.tokens.issue(now_us) if token is None else token)
        if channel is not None:
            self.receive(state_frame(now_us, channel, ChannelState(State.OPEN)))
        return channel

    def say(self, channel: str | None, raw: bytes = HEARTBEAT) -> None:
        assert channel is not None
        self.receive(Frame(round(self.now_s * S), channel, Direction.IN, raw, Unreadable("")))

    def happens(self, body: bytes = b'{"event":"meeting.rtms_started"}') -> None:
        self.receive(frame_of(round(self.now_s * S), WEBHOOK, Direction.IN, body))

    def heard(self) -> list[object]:
        """What was said since the last call: messages as they are read, and closes with channel and code."""
        said, self.said = self.said, []
        told: list[object] = []
        for command in said:
            if isinstance(command, Send):
                assert command.raw is not None
                told.append(read_event_message(command.raw))
            elif isinstance(command, Close):
                told.append((command.channel, command.code))
            else:
                told.append(command)
        return told

    @property
    def wrong(self) -> list[str]:
        return [finding.what for finding in self.server.findings if finding.is_wrong]

    @property
    def notes(self) -> list[str]:
        return [finding.what for finding in self.server.findings if not finding.is_wrong]


BUILT = ConnectionBuilt(True)
LIVE = HeartbeatAnswer(True, "live")
STARTED = EventDelivery(b'{"event":"meeting.rtms_started"}')


def test_a_connection_is_built_and_answers_heartbeats_and_brings_events() -> None:
    played = Played()
    channel = played.connect()
    assert played.heard() == [BUILT]
    played.at(30)
    played.say(channel)
    played.happens()
    assert played.heard() == [LIVE, STARTED]
    assert not played.server.findings
    figures = played.server.figures
    assert (figures.connections, figures.heartbeats, figures.delivered, figures.lost) == (1, 1, 1, 0)


def test_what_happens_while_nobody_is_connected_is_lost() -> None:
    played = Played()
    played.happens()
    played.connect()
    assert played.heard() == [BUILT]
    assert played.server.figures.lost == 1


def test_a_client_without_heartbeats_is_closed_after_60_seconds() -> None:
    played = Played()
    channel = played.connect()
    played.at(59.9)
    assert played.heard() == [BUILT]
    played.at(60)
    assert played.heard() == [(channel, 1001)]
    assert played.wrong == ["no heartbeat for 60 s: closed"]
    played.happens()
    played.say(channel)
    assert played.heard() == []


def test_a_late_heartbeat_is_noted() -> None:
    played = Played()
    channel = played.connect()
    played.at(50)
    played.say(channel)
    assert played.heard() == [BUILT, LIVE]
    assert played.notes == ["a heartbeat after 50 s, not 30"]
    assert not played.wrong


def test_a_newer_connection_closes_the_older_one() -> None:
    played = Played()
    first, second = played.connect(), played.connect()
    assert played.heard() == [BUILT, (first, 1000), BUILT]
    played.happens()
    played.say(first)
    played.say(second)
    assert played.heard() == [STARTED, LIVE]
    assert played.server.figures.replaced == 1


def test_a_token_that_is_wrong_is_refused_with_1008() -> None:
    played = Played()
    nobody = ConnectionBuilt(False, "Invalid access token")
    first, second = played.connect(token=""), played.connect(token="guessed")
    assert played.heard() == [nobody, (first, 1008), nobody, (second, 1008)]
    assert played.wrong == [f"connected with a token that is {worth}" for worth in ("missing", "unknown")]
    assert not played.server.listeners


def test_an_expired_token_is_refused_and_only_noted() -> None:
    played = Played()
    token = played.tokens.issue(0)
    played.at(3600)
    channel = played.connect(token=token)
    assert played.heard() == [ConnectionBuilt(False, "Invalid access token"), (channel, 1008)]
    assert played.notes == ["connected with a token that is expired"]
    assert not played.wrong


def test_a_subscription_that_there_is_not_is_refused() -> None:
    played = Played()
    channel = played.connect("another")
    assert played.heard() == [ConnectionBuilt(False, "Invalid subscription"), (channel, 1000)]
    assert played.wrong


def test_messages_that_are_no_heartbeat_are_findings() -> None:
    played = Played()
    channel = played.connect()
    played.say(channel, b"{")
    played.say(channel, b'{"module":"message"}')
    assert len(played.wrong) == 2
    assert played.heard() == [BUILT]


def test_a_connection_ends_with_its_token() -> None:
    played = Played(lifetime_s=100)
    channel = played.connect()
    for second in (30, 60, 90):
        played.at(second)
        played.say(channel)
    played.heard()
    played.at(101)
    assert played.heard() == [(channel, 1008)]
    assert not played.server.findings


def test_a_connection_may_outlive_its_token() -> None:
    played = Played(lifetime_s=100, outlives_token=True)
    channel = played.connect()
    for second in (30, 60, 90, 120):
        played.at(second)
        played.say(channel)
    assert played.heard() == [BUILT, LIVE, LIVE, LIVE, LIVE]


def test_fault_token_expires() -> None:
    played = Played(CloudFaultAt(5000, CloudFault.TOKEN_EXPIRES))
    channel = played.connect()
    played.at(4.9)
    assert played.heard() == [BUILT]
    played.at(5)
    assert played.heard() == [(channel, 1008)]
    played.connect()
    assert played.heard() == [BUILT]


def test_fault_events_drop_loses_what_happens_meanwhile() -> None:
    played = Played(CloudFaultAt(5000, CloudFault.EVENTS_DROP, 10_000))
    channel = played.connect()
    played.at(5)
    assert played.heard() == [BUILT, (channel, BROKEN)]
    played.happens()
    assert played.connect() is None
    played.at(15)
    assert played.connect() is not None
    assert played.heard() == [BUILT]
    assert (played.server.figures.lost, played.server.figures.refused) == (1, 1)


def test_fault_events_delay_keeps_the_order() -> None:
    played = Played(CloudFaultAt(5000, CloudFault.EVENTS_DELAY, 20_000), CloudFaultAt(8000, CloudFault.EVENTS_DELAY))
    played.connect()
    played.at(6)
    played.happens(b'{"n":1}')
    played.at(7)
    played.happens(b'{"n":2}')
    played.at(9)
    played.happens(b'{"n":3}')
    assert played.heard() == [BUILT, EventDelivery(b'{"n":3}')]
    played.at(26)
    assert played.heard() == [EventDelivery(b'{"n":1}')]
    played.at(27)
    assert played.heard() == [EventDelivery(b'{"n":2}')]


def test_an_event_that_waits_is_lost_with_the_connection() -> None:
    played = Played(CloudFaultAt(0, CloudFault.EVENTS_DELAY, 20_000), CloudFaultAt(5000, CloudFault.EVENTS_DROP))
    played.connect()
    played.at(1)
    played.happens()
    played.at(30)
    assert played.server.figures.lost == 1
    assert STARTED not in played.heard()


def test_fault_second_subscriber_comes_back_as_often_as_it_says() -> None:
    played = Played(CloudFaultAt(5000, CloudFault.SECOND_SUBSCRIBER, times=2))
    first = played.connect()
    played.at(5)
    played.happens()
    second = played.connect()
    played.happens()
    assert played.heard() == [BUILT, (first, 1000), BUILT, STARTED]
    played.at(10)
    assert played.heard() == [(second, 1000)]
    third = played.connect()
    played.at(40)
    played.say(third)
    assert played.heard() == [BUILT, LIVE]
    assert played.server.figures.elsewhere == 1


def test_fault_events_silence_leaves_a_connection_open_and_dead() -> None:
    played = Played(CloudFaultAt(5000, CloudFault.EVENTS_SILENCE))
    channel = played.connect()
    played.at(5)
    played.say(channel)
    played.happens()
    assert played.server.listeners == 0
    played.at(4000)
    assert played.heard() == [BUILT]
    second = played.connect()
    played.say(second)
    played.happens()
    assert played.heard() == [(channel, 1000), BUILT, LIVE, STARTED]
    assert played.server.figures.lost == 1
    assert not played.server.findings


def test_a_second_subscriber_is_cut_off_like_everybody() -> None:
    played = Played(CloudFaultAt(5000, CloudFault.SECOND_SUBSCRIBER), CloudFaultAt(8000, CloudFault.EVENTS_DROP))
    played.at(9)
    played.happens()
    assert (played.server.figures.elsewhere, played.server.figures.lost) == (0, 1)


def test_what_would_be_late_is_lost_at_once_while_nobody_is_connected() -> None:
    played = Played(CloudFaultAt(0, CloudFault.EVENTS_DELAY, 20_000))
    played.happens()
    assert played.server.figures.lost == 1
    played.connect()
    played.at(30)
    assert STARTED not in played.heard()


def test_so_many_events_may_be_late_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_events, "MOST_LATE", 2)
    played = Played(CloudFaultAt(0, CloudFault.EVENTS_DELAY, 20_000))
    played.connect()
    for _ in range(3):
        played.happens()
    assert played.heard() == [BUILT, STARTED]
    played.at(20)
    assert played.heard() == [STARTED, STARTED]


def test_each_delivery_is_told() -> None:
    told: list[bytes] = []
    tokens = TokenOffice(b"seed")
    server = EventServer(tokens, [ID], on_delivery=told.append)
    server.receive(frame_of(0, WEBHOOK, Direction.IN, b'{"n":1}'))
    channel = server.admit(0, ID, tokens.issue(0))
    assert channel is not None
    server.receive(state_frame(0, channel, ChannelState(State.OPEN)))
    server.receive(frame_of(0, WEBHOOK, Direction.IN, b'{"n":2}'))
    assert told == [b'{"n":2}']


def test_the_same_token_twice_is_noted() -> None:
    played = Played()
    token = played.tokens.issue(0)
    played.connect(token=token)
    assert not played.server.findings
    played.connect(token=token)
    assert played.notes == ["connected again with the token of the last connection"]
    assert not played.wrong


def test_so_many_tokens_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_tokens, "MOST_TOKENS", 2)
    tokens = TokenOffice(b"seed")
    given = [tokens.issue(0) for _ in range(3)]
    assert [tokens.worth(token, 0) for token in given] == [Worth.UNKNOWN, Worth.GOOD, Worth.GOOD]
    assert tokens.count == 3


def test_the_end_closes_what_is_open() -> None:
    played = Played()
    channel = played.connect()
    played.receive(state_frame(0, "signaling", ChannelState(State.STOPPING, reason="a test")))
    assert played.heard() == [BUILT, (channel, 1001), Finish("complete", None, "the simulator")]
    assert played.connect() is None
    assert played.server.deadline_us is None
