"""What happened to a stream, folded once from its frames and read by all reports.

The manifest, the recorder's snapshot and `rtms inspect` read the same ledger, live and from a capture. Every list and
table has a bound. What is in the media is not its affair; see `placing`.
"""

from collections import deque
from collections.abc import Callable

from msgspec import Struct, structs

from rtms_cli.capture import kept_raw
from rtms_cli.errors import reason_of
from rtms_cli.machine import GIVEN_UP, SIGNALING, WEBHOOK, ChannelState, Direction, Frame, State, frame_of
from rtms_cli.protocol.endings import Outlook, Status
from rtms_cli.protocol.messages import (
    MEDIA_KINDS,
    Audio,
    Chat,
    ClientReadyAck,
    EventUpdate,
    KeepAliveRequest,
    KeepAliveResponse,
    Media,
    MediaHandshakeResponse,
    Message,
    SessionStateResponse,
    SessionStateUpdate,
    Share,
    SignalingHandshakeResponse,
    StreamCloseRequest,
    StreamStateUpdate,
    Transcript,
    Unknown,
    Unreadable,
    Video,
    loads,
)
from rtms_cli.protocol.numbers import MessageType, StatusCode, StopReason
from rtms_cli.protocol.texts import cut
from rtms_cli.protocol.webhooks import StreamStart, StreamStop, UnreadableWebhook
from rtms_cli.recording.keepalives import Asked, KeepAlives
from rtms_cli.recording.manifest import Epoch, Loss, Stop, Warned
from rtms_cli.recording.people import People
from rtms_cli.recording.quantiles import Quantiles

MOST_CONNECTIONS = 1_000
"""The last ones; `connection_count` has the whole number."""
MOST_CHANNELS = 1_000
MOST_STEPS = 1_000
MOST_EPOCHS = 1_000
MOST_REMARKS = 500
"""Different warnings, different losses and types of messages; further ones of a sort are counted together."""
_LONGEST_TYPE = 100

_DIED = "its process ended"
"""Why something ended that never said so."""

_LAST_WORDS = frozenset(status.value for status in Status) - {Status.RECORDING}
"""What a session's last word can be."""
_NO_NEWS = frozenset((State.STOPPING, State.LEAVING, State.EPOCH))
"""What may stand behind a last word without anything going on."""


class Step(Struct, frozen=True):
    """When the stream reached a point of its life for the first time, on a channel."""

    step: str
    """`webhook`, `signaling_open`, `signaling_handshake`, `media_open`, `media_handshake`, `ready`, `first_media`,
    `stop` or `finished`."""
    at: float
    channel: str


class Socket(Struct):
    """One connection, or one try; times in seconds on the capture's clock."""

    channel: str
    url: str = ""
    opened: float | None = None
    closed: float | None = None
    code: int | None = None
    reason: str = ""
    ours: bool = False
    refused: bool = False


class Tally:
    """Messages of one type in one direction."""

    __slots__ = ("count", "msg_type", "nbytes")

    def __init__(self, msg_type: int | str | None = None) -> None:
        self.msg_type = msg_type
        self.count = 0
        self.nbytes = 0


class KeepAliveTally:
    """Keep-alives of one channel; times in µs. An answer belongs to the request with its timestamp and sequence."""

    def __init__(self) -> None:
        self.asked = self.answered = self.wrong = 0
        self.given_up = 0
        """Requests that no answer can come for any more."""
        self.slowest_us: int | None = None
        self.last_us: int | None = None
        """When the last request of this connection came."""
        self.intervals, self.answers = Quantiles(), Quantiles()


