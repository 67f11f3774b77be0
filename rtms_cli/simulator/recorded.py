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

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct, structs

from rtms_cli.capture import Capture
from rtms_cli.errors import Problem
from rtms_cli.machine import BROKEN, ChannelState, Direction, Frame, Send, State
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
    Signature,
    StreamCloseResponse,
    StreamStateResponse,
    StreamStateUpdate,
    Transcript,
    Unreadable,
    Video,
    VideoSubscriptionRequest,
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
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.zoom import _MEDIA_REASONS, HELD_AUDIO_MS, Finding, Report, Zoom, _Channel, _plain_name

MOST_AT_ONCE = 64
MOST_BYTES_AT_ONCE = 1 << 20
"""What one tick sends; then whoever runs the machine sees whether the client keeps up."""

READING_S = 10
"""How long the end waits for a client that still reads."""

_US = 1_000_000
_CLEAN = (1000, 1001, 1005)
"""Close codes of a client that goes for good; one whose connection breaks is waited for."""
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


class Recorded(Zoom):
    """The server's machine for one client of a recording.

    :param signature: the one that is right.
    :param urls: media URLs by Zoom's keys.
    :param speed: how much faster than real time this machine's clock runs.
    :param at_once: send as fast as the client reads, whatever the clock says.
    :param on_finding: is told of each mistake when it is made.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        signature: Signature,
        urls: dict[str, str],
        speed: float = 1,
        at_once: bool = False,
        on_finding: Callable[[Finding], None] | None = None,
    ) -> None:
        super().__init__(
            product=recording.product,
            identity=recording.id,
            stream_id=recording.stream_id,
            signature=signature,
            urls=urls,
            scenario=Scenario(),
            epoch_ms=recording.zoom_ms,
            scopes=EVERY_MEDIA,
            speed=speed,
        )
        self._give_up_us = None
        self._recording = recording
        self._at_once = at_once
        self._on_finding = on_finding
        self._dues: Iterator[Due | Drop] = iter(())
        self._due: Due | Drop | None = None
        self._wanted = MediaType(0)
        self._waiting: deque[Due] = deque()
        """Audio that waits for a client that was there and is gone."""
        self._paced_from: tuple[int, int] | None = None
        """Since an interruption that the capture tells of, the recorded pace holds also where all goes at once: when
        that was, on this machine's clock and on the show's."""
        self._asked_us: int | None = None
        """When the client was asked whether it has read everything."""
        self._is_deaf = False
        """Whether it did not answer in time; then it is not asked again."""
        self._end_was_said = False

    def report(self) -> Report:
        """See `Zoom.report`."""
        report = super().report()
        untaken = dict(report.untaken)
        for due in self._waiting:
            untaken[_plain_name(due.message)] = untaken.get(_plain_name(due.message), 0) + 1
        return structs.replace(report, untaken=untaken)

    # What differs from a made-up session.

    def _find(self, channel: str, what: str) -> None:
        super()._find(channel, what)
        if self._on_finding is not None:
            self._on_finding(self._findings[-1])

    def _grant(self, asked: MediaParams, kinds: MediaType) -> MediaParams:
        return self._recording.params.only(kinds).or_else(super()._grant(asked, kinds))

    def _say_started(self, channel: _Channel) -> None:
        if self._begin_us is not None:
            super()._say_started(channel)  # the capture says it only once

    def _say_end(self, reason: StopReason) -> None:
        if not self._end_was_said:
            super()._say_end(reason)

    def _on_video_subscription(self, channel: _Channel, message: VideoSubscriptionRequest) -> None:
        self._send(channel, VideoSubscriptionResponse(message.user_id, StatusCode.STATUS_OK, "", self._zoom_ms()))

    def _on_state(self, name: str, state: ChannelState) -> None:
        left = (
            self._signaling is not None
            and name == self._signaling.name
            and state.state is State.CLOSED
            and not state.ours
            and state.code in _CLEAN
        )
        super()._on_state(name, state)
        if left:
            self._end(StopReason.STOP_BC_SIGNAL_CONNECTION_CLOSED_ABNORMALLY)

    def _lost(self, channel: _Channel) -> None:
        if self._session_state != SessionState.STOPPED:
            super()._lost(channel)
        elif channel is self._signaling:  # it may take `9` for the end, and `8` may be a while yet
            self._signaling = None
            self._end(StopReason.STOP_BC_MEETING_ENDED)

    # The show.

    def _resume(self) -> None:
        self._give_up_us = None
        for channel in self._channels.values():
            self._wanted |= channel.kinds
        if self._begin_us is None:
            self._begin_us = self._now_us
            self._dues = self._recording.dues()
            self._due = next(self._dues, None)
        taker = self._taker(MediaType.AUDIO)
        while taker is not None and self._waiting:
            self._pass_on(taker, self._waiting.popleft())
        self._play(0)

    def _show_times(self) -> Sequence[int]:
        """When the next frame is due: on this machine's clock, in µs."""
        if self._begin_us is None:
            return ()
        if self._asked_us is not None and self._still_reads() and not self._is_deaf:
            return (self._asked_us + self._patience_us,)
        due_us = self._now_us if self._due is None else self._time_of(self._due)
        return () if due_us is None else (due_us,)

    def _play(self, now_ms: int) -> None:
        """Send all that is due, in order, but so much at once and no more."""
        assert self._begin_us is not None, "a show that has begun"
        sent_bytes = 0
        for _ in range(MOST_AT_ONCE):
            due = self._due
            if sent_bytes > MOST_BYTES_AT_ONCE:
                return
            due_us = self._now_us if due is None else self._time_of(due)
            if self._over or due_us is None or due_us > self._now_us:
                return
            if (due is None or isinstance(due, Drop) or _is_end(due.message)) and not self._has_read_all():
                return
            if due is None:
                self._end(StopReason.STOP_BC_MEETING_ENDED)
                return
            if isinstance(due, Drop):
                self._perform_drop(due)
            else:
                sent_bytes += len(due.raw)
                self._perform_due(due)
            self._due = next(self._dues, None)

    def _time_of(self, due: Due | Drop) -> int | None:
        """When a frame is due, on this machine's clock; `None` while a client is waited for that broke off."""
        assert self._begin_us is not None, "a show that has begun"
        if not self._at_once:
            return self._begin_us + due.at_us
        if self._all_are_here():
            self._paced_from = None
            return self._now_us
        if self._paced_from is None:
            return None
        since_us, at_us = self._paced_from
        return since_us + due.at_us - at_us

    def _all_are_here(self) -> bool:
        """Whether the client has every socket that it had."""
        kinds = MediaType(0)
        for channel in self._channels.values():
            kinds |= channel.kinds
        return self._ready and kinds & self._wanted == self._wanted

    def _perform_due(self, due: Due) -> None:
        channel = self._taker_of(due)
        message = due.message
        if channel is not None:
            self._pass_on(channel, due)
        elif due.kind is MediaType.AUDIO and due.kind in self._wanted:
            self._waiting.append(due)
            while due.at_us - self._waiting[0].at_us > HELD_AUDIO_MS * 1000:
                self._untaken[_plain_name(self._waiting.popleft().message)] += 1
        elif due.kind is None or due.kind in self._wanted:
            if self._is_wanted(message):
                self._untaken[_plain_name(message)] += 1
        if isinstance(message, StreamStateUpdate):
            self._on_recorded_state(due, message)
        elif isinstance(message, SessionStateUpdate):
            self._session_state = message.state
        elif isinstance(message, EventUpdate) and message.event_type == MeetingEvent.MEDIA_CONNECTION_INTERRUPTED:
            self._interrupt(due, media_only=True)

    def _perform_drop(self, drop: Drop) -> None:
        """Close what was closed. Where signaling is lost, the media go with it (PROTOCOL §9)."""
        lost = [each for each in self._channels.values() if not drop.kinds or each.kinds & drop.kinds]
        if lost:
            self._leave(lost, "media" if drop.kinds else "signaling", drop.code)
            self._paced_from = self._now_us, drop.at_us

    def _interrupt(self, due: Due, *, media_only: bool) -> None:
        """Know these sockets no more, as the server did not. A client may wait before it believes the next one."""
        self._leave(self._sockets(media_only=media_only), "media" if media_only else "signaling")
        self._paced_from = self._now_us, due.at_us

    def _on_recorded_state(self, due: Due, message: StreamStateUpdate) -> None:
        """Do what the server did when it said this."""
        self._stream_state = message.state
        if message.state == StreamState.TERMINATED:
            self._end_was_said = True
            reason = StopReason.member(message.reason or 0)
            self._end(reason if isinstance(reason, StopReason) else StopReason.STOP_BC_MEETING_ENDED)
        elif message.state == StreamState.INTERRUPTED:
            self._interrupt(due, media_only=message.reason in _MEDIA_REASONS)

    def _taker_of(self, due: Due) -> _Channel | None:
        """The socket for a frame, if there is one and its client wants it."""
        if due.kind is not None:
            return self._taker(due.kind)
        if not due.on_media:
            return self._signaling if self._is_wanted(due.message) else None
        return next((channel for channel in self._channels.values() if channel.kinds), None)

    def _is_wanted(self, message: Message) -> bool:
        if not isinstance(message, EventUpdate):
            return True
        return message.event_type in self._events or message.event_type in self._recording.unasked

    def _pass_on(self, channel: _Channel, due: Due) -> None:
        """Send a frame as it was."""
        if channel.is_media:
            self._asked_us = None
        binary = isinstance(due.message, Unreadable) and not _is_text(due.raw)
        self._send(channel, due.message, Send(channel.name, due.message, binary, due.raw))

    # The end, faster than real time.

    @property
    def _patience_us(self) -> int:
        return round(READING_S * _US * self._speed)

    def _has_read_all(self) -> bool:
        """Whether the client has read what was sent: asked once, it has answered, or had time enough for it."""
        if self._is_deaf or (not self._at_once and self._speed <= 1):
            return True
        if self._asked_us is None:
            self._asked_us = self._now_us
            for channel in [each for each in self._channels.values() if each.kinds]:
                self._ask_alive(channel)
        self._is_deaf = self._still_reads() and self._now_us >= self._asked_us + self._patience_us
        return self._is_deaf or not self._still_reads()

    def _still_reads(self) -> bool:
        return any(channel.asked for channel in self._channels.values() if channel.kinds)

    def _on_alive(self, channel: _Channel, message: KeepAliveResponse) -> None:
        super()._on_alive(channel, message)
        if self._asked_us is not None and not self._still_reads():
            self._play(0)


def _is_terminated(message: Message) -> bool:
    return isinstance(message, StreamStateUpdate) and message.state == StreamState.TERMINATED


def _is_end(message: Message) -> bool:
    """Whether a client may take this for the end."""
    return _is_terminated(message) or (
        isinstance(message, SessionStateUpdate) and message.state == SessionState.STOPPED
    )


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
