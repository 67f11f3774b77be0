"""A feed from a capture: sends what a server once sent, byte for byte and at the same times after `7`.

The capture is streamed twice: once for what the server must know before a client connects (the ids, what was granted,
which events arrived without a subscription), and once for every client that becomes ready. `Zoom` handles handshakes
and keep-alives live. The other frames of media sockets, the events and the changes of state come from the capture.

A packet's type determines its kind. A client may therefore split its sockets differently from the recorded client, or
request fewer kinds. The granted parameters are always those of the capture, because the packets have that format.
`8` TERMINATED is sent last, because whatever followed it in the capture arrived on another socket.

If a socket was closed or broke during the recorded session, the client's socket closes with the same code, and the feed
continues when the client has reconnected.

Faster than real time, a client may still have a lot to read when the end is due. Each media socket therefore gets a
keep-alive request before the end. The answer shows that the client has read everything before it.
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
"""Frames per tick. After each tick, the driver checks whether the client keeps up."""

READING_S = 10
"""How long to wait at the end for a client that is still reading."""

_SENDABLE = (1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000))
"""Close codes that are valid in a close frame (RFC 6455, 7.4)."""

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
    """A frame of the capture and its time."""

    at_us: int
    """After `7`."""
    kind: MediaType | None
    """`None` for a frame without a kind: a signaling message, or an unknown frame on either socket."""
    on_media: bool
    message: Message
    raw: bytes


class Drop(Struct, frozen=True, gc=False):
    """A socket that was lost in the capture, and when."""

    at_us: int
    """After `7`."""
    kinds: MediaType
    """The kinds of media that it carried; none on signaling."""
    code: int


class Recording:
    """A capture, scanned once.

    :raises Problem: if it contains nothing to serve.
    """

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        header = capture.header
        self.id = header.id
        self.stream_id = header.rtms_stream_id
        known = [product for product in Product if product == header.product]
        self.product = known[0] if known else Product.MEETING
        self.unasked: frozenset[object] = frozenset()
        """Event types that arrived without a subscription."""
        self.zoom_ms = 0
        """Zoom's clock, in Unix ms, when the client was ready."""
        self.params = MediaParams()
        """The granted parameters. If the server did not send them: the requested parameters or the defaults."""
        self._begin_us = 0
        self._look_through()
        self.problems = list(capture.problems)
        """Number of unreadable lines."""

    def dues(self) -> Iterator[Due | Drop]:
        """Yield everything to serve, in order."""
        last: Due | None = None
        drops: list[Drop] = []
        at_us = 0
        for frame in self._capture:
            due = self._due(frame)
            if due is None:
                if last is None and (drop := self._drop(frame)) is not None:
                    drops.append(drop)  # after the last frame this is the end, not a loss
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
                f"{self._capture.shown} has nothing to serve: the client was never ready, and no media arrived.",
                "Serve a capture of a session with media; `rtms demo` creates one.",
            )
        if not self.id or not self.stream_id:
            raise Problem(
                f"{self._capture.shown} does not name a stream.",
                "Its header, or a handshake in it, must have both ids.",
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
            return None  # an unknown frame during the handshakes, which are live
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
    """A `Show` from a capture, for one client.

    :param at_once: send as fast as the client reads, regardless of the clock.
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
        """After an interruption in the capture, the recorded pace applies even with `at_once`. This is the time of the
        interruption on this machine's clock and on the capture's."""
        self._patient_until_us: int | None = None
        """Until when the client may answer the keep-alive request that asks whether it has read everything."""
        self._is_deaf = False
        """Whether the client did not answer in time. Then it is not asked again."""

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
        """See `Show.start`. The first time, the capture contains the start of the stream."""
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
        """Send what is due, in order, up to a limit per call. See `Show.play`."""
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
        """See `Show.choose_video`. The choice has no effect: the capture has one participant's video."""
        return StatusCode.STATUS_OK, ""

    def _time_of(self, due: Due | Drop) -> int | None:
        """Return when a frame is due on this machine's clock, or `None` while waiting for the client to reconnect."""
        assert self._begin_us is not None, "a feed that has started"
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
        """Send a recorded frame, and do what the server did with it."""
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
        """Close the socket that was closed, if the client has it."""
        client = self._zoom.client
        if any(not drop.kinds or socket.kinds & drop.kinds for socket in client.sockets()):
            client.lose(MEDIA if drop.kinds else SIGNALING, drop.code, kinds=drop.kinds or None)
            self._paced_from = client.now_us, drop.at_us

    def _interrupt(self, due: Due, what: str) -> None:
        """Forget these sockets, as the recorded server did. The client may wait before it reconnects."""
        self._zoom.client.lose(what)
        self._paced_from = self._zoom.client.now_us, due.at_us

    # The end, faster than real time.

    def _has_read_all(self) -> bool:
        """Return whether the client has read everything: it has answered a keep-alive request, or its time is up."""
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
    """Return whether a client may treat this as the end."""
    return _is_terminated(message) or (
        isinstance(message, SessionStateUpdate) and message.state == SessionState.STOPPED
    )
