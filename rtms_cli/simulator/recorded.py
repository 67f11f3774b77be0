"""A capture as the show: what a server once sent is sent again, byte for byte and at the same times after `7`.

The capture is read twice, as a stream: once for what has to be known before a client comes (the ids, what was granted,
which events came unasked), and once more for every client that gets ready. Handshakes and keep-alives are live, and
judged as `Zoom` judges them; the other frames of media sockets, the events and the changes of state come from the
capture.

The kind of a packet is told by its type, so a client may have split sockets where the recorded one had not, and one
that asks for fewer kinds gets those. What is granted is what was granted then, whatever is asked for: the packets are
in that form. `8` TERMINATED comes last, for what followed it in the capture came by another socket.

Where the server had closed a socket in the middle, or it broke, so does the client's: with the same code, and the show
goes on when the client is back.

Faster than real time, a client may have much to read yet when the end is told. So before the end each media socket
gets a keep-alive: its answer shows that everything before it was read.
"""

from collections.abc import Iterator

from msgspec import Struct, structs

from rtms_cli.capture import Capture
from rtms_cli.errors import Problem
from rtms_cli.machine import BROKEN, MEDIA, SIGNALING, ChannelState, Direction, Frame, State
from rtms_cli.protocol.media import DEFAULT_PARAMS, MEDIA_NAMES, MediaParams
from rtms_cli.protocol.messages import (
    Audio,
    Chat,
    ClientReadyAck,
    EventSubscription,
    EventUpdate,
    KeepAliveRequest,
    KeepAliveResponse,
    MediaHandshakeRequest,
    MediaHandshakeResponse,
    Message,
    SessionStateResponse,
    SessionStateUpdate,
    Share,
    SignalingHandshakeRequest,
    SignalingHandshakeResponse,
    StreamCloseResponse,
    StreamStateResponse,
    StreamStateUpdate,
    Transcript,
    UserId,
    Video,
    VideoSubscriptionResponse,
)
from rtms_cli.protocol.numbers import (
    EVERY_MEDIA,
    MediaType,
    MeetingEvent,
    Product,
    SessionState,
    StatusCode,
    StopReason,
    StreamState,
)
from rtms_cli.simulator.client import what_is_lost
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.zoom import Zoom

MOST_AT_ONCE = 64
MOST_BYTES_AT_ONCE = 1 << 20
"""What one tick sends; then whoever runs the machine sees whether the client keeps up."""

READING_S = 10
"""How long the end waits for a client that still reads."""

_SENDABLE = (1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000))
"""Close codes that a close frame may have (RFC 6455, 7.4)."""

_KINDS: dict[type[object], MediaType] = {
    Audio: MediaType.AUDIO,
    Video: MediaType.VIDEO,
    Share: MediaType.SHARE,
    Transcript: MediaType.TRANSCRIPT,
    Chat: MediaType.CHAT,
}
_LIVE = (
    SignalingHandshakeResponse,
    MediaHandshakeResponse,
    KeepAliveRequest,
    KeepAliveResponse,
    StreamCloseResponse,
    SessionStateResponse,
    StreamStateResponse,
    VideoSubscriptionResponse,
)
_NEWS = (EventUpdate, StreamStateUpdate, SessionStateUpdate)
_BY_NAME = {name: kind for kind, name in MEDIA_NAMES.items()}


class Due(Struct, frozen=True, gc=False):
    """One frame of the capture, and when it is sent."""

    at_us: int
    """After `7`."""
    kind: MediaType | None
    """`None` where the frame is of no kind: news on signaling, or something strange on either socket."""
    on_media: bool
    message: Message
    raw: bytes


class Drop(Struct, frozen=True, gc=False):
    """One socket that was lost in the capture, and when."""

    at_us: int
    """After `7`."""
    kinds: MediaType
    """What it carried; none on signaling."""
    code: int


