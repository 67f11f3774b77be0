"""The client's side of Zoom's event WebSocket: a machine without sockets, clock or files (PROTOCOL §11).

It has one channel, `machine.EVENTS`. Whoever opens the channel's socket asks for a token, for a fresh one each time:
the machine never sees one. Events that occur while nothing is connected are lost, so it reports every gap.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct

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
    Packets,
    Send,
    State,
    Tell,
)
from rtms_cli.protocol.event_socket import (
    HEARTBEAT,
    HEARTBEAT_S,
    SILENCE_S,
    ConnectionBuilt,
    EventDelivery,
    Heartbeat,
    HeartbeatAnswer,
    OtherModule,
)
from rtms_cli.protocol.messages import Unreadable
from rtms_cli.protocol.times import iso_time

FIRST_WAIT_S = 5.0
"""Before the first further try; it doubles with each that fails."""
MOST_WAIT_S = 60.0
"""As long as a started webhook's URLs are valid: whoever waits longer may miss a stream for good."""
MOST_TRUCE_S = 600.0
"""The same where others take the subscription again and again: each of ours that succeeds takes it from them."""
ANSWER_S = 5.0
"""A heartbeat that is not answered within this time shows a connection that was dead before it ended."""
STEADY_S = 60.0
"""A connection that stood for this long was a good one: the next try waits no longer than the first one did."""
JITTER = 0.2
"""By how much of itself a wait may be longer: clients that were cut off together must not come back together."""
TOLD_TRIES, TOLD_EVERY = 5, 10
"""Of failures that are anyway, the first ones are told, and then every tenth."""
_US = 1_000_000
_POLICY_VIOLATION = 1008
"""The code by which Zoom closes a connection whose token it does not take any more."""
_POLITE = (1000, 1005)
"""Codes of a server that closes a sound connection on purpose."""
_RIVAL_WORDS = ("another", "replace", "duplicate", "taken over", "took over", "new connection", "newer", "conflict")


class Phase(StrEnum):
    """Where the connection stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    """A token is asked for, and a socket opened."""
    GREETING = "greeting"
    """The socket is open; the server's first word has not come."""
    CONNECTED = "connected"
    WAITING = "waiting"
    """The next try is due later."""
    ENDED = "ended"


PHASES: dict[Phase, frozenset[Phase]] = {
    Phase.IDLE: frozenset({Phase.CONNECTING, Phase.ENDED}),
    Phase.CONNECTING: frozenset({Phase.GREETING, Phase.WAITING, Phase.ENDED}),
    Phase.GREETING: frozenset({Phase.CONNECTED, Phase.CONNECTING, Phase.WAITING, Phase.ENDED}),
    Phase.CONNECTED: frozenset({Phase.CONNECTING, Phase.WAITING, Phase.ENDED}),
    Phase.WAITING: frozenset({Phase.CONNECTING, Phase.ENDED}),
    Phase.ENDED: frozenset(),
}
"""Every move: IDLE → CONNECTING → GREETING → CONNECTED; back by WAITING, or straight where only the token was old."""


class Gap(Struct, frozen=True):
    """A time in which events were lost. Milliseconds of the wall clock."""

    from_ms: int
    until_ms: int

    @property
    def seconds(self) -> float:
        """How long it was."""
        return (self.until_ms - self.from_ms) / 1000

    @property
    def fields(self) -> dict[str, object]:
        """The same for scripts."""
        return {"gap_seconds": self.seconds, "gap_from": _iso(self.from_ms), "gap_until": _iso(self.until_ms)}

    @property
    def in_words(self) -> str:
        """The same for people."""
        long = f"{self.seconds:.0f} s" if self.seconds >= 10 else f"{self.seconds:.1f} s"
        from_, until = (_iso(ms)[11:19] for ms in (self.from_ms, self.until_ms))
        return f"events of {long} are lost, from {from_} to {until} UTC"


def _iso(at_ms: int) -> str:
    return iso_time(datetime.fromtimestamp(at_ms / 1000, UTC))


