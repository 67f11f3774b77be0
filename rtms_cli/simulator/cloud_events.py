"""The server of the event WebSocket: a Sans-I/O machine that is as strict as PROTOCOL §11 says.

The caller first asks `admit` whether to accept a connection. `admit` returns the channel's name, and the caller then
attaches the socket. An event arrives as a frame on the channel `webhook`, with a webhook's body as its bytes.

    connect  →  build_connection          wrong token or subscription: success false, then a close
    heartbeat every 30 s  →  heartbeat    none for 60 s: a finding, and a close
    an event  →  message                  to the one connection of each subscription; without one it is lost

Where the documentation leaves the behaviour open, this server closes connections with:

    1008    the token was refused or has expired (documented)
    1000    the subscription is unknown, or a newer connection replaced this one; no reason is sent
    1001    no heartbeats arrived

A connection ends when its token expires, unless the server is configured otherwise.
"""

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from msgspec import Struct, structs

from rtms_cli.machine import (
    BROKEN,
    EVENTS,
    WEBHOOK,
    ChannelState,
    Close,
    Command,
    Direction,
    Finish,
    Frame,
    Packets,
    Send,
    State,
)
from rtms_cli.protocol.event_socket import HEARTBEAT_S, built, delivery, heartbeat_answer
from rtms_cli.protocol.messages import Unreadable
from rtms_cli.protocol.strict_json import loads
from rtms_cli.simulator.client import Finding
from rtms_cli.simulator.cloud_faults import CloudFault, CloudFaultAt
from rtms_cli.simulator.cloud_tokens import TokenOffice, Worth

LATE_S = 1.5 * HEARTBEAT_S
"""How long a client may be silent before the server notes it."""
SILENT_S = 2 * HEARTBEAT_S
"""How long a client may be silent before the server closes its connection."""
RETURN_S = 5
"""How soon a second subscriber reconnects."""
MOST_LATE = 10_000
"""How many delayed events may be waiting."""
MOST_FINDINGS = 1_000

TOKEN_CODE, REPLACED_CODE, SILENT_CODE = 1008, 1000, 1001

_US = 1_000_000


class EventFigures(Struct):
    """Statistics of the event WebSocket."""

    connections: int = 0
    """Connections that were built."""
    refused: int = 0
    replaced: int = 0
    """Connections closed by a newer one, including another subscriber's."""
    heartbeats: int = 0
    delivered: int = 0
    elsewhere: int = 0
    """Events that a second subscriber received."""
    lost: int = 0
    """Events that occurred or arrived while no client was connected."""


