"""Where a capture departs from the protocol: findings, each with its rule, PROTOCOL section and line.

Rules: `ready-too-early`, `not-ready` (media before 7), `no-media-handshake` (media before 4), `keep-alive-unanswered`,
`keep-alive-wrong`, `keep-alive-late`, `granted-otherwise`, `slow-handshake`, `two-connections`, `no-stop`,
`timestamp`, `unknown-type`, `unknown-field`, `unreadable`. A rule that one connection or track breaks all the time is
told once for it, an unknown type or field once.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from rtms_cli.inspection.keepalives import Asked, KeepAlives
from rtms_cli.inspection.known import unknown_fields
from rtms_cli.inspection.measure import JUMP_MS, Clock, is_sane
from rtms_cli.inspection.reading import Line
from rtms_cli.inspection.summary import who
from rtms_cli.machine import SIGNALING, ChannelState, Direction, Frame, State
from rtms_cli.protocol.media import MEDIA_NAMES, MediaParams
from rtms_cli.protocol.messages import (
    Chat,
    ClientReadyAck,
    KeepAliveRequest,
    KeepAliveResponse,
    Media,
    MediaHandshakeRequest,
    MediaHandshakeResponse,
    SessionStateUpdate,
    SignalingHandshakeResponse,
    StreamCloseResponse,
    StreamStateUpdate,
    Transcript,
    Unknown,
    Unreadable,
    UserId,
    loads,
)
from rtms_cli.protocol.numbers import MessageType, SessionState, StatusCode, StreamState
from rtms_cli.protocol.webhooks import StreamInterrupted, StreamStart, StreamStop, UnreadableWebhook

KEEP_ALIVE_US = 10_000_000
HANDSHAKE_US = 60_000_000
MOST_TOLD = 1000
"""Findings of one rule; what comes after is counted in its last one."""

SECTIONS = {
    "ready-too-early": "§1",
    "not-ready": "§1",
    "no-media-handshake": "§1",
    "keep-alive-unanswered": "§9",
    "keep-alive-wrong": "§4",
    "keep-alive-late": "§9",
    "granted-otherwise": "§5",
    "slow-handshake": "§9",
    "two-connections": "§2",
    "no-stop": "§9",
    "timestamp": "§4",
    "unknown-type": "§4",
    "unknown-field": "§4",
    "unreadable": "§4",
}
"""Every rule, with the section of PROTOCOL.md that it comes from."""


class Finding(Struct, frozen=True):
    """One departure. `line` counts from 1, the header; `at` is seconds on the capture's clock."""

    rule: str
    section: str
    line: int
    at: float
    channel: str
    text: str


class _Connection:
    """What a socket has gone through since it opened."""

    def __init__(self) -> None:
        self.asked: MediaHandshakeRequest | None = None
        self.answered = False
        self.accepted = False
        self.covered = False
        self.told: set[str] = set()


def lint(lines: Iterable[Line], product: str = "meeting") -> Iterator[Finding]:
    """Read a capture once and tell what departs from the protocol, in the order in which it shows."""
    told: dict[str, int] = {}
    last: Finding | None = None
    for finding in _Linter(product).run(lines):
        told[finding.rule] = told.get(finding.rule, 0) + 1
        if told[finding.rule] <= MOST_TOLD:
            yield finding
        else:
            last = finding
    for rule, count in told.items():
        if count > MOST_TOLD and last is not None:
            text = f"and {count - MOST_TOLD} more findings of this rule"
            yield Finding(rule, SECTIONS[rule], last.line, last.at, "", text)


