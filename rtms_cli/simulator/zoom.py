"""Zoom's side of one stream: a Sans-I/O machine that is as strict as PROTOCOL says, and tells what clients do wrong.

Channels are the sockets that clients open, by names that the server gives: `signaling`, `signaling#2`, `media`,
`media#2`, …. The order of things (PROTOCOL §1):

    1 on signaling   →  2 with the media URLs      the stream's state and session follow
    3 on media       →  4 with what is granted     any number of sockets, each kind of media once
    7 on signaling                                 from here on media flows
    21 on signaling  →  22, then 8 TERMINATED      or the show is over: 9 STOPPED, 8 TERMINATED

Every mistake gets the documented status code, is closed, and becomes a `Finding`. Media that nobody is there to take is
lost, but for audio: the last 60 s of it wait for the client to come back.
"""

import hmac
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from enum import StrEnum

from msgspec import Struct, structs

from rtms_cli.machine import BROKEN, Announce, ChannelState, Close, Command, Direction, Finish, Frame, Send, State
from rtms_cli.protocol.media import DEFAULT_PARAMS, MEDIA_NAMES, NO_SCOPE, MediaParams, params_fault, spelled_out
from rtms_cli.protocol.messages import (
    Audio,
    ClientReadyAck,
    EventSubscription,
    EventUpdate,
    KeepAliveRequest,
    KeepAliveResponse,
    MediaHandshakeRequest,
    MediaHandshakeResponse,
    Message,
    SessionStateRequest,
    SessionStateResponse,
    SessionStateUpdate,
    SignalingHandshakeRequest,
    SignalingHandshakeResponse,
    Signature,
    StreamCloseRequest,
    StreamCloseResponse,
    StreamStateRequest,
    StreamStateResponse,
    StreamStateUpdate,
    Unreadable,
    UserId,
    VideoSubscriptionRequest,
    VideoSubscriptionResponse,
)
from rtms_cli.protocol.numbers import (
    EVERY_MEDIA,
    ContentType,
    MediaType,
    MeetingEvent,
    MessageType,
    SessionState,
    StatusCode,
    StopReason,
    StreamState,
)
from rtms_cli.simulator.cues import Cue, make_cues
from rtms_cli.simulator.deviations import Deviation, spoken
from rtms_cli.simulator.faults import STRAY, Fault, Strike, spoilt
from rtms_cli.simulator.scenario import Scenario

KEEP_ALIVE_S = 10
"""How often the server asks on each socket (PROTOCOL §9)."""

MOST_UNANSWERED = 3
"""Keep-alives that may stay unanswered before the connection is cut."""

HELD_AUDIO_MS = 60_000
"""Audio that waits for a client that was there and is gone."""

RETURN_S = {"signaling": 60, "media": 65}
"""How long a lost connection is waited for (PROTOCOL §9)."""

FIRST_CONTACT_S = 60
"""How long the URLs of a webhook are valid."""

_US = 1_000_000
_NEVER_US = 1 << 62
_BY_THEMSELVES = (MeetingEvent.FIRST_PACKET_TIMESTAMP, MeetingEvent.MEDIA_CONNECTION_INTERRUPTED)


class Finding(Struct, frozen=True):
    """Something that the client did wrong."""

    at_ms: int
    channel: str
    what: str


class Report(Struct, frozen=True):
    """What the client did, and what it did wrong."""

    product: str
    stream_id: str
    joined: bool
    ready: bool
    sent: dict[str, int]
    """Messages sent to the client, by the type's name."""
    untaken: dict[str, int]
    """Messages that were due while nobody was there to take them."""
    keep_alives: int
    answered: int
    slowest_answer_ms: float | None
    findings: tuple[Finding, ...]


class _Phase(StrEnum):
    NEW = "new"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class _Channel:
    """One socket of a client's."""

    def __init__(self, name: str, at_us: int, generation: int) -> None:
        self.name = name
        self.generation = generation
        """Which of the servers it was opened to."""
        self.phase = _Phase.NEW
        self.kinds = MediaType(0)
        self.keep_alive_us = at_us
        self.asked: dict[int, int] = {}
        """Keep-alives that wait for an answer: when each was sent, by its sequence."""

    @property
    def is_media(self) -> bool:
        return self.name.startswith("media")


