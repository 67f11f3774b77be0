"""The event WebSocket's machine against a model of what a network and a server can do, and of what is lost."""

from collections.abc import Sequence
from enum import Enum, auto

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rtms_cli.cloud.subscription import FIRST_WAIT_S, JITTER, MOST_TRUCE_S, MOST_WAIT_S, Phase, Subscription
from rtms_cli.machine import (
    EVENTS,
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

S = 1_000_000
BASE_MS = 1_795_000_000_000


class Socket(Enum):
    """The network's side of the channel."""

    NONE = auto()
    OPENING = auto()
    OPEN = auto()


class Model(RuleBasedStateMachine):
    """Plays the network and the server, and keeps the truth about each connection."""

    def __init__(self) -> None:
        super().__init__()
        self.at_us = 0
        self.dice = 0.0
        self.machine = Subscription("ws://here/ws?subscriptionId=1", lambda: self.dice, self.wall_ms)
        self.socket = Socket.NONE
        self.is_built = self.is_over = False
        self.heard_us = self.beat_us = 0
        self.asked_us: int | None = None
        self.opened_us: list[int] = []
        self.sent = self.came = 0
        self.lost_us: int | None = 0
        """Since when events are lost."""
        self.gaps_us = 0
        self.connects = 0
        self.act(self.machine.tick(0))

    def wall_ms(self) -> int:
        return BASE_MS + self.at_us // 1000

    # What the machine commands.

    def act(self, commands: Sequence[Command]) -> list[Tell]:
        assert not (self.is_over and commands), "nothing follows the end"
        for command in commands:
            match command:
                case Open():
                    assert self.socket is Socket.NONE, "never two connections"
                    self.socket = Socket.OPENING
                    self.opened_us.append(self.at_us)
                case Close():
                    assert self.socket is Socket.OPEN or isinstance(commands[-1], Finish)
                    self.lose(is_dead=self.at_us - self.heard_us >= 45 * S)
                case Send(raw=raw):
                    assert raw == HEARTBEAT
                    assert self.is_built, "the server speaks first"
                    assert self.at_us == self.beat_us + 30 * S
                    self.beat_us = self.at_us
                    self.asked_us = self.at_us if self.asked_us is None else self.asked_us
                case Deliver():
                    self.came += 1
                case Finish(status=status):
                    assert status == "complete" or not self.connects, "what stood once is tried for ever"
                    self.is_over = True
        return [command for command in commands if isinstance(command, Tell)]

    def lose(self, *, is_dead: bool = False) -> None:
        """The connection is gone."""
        is_dead |= self.asked_us is not None and self.at_us - self.asked_us >= 5 * S
        if self.is_built:
            self.lost_us = self.heard_us if is_dead else self.at_us
        self.socket, self.is_built, self.asked_us = Socket.NONE, False, None

    def state(self, state: ChannelState) -> list[Tell]:
        return self.act(self.machine.receive(state_frame(self.at_us, EVENTS, state)))

    def hear(self, raw: bytes) -> list[Tell]:
        self.heard_us, self.asked_us = self.at_us, None
        return self.act(self.machine.receive(Frame(self.at_us, EVENTS, Direction.IN, raw, read_event_message(raw))))

    def greet(self, raw: bytes) -> None:
        """Something comes that makes the connection stand, if it doesn't yet."""
        was_built, lost_us = self.is_built, self.lost_us
        if not was_built:
            self.is_built, self.beat_us, self.lost_us = True, self.at_us, None
            self.connects += 1
        told = self.hear(raw)
        if was_built:
            assert not told
            return
        (connected,) = told
        assert connected.what == "connected"
        assert lost_us is not None
        if "gap_seconds" in connected.fields:
            gap_us = self.at_us - lost_us
            assert abs(float(str(connected.fields["gap_seconds"])) - gap_us / S) < 0.01
            self.gaps_us += gap_us
        else:
            assert self.connects == 1, "only of the first one nothing is lost"

    # What happens.

    @precondition(lambda self: not self.is_over)
    @rule(seconds=st.sampled_from((0.1, 6, 12, 30, 44, 61)) | st.floats(0, 700), dice=st.floats(0, 1))
    def time_passes(self, seconds: float, dice: float) -> None:
        self.dice = dice
        until_us = self.at_us + round(seconds * S)
        while (due_us := self.machine.deadline_us) is not None and due_us <= until_us:
            assert due_us >= self.at_us
            self.at_us = due_us
            commands = self.machine.tick(due_us)
            assert commands, "who wakes up does something"
            self.act(commands)
        self.at_us = until_us

    @precondition(lambda self: not self.is_over)
    @rule()
    def deadline_comes(self) -> None:
        if (due_us := self.machine.deadline_us) is not None:
            self.at_us = due_us
            self.act(self.machine.tick(due_us))

    @precondition(lambda self: self.socket is Socket.OPENING and not self.is_over)
    @rule()
    def socket_opens(self) -> None:
        self.socket, self.heard_us = Socket.OPEN, self.at_us
        assert self.state(ChannelState(State.OPEN)) == []

    @precondition(lambda self: self.socket is Socket.OPENING and not self.is_over)
    @rule(final=st.booleans())
    def socket_is_refused(self, final: bool) -> None:
        self.socket = Socket.NONE
        self.state(ChannelState(State.REFUSED, reason="no", final=final))
        assert self.is_over == (final and not self.connects)

    @precondition(lambda self: self.socket is Socket.OPENING and not self.is_over)
    @rule()
    def all_goes_well(self) -> None:
        self.socket_opens()
        self.server_greets()

    @precondition(lambda self: self.socket is Socket.NONE and not self.is_over)
    @rule()
    def all_goes_well_again(self) -> None:
        self.deadline_comes()
        self.all_goes_well()

    @precondition(lambda self: self.socket is Socket.OPEN and not self.is_over)
    @rule()
    def server_greets(self) -> None:
        self.greet(built())

    @precondition(lambda self: self.socket is Socket.OPEN and not self.is_over)
    @rule()
    def event_comes(self) -> None:
        self.sent += 1
        self.greet(delivery(b'{"event":"x"}'))

    @precondition(lambda self: self.socket is Socket.OPEN and not self.is_over)
    @rule(raw=st.sampled_from((heartbeat_answer(), b"", b"[]", b'{"module":"new"}', b'{"module":"message"}')))
    def something_comes(self, raw: bytes) -> None:
        self.hear(raw)
        assert self.socket is Socket.OPEN

    @precondition(lambda self: self.socket is Socket.OPEN and not self.is_over)
    @rule(says=st.sampled_from(("", "Invalid Token", "no such subscription")))
    def server_refuses(self, says: str) -> None:
        self.hear(built(is_success=False, says=says))
        assert self.socket is not Socket.OPEN

    @precondition(lambda self: self.socket is Socket.OPEN and not self.is_over)
    @rule(
        code=st.sampled_from((1000, 1001, 1005, 1006, 1008, 1011, 4000)), reason=st.sampled_from(("", "another", "bye"))
    )
    def server_closes(self, code: int, reason: str) -> None:
        was_built, is_dead = self.is_built, self.asked_us is not None and self.at_us - self.asked_us >= 5 * S
        self.lose()
        told = self.state(ChannelState(State.CLOSED, code, reason))
        is_rival = was_built and code != 1008 and (reason == "another" or (code in (1000, 1005) and not reason))
        if is_rival and (reason or not is_dead):
            assert [tell.what for tell in told] == ["taken over"]
        else:
            assert "taken over" not in [tell.what for tell in told]

    @precondition(lambda self: self.socket is Socket.OPEN and not self.is_over)
    @rule(reason=st.sampled_from(("", "token expired")))
    def token_ends(self, reason: str) -> None:
        self.server_closes(1008, reason)

    @precondition(lambda self: not self.is_over)
    @rule(is_meant=st.integers(0, 9))
    def somebody_stops(self, is_meant: int) -> None:
        if is_meant:  # mostly it goes on, so that more can happen
            return
        if self.socket is Socket.NONE and self.connects and self.lost_us is not None:
            self.gaps_us += self.at_us - self.lost_us
        self.state(ChannelState(State.STOPPING, reason="us"))
        assert self.is_over

    @precondition(lambda self: self.is_over)
    @rule(state=st.sampled_from((State.OPEN, State.CLOSED, State.REFUSED, State.STOPPING)))
    def what_comes_too_late(self, state: State) -> None:
        assert self.state(ChannelState(state, 1006)) == []
        assert self.act(self.machine.tick(self.at_us)) == []

    # What holds at any time.

    @invariant()
    def figures_are_true(self) -> None:
        seen = self.machine.snapshot()
        assert (seen.connects, seen.events, self.came) == (self.connects, self.sent, self.sent)
        if not self.is_over:
            assert abs(seen.gap_seconds - self.gaps_us / S) < 0.01 * max(1, seen.gaps)
            assert (seen.phase is Phase.CONNECTED) == self.is_built

    @invariant()
    def something_comes_next(self) -> None:
        due_us = self.machine.deadline_us
        if self.is_over:
            assert due_us is None
            return
        assert (due_us is None) == (self.socket is Socket.OPENING), "it would wait for ever"
        if due_us is not None and self.socket is Socket.NONE:
            longest_s = MOST_TRUCE_S if self.machine.snapshot().takeovers else MOST_WAIT_S
            assert due_us - self.at_us <= longest_s * (1 + JITTER) * S + 1

    @invariant()
    def tries_keep_their_distance(self) -> None:
        if len(self.opened_us) > 2:
            assert self.opened_us[-1] - self.opened_us[-3] >= FIRST_WAIT_S * S


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