class _Linter:
    def __init__(self, product: str) -> None:
        self._product = product
        self._line = 1
        self._at_us = 0
        self._channel = ""
        self._open: dict[str, _Connection] = {}
        self._opening: set[str] = set()
        self._ready = False
        self._announced_us: dict[str, int] = {}
        self._keep_alives = KeepAlives()
        self._clocks: dict[tuple[str, UserId], Clock] = {}
        self._odd: set[tuple[str, object]] = set()
        self._stopped = False

    def run(self, lines: Iterable[Line]) -> Iterator[Finding]:
        """Every finding."""
        for number, frame in lines:
            self._line = number
            if isinstance(frame, str):
                yield self._find("unreadable", frame, "")
                continue
            self._at_us, self._channel = max(self._at_us, frame.at_us), frame.channel
            if isinstance(frame.message, ChannelState):
                yield from self._on_state(frame.message)
            else:
                yield from self._on_message(frame)
        for channel, asked in self._keep_alives.close_all():
            yield from self._unanswered(channel, asked)
        if not self._stopped:
            yield self._find("no-stop", "the capture ends without 8 TERMINATED, 9 STOPPED, 22 or a stopped webhook", "")

    def _find(self, rule: str, text: str, channel: str | None = None, line: int = 0, at_us: int = -1) -> Finding:
        at = (self._at_us if at_us < 0 else at_us) / 1_000_000
        return Finding(
            rule, SECTIONS[rule], line or self._line, at, self._channel if channel is None else channel, text
        )

    def _on_state(self, change: ChannelState) -> Iterator[Finding]:
        channel = self._channel
        match change.state:
            case State.OPENING:
                if channel in self._open or channel in self._opening:
                    yield self._find("two-connections", "connecting while a connection of this channel is there")
                self._opening.add(channel)
            case State.OPEN:
                if channel in self._open:
                    yield self._find("two-connections", "a second connection is open: it kicks out the first one")
                self._opening.discard(channel)
                self._open[channel] = _Connection()
            case State.CLOSED | State.REFUSED:
                self._opening.discard(channel)
                if change.state is State.CLOSED:
                    yield from self._on_closed(channel)
            case _:
                pass

    def _on_closed(self, channel: str) -> Iterator[Finding]:
        self._open.pop(channel, None)
        for asked in self._keep_alives.close(channel):
            yield from self._unanswered(channel, asked)
        if channel == SIGNALING:
            # What the old media sockets still deliver was allowed by the old 7.
            self._ready = False

    def _on_message(self, frame: Frame) -> Iterator[Finding]:
        message, incoming = frame.message, frame.direction is Direction.IN
        if isinstance(message, Media | Transcript | Chat):
            if incoming:
                yield from self._on_media(message)
                yield from self._on_timestamp(message, frame.at_us)
        elif isinstance(message, Unreadable | UnreadableWebhook):
            yield self._find("unreadable", message.problem)
            return
        elif isinstance(message, KeepAliveRequest):
            given_up = self._keep_alives.ask(self._channel, Asked(self._line, frame.at_us, message))
            if given_up:
                yield from self._unanswered(self._channel, given_up)
        elif isinstance(message, KeepAliveResponse):
            yield from self._on_answer(message)
        else:
            yield from self._on_control(frame)
        yield from self._on_fields(frame)

    def _on_control(self, frame: Frame) -> Iterator[Finding]:
        match frame.message:
            case StreamStart():
                self._announced_us = dict.fromkeys(("2", "4"), frame.at_us)
                self._stopped = False
            case StreamInterrupted():
                self._announced_us = dict.fromkeys(("2", "4"), frame.at_us)
            case StreamStop() | StreamCloseResponse(status_code=StatusCode.STATUS_OK):
                self._stopped = True
            case StreamStateUpdate(state=state):
                self._stopped = state == StreamState.TERMINATED or (self._stopped and state != StreamState.ACTIVE)
            case SessionStateUpdate(state=state):
                self._stopped = state == SessionState.STOPPED or (self._stopped and state != SessionState.STARTED)
            case SignalingHandshakeResponse(status_code=StatusCode.STATUS_OK):
                yield from self._on_handshake("2", "the signaling handshake")
            case MediaHandshakeRequest() as asked:
                self._connection().asked = asked
            case MediaHandshakeResponse() as granted:
                yield from self._on_granted(granted)
            case ClientReadyAck():
                yield from self._on_ready()
            case _:
                pass

    def _connection(self) -> _Connection:
        # A capture that is not ours may have no `open` states.
        return self._open.setdefault(self._channel, _Connection())

    def _on_handshake(self, number: str, what: str) -> Iterator[Finding]:
        since_us = self._announced_us.pop(number, None)
        if since_us is not None and self._at_us - since_us > HANDSHAKE_US:
            seconds = (self._at_us - since_us) / 1_000_000
            yield self._find("slow-handshake", f"{what} came {seconds:.1f} s after the webhook; 60 s are allowed")

    def _on_granted(self, granted: MediaHandshakeResponse) -> Iterator[Finding]:
        connection = self._connection()
        connection.answered = True
        if granted.status_code != StatusCode.STATUS_OK:
            return
        connection.accepted = True
        yield from self._on_handshake("4", "the media handshake")
        if connection.asked is not None:
            differing = _differences(connection.asked.params, granted.params)
            if differing:
                yield self._find("granted-otherwise", "; ".join(differing))

    def _on_ready(self) -> Iterator[Finding]:
        media = {name: connection for name, connection in self._open.items() if name != SIGNALING}
        waiting = [name for name, connection in media.items() if not connection.answered and not connection.accepted]
        waiting += sorted(name for name in self._opening if name not in self._open and name != SIGNALING)
        if waiting:
            yield self._find("ready-too-early", f"7 before the 4 of {', '.join(waiting)}")
        elif not any(connection.accepted for connection in media.values()):
            yield self._find("ready-too-early", "7 before any 4")
        self._ready = True
        for connection in media.values():
            connection.covered = True

    def _on_media(self, message: Media | Transcript | Chat) -> Iterator[Finding]:
        connection = self._connection()
        name = MessageType.label(message.msg_type)
        if not connection.accepted and "4" not in connection.told:
            connection.told.add("4")
            yield self._find("no-media-handshake", f"{name} on a connection whose 3 was not accepted by a 4")
            # Some servers never answer; their first media message is the acceptance (§9).
            connection.accepted = True
        if self._ready:
            connection.covered = True
        elif not connection.covered and "7" not in connection.told:
            connection.told.add("7")
            yield self._find("not-ready", f"{name} before the client sent 7")

    def _on_timestamp(self, message: Media | Transcript | Chat, at_us: int) -> Iterator[Finding]:
        kind = MEDIA_NAMES[message.media_type]
        whose = who(message, self._product) if isinstance(message, Media) else message.user_id
        key, timestamp = (kind, whose), message.timestamp
        if timestamp is None or not is_sane(timestamp):
            if self._first("no timestamp", key):
                text = "no timestamp" if timestamp is None else f"timestamp {timestamp}: no Unix milliseconds"
                yield self._find("timestamp", f"{kind} of {whose}: {text}")
            return
        clock = self._clocks.get(key)
        if clock is None:
            if len(self._clocks) < MOST_TOLD:
                self._clocks[key] = Clock(timestamp, at_us)
            return
        lead_ms = clock.lead_ms(timestamp, at_us)
        if abs(lead_ms) > JUMP_MS:
            way = "ahead of the time that passed" if lead_ms > 0 else "backwards"
            yield self._find("timestamp", f"{kind} of {whose}: {timestamp} jumps {abs(lead_ms) / 1000:.1f} s {way}")
            self._clocks[key] = Clock(timestamp, at_us)
        elif timestamp > clock.latest_ms:
            clock.latest_ms, clock.at_us = timestamp, at_us

    def _on_answer(self, message: KeepAliveResponse) -> Iterator[Finding]:
        asked, right = self._keep_alives.answer(self._channel, message)
        if asked is None:
            yield self._find("keep-alive-wrong", "13 without a 12 that waits for it")
            return
        if not right:
            sent, back = _stamp(asked.message), _stamp(message)
            yield self._find("keep-alive-wrong", f"13 says {back}, the 12 of line {asked.line} said {sent}")
        took_us = self._at_us - asked.at_us
        if took_us > KEEP_ALIVE_US:
            text = f"answered after {took_us / 1_000_000:.1f} s"
            yield self._find("keep-alive-late", text, line=asked.line, at_us=asked.at_us)

    def _unanswered(self, channel: str, asked: Asked) -> Iterator[Finding]:
        waited_us = self._at_us - asked.at_us
        if waited_us > KEEP_ALIVE_US:
            text = f"12 was not answered in {waited_us / 1_000_000:.1f} s"
            yield self._find("keep-alive-unanswered", text, channel, asked.line, asked.at_us)

    def _on_fields(self, frame: Frame) -> Iterator[Finding]:
        message = frame.message
        if isinstance(message, Unknown):
            known = MessageType.find(message.type) in tuple(MessageType)
            if not known and self._first("type", message.type):
                yield self._find("unknown-type", f"msg_type {message.type}")
            return
        try:
            body = loads(frame.raw)
        except ValueError:
            return  # a webhook or a state that is unreadable has been told of already
        if isinstance(body, dict) and "msg_type" in body:
            for field in unknown_fields(body, self._product):
                if self._first("field", (body["msg_type"], field)):
                    yield self._find("unknown-field", f"{MessageType.label(message_type(body))}: {field}")

    def _first(self, what: str, key: object) -> bool:
        if (what, key) in self._odd or len(self._odd) >= 10 * MOST_TOLD:
            return False
        self._odd.add((what, key))
        return True


def message_type(body: dict[str, object]) -> int | None:
    """The number of a message's type."""
    return MessageType.find(body.get("msg_type"))


def _stamp(message: KeepAliveRequest | KeepAliveResponse) -> str:
    sequence = "" if message.sequence is None else f", sequence {message.sequence!r}"
    return f"timestamp {message.timestamp!r}{sequence}"


def _differences(asked: MediaParams, granted: MediaParams) -> list[str]:
    differing = []
    wanted, given = asked.to_json(), granted.to_json()
    for kind, params in wanted.items():
        got = given.get(kind)
        if not isinstance(params, dict) or not isinstance(got, dict):
            continue
        differing += [
            f"{kind}.{name} {got[name]:d}, not {value:d}"
            for name, value in params.items()
            if name in got and got[name] != value
        ]
    return differing