class Zoom:
    """The server's machine for one stream.

    :param identity: the product's id, which the client must send.
    :param signature: the one that is right.
    :param urls: media URLs by Zoom's keys.
    :param scopes: the media that the app may have.
    :param epoch_ms: Zoom's clock when the show begins.
    :param speed: how much faster than real time this machine's clock runs; keep-alives stay in real time, for the
        client's sake.
    """

    def __init__(
        self,
        *,
        product: str,
        identity: str,
        stream_id: str,
        signature: Signature,
        urls: dict[str, str],
        scenario: Scenario,
        epoch_ms: int,
        scopes: MediaType = EVERY_MEDIA,
        speed: float = 1,
    ) -> None:
        self._product = product
        self._identity = identity
        self._stream_id = stream_id
        self._signature = signature
        self._urls = urls
        self._scenario = scenario
        self._epoch_ms = epoch_ms
        self._scopes = spelled_out(scopes)
        self._speed = speed
        self._channels: dict[str, _Channel] = {}
        self._signaling: _Channel | None = None
        self._out: list[Command] = []
        self._now_us = 0
        self._begin_us: int | None = None
        self._give_up_us: int | None = round(FIRST_CONTACT_S * _US * speed)
        self._events: set[int] = set(map(int, _BY_THEMSELVES))
        self._ready = False
        self._was_ready = False
        self._has_accepted_media = False
        """Since the signaling handshake: a `7` may cross the loss of the media connection."""
        self._joined = False
        self._stream_state: int | None = StreamState.ACTIVE
        self._session_state: int | None = SessionState.STARTED
        self._params = MediaParams()
        self._cues: dict[MediaType | None, Iterator[Cue]] = {}
        self._next: dict[MediaType | None, Cue] = {}
        self._held: deque[Audio] = deque()
        self._deviations = scenario.deviations
        self._strikes = deque(sorted(scenario.strikes, key=lambda strike: strike.at_ms))
        self._refusals: dict[Fault, deque[int]] = {}
        self._spoils: deque[Fault] = deque()
        self._swapped: Audio | None = None
        self._generation = 1
        self._moves = False
        self._refused = False
        self._quiet_until_us = 0
        self._buffered_ms = round(scenario.buffered_s * 1000)
        self._wants_buffered = True
        self._late: deque[Cue] = deque()
        self._late_until_ms = 0
        self._chosen: UserId = None
        """Whose video the client has chosen with `28`; the last one, for version 1 has one such stream."""
        self._sequence = 0
        self._sent: Counter[str] = Counter()
        self._untaken: Counter[str] = Counter()
        self._keep_alives = 0
        self._answered = 0
        self._slowest_us: int | None = None
        self._findings: list[Finding] = []
        self._over = False
        while self._strikes and self._strikes[0].at_ms < 0:
            self._strike(self._strikes.popleft())

    @property
    def generation(self) -> int:
        """Which of the servers is alive: 1, and one more after each failover."""
        return self._generation

    @property
    def moves(self) -> bool:
        """Whether the newest server has a port of its own; tell its URLs to `move_to`."""
        return self._moves

    def move_to(self, urls: dict[str, str]) -> None:
        """Hand out these media URLs from now on."""
        self._urls = urls

    @property
    def deadline_us(self) -> int | None:
        """See `Machine.deadline_us`."""
        if self._over:
            return None
        times = [self._give_up_us]
        times += [channel.keep_alive_us for channel in self._channels.values() if channel.phase is _Phase.ACCEPTED]
        times += self._show_times()
        return min((time for time in times if time is not None), default=None)

    @property
    def is_over(self) -> bool:
        """Whether it has said its last word; its sockets may still be closing."""
        return self._over

    def report(self) -> Report:
        """What the client did so far."""
        return Report(
            self._product,
            self._stream_id,
            self._joined,
            self._was_ready,
            dict(self._sent),
            dict(self._untaken + Counter(map(_plain_name, self._held))),
            self._keep_alives,
            self._answered,
            None if self._slowest_us is None else self._slowest_us / 1000 / self._speed,
            tuple(self._findings),
        )

    def receive(self, frame: Frame) -> Sequence[Command]:
        """See `Machine.receive`."""
        self._now_us = frame.at_us
        message = frame.message
        if self._over:
            return ()
        if isinstance(message, ChannelState):
            self._on_state(frame.channel, message)
        elif frame.direction is Direction.IN and isinstance(message, Message):
            channel = self._channels.get(frame.channel)
            if channel is not None and channel.phase is not _Phase.REFUSED:
                self._on_message(channel, message)
        return self._hand_out()

    def tick(self, at_us: int) -> Sequence[Command]:
        """See `Machine.tick`."""
        self._now_us = at_us
        if self._over:
            return ()
        for channel in list(self._channels.values()):
            if channel.phase is _Phase.ACCEPTED and at_us >= channel.keep_alive_us:
                self._ask_alive(channel)
        if self._begin_us is not None:
            self._play((at_us - self._begin_us) // 1000)
        if self._give_up_us is not None and at_us >= self._give_up_us:
            if self._joined or not self._refused:
                self._find("", "no client came, or none came back in time")
            self._end(StopReason.STOP_BC_AWAIT_RECONNECTION_TIMEOUT)
        return self._hand_out()

    # Sockets.

    def _on_state(self, name: str, state: ChannelState) -> None:
        if state.state is State.OPEN:
            opened = self._channels[name] = _Channel(name, self._now_us, self._generation)
            if Deviation.EARLY_KEEP_ALIVE in self._deviations and not opened.is_media:
                self._ask_alive(opened)
        elif state.state is State.CLOSED and not state.ours:
            closed = self._channels.pop(name, None)
            if closed is not None and closed.phase is _Phase.ACCEPTED:
                if closed.generation == self._generation:
                    self._lost(closed)
                else:
                    self._left(closed)
        elif state.state is State.STOPPING:
            self._end(StopReason.STOP_BC_HOST_TRIGGERED)

    def _lost(self, channel: _Channel) -> None:
        """A client's socket is gone: wait for it to come back."""
        kind = "media" if channel.is_media else "signaling"
        self._find(channel.name, "the client closed the connection before the end")
        if not channel.is_media:
            self._signaling = None
            self._ready = False
            for media in [media for media in self._channels.values() if media.is_media]:
                self._close(media, 1000, "signaling was lost")
        self._give_up_us = self._now_us + round(RETURN_S[kind] * _US * self._speed)

    def _left(self, channel: _Channel) -> None:
        """A client goes away from a server that another one has taken the place of, as it should."""
        if channel is self._signaling:
            self._forget_old()
            self._give_up_us = self._now_us + round(RETURN_S["signaling"] * _US * self._speed)

    def _forget_old(self) -> None:
        """Know the sockets to older servers no more; they stay open until the client closes them."""
        for channel in [each for each in self._channels.values() if each.generation < self._generation]:
            self._channels.pop(channel.name)
        if self._signaling is not None and self._signaling.generation < self._generation:
            self._signaling = None
            self._ready = False

    def _close(self, channel: _Channel, code: int, reason: str) -> None:
        self._out.append(Close(channel.name, code, reason))
        self._channels.pop(channel.name, None)
        if channel is self._signaling:
            self._signaling = None
            self._ready = False

    def _refuse(
        self, channel: _Channel, answer: SignalingHandshakeResponse | MediaHandshakeResponse, what: str
    ) -> None:
        """Refuse a handshake. That the app has no scope for something is nothing that the client did wrong."""
        channel.phase = _Phase.REFUSED
        if answer.status_code not in NO_SCOPE.values():
            self._find(channel.name, what)
        self._send(channel, answer)
        self._close(channel, 1000, "refused")

    # Messages.

    def _on_message(self, channel: _Channel, message: Message) -> None:
        match message:
            case SignalingHandshakeRequest() if not channel.is_media:
                self._on_signaling_handshake(channel, message)
            case MediaHandshakeRequest() if channel.is_media:
                self._on_media_handshake(channel, message)
            case _ if channel.phase is not _Phase.ACCEPTED:
                self._find(channel.name, f"{_name(message)} before the handshake")
                self._close(channel, 1008, "handshake expected")
            case KeepAliveResponse():
                self._on_alive(channel, message)
            case EventSubscription() if not channel.is_media:
                self._on_subscription(channel, message)
            case ClientReadyAck() if not channel.is_media:
                self._on_ready(channel, message)
            case StreamCloseRequest() if not channel.is_media:
                self._on_close_request(channel, message)
            case SessionStateRequest(session_id=session_id) if not channel.is_media:
                self._send(channel, SessionStateResponse(session_id, self._session_state, self._zoom_ms()))
            case StreamStateRequest(stream_id=stream_id) if not channel.is_media:
                if stream_id != self._stream_id:
                    self._find(channel.name, "19 STREAM_STATE_REQ with a wrong rtms_stream_id")
                self._send(channel, StreamStateResponse(self._stream_id, self._stream_state, self._zoom_ms()))
            case VideoSubscriptionRequest() if not channel.is_media:
                self._on_video_subscription(channel, message)
            case _:
                self._find(channel.name, f"{_name(message)} is nothing that a client sends here")

    def _on_signaling_handshake(self, channel: _Channel, asked: SignalingHandshakeRequest) -> None:
        if channel.generation == self._generation:
            self._forget_old()
        if self._due_refusal(Fault.HANG_UP) is not None:
            channel.phase = _Phase.REFUSED
            self._close(channel, 1000, "")
            return
        if (refusal := self._due_refusal(Fault.REFUSE_SIGNALING)) is not None:
            channel.phase = _Phase.REFUSED
            self._send(channel, SignalingHandshakeResponse(refusal, "a scenario's", sequence=asked.sequence))
            if Deviation.SILENT_REFUSAL not in self._deviations:
                self._close(channel, 1000, "refused")
            return
        status, why = self._check_identity(asked)
        if status is StatusCode.STATUS_OK and self._signaling is not None:
            status, why = StatusCode.STATUS_DUPLICATE_SIGNAL_REQUEST, "another signaling connection is open"
        if status is not StatusCode.STATUS_OK:
            self._refuse(channel, SignalingHandshakeResponse(status, why, sequence=asked.sequence), f"1: {why}")
            return
        channel.phase = _Phase.ACCEPTED
        self._signaling = channel
        self._joined = True
        self._ready = self._has_accepted_media = False
        self._wants_buffered = asked.buffer_data is not False
        self._give_up_us = None if self._begin_us is None else self._give_up_us
        self._begin_keep_alive(channel)
        server = "" if self._generation == 1 else f"?server={self._generation}"
        urls = {key: url + server for key, url in self._urls.items() if key == "all" or _KINDS[key] in self._scopes}
        self._send(channel, SignalingHandshakeResponse(StatusCode.STATUS_OK, "", urls, asked.sequence))

    def _on_media_handshake(self, channel: _Channel, asked: MediaHandshakeRequest) -> None:
        if (refusal := self._due_refusal(Fault.REFUSE_MEDIA)) is not None:
            channel.phase = _Phase.REFUSED
            self._send(channel, MediaHandshakeResponse(refusal, "a scenario's", sequence=asked.sequence))
            self._close(channel, 1000, "refused")
            return
        status, why = self._check_identity(asked)
        kinds = MediaType(0)
        if status is StatusCode.STATUS_OK:
            status, why, kinds = self._check_media(channel, asked)
        if status is not StatusCode.STATUS_OK:
            self._refuse(channel, MediaHandshakeResponse(status, why, sequence=asked.sequence), f"3: {why}")
            return
        params = self._grant(asked.params, kinds)
        channel.phase = _Phase.ACCEPTED
        channel.kinds = kinds
        self._has_accepted_media = True
        self._params = params.or_else(self._params)
        self._begin_keep_alive(channel)
        self._send(channel, MediaHandshakeResponse(StatusCode.STATUS_OK, "", params, asked.sequence))
        if Deviation.NO_MEDIA_ANSWER in self._deviations:
            self._ready = self._was_ready = True
        if self._was_ready and self._signaling is not None:
            self._resume()

    def _grant(self, asked: MediaParams, kinds: MediaType) -> MediaParams:
        """What the client gets that asks for this."""
        return _granted(asked.only(kinds).or_else(DEFAULT_PARAMS).only(kinds))

    def _check_identity(self, asked: SignalingHandshakeRequest | MediaHandshakeRequest) -> tuple[StatusCode, str]:
        """What is wrong with a handshake's ids and signature."""
        if asked.protocol_version != 1:
            return StatusCode.STATUS_INVALID_PAYLOAD, f"protocol_version {asked.protocol_version} is not 1"
        if asked.id is None or asked.stream_id is None or asked.signature is None:
            return StatusCode.STATUS_INVALID_PAYLOAD, "meeting_uuid, rtms_stream_id or signature is missing"
        if asked.stream_id != self._stream_id or asked.id != self._identity:
            return StatusCode.STATUS_INVALID_RTMS_STREAM_ID, "no such stream: meeting_uuid or rtms_stream_id is wrong"
        if not hmac.compare_digest(asked.signature.encode(), self._signature.encode()):
            return StatusCode.STATUS_INVALID_SIGNATURE, "the signature is wrong"
        return StatusCode.STATUS_OK, ""

    def _check_media(self, channel: _Channel, asked: MediaHandshakeRequest) -> tuple[StatusCode, str, MediaType]:
        """What is wrong with what a media handshake asks for; else the kinds that it gets."""
        none = MediaType(0)
        if self._signaling is None:
            return StatusCode.STATUS_INVALID_MESSAGE_TYPE, "there is no signaling connection", none
        if asked.media_type is None:
            return StatusCode.STATUS_INVALID_MEDIA_TYPE, "media_type is missing", none
        if not 0 < asked.media_type <= MediaType.ALL:
            return StatusCode.STATUS_MEDIA_TYPE_INVALID_VALUE, f"media_type {asked.media_type} is no sum of bits", none
        kinds = spelled_out(MediaType(asked.media_type))
        if asked.media_type == MediaType.ALL:
            kinds &= self._scopes
        for kind, status in NO_SCOPE.items():
            if kind in kinds and kind not in self._scopes:
                return status, f"the app has no scope for {MEDIA_NAMES[kind]}", none
        taken = MediaType(0)
        for other in self._channels.values():
            taken |= other.kinds
        if taken and kinds & taken == kinds and taken == self._scopes:
            return StatusCode.STATUS_MEDIA_DATA_ALL_CONNECTION_EXIST, "all media connections exist", none
        if kinds & taken:
            return StatusCode.STATUS_DUPLICATE_MEDIA_DATA_CONNECTION, "this media type has a connection", none
        fault = params_fault(asked.params, kinds)
        if fault is not None:
            return fault.status, fault.text, none
        return StatusCode.STATUS_OK, "", kinds

    def _on_ready(self, channel: _Channel, message: ClientReadyAck) -> None:
        if not self._has_accepted_media:
            self._find(channel.name, "7 CLIENT_READY_ACK before any media connection was accepted")
        elif message.stream_id != self._stream_id:
            self._find(channel.name, "7 CLIENT_READY_ACK with a wrong rtms_stream_id")
        elif Deviation.NO_MEDIA_ANSWER in self._deviations:
            pass  # media flows since `3`
        elif self._ready:
            self._find(channel.name, "7 CLIENT_READY_ACK twice on one signaling connection")
        elif any(other.is_media and other.phase is _Phase.NEW for other in self._channels.values()):
            self._find(channel.name, "7 CLIENT_READY_ACK before every media connection was accepted")
        else:
            self._ready = self._was_ready = True
            self._say_started(channel)
            self._resume()

    def _say_started(self, channel: _Channel) -> None:
        self._send(channel, StreamStateUpdate(StreamState.ACTIVE, timestamp=self._zoom_ms()))
        self._send(channel, SessionStateUpdate(self._session_id(), SessionState.STARTED, timestamp=self._zoom_ms()))

    def _on_subscription(self, channel: _Channel, message: EventSubscription) -> None:
        for event, wanted in message.events:
            if event is None or not 0 < event < 30:
                self._find(channel.name, f"5 EVENT_SUBSCRIPTION for {event}, which is no event type")
            elif event in _BY_THEMSELVES:
                self._find(channel.name, f"5 EVENT_SUBSCRIPTION for {event}, which comes by itself")
            elif wanted:
                self._events.add(event)
            else:
                self._events.discard(event)

    def _on_close_request(self, channel: _Channel, message: StreamCloseRequest) -> None:
        if message.stream_id != self._stream_id:
            status, why = StatusCode.STATUS_INVALID_RTMS_STREAM_ID, "another rtms_stream_id"
            self._find(channel.name, f"21: {why}")
            self._send(channel, StreamCloseResponse(self._stream_id, status, why, self._zoom_ms()))
            return
        self._send(channel, StreamCloseResponse(self._stream_id, StatusCode.STATUS_OK, "", self._zoom_ms()))
        self._end(StopReason.STOP_BC_RECEIVER_REQUEST_CLOSE)

    def _on_video_subscription(self, channel: _Channel, message: VideoSubscriptionRequest) -> None:
        status, why = StatusCode.STATUS_OK, ""
        if message.subscribe and message.user_id == self._chosen:
            status, why = StatusCode.STATUS_DUPLICATE_VIDEO_SUBSCRIPTION, "subscribed already"
        elif all(message.user_id != person.user_id for person in self._scenario.people):
            status, why = StatusCode.STATUS_INVALID_PAYLOAD, f"no participant has the user_id {message.user_id}"
        elif message.subscribe:
            self._chosen = message.user_id
        elif message.user_id == self._chosen:
            self._chosen = None
        if status is not StatusCode.STATUS_OK:
            self._find(channel.name, f"28: {why}")
        self._send(channel, VideoSubscriptionResponse(message.user_id, status, why, self._zoom_ms()))

    # Keep-alive.

    def _begin_keep_alive(self, channel: _Channel) -> None:
        never = channel.is_media and Deviation.SIGNALING_KEEP_ALIVE_ONLY in self._deviations
        channel.keep_alive_us = _NEVER_US if never else self._now_us + round(KEEP_ALIVE_S * _US * self._speed)

    def _ask_alive(self, channel: _Channel) -> None:
        if self._now_us < self._quiet_until_us:
            channel.keep_alive_us = self._quiet_until_us
            return
        if len(channel.asked) >= MOST_UNANSWERED:
            self._find(channel.name, f"{MOST_UNANSWERED} keep-alives were not answered: cut")
            self._close(channel, 1001, "keep-alive time-out")
            self._give_up_us = self._now_us + round(RETURN_S["signaling"] * _US * self._speed)
            return
        self._sequence += 1
        self._keep_alives += 1
        channel.asked[self._sequence] = self._now_us
        self._begin_keep_alive(channel)
        self._send(channel, KeepAliveRequest(self._zoom_ms(), self._sequence))

    def _on_alive(self, channel: _Channel, message: KeepAliveResponse) -> None:
        sequence = message.sequence if isinstance(message.sequence, int) else next(iter(channel.asked), None)
        asked_us = channel.asked.pop(sequence, None) if sequence is not None else None
        if asked_us is None:
            self._find(channel.name, "13 KEEP_ALIVE_RESP that answers nothing")
            return
        bare = Deviation.BARE_KEEP_ALIVE in self._deviations
        if str(message.timestamp) != str(None if bare else self._zoom_ms(asked_us)):
            self._find(channel.name, f"13 KEEP_ALIVE_RESP with timestamp {message.timestamp}, not the one of the 12")
        self._answered += 1
        took_us = self._now_us - asked_us
        self._slowest_us = max(self._slowest_us or 0, took_us)

    # The show.

    def _resume(self) -> None:
        """The client is ready: begin, or go on, with the audio that waited."""
        self._give_up_us = None
        if self._begin_us is None:
            self._begin_us = self._now_us - self._buffered_ms * 1000
            self._cues[None] = self._show(None)
        for channel in self._channels.values():
            for kind in MEDIA_NAMES:
                if kind in channel.kinds and kind not in self._cues:
                    self._cues[kind] = self._show(kind)
        for cued, cues in self._cues.items():
            if cued not in self._next and (cue := next(cues, None)) is not None:
                self._next[cued] = cue
        self._deliver_held()
        self._play((self._now_us - self._begin_us) // 1000)

    def _show(self, kind: MediaType | None) -> Iterator[Cue]:
        return make_cues(
            self._scenario,
            self._params,
            self._epoch_ms,
            kind,
            lambda: self._chosen,
            self._session_id(),
            self._product,
        )

    def _show_times(self) -> Sequence[int]:
        """When something of the show is due: on this machine's clock, in µs."""
        if self._begin_us is None:
            return ()
        due_ms = [cue.at_ms for cue in self._next.values()]
        due_ms += [strike.at_ms for strike in list(self._strikes)[:1]]
        due_ms.append(self._scenario.duration_ms)
        if self._late:
            due_ms.append(self._late_until_ms)
        return [self._begin_us + at_ms * 1000 for at_ms in due_ms]

    def _deliver_held(self) -> None:
        channel = self._taker(MediaType.AUDIO)
        if channel is not None:
            while self._held:
                self._send(channel, self._held.popleft())

    def _play(self, now_ms: int) -> None:
        """Send all that is due, in order."""
        while self._next:
            kind = min(self._next, key=lambda each: self._next[each].at_ms)
            cue = self._next[kind]
            if self._strikes and self._strikes[0].at_ms <= min(now_ms, cue.at_ms):
                self._strike(self._strikes.popleft())
                if self._over:
                    return
                continue
            if cue.at_ms > now_ms:
                break
            if cue.at_ms >= self._late_until_ms:
                self._deliver_late()
            self._perform(cue)
            following = next(self._cues[kind], None)
            if following is None:
                del self._next[kind]
            else:
                self._next[kind] = following
        if now_ms >= self._late_until_ms:
            self._deliver_late()
        if now_ms >= self._scenario.duration_ms:
            self._end(StopReason.STOP_BC_MEETING_ENDED)

    def _deliver_late(self) -> None:
        """Send what was delayed."""
        self._late_until_ms = 0
        while self._late:
            self._perform(self._late.popleft())

    def _perform(self, cue: Cue) -> None:
        if cue.message is None:
            return
        if cue.kind is None:
            self._tell(cue.message)
            return
        if cue.at_ms < self._buffered_ms and not (cue.kind is MediaType.AUDIO and self._wants_buffered):
            self._untaken[_plain_name(cue.message)] += 1
            return
        if cue.at_ms < self._late_until_ms:
            self._late.append(cue)
            return
        channel = self._taker(cue.kind)
        if isinstance(cue.message, Audio):
            self._perform_audio(channel, cue.message)
        elif channel is not None:
            self._send(channel, cue.message)
        else:
            self._untaken[_plain_name(cue.message)] += 1

    def _tell(self, news: Message) -> None:
        """Events go to who subscribed to them, changes of state to everybody."""
        if isinstance(news, StreamStateUpdate):
            self._stream_state = news.state
        elif isinstance(news, SessionStateUpdate):
            self._session_state = news.state
        unwanted = isinstance(news, EventUpdate) and news.event_type not in self._events
        if self._signaling is not None and not unwanted:
            self._send(self._signaling, news)

    def _perform_audio(self, channel: _Channel | None, message: Audio) -> None:
        if channel is None:
            self._held.append(message)
            newest_ms = message.timestamp or 0
            while newest_ms - (self._held[0].timestamp or 0) > HELD_AUDIO_MS:
                self._untaken[_plain_name(self._held.popleft())] += 1
            return
        if self._swapped is not None:
            self._send(channel, message)
            self._send(channel, self._swapped)
            self._swapped = None
            return
        fault = self._spoils.popleft() if self._spoils else None
        if fault is Fault.SWAP:
            self._swapped = message
            return
        self._send(channel, message, spoilt(channel.name, message, fault) if fault in _SPOILING else None)
        if fault is Fault.DUPLICATE:
            self._send(channel, message)

    # Faults.

    def _strike(self, strike: Strike) -> None:
        """Let a fault of the scenario happen; it is nothing that the client did wrong."""
        match strike.fault:
            case Fault.DROP_SIGNALING:
                self._leave(self._sockets(), "signaling", BROKEN)
            case Fault.DROP_MEDIA:
                self._leave(self._sockets(media_only=True), "media", BROKEN)
            case Fault.CLOSE_MEDIA:
                self._leave(self._sockets(media_only=True), "media", strike.number)
            case Fault.SPLIT_BRAIN:
                self._generation += 1
                self._moves = True
                self._out.append(Announce("started"))
            case Fault.FAILOVER:
                self._generation += 1
                self._moves = bool(strike.number)
                self._leave(self._sockets(), "signaling", BROKEN)
                self._out.append(Announce("started"))
            case Fault.SAY_INTERRUPTED:
                if self._signaling is not None:
                    self._send(
                        self._signaling, StreamStateUpdate(StreamState.INTERRUPTED, strike.number, self._zoom_ms())
                    )
                media_only = strike.number in _MEDIA_REASONS
                self._leave(self._sockets(media_only=media_only), "media" if media_only else "signaling")
            case Fault.EVENT_7:
                if self._signaling is not None:
                    event = EventUpdate(MeetingEvent.MEDIA_CONNECTION_INTERRUPTED, self._zoom_ms(), {})
                    self._send(self._signaling, event)
                self._leave(self._sockets(media_only=True), "media")
            case Fault.WEBHOOK_INTERRUPTED:
                self._leave(self._sockets(), "signaling")
                self._out.append(Announce("interrupted"))
            case Fault.SILENCE:
                self._leave(self._sockets(), "signaling")
                noticed_s = KEEP_ALIVE_S * (MOST_UNANSWERED + 1)
                self._give_up_us = self._now_us + round((noticed_s + RETURN_S["signaling"]) * _US * self._speed)
            case Fault.RETRY_WEBHOOK:
                self._out.append(Announce("started"))
            case Fault.STOP:
                self._end(StopReason(strike.number))  # type: ignore[call-arg]
            case Fault.STOP_WEBHOOK_ONLY:
                self._leave(self._sockets(), "signaling", BROKEN)
                self._out.append(Announce("stopped", strike.number))
                self._end(StopReason(strike.number))  # type: ignore[call-arg]
            case Fault.REFUSE_SIGNALING | Fault.REFUSE_MEDIA | Fault.HANG_UP:
                self._refusals.setdefault(strike.fault, deque()).extend([strike.number] * strike.times)
            case Fault.BAD_JSON | Fault.BAD_UTF8 | Fault.UNKNOWN_TYPE:
                raw, binary = STRAY[strike.fault]
                if (channel := self._taker(MediaType.AUDIO)) is not None:
                    self._out.extend([Send(channel.name, Unreadable("on purpose"), binary, raw)] * strike.times)
            case Fault.DUPLICATE | Fault.SWAP | Fault.BAD_BASE64 | Fault.ODD_AUDIO:
                self._spoils.extend([strike.fault] * strike.times)
            case Fault.SKIP_KEEP_ALIVES:
                self._quiet_until_us = self._now_us + strike.number * 1000
            case Fault.DELAY:
                self._late_until_ms = max(self._late_until_ms, strike.at_ms + strike.number)

    def _sockets(self, *, media_only: bool = False) -> Sequence[_Channel]:
        return [channel for channel in self._channels.values() if channel.is_media or not media_only]

    def _leave(self, channels: Sequence[_Channel], kind: str, code: int | None = None) -> None:
        """Know these sockets no more, and wait for the client to come back; close them, or leave them open and dead."""
        for channel in channels:
            if code is not None:
                self._close(channel, code, "")
            self._channels.pop(channel.name, None)
            if channel is self._signaling:
                self._signaling = None
                self._ready = False
        self._give_up_us = self._now_us + round(RETURN_S[kind] * _US * self._speed)

    def _due_refusal(self, fault: Fault) -> int | None:
        codes = self._refusals.get(fault)
        if not codes:
            return None
        self._refused = True
        return codes.popleft()

    def _taker(self, kind: MediaType) -> _Channel | None:
        if not self._ready:
            return None
        return next((channel for channel in self._channels.values() if kind in channel.kinds), None)

    def _end(self, reason: StopReason) -> None:
        if self._over:
            return
        self._over = True
        self._say_end(reason)
        unanswered = [channel for channel in self._channels.values() if len(channel.asked) > 1]
        for channel in unanswered:
            self._find(channel.name, f"{len(channel.asked)} keep-alives were not answered")
        for channel in list(self._channels.values()):
            self._out.append(Close(channel.name, 1000, "the stream has ended"))
        self._out.append(Finish("complete", reason, "the simulator"))

    def _say_end(self, reason: StopReason) -> None:
        if self._signaling is not None:
            now_ms = self._zoom_ms()
            self._send(self._signaling, SessionStateUpdate(self._session_id(), SessionState.STOPPED, reason, now_ms))
            media = next((channel for channel in self._channels.values() if channel.kinds), self._signaling)
            last = media if Deviation.END_ON_MEDIA in self._deviations else self._signaling
            self._send(last, StreamStateUpdate(StreamState.TERMINATED, reason, now_ms))

    # Small things.

    def _send(self, channel: _Channel, message: Message, said: Send | None = None) -> None:
        said = said or spoken(channel.name, message, self._deviations)
        if said is not None:
            self._sent[_plain_name(message)] += 1
            self._out.append(said)

    def _hand_out(self) -> Sequence[Command]:
        out, self._out = self._out, []
        return out

    def _find(self, channel: str, what: str) -> None:
        self._findings.append(Finding(self._now_us // 1000, channel, what))

    def _zoom_ms(self, at_us: int | None = None) -> int:
        return self._epoch_ms + (self._now_us if at_us is None else at_us) // 1000

    def _session_id(self) -> str:
        return f"session-of-{self._stream_id}"


_KINDS = {name: kind for kind, name in MEDIA_NAMES.items()}


_SPOILING = (Fault.BAD_BASE64, Fault.ODD_AUDIO)
_MEDIA_REASONS = (
    StopReason.STOP_BC_DATA_CONNECTION_INTERRUPTED,
    StopReason.STOP_BC_DATA_CONNECTION_CLOSED_ABNORMALLY,
)


def _granted(asked: MediaParams) -> MediaParams:
    """What valid parameters get: what they ask for, but pictures are raw in any case."""
    video, share = asked.video, asked.share
    return structs.replace(
        asked,
        video=video and structs.replace(video, content_type=ContentType.RAW_VIDEO),
        share=share and structs.replace(share, content_type=ContentType.RAW_VIDEO),
    )


def _plain_name(message: Message) -> str:
    return MessageType.label(message.msg_type).partition(" ")[2]


def _name(message: Message) -> str:
    return MessageType.label(message.msg_type) if message.msg_type >= 0 else type(message).__name__