class SubscriptionSnapshot(Struct, frozen=True):
    """The connection as it stands, for views."""

    phase: Phase
    since_us: int
    """Since when, on the driver's clock."""
    events: int = 0
    connects: int = 0
    """Connections that stood."""
    takeovers: int = 0
    gaps: int = 0
    gap_seconds: float = 0.0
    unreadable: int = 0
    last_event_us: int | None = None
    note: str = ""
    """Why it is not connected."""
    due_us: int | None = None
    """When the next try is, while it waits for that."""


class Subscription:
    """Keeps one subscription connected; a `Machine`.

    :param url: where to connect to, without a token.
    :param dice: gives a number from 0 to 1; spreads the tries of many clients.
    :param wall_ms: gives the time of day, in ms since 1970: a machine that slept counted no microseconds meanwhile.
    """

    def __init__(self, url: str, dice: Callable[[], float], wall_ms: Callable[[], int]) -> None:
        self._url = url
        self._dice = dice
        self._wall_ms = wall_ms
        self._phase = Phase.IDLE
        self._since_us = 0
        self._due_us: int | None = 0
        """When the next try or heartbeat is due."""
        self._heard_us = 0
        self._heard_ms = 0
        self._asked_us: int | None = None
        """Since when a heartbeat waits for an answer."""
        self._lost: tuple[int, int] | None = None
        """Since when events are lost: on the driver's clock, and in ms of the time of day."""
        self._fails = self._rivals = 0
        """Tries that failed one after the other, and connections that others took."""
        self._is_renewed = False
        """Whether the last connection was made at once, because of a token."""
        self._events = self._connects = self._takeovers = self._gaps = self._unreadable = 0
        self._gap_s = 0.0
        self._last_event_us: int | None = None
        self._note = ""
        self._out: list[Command] = []

    @property
    def deadline_us(self) -> int | None:
        """See `Machine.deadline_us`."""
        if self._phase not in (Phase.GREETING, Phase.CONNECTED):
            return self._due_us
        silent_us = self._heard_us + round(SILENCE_S * _US)
        return silent_us if self._due_us is None else min(self._due_us, silent_us)

    def hear(self, packets: Packets) -> bool:
        """See `Machine.hear`: no media come this way."""
        return False

    def tick(self, at_us: int) -> Sequence[Command]:
        """See `Machine.tick`."""
        if self._phase in (Phase.IDLE, Phase.WAITING) and self._is_due(at_us):
            if self._phase is Phase.IDLE:
                self._lost = at_us, self._wall_ms()
            self._connect(at_us)
        elif self._phase in (Phase.GREETING, Phase.CONNECTED) and at_us - self._heard_us >= SILENCE_S * _US:
            self._out.append(Close(EVENTS, 1000, "silence"))
            self._lose(at_us, f"nothing came for {SILENCE_S:.0f} s", is_silent=True)
        elif self._phase is Phase.CONNECTED and self._is_due(at_us):
            self._out.append(Send(EVENTS, Heartbeat(), raw=HEARTBEAT))
            self._due_us = at_us + round(HEARTBEAT_S * _US)
            self._asked_us = at_us if self._asked_us is None else self._asked_us
        return self._settle()

    def receive(self, frame: Frame) -> Sequence[Command]:
        """See `Machine.receive`."""
        message = frame.message
        if self._phase is Phase.ENDED:
            return ()
        if isinstance(message, ChannelState):
            self._on_state(message, frame.at_us)
            return self._settle()
        if frame.direction is Direction.IN and self._phase in (Phase.GREETING, Phase.CONNECTED):
            self._heard_us, self._heard_ms, self._asked_us = frame.at_us, self._wall_ms(), None
            self._on_message(frame)
        return self._settle()

    def snapshot(self) -> SubscriptionSnapshot:
        """The connection as it stands."""
        return SubscriptionSnapshot(
            self._phase,
            self._since_us,
            self._events,
            self._connects,
            self._takeovers,
            self._gaps,
            self._gap_s,
            self._unreadable,
            self._last_event_us,
            self._note,
            self._due_us if self._phase is Phase.WAITING else None,
        )

    # What comes in.

    def _on_message(self, frame: Frame) -> None:
        match frame.message:
            case ConnectionBuilt(is_success=True):
                self._be_connected(frame.at_us)
            case ConnectionBuilt(says=says):
                self._out.append(Close(EVENTS))
                why = f"Zoom rejects the connection: {says or 'it does not say why'}"
                if "token" in says.lower() and not self._is_renewed:
                    self._lose(frame.at_us, why, at_once=True)  # it may have ended between its use and now
                else:
                    self._refused(frame.at_us, why, final=True)
            case EventDelivery(webhook=body):
                self._be_connected(frame.at_us)  # an event is as good a greeting
                self._events += 1
                self._last_event_us = frame.at_us
                self._out.append(Deliver(body))
            case HeartbeatAnswer(is_success=True):
                pass  # heard, which is all that it is for
            case HeartbeatAnswer(says=says):
                self._tell("refused heartbeat", {"says": says}, f"the event WebSocket rejects a heartbeat: {says}")
            case OtherModule(module=module, says=says):
                text = f"the event WebSocket says {module}" + (f": {says}" if says else "")
                self._tell("other module", {"module": module, "says": says}, text)
            case Unreadable(problem=problem):
                self._unreadable += 1
                text = f"WARNING: a message of the event WebSocket cannot be read: {problem}"
                self._tell("unreadable", {"problem": problem}, text)
            case _:
                pass  # no further message has this channel

    def _on_state(self, state: ChannelState, at_us: int) -> None:
        if state.state is State.STOPPING:
            if self._phase in (Phase.CONNECTING, Phase.GREETING, Phase.CONNECTED):
                self._out.append(Close(EVENTS, 1000, ""))
            self._enter(Phase.ENDED, at_us)
            if self._connects and (gap := self._end_gap(at_us)) is not None:
                text = f"the event WebSocket is not connected at the end: {gap.in_words}"
                self._tell("ended", gap.fields, text)
            self._out.append(Finish("complete", None, state.reason or "us"))
        elif state.ours:
            return
        elif state.state is State.OPEN and self._phase is Phase.CONNECTING:
            self._enter(Phase.GREETING, at_us)
            self._heard_us, self._due_us, self._asked_us = at_us, None, None
        elif state.state is State.REFUSED and self._phase is Phase.CONNECTING:
            self._refused(at_us, state.reason, final=state.final)
        elif state.state is State.CLOSED and self._phase in (Phase.GREETING, Phase.CONNECTED):
            self._on_closed(state, at_us)

    def _on_closed(self, state: ChannelState, at_us: int) -> None:
        how = f"closed with {state.code}" + (f" ({state.reason})" if state.reason else "")
        if state.code == _POLICY_VIOLATION:
            why = f"{how}, which is about the token"
            if not self._is_renewed or at_us - self._since_us >= STEADY_S * _US:
                self._lose(at_us, why, at_once=True)
            else:
                self._refused(at_us, why, final=True)
            return
        says = state.reason.lower()
        is_sound = not self._is_unanswered(at_us) and state.code in _POLITE
        is_rival = any(word in says for word in _RIVAL_WORDS) or (is_sound and not says)
        if self._phase is not Phase.CONNECTED or not is_rival:
            self._lose(at_us, how)
            return
        if at_us - self._since_us >= MOST_TRUCE_S * _US:
            self._rivals = 0
        self._rivals += 1
        self._takeovers += 1
        why = f"another connection took over this subscription ({how})"
        self._lose(at_us, why, wait_s=min(FIRST_WAIT_S * 2 ** min(self._rivals - 1, 20), MOST_TRUCE_S))

    # Moves.

    def _connect(self, at_us: int) -> None:
        self._enter(Phase.CONNECTING, at_us)
        self._due_us = None
        self._out.append(Open(EVENTS, self._url))

    def _be_connected(self, at_us: int) -> None:
        if self._phase is Phase.CONNECTED:
            return
        self._enter(Phase.CONNECTED, at_us)
        self._due_us = at_us + round(HEARTBEAT_S * _US)
        self._note, is_first = "", self._connects == 0
        self._connects += 1
        if is_first and not self._fails:
            self._lost = None
            self._tell("connected", {}, "connected to Zoom's event WebSocket")
        elif (gap := self._end_gap(at_us)) is not None:
            again = "" if is_first else " again"
            self._tell("connected", gap.fields, f"connected to Zoom's event WebSocket{again}: {gap.in_words}")

    def _end_gap(self, at_us: int) -> Gap | None:
        """The gap that is over now, if there is one; it is counted."""
        if self._lost is None:
            return None
        (from_us, from_ms), self._lost = self._lost, None
        # The one clock stands while a machine sleeps, the other may be set back.
        gap = Gap(from_ms, max(self._wall_ms(), from_ms + (at_us - from_us) // 1000))
        self._gaps += 1
        self._gap_s += gap.seconds
        return gap

    def _refused(self, at_us: int, why: str, *, final: bool) -> None:
        if final and not self._connects:
            self._note = why
            self._enter(Phase.ENDED, at_us)
            self._out.append(Finish("failed", None, why))
            return
        self._lose(at_us, why)

    def _lose(
        self, at_us: int, why: str, *, is_silent: bool = False, at_once: bool = False, wait_s: float | None = None
    ) -> None:
        """Take note that there is no connection, and when there will be another try."""
        was_connected = self._phase is Phase.CONNECTED
        if was_connected and at_us - self._since_us >= STEADY_S * _US:
            self._fails = 0
        if was_connected and self._lost is None:
            now_ms = self._wall_ms()
            was_dead = self._is_unanswered(at_us) or is_silent or now_ms - self._heard_ms > SILENCE_S * 1000
            self._lost = (self._heard_us, self._heard_ms) if was_dead else (at_us, now_ms)
        is_news = why != self._note or self._fails < TOLD_TRIES or self._fails % TOLD_EVERY == 0
        self._note, self._is_renewed = why, at_once
        what = "taken over" if wait_s is not None else "lost" if was_connected else "not connected"
        if at_once:
            self._tell(what, {"why": why}, f"the event WebSocket: {why}; connecting with a new token")
            self._connect(at_us)
            return
        if wait_s is None:
            wait_s = min(FIRST_WAIT_S * 2 ** min(self._fails, 20), MOST_WAIT_S)
        self._fails += 1
        wait_s *= 1 + JITTER * self._dice()
        self._enter(Phase.WAITING, at_us)
        self._due_us = at_us + round(wait_s * _US)
        if not is_news:
            return
        head = "WARNING: the event WebSocket: " if was_connected else "WARNING: no event WebSocket: "
        text = f"{head}{why.rstrip('.')}; the next attempt is in {wait_s:.0f} s"
        self._tell(what, {"why": why, "retry_s": round(wait_s, 1)}, text)

    def _enter(self, phase: Phase, at_us: int) -> None:
        assert phase in PHASES[self._phase], f"no move from {self._phase} to {phase}"
        self._phase, self._since_us = phase, at_us
        if phase is Phase.ENDED:
            self._due_us = None

    def _is_unanswered(self, at_us: int) -> bool:
        """Whether a heartbeat waits too long for its answer."""
        return self._asked_us is not None and at_us - self._asked_us >= ANSWER_S * _US

    def _is_due(self, at_us: int) -> bool:
        return self._due_us is not None and at_us >= self._due_us

    def _tell(self, what: str, fields: dict[str, object], text: str) -> None:
        self._out.append(Tell(what, fields, text))

    def _settle(self) -> Sequence[Command]:
        out, self._out = self._out, []
        return out