class Recording:
    """A capture, looked through once.

    :raises Problem: where there is nothing in it to serve.
    """

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        header = capture.header
        self.id = header.id
        self.stream_id = header.rtms_stream_id
        known = [product for product in Product if product == header.product]
        self.product = known[0] if known else Product.MEETING
        self.unasked: frozenset[object] = frozenset()
        """Event types that came without a subscription."""
        self.zoom_ms = 0
        """Zoom's clock when the client was ready."""
        self.params = MediaParams()
        """What was granted; what was asked for, or is usual, where the server did not say."""
        self._begin_us = 0
        self._look_through()
        self.problems = list(capture.problems)
        """Lines that could not be read."""

    def dues(self) -> Iterator[Due | Drop]:
        """Everything that is served, in order."""
        last: Due | None = None
        drops: list[Drop] = []
        at_us = 0
        for frame in self._capture:
            due = self._due(frame)
            if due is None:
                if last is None and (drop := self._drop(frame)) is not None:
                    drops.append(drop)  # after the last frame it is the end, and no loss
                continue
            yield from drops
            drops.clear()
            at_us = max(at_us, due.at_us)
            if _is_terminated(due.message):
                last = due
            else:
                yield due
        if last is not None:
            yield structs.replace(last, at_us=at_us)

    def _look_through(self) -> None:
        ready_us: int | None = None
        first: Frame | None = None
        stamp: tuple[int, int] | None = None
        asked, granted = MediaParams(), MediaParams()
        subscribed: set[object] = set()
        came: set[object] = set()
        kinds = MediaType(0)
        for frame in self._capture:
            message = frame.message
            if frame.direction is Direction.OUT:
                if isinstance(message, ClientReadyAck) and ready_us is None:
                    ready_us = frame.at_us
                elif isinstance(message, SignalingHandshakeRequest):
                    self.id = self.id or message.id or ""
                    self.stream_id = self.stream_id or message.stream_id or ""
                elif isinstance(message, MediaHandshakeRequest):
                    asked = message.params.or_else(asked)
                elif isinstance(message, EventSubscription):
                    subscribed |= {event for event, wanted in message.events if wanted}
                continue
            if frame.direction is not Direction.IN:
                continue
            if isinstance(message, MediaHandshakeResponse) and message.status_code == StatusCode.STATUS_OK:
                granted = message.params.or_else(granted)
            if isinstance(message, EventUpdate):
                came.add(message.event_type)
            if (kind := _KINDS.get(type(message))) is not None:
                kinds |= kind
                first = first or frame
            zoom_ms = getattr(message, "timestamp", None)
            if stamp is None and isinstance(zoom_ms, int) and frame.channel != "webhook":
                stamp = frame.at_us, zoom_ms
        if ready_us is None and first is None:
            raise Problem(
                f"{self._capture.path} has nothing to serve: its client was never ready, and no media came.",
                "Serve a capture of a session with media; `rtms demo` makes one.",
            )
        if not self.id or not self.stream_id:
            raise Problem(
                f"{self._capture.path} names no stream.", "Its header, or a handshake in it, must have both ids."
            )
        self._begin_us = first.at_us if ready_us is None and first is not None else ready_us or 0
        if stamp is not None:
            self.zoom_ms = stamp[1] + (self._begin_us - stamp[0]) // 1000
        self.unasked = frozenset(came - subscribed)
        self.params = granted.or_else(asked).or_else(DEFAULT_PARAMS.only(kinds))

    def _due(self, frame: Frame) -> Due | None:
        message = frame.message
        socket, _, name = frame.channel.partition(".")
        if frame.direction is not Direction.IN or socket not in ("signaling", "media"):
            return None
        if not isinstance(message, Message) or isinstance(message, _LIVE):
            return None
        kind = _KINDS.get(type(message)) or (None if isinstance(message, _NEWS) else _BY_NAME.get(name))
        if frame.at_us < self._begin_us and kind is None and not isinstance(message, _NEWS):
            return None  # something strange in the middle of the handshakes, which are live
        return Due(max(0, frame.at_us - self._begin_us), kind, socket == "media", message, frame.raw)

    def _drop(self, frame: Frame) -> Drop | None:
        state = frame.message
        socket, _, name = frame.channel.partition(".")
        if not isinstance(state, ChannelState) or state.state is not State.CLOSED or state.ours:
            return None
        if frame.at_us < self._begin_us or socket not in ("signaling", "media"):
            return None
        kinds = MediaType(0) if socket == "signaling" else _BY_NAME.get(name, EVERY_MEDIA)
        code = state.code or BROKEN
        return Drop(frame.at_us - self._begin_us, kinds, code if code in _SENDABLE else BROKEN)