class Ledger:
    """Takes every frame of a stream, in order.

    :param product: says by which id participants are told; see `parties`.
    :param trusted: whether webhooks were verified; see `Outlook`.
    :param epoch: which owner of the stream recorded it first.
    :param generator: the program that did.
    """

    def __init__(self, product: str, *, trusted: bool = False, epoch: int = 1, generator: str = "") -> None:
        self._product = product
        self._epochs = [Epoch(epoch, generator)]
        self.people = People(product, self.warn)
        self._trusted = trusted
        self.at_us = 0
        self.audio = Tally(int(MessageType.MEDIA_DATA_AUDIO))
        """Audio that came in."""
        self.counts_audio = False
        """Whether more audio is only counted; the recorder then handles speakers."""
        self.tallies: dict[Direction, dict[str, Tally]] = {direction: {} for direction in Direction}
        """Messages by direction and the type's name; `UNKNOWN <type>` and `UNREADABLE` are names too."""
        self.webhooks: dict[tuple[str, Direction], Tally] = {}
        """Webhooks by their event."""
        self.connections: deque[Socket] = deque(maxlen=MOST_CONNECTIONS)
        self.connection_count = 0
        self._current: dict[str, Socket] = {}
        self.keep_alives: dict[str, KeepAliveTally] = {}
        self._waiting = KeepAlives()
        self.warnings: dict[str, Warned] = {}
        self.losses: dict[tuple[str, str], Loss] = {}
        self._steps: dict[tuple[str, str], Step] = {}
        self.announced_ms: int | None = None
        """`event_ts` of the webhook that announced the stream."""
        self.announced_by: str | None = None
        """By which way that webhook came; see `machine.Via`."""
        self.last_word: ChannelState | None = None
        """The last frame's, where that was a session's last word."""
        self._begin_session()
        self._handlers: dict[type, Callable[[Frame], None]] = {
            Audio: self._on_media,
            Video: self._on_media,
            Share: self._on_media,
            Transcript: self._on_media,
            Chat: self._on_media,
            EventUpdate: self._on_event,
            KeepAliveRequest: self._on_keep_alive_request,
            KeepAliveResponse: self._on_keep_alive_response,
            SignalingHandshakeResponse: self._on_handshake,
            MediaHandshakeResponse: self._on_handshake,
            ClientReadyAck: self._on_ready,
            StreamCloseRequest: self._on_close_request,
            StreamStateUpdate: self._on_outlook,
            SessionStateUpdate: self._on_outlook,
            SessionStateResponse: self._on_outlook,
            StreamStart: self._on_start,
            StreamStop: self._on_outlook,
            Unreadable: self._on_unreadable,
            UnreadableWebhook: self._on_unreadable,
        }

    def count_audio(self, count: int, nbytes: int, at_us: int) -> None:
        """Take audio packets that are only to be counted.

        :param at_us: when the last one came.
        """
        self.at_us = at_us
        self.audio.count += count
        self.audio.nbytes += nbytes

    def media_tally(self, kind: type[Media]) -> Tally | None:
        """The tally of media that came in; `None` if none of that kind have."""
        return self.tallies[Direction.IN].get(_MEDIA_NAMES[kind])

    @property
    def is_flowing(self) -> bool:
        """Whether media came and nothing is missing, so that more of the same are only to be counted."""
        return self._has_media and not self._missing and self.last_word is None

    def flows_on(self, channel: str) -> bool:
        """The same for one channel: others may be missing."""
        return self._has_media and channel not in self._missing and self.last_word is None

    def take(self, frame: Frame) -> None:
        """Take the next frame."""
        if self.goes_on_with(frame):
            self.resume()
        self.at_us = frame.at_us
        if self._epochs[-1].started is None:
            self._epochs[-1].started = frame.at_us / 1_000_000
        message = frame.message
        if isinstance(message, ChannelState):
            self._on_state(frame, message)
            return
        self._count(frame)
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(frame)

    def goes_on_with(self, frame: Frame) -> bool:
        """Whether the stream goes on, after a session's last word, with this frame.

        Other webhooks than a start may come behind the last word: they concern the session that has ended. So does a
        wish that it may end, which captures of older versions have there.
        """
        message = frame.message
        is_afterword = frame.channel == WEBHOOK and not isinstance(message, StreamStart)
        is_wish = isinstance(message, ChannelState) and message.state in _NO_NEWS
        return self.last_word is not None and not (is_afterword or is_wish)

    def resume(self) -> None:
        """Take note that the stream goes on after a session's last word."""
        self.last_word = None
        self._begin_session()

    def _begin_session(self) -> None:
        self.outlook = Outlook(trusted=self._trusted)
        self._asked = self._ready = self._has_media = self.counts_audio = False
        self._is_greeted = False
        """Whether the server has accepted this signaling connection: further answers say nothing."""
        self._missing: set[str] = set()
        """Media channels that were opened, and are not accepted by the server, or not any more."""

    # What is known of the end.

    @property
    def ended_as(self) -> str | None:
        """The status that a session's last word gave, where that is known to us."""
        last = self.last_word
        return last.status if last is not None and last.status in _LAST_WORDS else None

    @property
    def status(self) -> str:
        """How a recording that is closed now ended: by the last word, or else by what has been said."""
        begun = self._ready or self._has_media
        return self.ended_as or self.outlook.judge(asked=self._asked, begun=begun).value

    @property
    def stop(self) -> Stop | None:
        """Why the stream ended, as the session's last word has it, or as far as Zoom has told."""
        last, said = self.last_word, self.outlook
        if last is not None and (last.code is not None or last.reason):
            return stop_of(said.unknown_reason or None if last.code is None else last.code, last.reason)
        return stop_of(said.unknown_reason or said.reason, said.how) if said.is_over else None

    # What else happened.

    def epochs(self, *, is_over: bool) -> list[Epoch]:
        """The owners of the stream, one after the other; empty if there was only the first one.

        :param is_over: whether nothing more will come.
        """
        *former, last = self._epochs
        if not former and last.epoch == 1:
            return []
        if is_over:
            last = structs.replace(last, ended=self.at_us / 1_000_000, why=self._way_of_ending())
        return [*former, last]

    def _way_of_ending(self) -> str:
        return _DIED if self.last_word is None else self.status

    @property
    def steps(self) -> list[Step]:
        """The steps, in the order in which they were first reached."""
        return list(self._steps.values())

    def received(self) -> dict[str, Tally]:
        """What came in, by the type's name; unreadable states among it."""
        states = self.tallies[Direction.STATE]
        return self.tallies[Direction.IN] | states if states else self.tallies[Direction.IN]

    def unanswered(self, channel: str) -> int:
        """Keep-alive requests of a channel without a right answer, so far."""
        tally = self.keep_alives.get(channel)
        return (tally.given_up if tally is not None else 0) + self._waiting.waiting(channel)

    def warn(self, text: str) -> None:
        """Take note of something that a person should know; the same again is counted."""
        text = cut(text)
        if text not in self.warnings and len(self.warnings) >= MOST_REMARKS:
            text = "further warnings"
        warned = self.warnings.get(text)
        if warned is None:
            self.warnings[text] = Warned(text, 1, self.at_us / 1_000_000)
        else:
            warned.count += 1

    def lose(self, what: str, where: str, nbytes: int = 0, error: OSError | str = "", count: int = 1) -> None:
        """Take note of what could not be kept, where, and why; the same again is counted."""
        key = (cut(what), cut(where))
        if key not in self.losses and len(self.losses) >= MOST_REMARKS:
            key = (key[0], "elsewhere")
        at = self.at_us / 1_000_000
        text = cut((reason_of(error)) if isinstance(error, OSError) else error)
        loss = self.losses.get(key)
        if loss is None:
            loss = self.losses[key] = Loss(*key, first_at=at, first_error=text)
        loss.count += count
        loss.bytes += nbytes
        loss.last_at = at
        loss.last_error = text

    def forget_content(self) -> None:
        """Forget everything about people: the stream was revoked."""
        self.people = People(self._product, self.warn)
        self.warnings, self.losses = {}, {}

    # Frames.

    def _count(self, frame: Frame) -> None:
        message, nbytes = frame.message, len(kept_raw(frame))
        if isinstance(message, Message):
            name, msg_type = _type_of(message)
            tallies = self.tallies[frame.direction]
            tally = tallies.get(name)
            if tally is None:
                if len(tallies) >= MOST_REMARKS:
                    name, msg_type = "further types", None
                is_audio = isinstance(message, Audio) and frame.direction is Direction.IN
                tally = tallies.setdefault(name, self.audio if is_audio else Tally(msg_type))
        else:
            key = (_event_of(frame), frame.direction)
            if key not in self.webhooks and len(self.webhooks) >= MOST_REMARKS:
                key = ("further events", frame.direction)
            tally = self.webhooks.setdefault(key, Tally())
        tally.count += 1
        tally.nbytes += nbytes

    def _on_media(self, frame: Frame) -> None:
        if frame.direction is Direction.IN:
            self.counts_audio |= isinstance(frame.message, Audio)
            if not self._has_media:
                self._has_media = True
                self._step("first_media", frame, "")
            if self._missing:
                self._missing.discard(frame.channel)  # accepted without an answer
            assert isinstance(frame.message, Media | Transcript | Chat)
            self.people.hear(frame.message, frame.at_us)

    def _on_event(self, frame: Frame) -> None:
        assert isinstance(frame.message, EventUpdate)
        self.people.take(frame.message, frame.at_us)

    def _keep_alive(self, channel: str) -> KeepAliveTally | None:
        tally = self.keep_alives.get(channel)
        if tally is None and len(self.keep_alives) < MOST_CHANNELS:
            tally = self.keep_alives[channel] = KeepAliveTally()
        return tally

    def _on_keep_alive_request(self, frame: Frame) -> None:
        message, tally = frame.message, self._keep_alive(frame.channel)
        assert isinstance(message, KeepAliveRequest)
        if tally is None:
            return
        tally.given_up += self._waiting.ask(frame.channel, Asked(frame.at_us, message)) is not None
        tally.asked += 1
        if tally.last_us is not None:
            tally.intervals.add(max(0, frame.at_us - tally.last_us))
        tally.last_us = frame.at_us

    def _on_keep_alive_response(self, frame: Frame) -> None:
        message, tally = frame.message, self._keep_alive(frame.channel)
        assert isinstance(message, KeepAliveResponse)
        if tally is None:
            return
        asked, is_right = self._waiting.answer(frame.channel, message)
        tally.wrong += not is_right
        if asked is not None and is_right:
            took_us = max(0, frame.at_us - asked.at_us)
            tally.answered += 1
            tally.answers.add(took_us)
            tally.slowest_us = max(took_us, tally.slowest_us or 0)

    def _on_handshake(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, SignalingHandshakeResponse | MediaHandshakeResponse)
        if message.status_code == StatusCode.STATUS_OK:
            is_media = isinstance(message, MediaHandshakeResponse)
            if is_media:
                self._missing.discard(frame.channel)
            elif not self._is_greeted:
                self._is_greeted = True
                self._missing.clear()  # it asks again for what it wants
            self._step("media_handshake" if is_media else "signaling_handshake", frame)

    def _on_ready(self, frame: Frame) -> None:
        self._step("ready", frame)
        self._ready |= frame.direction is Direction.OUT

    def _on_close_request(self, frame: Frame) -> None:
        # As in the session: where a connection is missing, so is what it would have brought.
        self._asked |= frame.direction is Direction.OUT and not self._missing

    def _on_start(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, StreamStart)
        self._step("webhook", frame)
        if self.announced_ms is None:
            self.announced_ms = message.stream.event_ts
        if self.announced_by is None:
            self.announced_by = frame.via
        self._on_outlook(frame)

    def _on_outlook(self, frame: Frame) -> None:
        message = frame.message
        assert not isinstance(message, ChannelState)
        if frame.direction is Direction.IN:
            self.outlook.take(message, frame.channel, is_connected=SIGNALING in self._current)
            if self.outlook.is_over:
                self._step("stop", frame)

    def _on_unreadable(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, Unreadable | UnreadableWebhook)
        what = "frame could not be read; it is in the capture"
        kept = kept_raw(frame)
        if kept != frame.raw:  # a replay knows nothing else
            message = frame_of(frame.at_us, frame.channel, frame.direction, kept).message
        self.lose(what, frame.channel, len(kept), getattr(message, "problem", ""))

    def _on_state(self, frame: Frame, change: ChannelState) -> None:
        at, channel = frame.at_us / 1_000_000, frame.channel
        match change.state:
            case State.OPENING:
                self._connect(Socket(channel, cut(change.url.partition("?")[0])))
                self._miss(channel)
            case State.OPEN:
                socket = self._current.get(channel)
                if socket is None or socket.opened is not None:
                    socket = self._connect(Socket(channel))
                socket.opened = at
                self._step("signaling_open" if channel == SIGNALING else "media_open", frame)
            case State.REFUSED | State.CLOSED:
                # A capture may lack the beginning of a connection.
                socket = self._current.pop(channel, None) or self._connect(Socket(channel))
                self._current.pop(channel, None)
                socket.closed, socket.code, socket.ours = at, change.code, change.ours
                socket.reason = cut(change.reason)
                socket.refused = change.state is State.REFUSED
                self._miss(channel)
                self._give_up_waiting(channel)
            case State.DROPPED:
                self.lose("read and not kept", channel, 0, change.reason, change.count)
            case State.WARNING:
                self.warn(change.reason)
                if change.reason.startswith(GIVEN_UP):
                    self._missing.discard(channel)  # it was refused for good: nothing is missing
            case State.FINISHED:
                self._step("finished", frame)
                self.last_word, self.counts_audio = structs.replace(change, reason=cut(change.reason)), False
            case State.EPOCH:
                self._begin_epoch(at, change)
            case State.MARK | State.STOPPING | State.LEAVING:
                pass  # FINISHED will say who asked

    def _begin_epoch(self, at: float, change: ChannelState) -> None:
        """Close what the former owner has not closed, for it cannot any more."""
        for channel in [*self._current]:
            socket = self._current.pop(channel)
            socket.closed, socket.reason = at, _DIED
        for channel in self.keep_alives:
            self._give_up_waiting(channel)
        former = self._epochs[-1]
        former.ended, former.why = at, self._way_of_ending()
        if self.last_word is None:
            self._begin_session()
        if len(self._epochs) < MOST_EPOCHS:
            self._epochs.append(Epoch(change.code or former.epoch + 1, cut(change.reason)))

    def _give_up_waiting(self, channel: str) -> None:
        unanswered = self._waiting.close(channel)
        if (tally := self.keep_alives.get(channel)) is not None:
            tally.given_up += len(unanswered)
            tally.last_us = None  # no interval spans two connections

    def _miss(self, channel: str) -> None:
        if channel == SIGNALING:
            self._is_greeted = False
        elif len(self._missing) < MOST_CHANNELS:
            self._missing.add(channel)
            self.counts_audio = False  # the next packet may tell that it is back

    def _connect(self, socket: Socket) -> Socket:
        if socket.channel in self._current or len(self._current) < MOST_CHANNELS:
            self._current[socket.channel] = socket
        self.connections.append(socket)
        self.connection_count += 1
        return socket

    def _step(self, step: str, frame: Frame, channel: str | None = None) -> None:
        key = (step, frame.channel if channel is None else channel)
        if key not in self._steps and len(self._steps) < MOST_STEPS:
            self._steps[key] = Step(step, frame.at_us / 1_000_000, frame.channel)


