"""The client of one stream, as the server sees it: its sockets, what it receives, and its mistakes."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from enum import StrEnum

from msgspec import Struct

from rtms_cli.machine import MEDIA, SIGNALING, Close, Command, Send
from rtms_cli.protocol.messages import KeepAliveRequest, KeepAliveResponse, Message, Unreadable
from rtms_cli.protocol.numbers import MediaType, MessageType, StatusCode, StopReason
from rtms_cli.simulator.deviations import Deviation, spoken

KEEP_ALIVE_S = 10
"""Interval between keep-alive requests on each socket (PROTOCOL §9)."""

MOST_UNANSWERED = 3
"""Unanswered keep-alive requests after which the server closes the connection (PROTOCOL §9)."""

HELD_AUDIO_S = 60
"""How much audio the server keeps for a client that lost its connection (PROTOCOL §4)."""

RETURN_S = {SIGNALING: 60, MEDIA: 65}
"""How long the server waits for a client to reconnect, by the connection that was lost (PROTOCOL §9)."""

FIRST_CONTACT_S = 60
"""How long the URLs of a webhook are valid (PROTOCOL §9)."""

FRESH_S = 2
"""How soon a new media socket must send its `3`. After that, the server assumes that the client lost the socket."""

_US = 1_000_000
_NEVER_US = 1 << 62


class Finding(Struct, frozen=True):
    """Something that the client did wrong, or in an undocumented way."""

    at_ms: int
    channel: str
    what: str
    is_wrong: bool = True
    """Whether it is a mistake. What real servers accept is only a note."""


class Phase(StrEnum):
    """The state of a socket's handshake."""

    NEW = "new"
    ACCEPTED = "accepted"
    REFUSED = "refused"


_MOST_RECENT = 600
"""More messages than may be waiting to be sent (`driver.OUTBOX_LIMIT`)."""


class ClientSocket:
    """One socket of the client.

    :param generation: the server that accepted the socket; see `Client.generation`.
    """

    def __init__(self, name: str, at_us: int, generation: int) -> None:
        self.name = name
        self.generation = generation
        self.phase = Phase.NEW
        self.opened_us = at_us
        self.kinds = MediaType(0)
        """The kinds of media that it carries."""
        self.keep_alive_us = at_us
        """When the next keep-alive request is due."""
        self.asked: dict[int, int] = {}
        """Keep-alive requests without an answer yet: when each was sent, by sequence number."""

    @property
    def is_media(self) -> bool:
        """Whether this is a media socket rather than a signaling socket."""
        return self.name.startswith(MEDIA)


