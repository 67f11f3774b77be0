"""The client of one stream, as the server knows it: its sockets, what it gets, and what it does wrong."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from enum import StrEnum

from msgspec import Struct

from rtms_cli.machine import MEDIA, SIGNALING, Close, Command, Send
from rtms_cli.protocol.messages import KeepAliveRequest, KeepAliveResponse, Message, Unreadable
from rtms_cli.protocol.numbers import MediaType, MessageType, StatusCode, StopReason
from rtms_cli.simulator.deviations import Deviation, spoken

KEEP_ALIVE_S = 10
"""How often the server asks on each socket (PROTOCOL §9)."""

MOST_UNANSWERED = 3
"""Keep-alives that may stay unanswered before the connection is cut (PROTOCOL §9)."""

HELD_AUDIO_S = 60
"""How much audio waits for a client that was there and is gone (PROTOCOL §4)."""

RETURN_S = {SIGNALING: 60, MEDIA: 65}
"""How long the server waits for a client to come back, by what was lost (PROTOCOL §9)."""

FIRST_CONTACT_S = 60
"""How long the URLs of a webhook are valid (PROTOCOL §9)."""

FRESH_S = 2
"""How soon after a media socket opens its `3` has to come; later the client has lost it, and we do not know yet."""

_US = 1_000_000
_NEVER_US = 1 << 62


class Finding(Struct, frozen=True):
    """Something that the client did wrong, or did otherwise than documented."""

    at_ms: int
    channel: str
    what: str
    is_wrong: bool = True
    """Whether a server would mind; what real servers take is only worth a note."""


class Phase(StrEnum):
    """How far a socket's handshake is."""

    NEW = "new"
    ACCEPTED = "accepted"
    REFUSED = "refused"


_MOST_RECENT = 600
"""More than may wait to be sent (`driver.OUTBOX_LIMIT`)."""


class ClientSocket:
    """One socket of the client.

    :param generation: the server that it was opened to; see `Client.generation`.
    """

    def __init__(self, name: str, at_us: int, generation: int) -> None:
        self.name = name
        self.generation = generation
        self.phase = Phase.NEW
        self.opened_us = at_us
        self.kinds = MediaType(0)
        """The media that it carries."""
        self.keep_alive_us = at_us
        """When the next keep-alive is due."""
        self.asked: dict[int, int] = {}
        """Keep-alives that wait for an answer: when each was sent, by its sequence."""

    @property
    def is_media(self) -> bool:
        """Whether it is a media socket, and not a signaling one."""
        return self.name.startswith(MEDIA)