class EventServer:
    """The machine.

    :param subscriptions: ids of the subscriptions. Each receives every event.
    :param outlives_token: whether a connection stays open after its token expires.
    :param on_fault: called for each fault that concerns the REST API.
    :param on_delivery: called for each event as it is delivered to a client.
    :param on_finding: called for each mistake as it happens.
    """

    def __init__(
        self,
        tokens: TokenOffice,
        subscriptions: Sequence[str],
        faults: Sequence[CloudFaultAt] = (),
        *,
        outlives_token: bool = False,
        on_finding: Callable[[Finding], None] | None = None,
        on_fault: Callable[[CloudFaultAt], None] | None = None,
        on_delivery: Callable[[bytes], None] | None = None,
    ) -> None:
        self.figures = EventFigures()
        self.findings: list[Finding] = []
        self._tokens = tokens
        self._subscriptions = tuple(subscriptions)
        self._faults = deque(sorted(faults, key=lambda fault: fault.at_ms))
        self._outlives_token = outlives_token
        self._on_finding = on_finding
        self._on_fault = on_fault
        self._on_delivery = on_delivery
        self._now_us = 0
        self._begin_us: int | None = None
        self._out: list[Command] = []
        self._named = 0
        self._coming: dict[str, tuple[str, str]] = {}
        """Connections that were admitted but are not open yet: subscription and token, by channel."""
        self._connections: dict[str, _Connection] = {}
        """The connection of each subscription."""
        self._used: str = ""
        """The token of the last connection."""
        self._late: list[tuple[int, int, str, bytes]] = []
        """Heap of delayed events: time, sequence number, subscription, body."""
        self._delayed = 0
        self._delay_us = 0
        self._down_until_us = 0
        self._rival_subscriptions: set[str] = set()
        self._rivals_left = 0
        self._rival_us: int | None = None
        self._over = False

    # For the caller.

    def admit(self, at_us: int, subscription: str, token: str) -> str | None:
        """Admit a connection. Its token and subscription are checked once it is open.

        :returns: the name of its channel, or `None` while the server is down (HTTP 503).
        """
        if self.is_down(at_us):
            self.figures.refused += 1
            return None
        self._named += 1
        name = EVENTS if self._named == 1 else f"{EVENTS}#{self._named}"
        self._coming[name] = (subscription, token)
        return name

    def provoke(self, fault: CloudFaultAt) -> None:
        """Trigger a fault with the next frame or tick, regardless of its time."""
        self._faults.appendleft(structs.replace(fault, at_ms=-1))

    def is_down(self, at_us: int) -> bool:
        """Whether the server accepts no connections."""
        self._play(at_us)
        return self._over or at_us < self._down_until_us

    @property
    def listeners(self) -> int:
        """Return how many client connections would receive an event."""
        return sum(not connection.is_dead for connection in self._connections.values())

    @property
    def delay_s(self) -> float:
        """By how many seconds events are delayed."""
        return self._delay_us / _US

    # The machine; see `Machine`.

    @property
    def deadline_us(self) -> int | None:
        """See `Machine.deadline_us`."""
        if self._over:
            return None
        times = [each.deadline_us for each in self._connections.values() if not each.is_dead]
        if self._faults and self._begin_us is not None:
            times.append(self._begin_us + max(self._faults[0].at_ms, 0) * 1000)
        if self._late:
            times.append(self._late[0][0])
        if self._rival_us is not None:
            times.append(self._rival_us)
        return min(times, default=None)

    def hear(self, packets: Packets) -> bool:
        """See `Machine.hear`: nothing here is media."""
        return False

    def tick(self, at_us: int) -> Sequence[Command]:
        """See `Machine.tick`; the cloud begins with the first."""
        self._play(at_us)
        return self._take_commands()

    def receive(self, frame: Frame) -> Sequence[Command]:
        """See `Machine.receive`."""
        self._play(frame.at_us)
        if self._over:
            return ()
        if frame.channel == WEBHOOK:
            self._happened(frame.raw)
        elif isinstance(frame.message, ChannelState):
            self._on_state(frame.channel, frame.message)
        elif frame.direction is Direction.IN:
            connection = next((each for each in self._connections.values() if each.channel == frame.channel), None)
            if connection is not None and not connection.is_dead:
                self._on_message(connection, frame.raw)
        return self._take_commands()

    def _take_commands(self) -> Sequence[Command]:
        out, self._out = self._out, []
        return out

    # Connections.

    def _on_state(self, channel: str, state: ChannelState) -> None:
        if state.state is State.OPEN:
            self._on_open(channel, *self._coming.pop(channel, ("", "")))
        elif state.state is State.CLOSED and not state.ours:
            for connection in [each for each in self._connections.values() if each.channel == channel]:
                del self._connections[connection.subscription]
        elif state.state is State.STOPPING:
            self._over = True
            for connection in self._connections.values():
                self._out.append(Close(connection.channel, 1001, "the simulator stopped"))
            self._connections.clear()
            self._out.append(Finish("complete", None, "the simulator"))

    def _on_open(self, channel: str, subscription: str, token: str) -> None:
        worth = self._tokens.worth(token, self._now_us)
        if worth is not Worth.GOOD:
            # A token may expire between its use and now. Using a token that never existed is a mistake.
            self._find(channel, f"connected with a token that is {worth}", is_wrong=worth is not Worth.EXPIRED)
            self._refuse(channel, TOKEN_CODE, "Invalid access token")
            return
        if subscription not in self._subscriptions:
            self._find(channel, "connected to a subscription that does not exist" if subscription else _NO_SUBSCRIPTION)
            self._refuse(channel, REPLACED_CODE, "Invalid subscription")
            return
        if token == self._used:
            self._find(channel, "connected again with the token of the last connection", is_wrong=False)
        self._used = token
        self._replace(subscription)
        self.figures.connections += 1
        grant = self._tokens.grant(token)
        assert grant is not None, "a valid token is known"
        token_us = None if self._outlives_token else grant.expires_us
        self._connections[subscription] = _Connection(channel, subscription, self._now_us, token_us)
        self._send(channel, built())
        if subscription in self._rival_subscriptions:
            self._rival_subscriptions.discard(subscription)
            self.figures.replaced += 1
            if self._rivals_left and self._rival_us is None:
                self._rival_us = self._now_us + RETURN_S * _US

    def _refuse(self, channel: str, code: int, why: str) -> None:
        self.figures.refused += 1
        self._send(channel, built(is_success=False, says=why))
        self._out.append(Close(channel, code, ""))

    def _replace(self, subscription: str) -> None:
        """Close a subscription's connection, if any, to replace it."""
        former = self._connections.pop(subscription, None)
        if former is not None:
            self.figures.replaced += 1
            self._out.append(Close(former.channel, REPLACED_CODE, ""))

    def _on_message(self, connection: "_Connection", raw: bytes) -> None:
        try:
            told = loads(raw)
        except ValueError as error:
            self._find(connection.channel, f"sent invalid JSON: {error}")
            return
        module = told.get("module") if isinstance(told, dict) else None
        if module != "heartbeat":
            self._find(connection.channel, f"sent a message that is not a heartbeat: {str(module)[:100]}")
            return
        silent_s = (self._now_us - connection.heard_us) / _US
        if silent_s > LATE_S:
            self._find(connection.channel, f"a heartbeat after {silent_s:.0f} s, not {HEARTBEAT_S:.0f}", is_wrong=False)
        connection.heard_us = self._now_us
        self.figures.heartbeats += 1
        self._send(connection.channel, heartbeat_answer())

    def _send(self, channel: str, raw: bytes) -> None:
        self._out.append(Send(channel, Unreadable("of the event WebSocket"), raw=raw))

    # Events.

    def _happened(self, body: bytes) -> None:
        """Deliver an event, now or with the configured delay."""
        for subscription in self._subscriptions:
            if self._delay_us and self._has_listener(subscription) and len(self._late) < MOST_LATE:
                self._delayed += 1
                heappush(self._late, (self._now_us + self._delay_us, self._delayed, subscription, body))
            else:
                self._deliver(subscription, body)

    def _has_listener(self, subscription: str) -> bool:
        connection = self._connections.get(subscription)
        return (connection is not None and not connection.is_dead) or subscription in self._rival_subscriptions

    def _deliver(self, subscription: str, body: bytes) -> None:
        connection = self._connections.get(subscription)
        if connection is not None and not connection.is_dead:
            self.figures.delivered += 1
            self._send(connection.channel, delivery(body))
            if self._on_delivery is not None:
                self._on_delivery(body)
        elif subscription in self._rival_subscriptions:
            self.figures.elsewhere += 1
        else:
            self.figures.lost += 1

    # Time.

    def _play(self, at_us: int) -> None:
        """Run everything that is due, in order."""
        if self._begin_us is None:
            self._begin_us = at_us
        while not self._over and (due_us := self.deadline_us) is not None and due_us <= at_us:
            self._now_us = max(self._now_us, due_us)
            if self._faults and self._begin_us + max(self._faults[0].at_ms, 0) * 1000 <= due_us:
                self._happen(self._faults.popleft())
            elif self._late and self._late[0][0] <= due_us:
                _, _, subscription, body = heappop(self._late)
                self._deliver(subscription, body)
            elif self._rival_us is not None and self._rival_us <= due_us:
                self._rival_us = None
                self._rival_comes()
            else:
                self._cut(due_us)
        self._now_us = max(self._now_us, at_us)

    def _cut(self, due_us: int) -> None:
        """Close the connections that have expired."""
        due = [each for each in self._connections.values() if not each.is_dead and each.deadline_us <= due_us]
        for connection in due:
            del self._connections[connection.subscription]
            if connection.token_us is not None and connection.token_us <= due_us:
                self._out.append(Close(connection.channel, TOKEN_CODE, ""))
            else:
                self._find(connection.channel, f"no heartbeat for {SILENT_S:.0f} s: closed")
                self._out.append(Close(connection.channel, SILENT_CODE, "no heartbeat"))

    def _happen(self, fault: CloudFaultAt) -> None:
        match fault.kind:
            case CloudFault.TOKEN_EXPIRES:
                self._tokens.expire_all(self._now_us)
                for connection in self._connections.values():
                    self._out.append(Close(connection.channel, TOKEN_CODE, ""))
                self._connections.clear()
            case CloudFault.EVENTS_DROP:
                self._down_until_us = self._now_us + fault.number * 1000
                for connection in self._connections.values():
                    self._out.append(Close(connection.channel, BROKEN, ""))
                self._connections.clear()
                self._rival_subscriptions.clear()
            case CloudFault.EVENTS_DELAY:
                self._delay_us = fault.number * 1000
            case CloudFault.EVENTS_SILENCE:
                for connection in self._connections.values():
                    connection.is_dead = True
            case CloudFault.SECOND_SUBSCRIBER:
                self._rivals_left += fault.times
                self._rival_comes()
            case CloudFault.REST_ERROR:
                if self._on_fault is not None:
                    self._on_fault(fault)

    def _rival_comes(self) -> None:
        self._rivals_left -= 1
        for subscription in self._subscriptions:
            self._replace(subscription)
            self._rival_subscriptions.add(subscription)

    def _find(self, channel: str, what: str, *, is_wrong: bool = True) -> None:
        if len(self.findings) >= MOST_FINDINGS:
            return
        since_us = self._now_us - (self._begin_us or 0)
        self.findings.append(Finding(since_us // 1000, channel, what, is_wrong))
        if self._on_finding is not None:
            self._on_finding(self.findings[-1])


class _Connection:
    """The connection of a subscription."""

    def __init__(self, channel: str, subscription: str, at_us: int, token_us: int | None) -> None:
        self.channel = channel
        self.subscription = subscription
        self.heard_us = at_us
        """When the client last sent something."""
        self.token_us = token_us
        """When its token expires, if the connection ends with it."""
        self.is_dead = False
        """Whether it is open but dead."""

    @property
    def deadline_us(self) -> int:
        """When to close it unless a heartbeat arrives."""
        silent_us = self.heard_us + round(SILENT_S * _US)
        return silent_us if self.token_us is None else min(silent_us, self.token_us)


_NO_SUBSCRIPTION = "connected without a subscriptionId"