def stop_of(reason: int | str | None, said_by: str) -> Stop:
    """Why a stream ended, as the manifest has it; of a reason without a number, the name."""
    if isinstance(reason, str):
        return Stop(None, reason, said_by)
    return Stop(reason, StopReason.label(reason).partition(" ")[2], said_by)


_MEDIA_NAMES = {kind: MessageType.label(number).partition(" ")[2] for number, kind in MEDIA_KINDS.items()}


def _type_of(message: Message) -> tuple[str, int | str | None]:
    if isinstance(message, Unknown):
        known = MessageType.member(message.type) if isinstance(message.type, int) else message.type
        if isinstance(known, MessageType):
            return known.name, message.type
        shown = cut(str(message.type), _LONGEST_TYPE)
        return f"UNKNOWN {shown}", message.type if isinstance(message.type, int) and len(shown) < 20 else shown
    if isinstance(message, Unreadable):
        return "UNREADABLE", None
    return MessageType.label(message.msg_type).partition(" ")[2], int(message.msg_type)


def _event_of(frame: Frame) -> str:
    """A webhook's event."""
    if isinstance(frame.message, UnreadableWebhook):
        return "UNREADABLE"
    try:
        posted = loads(frame.raw)
    except ValueError:
        return WEBHOOK
    event = posted.get("event") if isinstance(posted, dict) else None
    return cut(event, _LONGEST_TYPE) if isinstance(event, str) else WEBHOOK
