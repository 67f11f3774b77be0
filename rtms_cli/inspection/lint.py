"""Where a capture departs from the protocol: findings, each with its rule, PROTOCOL section and line.

`SECTIONS` lists the rules. A rule that one connection or track breaks all the time is told once for it, an unknown
type, field or form once.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from rtms_cli.inspection.announcements import Announcements
from rtms_cli.inspection.forms import PacketForms, odd_forms, wrong_channel
from rtms_cli.inspection.known import unknown_fields
from rtms_cli.inspection.reading import Piece
from rtms_cli.inspection.runs import Run
from rtms_cli.inspection.tracks import Tracks
from rtms_cli.machine import SIGNALING, WEBHOOK, ChannelState, Direction, Frame, State
from rtms_cli.protocol.endings import Outlook
from rtms_cli.protocol.media import MediaParams
from rtms_cli.protocol.messages import (
    Chat,
    ClientReadyAck,
    EventUpdate,
    KeepAliveRequest,
    KeepAliveResponse,
    Media,
    MediaHandshakeRequest,
    MediaHandshakeResponse,
    SessionStateResponse,
    SessionStateUpdate,
    SignalingHandshakeResponse,
    StreamCloseResponse,
    StreamStateUpdate,
    Transcript,
    Unknown,
    Unreadable,
    loads,
)
from rtms_cli.protocol.numbers import (
    MeetingEvent,
    MessageType,
    Product,
    StatusCode,
    StopReason,
    StreamState,
)
from rtms_cli.protocol.webhooks import StreamInterrupted, StreamStart, StreamStop, UnreadableWebhook
from rtms_cli.recording.keepalives import Asked, KeepAlives

KEEP_ALIVE_US = 10_000_000
HANDSHAKE_US = 60_000_000
SILENCE_US = 60_000_000
"""A connection on which nothing comes for this long is dead: the server asks every 10 s."""
AROUND_THE_END_US = 2_000_000
"""How long before a stop its sockets may be closed: each is read on its own."""
_PROPER_CLOSES = frozenset((1000, 1005))
MOST_TOLD = 1000
"""Findings of one rule; what comes after is counted in its last one."""

SECTIONS = {
    "all-only": "§9",
    "connection-lost": "§9",
    "connection-silent": "§9",
    "granted-otherwise": "§5",
    "interrupted": "§9",
    "keep-alive-bare": "§4",
    "keep-alive-early": "§9",
    "keep-alive-late": "§9",
    "keep-alive-missing": "§9",
    "keep-alive-unanswered": "§9",
    "keep-alive-wrong": "§4",
    "no-media-handshake": "§1",
    "no-stop": "§9",
    "not-ready": "§1",
    "odd-form": "§4",
    "packet-order": "§4",
    "packet-twice": "§4",
    "packets-lost": "§4",
    "payload": "§4",
    "ready-too-early": "§1",
    "refused": "§8",
    "slow-handshake": "§9",
    "stopped-by-failure": "§9",
    "timestamp": "§4",
    "two-connections": "§2",
    "unknown-field": "§4",
    "unknown-type": "§4",
    "unreadable": "§4",
    "webhook-again": "§2",
    "webhook-late": "§2",
    "wrong-channel": "§4",
}
"""Every rule, with the section of docs/protocol.md that it comes from; see `documents.sections`."""


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

    def __init__(self, at_us: int, *, from_open: bool) -> None:
        self.from_open = from_open
        """Whether the capture shows its beginning: a foreign one may have no `open` states."""
        self.heard_us = self.kept_us = at_us
        """When anything came, and when a `12` came (or could first be due)."""
        self.greeted = False
        self.asked: MediaHandshakeRequest | None = None
        self.answered = False
        self.accepted = False
        self.covered = False
        self.told: set[str] = set()


def lint(lines: Iterable[Piece], product: str = "meeting") -> Iterator[Finding]:
    """Read a capture once and report violations of the protocol, in order."""
    told: dict[str, int] = {}
    last: dict[str, Finding] = {}
    for finding in _Linter(product).run(lines):
        told[finding.rule] = told.get(finding.rule, 0) + 1
        if told[finding.rule] <= MOST_TOLD:
            yield finding
        else:
            last[finding.rule] = finding
    for rule, finding in last.items():
        text = f"and {told[rule] - MOST_TOLD} more findings of this rule"
        yield Finding(rule, SECTIONS[rule], finding.line, finding.at, "", text)


class _Once:
    """What is reported once for each key."""

    def __init__(self) -> None:
        self._told: set[tuple[str, object]] = set()

    def first(self, what: str, key: object) -> bool:
        """Whether this was not reported yet; it is now."""
        if (what, key) in self._told or len(self._told) >= 10 * MOST_TOLD:
            return False
        self._told.add((what, key))
        return True


class _Linter:
    def __init__(self, product: str) -> None:
        self._product = product
        self._own_events = product == Product.CONTACT_CENTER
        self._line = 1
        self._at_us = 0
        self._channel = ""
        self._open: dict[str, _Connection] = {}
        self._opening: set[str] = set()
        self._left: dict[str, _Connection] = {}
        """What we closed: the server may not have heard of it yet, and what it still sends opens nothing."""
        self._ready = False
        self._announced_us: dict[str, int] = {}
        self._keep_alives = KeepAlives()
        self._first = _Once().first
        self._forms = PacketForms()
        self._tracks = Tracks(product, self._first)
        self._outlook = Outlook(trusted=True)
        self._is_closed = False
        """Whether the server confirmed that we end the stream (22)."""
        self._began = self._refused = False
        self._announcements = Announcements()
        self._closes: list[tuple[int, Finding]] = []
        """Proper closes that may turn out to be the end: the stop can come on another socket right after them."""

    def run(self, lines: Iterable[Piece]) -> Iterator[Finding]:
        """Every finding."""
        for number, line in lines:
            if isinstance(line, Run):
                yield from self._on_run(line)
            else:
                yield from self._on_line(number, line)
        yield from self._closed_for_good(self._at_us)
        for channel, asked in self._keep_alives.close_all():
            yield from self._unanswered(channel, asked)
        for channel, connection in self._open.items():
            yield from self._quiet(channel, connection)
        for rule, text in self._tracks.lost():
            yield self._find(rule, text, "")
        if not self._stopped and (self._began or not self._refused):
            yield self._find("no-stop", "the capture ends without 8 TERMINATED, 9 STOPPED, 22 or a stopped webhook", "")

    def _on_run(self, run: Run) -> Iterator[Finding]:
        if self._pass(run):
            return
        if run.is_short:
            for number, frame in run.frames():
                yield from self._on_line(number, frame)
        else:
            for half in run.halves():
                yield from self._on_run(half)

    def _pass(self, run: Run) -> bool:
        """Take packets of which there is nothing to tell, and which change nothing but what is measured.

        :returns: whether they were such; else nothing was taken.
        """
        if (
            self._closes
            or run.at_us[0] < self._at_us
            or not all(self._flows(packets.channel, run.at_us[-1]) for packets in run.packets)
            or not (run.is_documented or self._forms.are_known(run.raws))
            or not all(map(self._tracks.is_flawless, run.senders))
        ):
            return False
        for packets in run.packets:
            self._at_us, self._channel = packets.at_us[-1], packets.channel
            connection = self._connection()
            connection.heard_us = self._at_us
            connection.covered |= self._ready
        self._line, self._began = run.line + len(run) - 1, True
        for sender in run.senders:
            self._tracks.take_run(sender)
        return True

    def _flows(self, channel: str, at_us: int) -> bool:
        """Whether there is nothing to report about a connection if media come up to some time."""
        connection = self._left.get(channel) or self._open.get(channel)
        return (
            connection is not None
            and connection.accepted
            and (self._ready or connection.covered or "7" in connection.told)
            and at_us - connection.heard_us <= SILENCE_US
        )

    def _on_line(self, number: int, frame: Frame | str) -> Iterator[Finding]:
        self._line = number
        if isinstance(frame, str):
            yield self._find("unreadable", frame, "")
            return
        self._at_us, self._channel = max(self._at_us, frame.at_us), frame.channel
        if self._closes:
            yield from self._closed_for_good(self._at_us - AROUND_THE_END_US)
        if frame.direction is Direction.IN and frame.channel != WEBHOOK:
            yield from self._on_heard(frame)
        if isinstance(frame.message, ChannelState):
            yield from self._on_state(frame.message)
        else:
            yield from self._on_message(frame)

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
                self._left.pop(channel, None)
                self._open[channel] = _Connection(self._at_us, from_open=True)
            case State.CLOSED | State.REFUSED:
                self._opening.discard(channel)
                if change.state is State.CLOSED:
                    self._announcements.close(channel)
                    yield from self._on_closed(channel, change)
                else:
                    self._refused = True
                    yield self._find("refused", f"no connection: {change.reason}")
            case _:
                pass

    def _on_heard(self, frame: Frame) -> Iterator[Finding]:
        connection = self._connection()
        if self._at_us - connection.heard_us > SILENCE_US and "silent" not in connection.told:
            connection.told.add("silent")
            seconds = (self._at_us - connection.heard_us) / 1_000_000
            yield self._find("connection-silent", f"nothing came for {seconds:.1f} s")
        connection.heard_us = self._at_us
        if isinstance(frame.message, KeepAliveRequest):
            yield from self._unasked(self._channel, connection)
            connection.kept_us = self._at_us
            self._announcements.hear(frame.message.timestamp, self._at_us)
        if isinstance(frame.message, KeepAliveRequest | Unreadable | Unknown):
            return
        if not isinstance(frame.message, SignalingHandshakeResponse | MediaHandshakeResponse):
            self._began = True

    def _unasked(self, channel: str, connection: _Connection) -> Iterator[Finding]:
        waited_us = self._at_us - connection.kept_us
        # A connection without traffic is silent, which is another finding.
        if waited_us > SILENCE_US and not connection.told & {"silent", "12"}:
            connection.told.add("12")
            yield self._find("keep-alive-missing", f"no 12 for {waited_us / 1_000_000:.1f} s", channel)

    def _quiet(self, channel: str, connection: _Connection) -> Iterator[Finding]:
        """What a connection that ends has not brought."""
        waited_us = self._at_us - connection.heard_us
        if waited_us > SILENCE_US and "silent" not in connection.told:
            connection.told.add("silent")
            yield self._find("connection-silent", f"nothing came for {waited_us / 1_000_000:.1f} s", channel)
        yield from self._unasked(channel, connection)

    def _on_closed(self, channel: str, change: ChannelState) -> Iterator[Finding]:
        connection = self._open.pop(channel, None)
        code = f" with {change.code}" if change.code is not None else ""
        if connection is not None:
            if change.ours:
                self._left[channel] = connection
            yield from self._quiet(channel, connection)
            if not connection.accepted and not change.ours and not self._stopped:
                self._refused = True
                answer = "its handshake was accepted" if connection.answered else "its handshake was answered"
                yield self._find("refused", f"closed{code} before {answer}")
            elif not change.ours and not self._stopped:
                why = f": {change.reason}" if change.reason else ""
                finding = self._find("connection-lost", f"closed{code} before the stream had ended{why}")
                if change.code in _PROPER_CLOSES:
                    self._closes.append((self._at_us, finding))
                else:
                    yield finding
        for asked in self._keep_alives.close(channel):
            yield from self._unanswered(channel, asked)
        if channel == SIGNALING:
            # What the old media sockets still deliver was allowed by the old 7.
            self._ready = False

    def _closed_for_good(self, until_us: int) -> Iterator[Finding]:
        """Closes up to a moment after which no stop came that would explain them."""
        while self._closes and self._closes[0][0] <= until_us:
            yield self._closes.pop(0)[1]

    def _on_message(self, frame: Frame) -> Iterator[Finding]:
        message, incoming = frame.message, frame.direction is Direction.IN
        if isinstance(message, Media | Transcript | Chat):
            if incoming:
                yield from self._on_media(message)
                for rule, text in self._tracks.take(message, frame.at_us):
                    yield self._find(rule, text)
        elif isinstance(message, Unreadable | UnreadableWebhook):
            yield self._find("unreadable", message.problem)
            return
        elif isinstance(message, KeepAliveRequest):
            yield from self._on_asked(message, frame.direction)
            given_up = self._keep_alives.ask(self._channel, Asked(frame.at_us, message, self._line))
            if given_up:
                yield from self._unanswered(self._channel, given_up)
        elif isinstance(message, KeepAliveResponse):
            yield from self._on_answer(message)
        else:
            yield from self._on_control(frame)
        yield from self._on_fields(frame)

    def _on_control(self, frame: Frame) -> Iterator[Finding]:
        match frame.message:
            case StreamStart() | StreamStop() | StreamInterrupted() as webhook:
                yield from self._on_webhook(webhook)
            case StreamCloseResponse(status_code=StatusCode.STATUS_OK):
                self._is_closed = True
                self._closes.clear()
            case StreamStateUpdate(state=StreamState.INTERRUPTED, reason=reason):
                yield self._find("interrupted", f"8 says so, reason {StopReason.explain(reason)}")
            case StreamStateUpdate(state=StreamState.ACTIVE):
                self._is_closed = False
                self._outlook.announce()
            case StreamStateUpdate() | SessionStateUpdate() | SessionStateResponse() as said:
                yield from self._on_outlook(said)
            case EventUpdate(event_type=MeetingEvent.MEDIA_CONNECTION_INTERRUPTED) if not self._own_events:
                yield self._find("interrupted", "event 7 says that a media connection was lost")
            case SignalingHandshakeResponse() as greeting:
                yield from self._on_greeting(greeting)
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
        left = self._left.get(self._channel)
        return left or self._open.setdefault(self._channel, _Connection(self._at_us, from_open=False))

    def _on_webhook(self, webhook: StreamStart | StreamStop | StreamInterrupted) -> Iterator[Finding]:
        last = self._announcements.newest
        if (why := self._announcements.take(webhook, self._at_us)) is not None:
            yield self._find("webhook-late", f"{why}: it comes too late")
        elif isinstance(webhook, StreamStop):
            yield from self._on_outlook(webhook)
        elif isinstance(webhook, StreamInterrupted):
            self._announced_us = dict.fromkeys(("2", "4"), self._at_us)
            yield self._find("interrupted", "a webhook says that the signaling connection was lost")
        else:
            if last is not None and not self._stopped and webhook.stream.is_retry_of(last):
                text = "the same started webhook again: was the first one answered within 3 s?"
                yield self._find("webhook-again", text)
            elif last is not None and not self._stopped:
                yield self._find("interrupted", "another started webhook while the stream runs: its server has died")
            self._announced_us = dict.fromkeys(("2", "4"), self._at_us)
            self._is_closed = False
            self._outlook.take(webhook, self._channel)

    @property
    def _stopped(self) -> bool:
        """Whether the stream is over, as far as was said."""
        return self._outlook.is_over or self._is_closed

    def _on_outlook(
        self, said: StreamStop | StreamStateUpdate | SessionStateUpdate | SessionStateResponse
    ) -> Iterator[Finding]:
        was_stopped = self._stopped
        self._outlook.take(said, self._channel)
        if not self._outlook.is_over:
            return
        reason = self._outlook.reason
        known = None if reason is None else StopReason.member(reason)
        if not was_stopped and isinstance(known, StopReason) and known.is_failure:
            yield self._find("stopped-by-failure", f"reason {StopReason.explain(reason)}")
        self._closes.clear()

    def _on_greeting(self, greeting: SignalingHandshakeResponse) -> Iterator[Finding]:
        connection = self._connection()
        connection.answered = True
        if greeting.status_code != StatusCode.STATUS_OK:
            yield self._refusal("1", greeting.status_code, greeting.reason)
            return
        connection.accepted = self._began = True
        self._announcements.accept(self._at_us)
        yield from self._on_handshake("2", "the signaling handshake")
        if set(greeting.server_urls) == {"all"} and self._first("all-only", ""):
            yield self._find("all-only", "2 names no URL but `all`: clients that want a socket a kind find none")

    def _refusal(self, asked: str, status: int | None, reason: str) -> Finding:
        self._refused = True
        code = "no status code" if status is None else StatusCode.explain(status)
        return self._find("refused", f"{asked} was refused: {code}{f' ({reason})' if reason else ''}")

    def _on_asked(self, message: KeepAliveRequest, direction: Direction) -> Iterator[Finding]:
        connection = self._connection()
        early = connection.from_open and not connection.answered and self._channel == SIGNALING
        if direction is Direction.IN and early and "early" not in connection.told:
            connection.told.add("early")
            yield self._find("keep-alive-early", "12 before the 2")
        if message.timestamp is None and "bare" not in connection.told:
            connection.told.add("bare")
            yield self._find("keep-alive-bare", "12 without a timestamp")

    def _on_handshake(self, number: str, what: str) -> Iterator[Finding]:
        since_us = self._announced_us.pop(number, None)
        if since_us is not None and self._at_us - since_us > HANDSHAKE_US:
            seconds = (self._at_us - since_us) / 1_000_000
            yield self._find("slow-handshake", f"{what} came {seconds:.1f} s after the webhook; 60 s are allowed")

    def _on_granted(self, granted: MediaHandshakeResponse) -> Iterator[Finding]:
        connection = self._connection()
        connection.answered = True
        if granted.status_code != StatusCode.STATUS_OK:
            yield self._refusal("3", granted.status_code, granted.reason)
            return
        connection.accepted = True
        self._tracks.grant(granted.params)
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
            if connection.asked is not None:
                self._tracks.grant(connection.asked.params)
        if self._ready:
            connection.covered = True
        elif not connection.covered and "7" not in connection.told:
            connection.told.add("7")
            yield self._find("not-ready", f"{name} before the client sent 7")

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
            return  # a webhook or a state that is unreadable has already been reported
        if isinstance(body, dict) and "msg_type" in body:
            if (place := wrong_channel(message_type(body), self._channel)) and self._first(
                "channel", (message_type(body), self._channel)
            ):
                yield self._find("wrong-channel", f"{MessageType.label(message_type(body))} belongs on {place}")
            for form in odd_forms(body):
                if self._first("form", (message_type(body), form.partition(" ")[0])):
                    yield self._find("odd-form", f"{MessageType.label(message_type(body))}: {form}")
            for field in unknown_fields(body, self._product):
                if self._first("field", (message_type(body), field)):
                    yield self._find("unknown-field", f"{MessageType.label(message_type(body))}: {field}")
        if isinstance(message, Media):
            self._forms.learn(body)


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