class Client:
    """The client of one stream. `Zoom`, its feed and the faults act on it.

    :param epoch_ms: Zoom's clock, in Unix ms, when this machine's clock is 0.
    :param speed: how much faster than real time this machine's clock runs. Keep-alives and time-outs stay in real
        time, because the client does.
    :param on_finding: called for each mistake as it happens.
    """

    def __init__(
        self,
        epoch_ms: int,
        deviations: frozenset[Deviation],
        speed: float,
        on_finding: Callable[[Finding], None] | None = None,
    ) -> None:
        self._epoch_ms = epoch_ms
        self._deviations = deviations
        self.speed = speed
        self._on_finding = on_finding
        self._sockets: dict[str, ClientSocket] = {}
        self._out: list[Command] = []
        self._held: deque[tuple[int, Message, bytes | None]] = deque()
        """Audio kept until the client reconnects, with its times."""
        self._recent: dict[str, deque[tuple[int, Message, bytes | None] | None]] = {}
        """The last messages queued on each socket. `None` stands for a message that is not audio."""
        self._sequence = 0
        self._quiet_until_us = 0
        self.now_us = 0
        self.generation = 1
        """The number of the live server. Each failover increases it by one."""
        self.signaling: ClientSocket | None = None
        """The signaling socket with an accepted handshake."""
        self.is_ready = False
        """Whether the client sent `7` on this signaling socket. Media flow from then on."""
        self.is_paused = False
        """Whether an API call paused the stream. No media are sent, and none count as missed."""
        self.wanted = MediaType(0)
        """The media that had a socket while the client was ready. It misses these when the socket is lost."""
        self.give_up_us: int | None = None
        """Until when the server waits for the client to connect or reconnect."""
        self.sent: Counter[str] = Counter()
        """Number of messages, by type name."""
        self.missed: Counter[str] = Counter()
        """Number of messages that were due while the client was not connected, by type name."""
        self.keep_alives = 0
        self.answered = 0
        self.slowest_us: int | None = None
        self.findings: list[Finding] = []
        self.refusals: dict[str, deque[int | None]] = {SIGNALING: deque(), MEDIA: deque()}
        """Status codes with which to refuse the next handshakes on purpose. `None` closes without an answer."""
        self.refused: Counter[str] = Counter()
        """Number of handshakes refused because they were wrong, by status code and name."""
        self.refused_on_purpose: Counter[str] = Counter()
        """Number of handshakes refused because the scenario says so, by status code and name."""

    @property
    def refuses_sums(self) -> bool:
        """Whether this server rejects a `media_type` with several bits."""
        return Deviation.NO_SUM in self._deviations

    @property
    def has_old_events(self) -> bool:
        """Whether this server lacks the events added in 2026."""
        return Deviation.OLD_EVENTS in self._deviations

    def zoom_ms(self, at_us: int | None = None) -> int:
        """Return Zoom's time in ms, now or at a time of this machine's clock."""
        return self._epoch_ms + (self.now_us if at_us is None else at_us) // 1000

    def after(self, seconds: float) -> int:
        """Return this machine's time after the given number of client seconds."""
        return self.now_us + round(seconds * _US * self.speed)

    def real_ms(self, us: int) -> float:
        """Convert a time of this machine's clock to client milliseconds."""
        return us / 1000 / self.speed

    def find(self, channel: str, what: str, *, is_wrong: bool = True) -> None:
        """Record a finding about the client."""
        self.findings.append(Finding(self.now_us // 1000, channel, what, is_wrong))
        if self._on_finding is not None:
            self._on_finding(self.findings[-1])

    def note_refusal(self, channel: str, status: int) -> None:
        """Count a handshake that was refused because it is wrong."""
        self.refused[_refusal(channel, status)] += 1

    def due_refusal(self, channel: str) -> Sequence[int | None]:
        """Take and count the status code of a deliberate refusal. Empty if the handshake is not refused."""
        if not self.refusals[channel]:
            return ()
        status = self.refusals[channel].popleft()
        told = _refusal(channel, status)
        self.refused_on_purpose[told] += 1
        if self._on_finding is not None:
            what = f"the scenario refused the handshake: {told}"
            self._on_finding(Finding(self.now_us // 1000, channel, what, is_wrong=False))
        return [status]

    # Sockets.

    def socket(self, name: str) -> ClientSocket | None:
        """Return the socket with this name, or `None` if the server no longer knows it."""
        return self._sockets.get(name)

    def expects_media(self) -> bool:
        """Whether an open media socket still has to send its handshake. A socket that takes too long counts as dead."""
        since_us = self.now_us - round(FRESH_S * _US * self.speed)
        media = self.sockets(media_only=True)
        return any(socket.phase is Phase.NEW and socket.opened_us > since_us for socket in media)

    def sockets(self, *, media_only: bool = False) -> Sequence[ClientSocket]:
        """Return all known sockets in the order in which they were opened."""
        return [each for each in self._sockets.values() if each.is_media or not media_only]

    def media_socket(self) -> ClientSocket | None:
        """Return the first socket that carries media."""
        return next((socket for socket in self._sockets.values() if socket.kinds), None)

    def taker(self, kind: MediaType) -> ClientSocket | None:
        """Return the socket for this kind of media, or `None` without one or before the client is ready."""
        if not self.is_ready:
            return None
        return next((socket for socket in self._sockets.values() if kind in socket.kinds), None)

    @property
    def kinds(self) -> MediaType:
        """Return the kinds of media that have a socket."""
        kinds = MediaType(0)
        for socket in self._sockets.values():
            kinds |= socket.kinds
        return kinds

    def opened(self, name: str) -> ClientSocket:
        """Register a new socket."""
        socket = self._sockets[name] = ClientSocket(name, self.now_us, self.generation)
        return socket

    def forget(self, socket: ClientSocket) -> None:
        """Forget a socket. It may stay open, but dead."""
        self._sockets.pop(socket.name, None)
        if socket is self.signaling:
            self.signaling = None
            self.is_ready = False

    def forget_old(self) -> None:
        """Forget the sockets of older servers. They stay open until the client closes them."""
        for socket in [each for each in self._sockets.values() if each.generation < self.generation]:
            self.forget(socket)

    def close(self, socket: ClientSocket, code: int, reason: str) -> None:
        """Close a socket and forget it."""
        self._out.append(Close(socket.name, code, reason))
        self.forget(socket)

    def close_media(self) -> None:
        """Close the media sockets, as Zoom does when the signaling socket is lost (PROTOCOL §9)."""
        for socket in self.sockets(media_only=True):
            self.close(socket, 1000, "signaling was lost")

    def lose(self, what: str, code: int | None = None, *, kinds: MediaType | None = None, after_s: float = 0) -> None:
        """Drop connections and wait for the client to reconnect.

        :param what: `SIGNALING` drops the media sockets too (PROTOCOL §9). `MEDIA` drops all media sockets.
        :param code: close code, possibly `BROKEN`. Without it, the sockets stay open but dead.
        :param kinds: drop only sockets that carry one of these kinds.
        :param after_s: seconds until the server notices.
        """
        for socket in self.sockets(media_only=what == MEDIA):
            if kinds is None or socket.kinds & kinds:
                if code is not None:
                    self._out.append(Close(socket.name, code, ""))
                self.forget(socket)
        self.wait_for(what, after_s)

    def wait_for(self, what: str, after_s: float = 0) -> None:
        """Wait for the client to reconnect after it lost `SIGNALING` or `MEDIA` (PROTOCOL §9)."""
        self.give_up_us = self.after(after_s + RETURN_S[what])

    def came_back(self) -> None:
        """Stop waiting: the client is ready, for the first time or again."""
        self.give_up_us = None
        self.wanted |= self.kinds

    # Delivery.

    def send(self, socket: ClientSocket, message: Message, raw: bytes | None = None) -> None:
        """Send a message in this server's dialect, or send these bytes."""
        said = spoken(socket.name, message, self._deviations) if raw is None else _verbatim(socket, message, raw)
        if said is not None:
            self.sent[type_name(message)] += 1
            self._out.append(said)
            self._recent.setdefault(socket.name, deque(maxlen=_MOST_RECENT)).append(None)

    def send_stray(self, socket: ClientSocket, raw: bytes) -> None:
        """Send bytes that are not a message. They are not counted."""
        self._out.append(_verbatim(socket, Unreadable("on purpose"), raw))

    def deliver(self, kind: MediaType, message: Message, at_us: int, raw: bytes | None = None) -> bool:
        """Send media on the socket that carries them. Without one, keep audio and count everything else as missed.

        :param at_us: the time in the session, on the clock that all audio shares.
        :returns: whether it was sent.
        """
        socket = self.taker(kind)
        if self.is_paused:
            return False
        if socket is not None:
            self.send(socket, message, raw)
            if kind is MediaType.AUDIO:
                self._recent[socket.name][-1] = at_us, message, raw
        elif kind is MediaType.AUDIO and kind in self.wanted:
            self._held.append((at_us, message, raw))
            while at_us - self._held[0][0] > HELD_AUDIO_S * _US:
                self.miss(self._held.popleft()[1])
        elif kind in self.wanted:
            self.miss(message)
        return socket is not None

    def deliver_held(self) -> bool:
        """Send the audio that was kept, if an audio socket is open again.

        :returns: whether anything was sent.
        """
        socket = self.taker(MediaType.AUDIO)
        if socket is None or not self._held:
            return False
        for held in self._held:
            self.send(socket, *held[1:])
            self._recent[socket.name][-1] = held
        self._held.clear()
        return True

    def take_back(self, name: str, count: int) -> None:
        """Keep audio that could not be sent because the client had closed the socket.

        :param count: how many of the last messages were not sent.
        """
        recent = list(self._recent.pop(name, ()))[-count:] if count else []
        unsent = [one for one in recent if one is not None]
        for _, message, _ in unsent:
            self.sent[type_name(message)] -= 1
        self._held.extendleft(reversed(unsent))

    def miss(self, message: Message) -> None:
        """Count a message that was due while the client was not connected."""
        self.missed[type_name(message)] += 1

    def untaken(self) -> Counter[str]:
        """Return the messages that it missed and those that are still kept for it, by type name."""
        return self.missed + Counter(type_name(message) for _, message, _ in self._held)

    def command(self, command: Command) -> None:
        """Queue a command other than sending or closing."""
        self._out.append(command)

    def take_commands(self) -> Sequence[Command]:
        """Return the commands since the last call, in order."""
        out, self._out = self._out, []
        return out

    # Keep-alive.

    def next_keep_alive_us(self) -> int | None:
        """When the next keep-alive request is due."""
        times = (each.keep_alive_us for each in self._sockets.values() if each.phase is Phase.ACCEPTED)
        return min(times, default=None)

    def accept(self, socket: ClientSocket) -> None:
        """Accept a socket's handshake and start its keep-alives."""
        socket.phase = Phase.ACCEPTED
        self._schedule_keep_alive(socket)

    def keep_alive(self) -> None:
        """Send the keep-alive requests that are due."""
        for socket in self.sockets():
            is_known = self.socket(socket.name) is socket  # closing the previous socket may have closed this one too
            if is_known and socket.phase is Phase.ACCEPTED and self.now_us >= socket.keep_alive_us:
                self.ask_alive(socket)

    def skip_keep_alives(self, for_ms: int) -> None:
        """Send no keep-alive requests for a while."""
        self._quiet_until_us = self.now_us + for_ms * 1000

    def ask_alive(self, socket: ClientSocket) -> None:
        """Send a `12`, or close the connection if too many were not answered (PROTOCOL §9)."""
        if self.now_us < self._quiet_until_us:
            socket.keep_alive_us = self._quiet_until_us
            return
        if len(socket.asked) >= MOST_UNANSWERED:
            self.find(socket.name, f"{MOST_UNANSWERED} keep-alives were not answered: connection closed")
            self.close(socket, 1001, "keep-alive time-out")
            if not socket.is_media:
                self.close_media()
            self.wait_for(MEDIA if socket.is_media else SIGNALING)
            return
        self._sequence += 1
        self.keep_alives += 1
        socket.asked[self._sequence] = self.now_us
        self._schedule_keep_alive(socket)
        self.send(socket, KeepAliveRequest(self.zoom_ms(), self._sequence))

    def on_alive(self, socket: ClientSocket, message: KeepAliveResponse) -> None:
        """Check a `13` against its `12`: the timestamp must match, and the sequence if present."""
        sequence = message.sequence if isinstance(message.sequence, int) else next(iter(socket.asked), None)
        asked_us = socket.asked.pop(sequence, None) if sequence is not None else None
        if asked_us is None:
            self.find(socket.name, "13 KEEP_ALIVE_RESP without a pending request")
            return
        bare = Deviation.BARE_KEEP_ALIVE in self._deviations
        if str(message.timestamp) != str(None if bare else self.zoom_ms(asked_us)):
            self.find(socket.name, f"13 KEEP_ALIVE_RESP with timestamp {message.timestamp}, not that of the 12")
        self.answered += 1
        self.slowest_us = max(self.slowest_us or 0, self.now_us - asked_us)

    def _schedule_keep_alive(self, socket: ClientSocket) -> None:
        never = socket.is_media and Deviation.SIGNALING_KEEP_ALIVE_ONLY in self._deviations
        socket.keep_alive_us = _NEVER_US if never else self.after(KEEP_ALIVE_S)


def type_name(message: Message) -> str:
    """Return a message type's name without its number, as in reports."""
    return MessageType.label(message.msg_type).partition(" ")[2]


def what_is_lost(reason: int | str | None) -> str:
    """Return which connection a stop reason reports as lost: `MEDIA` or `SIGNALING` (PROTOCOL §9)."""
    return MEDIA if reason in _MEDIA_REASONS else SIGNALING


_MEDIA_REASONS = (
    StopReason.STOP_BC_DATA_CONNECTION_INTERRUPTED,
    StopReason.STOP_BC_DATA_CONNECTION_CLOSED_ABNORMALLY,
)


def _verbatim(socket: ClientSocket, message: Message, raw: bytes) -> Send:
    """Send bytes unchanged, in a text frame if they are text."""
    return Send(socket.name, message, isinstance(message, Unreadable) and not _is_text(raw), raw)


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refusal(channel: str, status: int | None) -> str:
    """Describe a refusal: `3 STATUS_INVALID_SIGNATURE`, `media: closed without an answer`."""
    told = "closed without an answer" if status is None else StatusCode.label(status)
    return f"media: {told}" if channel.startswith(MEDIA) else told
