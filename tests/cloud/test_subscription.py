"""The event WebSocket's machine: what it does when, without a socket or a wait (PROTOCOL §11)."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.cloud.subscription import PHASES, Phase, Subscription
from rtms_cli.machine import (
    BROKEN,
    EVENTS,
    SIGNALING,
    ChannelState,
    Close,
    Command,
    Deliver,
    Direction,
    Finish,
    Frame,
    Open,
    Send,
    State,
    Tell,
    state_frame,
)
from rtms_cli.protocol.event_socket import HEARTBEAT, built, delivery, heartbeat_answer, read_event_message

URL = "wss://ws.zoom.us/ws?subscriptionId=1"
S = 1_000_000


class Played:
    """A subscription, its clocks, and what it has commanded."""

    def __init__(self, dice: float = 0.0) -> None:
        self.at_us = 0
        self.slept_ms = 0
        self.machine = Subscription(URL, lambda: dice, lambda: 1_795_000_000_000 + self.at_us // 1000 + self.slept_ms)

    def tick(self) -> Sequence[Command]:
        return self.machine.tick(self.at_us)

    def wait(self) -> Sequence[Command]:
        """Go to the next deadline."""
        due_us = self.machine.deadline_us
        assert due_us is not None
        self.at_us = max(self.at_us, due_us)
        return self.tick()

    def hear(self, raw: bytes) -> Sequence[Command]:
        return self.machine.receive(Frame(self.at_us, EVENTS, Direction.IN, raw, read_event_message(raw)))

    def state(self, state: ChannelState, channel: str = EVENTS) -> Sequence[Command]:
        return self.machine.receive(state_frame(self.at_us, channel, state))

    def connect(self) -> Sequence[Command]:
        """Open the socket that is being opened, and greet."""
        self.state(ChannelState(State.OPEN))
        return self.hear(built())

    def close(self, code: int, reason: str = "") -> Sequence[Command]:
        return self.state(ChannelState(State.CLOSED, code, reason))


def played(dice: float = 0.0) -> Played:
    """One that is connected."""
    one = Played(dice)
    assert one.tick() == [Open(EVENTS, URL)]
    one.connect()
    assert one.machine.snapshot().phase is Phase.CONNECTED
    return one


def told(commands: Sequence[Command]) -> list[Tell]:
    return [command for command in commands if isinstance(command, Tell)]


def test_a_heartbeat_every_30_seconds() -> None:
    one = played()
    for number in range(1, 5):
        (sent,) = one.wait()
        assert one.at_us == number * 30 * S
        assert isinstance(sent, Send)
        assert sent.raw == HEARTBEAT == b'{"module":"heartbeat"}'
        assert one.hear(heartbeat_answer()) == []


def test_an_event_is_handed_on_as_it_came() -> None:
    one = played()
    body = b'{"event": "meeting.rtms_started",  "payload": {"x": "\xc3\xbc"}}'
    assert one.hear(delivery(body)) == [Deliver(body)]
    assert one.machine.snapshot().events == 1


def test_an_event_may_be_an_object_or_quoted_twice() -> None:
    body = b'{"event":"meeting.rtms_started"}'
    for content in (body.decode(), json.loads(body), json.dumps(body.decode()), f"\ufeff{body.decode()}"):
        raw = json.dumps({"module": "message", "content": content}).encode()
        assert played().hear(raw) == [Deliver(body)]


def test_45_seconds_of_silence_are_the_end() -> None:
    one = played()
    one.at_us = 10 * S
    one.hear(heartbeat_answer())
    one.wait()  # the heartbeat that nobody answers
    close, lost = one.wait()
    assert one.at_us == 55 * S
    assert isinstance(close, Close)
    assert isinstance(lost, Tell)
    assert lost.fields["retry_s"] == 5.0
    assert one.wait() == [Open(EVENTS, URL)]
    (connected,) = told(one.connect())
    assert connected.fields["gap_seconds"] == 50.0, "what came last came 50 s ago"
    assert "events of 50 s are lost" in connected.text


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 1013])
def test_a_loss_is_tried_again_after_5_seconds_and_doubling(code: int) -> None:
    one = played()
    one.at_us = 100 * S
    (lost,) = told(one.close(code, "going away" if code == 1001 else ""))
    waits = [lost.fields["retry_s"]]
    for _ in range(4):
        one.wait()
        waits += [tell.fields["retry_s"] for tell in told(one.state(ChannelState(State.REFUSED, reason="no")))]
    assert waits == [5, 10, 20, 40, 60]
    one.wait()
    one.state(ChannelState(State.REFUSED, reason="no"))
    before_us = one.at_us
    one.wait()
    assert one.at_us - before_us == 60 * S, "started webhooks are valid for a minute: no wait is longer"


def test_waits_are_spread() -> None:
    longer = [told(played(dice).close(1006))[0].fields["retry_s"] for dice in (0.0, 0.5, 1.0)]
    assert longer == [5.0, 5.5, 6.0]


def test_1008_asks_for_a_new_token_at_once_and_then_waits() -> None:
    one = played()
    one.at_us = 3600 * S
    one.hear(heartbeat_answer())
    commands = one.close(1008)
    assert commands[-1] == Open(EVENTS, URL)
    (connected,) = told(one.connect())
    assert connected.fields["gap_seconds"] == 0.0
    one.at_us += S
    assert not [command for command in one.close(1008) if isinstance(command, Open)], "not again and again"
    one.wait()
    one.connect()
    one.at_us += 3600 * S
    assert one.close(1008)[-1] == Open(EVENTS, URL)


def test_a_token_that_ends_on_the_way_is_no_reason_to_give_up() -> None:
    one = Played()
    one.tick()
    one.state(ChannelState(State.OPEN))
    commands = one.hear(built(is_success=False, says="Invalid access token"))
    assert isinstance(commands[0], Close)
    assert commands[-1] == Open(EVENTS, URL)
    one.state(ChannelState(State.OPEN))
    commands = one.hear(built(is_success=False, says="Invalid access token"))
    assert isinstance(commands[-1], Finish)
    assert commands[-1].status == "failed"
    assert "Invalid access token" in commands[-1].said_by


def test_a_token_that_was_never_taken_is_final() -> None:
    one = Played()
    one.tick()
    one.state(ChannelState(State.OPEN))
    assert one.close(1008)[-1] == Open(EVENTS, URL)
    one.state(ChannelState(State.OPEN))
    (finish,) = one.close(1008)
    assert isinstance(finish, Finish)
    assert "about the token" in finish.said_by


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1005, ""), (4001, "replaced by a new connection")])
def test_a_rival_is_told_and_given_way_to_longer_and_longer(code: int, reason: str) -> None:
    one = played()
    waits = []
    for _ in range(9):
        one.at_us += 10 * S
        (tell,) = told(one.close(code, reason))
        assert tell.what == "taken over"
        assert "another connection took over this subscription" in tell.text
        waits.append(tell.fields["retry_s"])
        one.wait()
        one.connect()
    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert one.machine.snapshot().takeovers == 9
    one.at_us += 600 * S
    one.hear(heartbeat_answer())
    assert told(one.close(code, reason))[0].fields["retry_s"] == 5, "peace for ten minutes"


def test_who_answers_no_heartbeat_has_no_rival() -> None:
    one = played()
    one.wait()  # the heartbeat that nobody answers
    one.at_us += 6 * S
    (lost,) = told(one.close(1000))
    assert (lost.what, one.machine.snapshot().takeovers) == ("lost", 0)
    one.wait()
    (connected,) = told(one.connect())
    assert connected.fields["gap_seconds"] == 41.0, "it was last heard of when it greeted"


def test_before_it_ever_stood_what_is_final_ends_it_and_later_nothing_does() -> None:
    one = Played()
    one.tick()
    (finish,) = one.state(ChannelState(State.REFUSED, reason="the client secret is wrong", final=True))
    assert finish == Finish("failed", None, "the client secret is wrong")
    assert one.machine.deadline_us is None
    one = played()
    one.close(1006)
    for _ in range(20):
        one.wait()
        commands = one.state(ChannelState(State.REFUSED, reason="the client secret is wrong", final=True))
        assert not [command for command in commands if isinstance(command, Finish)]


def test_failures_that_are_all_the_same_are_told_now_and_then() -> None:
    one = played()
    lines = len(told(one.close(1006)))
    for _ in range(60):
        one.wait()
        lines += len(told(one.state(ChannelState(State.REFUSED, reason="no"))))
    assert 8 <= lines <= 15


def test_the_first_connection_tells_what_it_missed_only_if_it_was_late() -> None:
    one = Played()
    one.tick()
    assert told(one.connect())[0].fields == {}
    one = Played()
    one.tick()
    one.state(ChannelState(State.REFUSED, reason="no"))
    one.wait()
    assert told(one.connect())[0].fields["gap_seconds"] == 5.0


def test_a_machine_that_slept_counts_by_the_time_of_day() -> None:
    one = played()
    one.at_us, one.slept_ms = 20 * S, 3_600_000
    one.close(BROKEN)
    one.wait()
    (connected,) = told(one.connect())
    assert connected.fields["gap_seconds"] == 3625.0


def test_what_nobody_knows_is_told_and_ignored() -> None:
    one = played()
    assert told(one.hear(b'{"module":"news","content":"from the future"}'))[0].what == "other module"
    assert told(one.hear(b"\xff"))[0].what == "unreadable"
    assert told(one.hear(b'{"module":"message"}'))[0].what == "unreadable"
    assert one.machine.snapshot().unreadable == 2
    assert one.machine.snapshot().phase is Phase.CONNECTED


def test_a_wish_to_stop_closes_it_and_says_what_is_still_lost() -> None:
    one = played()
    assert [type(command) for command in one.state(ChannelState(State.STOPPING, reason="us"), SIGNALING)] == [
        Close,
        Finish,
    ]
    one = played()
    one.close(1006)
    one.at_us += 3 * S
    tell, finish = one.state(ChannelState(State.STOPPING, reason="us"), SIGNALING)
    assert isinstance(tell, Tell)
    assert tell.fields["gap_seconds"] == 3.0
    assert isinstance(finish, Finish)


_STATES = st.builds(
    ChannelState,
    st.sampled_from((State.OPEN, State.CLOSED, State.REFUSED, State.STOPPING, State.WARNING)),
    st.sampled_from((None, 1000, 1001, 1005, 1006, 1008, 1011, 4000)),
    st.sampled_from(("", "another connection", "token")),
    final=st.booleans(),
    ours=st.booleans(),
)
_RAWS = st.one_of(
    st.sampled_from((built(), built(is_success=False, says="no token"), heartbeat_answer(), delivery(b"{}"))),
    st.binary(max_size=30),
    st.sampled_from((b'{"module":"message","content":7}', b'{"module":["heartbeat"]}', b'{"module":"Heartbeat"}')),
)


@given(st.lists(st.one_of(st.integers(0, 700), _STATES, _RAWS), max_size=60))
def test_whatever_comes_it_makes_legal_moves_and_is_never_without_a_next_step(
    steps: list[int | ChannelState | bytes],
) -> None:
    one = Played(0.3)
    one.tick()
    is_open = opening = False
    before = Phase.CONNECTING
    for step in steps:
        if isinstance(step, int):
            one.at_us += step * S
            commands = one.tick()
        else:
            commands = one.hear(step) if isinstance(step, bytes) else one.state(step)
        seen = one.machine.snapshot()
        assert seen.phase is before or seen.phase in PHASES[before] or Phase.CONNECTING in PHASES[before]
        before = seen.phase
        opening = any(isinstance(command, Open) for command in commands)
        assert sum(isinstance(command, Open) for command in commands) <= 1
        is_open = seen.phase in (Phase.CONNECTED, Phase.GREETING)
        if seen.phase is Phase.ENDED:
            assert one.machine.deadline_us is None
            assert one.hear(delivery(b"{}")) == ()
        elif seen.phase is not Phase.CONNECTING:
            assert one.machine.deadline_us is not None, "it would wait for ever"
        if isinstance(step, int) and (is_open or opening):
            due_us = one.machine.deadline_us
            assert due_us is None or due_us > one.at_us