class Recorded:
    """A `Show` of a capture, for one client.

    :param at_once: send as fast as the client reads, whatever the clock says.
    """

    deviations: frozenset[Deviation] = frozenset()

    def __init__(self, recording: Recording, *, at_once: bool = False) -> None:
        self.params = recording.params
        self._recording = recording
        self._at_once = at_once
        self._zoom: Zoom
        self._begin_us: int | None = None
        self._dues: Iterator[Due | Drop] = iter(())
        self._due: Due | Drop | None = None
        self._paced_from: tuple[int, int] | None = None
        """Since an interruption that the capture tells of, the recorded pace holds also where all goes at once: when
        that was, on this machine's clock and on the capture's."""
        self._patient_until_us: int | None = None
        """How long the client, which was asked whether it has read everything, may take to answer."""
        self._is_deaf = False
        """Whether it did not answer in time; then it is not asked again."""

    @property
    def deadline_us(self) -> int | None:
        """See `Show.deadline_us`."""
        if self._begin_us is None:
            return None
        if self._patient_until_us is not None and self._still_reads() and not self._is_deaf:
            return self._patient_until_us
        return self._zoom.client.now_us if self._due is None else self._time_of(self._due)

    def attach(self, zoom: Zoom) -> None:
        """See `Show.attach`."""
        self._zoom = zoom

    def start(self) -> None:
        """See `Show.start`. The first time, the capture says that the stream has started."""
        if self._begin_us is not None:
            self._zoom.say_started()
        self.resume()

    def resume(self) -> None:
        """See `Show.resume`."""
        if self._begin_us is None:
            self._begin_us = self._zoom.client.now_us
            self._dues = self._recording.dues()
            self._due = next(self._dues, None)
        if self._zoom.client.deliver_held():
            self._patient_until_us = None
        self.play()

    def play(self) -> None:
        """Send all that is due, in order, but so much at once and no more. See `Show.play`."""
        if self._begin_us is None:
            return
        client, sent_bytes = self._zoom.client, 0
        for _ in range(MOST_AT_ONCE):
            due = self._due
            if sent_bytes > MOST_BYTES_AT_ONCE:
                return
            due_us = client.now_us if due is None else self._time_of(due)
            if self._zoom.is_over or due_us is None or due_us > client.now_us:
                return
            if (due is None or isinstance(due, Drop) or _is_end(due.message)) and not self._has_read_all():
                return
            if due is None:
                self._zoom.end(StopReason.STOP_BC_MEETING_ENDED)
                return
            if isinstance(due, Drop):
                self._lose(due)
            else:
                sent_bytes += len(due.raw)
                self._send(due)
            self._due = next(self._dues, None)

    def choose_video(self, user_id: UserId, *, subscribe: bool) -> tuple[StatusCode, str]:
        """See `Show.choose_video`: the capture has the video of one participant, whatever the client chooses."""
        return StatusCode.STATUS_OK, ""

    def _time_of(self, due: Due | Drop) -> int | None:
        """When a frame is due, on this machine's clock; `None` while a client is waited for that broke off."""
        assert self._begin_us is not None, "a show that has begun"
        if not self._at_once:
            return self._begin_us + due.at_us
        client = self._zoom.client
        if client.is_ready and client.kinds & client.wanted == client.wanted:
            self._paced_from = None
            return client.now_us
        if self._paced_from is None:
            return None
        since_us, at_us = self._paced_from
        return since_us + due.at_us - at_us

    # Frames and losses.

    def _send(self, due: Due) -> None:
        """Send a frame as it was, and do what the server did when it said this."""
        zoom, client, message = self._zoom, self._zoom.client, due.message
        if due.kind is not None:
            if client.deliver(due.kind, message, due.at_us, due.raw):
                self._patient_until_us = None
            return
        socket = client.media_socket() if due.on_media else client.signaling
        if due.on_media and socket is not None:
            self._patient_until_us = None
        unasked = isinstance(message, EventUpdate) and message.event_type in self._recording.unasked
        if zoom.tell(message, socket, due.raw, unasked=unasked):
            client.miss(message)
        if isinstance(message, EventUpdate) and message.event_type == MeetingEvent.MEDIA_CONNECTION_INTERRUPTED:
            self._interrupt(due, MEDIA)
        elif isinstance(message, StreamStateUpdate) and message.state == StreamState.INTERRUPTED:
            self._interrupt(due, what_is_lost(message.reason))
        elif isinstance(message, StreamStateUpdate) and message.state == StreamState.TERMINATED:
            reason = StopReason.member(message.reason) if isinstance(message.reason, int) else None
            known = reason if isinstance(reason, StopReason) else StopReason.STOP_BC_MEETING_ENDED
            zoom.end(known, is_said=True)

    def _lose(self, drop: Drop) -> None:
        """Close what was closed, if the client has it."""
        client = self._zoom.client
        if any(not drop.kinds or socket.kinds & drop.kinds for socket in client.sockets()):
            client.lose(MEDIA if drop.kinds else SIGNALING, drop.code, kinds=drop.kinds or None)
            self._paced_from = client.now_us, drop.at_us

    def _interrupt(self, due: Due, what: str) -> None:
        """Know these sockets no more, as the server did not. A client may wait before it believes the next one."""
        self._zoom.client.lose(what)
        self._paced_from = self._zoom.client.now_us, due.at_us

    # The end, faster than real time.

    def _has_read_all(self) -> bool:
        """Whether the client has read what was sent: asked once, it has answered, or had time enough for it."""
        client = self._zoom.client
        if self._is_deaf or (not self._at_once and client.speed <= 1):
            return True
        if self._patient_until_us is None:
            self._patient_until_us = client.after(READING_S)
            for socket in client.sockets():
                if socket.kinds:
                    client.ask_alive(socket)
        self._is_deaf = self._still_reads() and client.now_us >= self._patient_until_us
        return self._is_deaf or not self._still_reads()

    def _still_reads(self) -> bool:
        return any(socket.asked for socket in self._zoom.client.sockets() if socket.kinds)


def _is_terminated(message: Message) -> bool:
    return isinstance(message, StreamStateUpdate) and message.state == StreamState.TERMINATED


def _is_end(message: Message) -> bool:
    """Whether a client may take this for the end."""
    return _is_terminated(message) or (
        isinstance(message, SessionStateUpdate) and message.state == SessionState.STOPPED
    )