class Client:
    """The client of one stream. `Zoom`, its show and faults act on it.

    :param epoch_ms: Zoom's clock when this machine's is 0.
    :param speed: how much faster than real time this machine's clock runs; keep-alives and time-outs stay in real
        time, for the client's sake.
    :param on_finding: is called for each mistake when it is made.
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
        """Audio that waits for the client to come back, with its times."""
        self._recent: dict[str, deque[tuple[int, Message, bytes | None] | None]] = {}
        """By socket, the last messages that were to be sent; of those that are not audio, `None`."""
        self._sequence = 0
        self._quiet_until_us = 0
        self.now_us = 0
        self.generation = 1
        """Which of the servers is alive: one more after each failover."""
        self.signaling: ClientSocket | None = None
        """The signaling socket whose handshake was accepted."""
        self.is_ready = False
        """Whether `7` was sent on this signaling socket: then media flow."""
        self.is_paused = False
        """Whether an API call has paused the stream: no media are sent, and none are missed."""
        self.wanted = MediaType(0)
        """The media that it had a socket for while it was ready: what it misses when that socket is gone."""
        self.give_up_us: int | None = None
        """Until when the server waits for it to come, or to come back."""
        self.sent: Counter[str] = Counter()
        """Messages, by the type's name."""
        self.missed: Counter[str] = Counter()
        """Messages that were due while it was not there to take them, by the type's name."""
        self.keep_alives = 0
        self.answered = 0
        self.slowest_us: int | None = None
        self.findings: list[Finding] = []
        self.refusals: dict[str, deque[int | None]] = {SIGNALING: deque(), MEDIA: deque()}
        """Status codes of handshakes that are to be refused on purpose; `None` is a close without an answer."""
        self.refused: Counter[str] = Counter()
        """Handshakes that were refused because they are wrong, by the status code with its name."""
        self.refused_on_purpose: Counter[str] = Counter()
        """Handshakes that were refused because the scenario says so, by the status code with its name."""

    @property
    def refuses_sums(self) -> bool:
        """Whether this server takes no sum of bits as `media_type`."""
        return Deviation.NO_SUM in self._deviations

    @property
    def has_old_events(self) -> bool:
        """Whether this server does not have the events of 2026."""
        return Deviation.OLD_EVENTS in self._deviations

    def zoom_ms(self, at_us: int | None = None) -> int:
        """Zoom's clock now, or at a time of this machine's clock."""
        return self._epoch_ms + (self.now_us if at_us is None else at_us) // 1000

    def after(self, seconds: float) -> int:
        """The time, on this machine's clock, when so many seconds of the client's have passed."""
        return self.now_us + round(seconds * _US * self.speed)

    def real_ms(self, us: int) -> float:
        """A time of this machine's clock as the client's milliseconds."""
        return us / 1000 / self.speed

    def find(self, channel: str, what: str, *, is_wrong: bool = True) -> None:
        """Note a mistake of the client; see `Finding`."""
        self.findings.append(Finding(self.now_us // 1000, channel, what, is_wrong))
        if self._on_finding is not None:
            self._on_finding(self.findings[-1])

    def note_refusal(self, channel: str, status: int) -> None:
        """Count a handshake that is refused because it is wrong."""
        self.refused[_refusal(channel, status)] += 1

    def due_refusal(self, channel: str) -> Sequence[int | None]:
        """Take and count the status code with which a handshake is refused on purpose; empty where it is not."""
        if not self.refusals[channel]:
            return ()
        status = self.refusals[channel].popleft()
        told = _refusal(channel, status)
        self.refused_on_purpose[told] += 1
        if self._on_finding is not None:
            what = f"the handshake was refused, as the scenario says: {told}"
            self._on_finding(Finding(self.now_us // 1000, channel, what, is_wrong=False))
        return [status]

    # Its sockets.

    def socket(self, name: str) -> ClientSocket | None:
        """The socket of a name, while the server knows it."""
        return self._sockets.get(name)

    def expects_media(self) -> bool:
        """Whether a media socket is open whose handshake is still to come; one that takes long is dead."""
        since_us = self.now_us - round(FRESH_S * _US * self.speed)
        media = self.sockets(media_only=True)
        return any(socket.phase is Phase.NEW and socket.opened_us > since_us for socket in media)

    def sockets(self, *, media_only: bool = False) -> Sequence[ClientSocket]:
        """All sockets that the server knows, in the order in which they were opened."""
        return [each for each in self._sockets.values() if each.is_media or not media_only]

    def media_socket(self) -> ClientSocket | None:
        """The first socket that carries media."""
        return next((socket for socket in self._sockets.values() if socket.kinds), None)

    def taker(self, kind: MediaType) -> ClientSocket | None:
        """The socket that media of this kind go to; `None` where there is none, or the client is not ready."""
        if not self.is_ready:
            return None
        return next((socket for socket in self._sockets.values() if kind in socket.kinds), None)

    @property
    def kinds(self) -> MediaType:
        """The media that have a socket."""
        kinds = MediaType(0)
        for socket in self._sockets.values():
            kinds |= socket.kinds
        return kinds

    def opened(self, name: str) -> ClientSocket:
        """Take note of a new socket."""
        socket = self._sockets[name] = ClientSocket(name, self.now_us, self.generation)
        return socket

    def forget(self, socket: ClientSocket) -> None:
        """Know a socket no more; it may stay open, and dead."""
        self._sockets.pop(socket.name, None)
        if socket is self.signaling:
            self.signaling = None
            self.is_ready = False

    def forget_old(self) -> None:
        """Know the sockets to older servers no more; they stay open until the client closes them."""
        for socket in [each for each in self._sockets.values() if each.generation < self.generation]:
            self.forget(socket)

    def close(self, socket: ClientSocket, code: int, reason: str) -> None:
        """Close a socket, and know it no more."""
        self._out.append(Close(socket.name, code, reason))
        self.forget(socket)

    def close_media(self) -> None:
        """Close the media sockets: a lost signaling socket takes them with it (PROTOCOL §9)."""
        for socket in self.sockets(media_only=True):
            self.close(socket, 1000, "signaling was lost")

    def lose(self, what: str, code: int | None = None, *, kinds: MediaType | None = None, after_s: float = 0) -> None:
        """Lose connections, and wait for the client to come back.

        :param what: `SIGNALING` takes the media sockets with it (PROTOCOL §9); `MEDIA` is all media sockets.
        :param code: close them with this, `BROKEN` among others; without it they stay open, and dead.
        :param kinds: lose only the sockets that carry one of these.
        :param after_s: how long it takes the server to notice.
        """
        for socket in self.sockets(media_only=what == MEDIA):
            if kinds is None or socket.kinds & kinds:
                if code is not None:
                    self._out.append(Close(socket.name, code, ""))
                self.forget(socket)
        self.wait_for(what, after_s)

    def wait_for(self, what: str, after_s: float = 0) -> None:
        """Wait for the client to come back after it lost `SIGNALING` or `MEDIA` (PROTOCOL §9)."""
        self.give_up_us = self.after(after_s + RETURN_S[what])

    def came_back(self) -> None:
        """The client is ready, for the first time or again: stop waiting for it."""
        self.give_up_us = None
        self.wanted |= self.kinds

    # What it gets.

    def send(self, socket: ClientSocket, message: Message, raw: bytes | None = None) -> None:
        """Send a message the way this server speaks, or as these bytes."""
        said = spoken(socket.name, message, self._deviations) if raw is None else _verbatim(socket, message, raw)
        if said is not None:
            self.sent[type_name(message)] += 1
            self._out.append(said)
            self._recent.setdefault(socket.name, deque(maxlen=_MOST_RECENT)).append(None)

    def send_stray(self, socket: ClientSocket, raw: bytes) -> None:
        """Send bytes that are not a message; they are not counted."""
        self._out.append(_verbatim(socket, Unreadable("on purpose"), raw))

    def deliver(self, kind: MediaType, message: Message, at_us: int, raw: bytes | None = None) -> bool:
        """Send media on the socket that carries them. Without one, audio waits and everything else is missed.

        :param at_us: the time in the session, on any clock that all audio has in common.
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
        """Send the audio that waited, if there is a socket for it again.

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
        """Hold audio for the client that was to be sent on a socket, and was not: the client had closed it.

        :param count: so many of the last messages.
        """
        recent = list(self._recent.pop(name, ()))[-count:] if count else []
        unsent = [one for one in recent if one is not None]
        for _, message, _ in unsent:
            self.sent[type_name(message)] -= 1
        self._held.extendleft(reversed(unsent))

    def miss(self, message: Message) -> None:
        """Count a message that was due while the client was not there."""
        self.missed[type_name(message)] += 1

    def untaken(self) -> Counter[str]:
        """What it missed, and what still waits for it."""
        return self.missed + Counter(type_name(message) for _, message, _ in self._held)

    def command(self, command: Command) -> None:
        """Have something done beside what is sent and closed."""
        self._out.append(command)

    def take_commands(self) -> Sequence[Command]:
        """The commands since the last call, in order."""
        out, self._out = self._out, []
        return out

    # Keep-alive.

    def next_keep_alive_us(self) -> int | None:
        """When the next keep-alive is due."""
        times = (each.keep_alive_us for each in self._sockets.values() if each.phase is Phase.ACCEPTED)
        return min(times, default=None)

    def accept(self, socket: ClientSocket) -> None:
        """Accept a socket's handshake; from now on it is kept alive."""
        socket.phase = Phase.ACCEPTED
        self._schedule_keep_alive(socket)

    def keep_alive(self) -> None:
        """Ask on every socket where it is due."""
        for socket in self.sockets():
            is_known = self.socket(socket.name) is socket  # the one before may have been cut, and this one with it
            if is_known and socket.phase is Phase.ACCEPTED and self.now_us >= socket.keep_alive_us:
                self.ask_alive(socket)

    def skip_keep_alives(self, for_ms: int) -> None:
        """Ask for none for a while."""
        self._quiet_until_us = self.now_us + for_ms * 1000

    def ask_alive(self, socket: ClientSocket) -> None:
        """Send a `12`, or cut the connection where too many of them were not answered (PROTOCOL §9)."""
        if self.now_us < self._quiet_until_us:
            socket.keep_alive_us = self._quiet_until_us
            return
        if len(socket.asked) >= MOST_UNANSWERED:
            self.find(socket.name, f"{MOST_UNANSWERED} keep-alives were not answered: cut")
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
        """Check a `13` against the `12` that it answers: the same timestamp, and the sequence if it has one."""
        sequence = message.sequence if isinstance(message.sequence, int) else next(iter(socket.asked), None)
        asked_us = socket.asked.pop(sequence, None) if sequence is not None else None
        if asked_us is None:
            self.find(socket.name, "13 KEEP_ALIVE_RESP that answers nothing")
            return
        bare = Deviation.BARE_KEEP_ALIVE in self._deviations
        if str(message.timestamp) != str(None if bare else self.zoom_ms(asked_us)):
            self.find(socket.name, f"13 KEEP_ALIVE_RESP with timestamp {message.timestamp}, not the one of the 12")
        self.answered += 1
        self.slowest_us = max(self.slowest_us or 0, self.now_us - asked_us)

    def _schedule_keep_alive(self, socket: ClientSocket) -> None:
        never = socket.is_media and Deviation.SIGNALING_KEEP_ALIVE_ONLY in self._deviations
        socket.keep_alive_us = _NEVER_US if never else self.after(KEEP_ALIVE_S)


def type_name(message: Message) -> str:
    """A message type's name without its number, as reports have it."""
    return MessageType.label(message.msg_type).partition(" ")[2]


def what_is_lost(reason: int | str | None) -> str:
    """What a stop reason says is lost: `MEDIA` or `SIGNALING` (PROTOCOL §9)."""
    return MEDIA if reason in _MEDIA_REASONS else SIGNALING


_MEDIA_REASONS = (
    StopReason.STOP_BC_DATA_CONNECTION_INTERRUPTED,
    StopReason.STOP_BC_DATA_CONNECTION_CLOSED_ABNORMALLY,
)


def _verbatim(socket: ClientSocket, message: Message, raw: bytes) -> Send:
    """Bytes as they are: in a text frame, unless they are not text."""
    return Send(socket.name, message, isinstance(message, Unreadable) and not _is_text(raw), raw)


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refusal(channel: str, status: int | None) -> str:
    """A refusal in a few words: `3 STATUS_INVALID_SIGNATURE`, `media: closed without an answer`."""
    told = "closed without an answer" if status is None else StatusCode.label(status)
    return f"media: {told}" if channel.startswith(MEDIA) else told
