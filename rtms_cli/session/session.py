"""One stream over all its sockets, from the webhook to the last close. No socket, no clock, no file.

Theory of operation. A session has a signaling channel and one or more media channels. Each goes through phases:

    IDLE ──▶ OPENING ──▶ SHAKING ──▶ UP          socket opening, handshake sent, handshake accepted
      ▲         │           │        │
      └─ WAITING ◀──────────┴────────┘           lost, or refused for now: the next try is due later
                    any ──▶ GONE                 refused for good, or waited for too long

What happens to one channel moves others (the joint moves; PROTOCOL §1, §9):

    signaling UP                       the media channels open
    every media channel UP or GONE     7 CLIENT_READY_ACK goes out, once a signaling connection
    signaling lost                     the media go with it; both are rebuilt
    media lost                         that channel is rebuilt, the others flow on
    every media channel GONE           the session has nothing left to do: it fails, or was interrupted

Several signals may tell of one loss (a socket closes, a webhook comes, `8` says so): what is being rebuilt is not
rebuilt again, and a signal that comes within `LATE_SIGNAL_S`, after the rebuilding, is believed only if nothing is
heard for `DOUBT_S` from then on.

The end: `8` TERMINATED, a stop webhook, or `9` STOPPED for the last session announce it. Media may still be under way
on another socket than the one that brought the news, so the session lingers until the server has closed its sockets,
or for `LINGER_S`.
"""

import zlib
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from rtms_cli.machine import (
    MEDIA,
    SIGNALING,
    ChannelState,
    Close,
    Command,
    Direction,
    Finish,
    Frame,
    Open,
    Send,
    State,
    Warn,
)
from rtms_cli.protocol.media import MEDIA_NAMES, NO_SCOPE, MediaRequest, media_names
from rtms_cli.protocol.messages import (
    Chat,
    ClientReadyAck,
    EventSubscription,
    EventUpdate,
    KeepAliveRequest,
    KeepAliveResponse,
    Media,
    MediaHandshakeRequest,
    MediaHandshakeResponse,
    Message,
    SessionStateResponse,
    SessionStateUpdate,
    SignalingHandshakeRequest,
    SignalingHandshakeResponse,
    Signature,
    StreamCloseRequest,
    StreamCloseResponse,
    StreamStateResponse,
    StreamStateUpdate,
    Transcript,
    UserId,
    VideoSubscriptionRequest,
    VideoSubscriptionResponse,
)
from rtms_cli.protocol.numbers import (
    EVERY_MEDIA,
    ContactCenterEvent,
    MediaType,
    MeetingEvent,
    Product,
    SessionState,
    StatusCode,
    StopReason,
    StreamState,
    whole,
)
from rtms_cli.protocol.webhooks import Stream, StreamInterrupted, StreamStart, StreamStop
from rtms_cli.session.camera import Camera

SIGNALING_DEADLINE_S = 60
"""How long the server waits for a lost signaling connection, and how long a webhook's URLs are valid (PROTOCOL §9)."""

MEDIA_DEADLINE_S = 65
"""How long the server waits for a lost media connection (PROTOCOL §9)."""

SILENCE_S = 65
"""Neither keep-alive nor data for so long: the connection is dead, whatever TCP says (PROTOCOL §9)."""

HANDSHAKE_S = 15
"""How long an answer to a handshake may take."""

BACK_OFF_S = (3, 30)
"""First and longest wait between two tries (PROTOCOL §9)."""

LATE_SIGNAL_S = 30
"""A signal about a loss may come after the loss was mended; so long it is taken to mean that one."""

DOUBT_S = 5
"""How long a connection may be silent when such a signal has come. One that only had nothing to say is rebuilt in vain:
that costs little, and a dead one a lot."""

LINGER_S = 1
"""How long media that is still under way may take to arrive after the end was announced."""

CLOSE_ANSWER_S = 2
"""How long we wait for `22` when we asked for the end."""

SIGNATURE_TRIES = 3
"""Closes with 1000 right after `1` before we believe that the signature is wrong."""

_US = 1_000_000

_LOST_SIGNALING = (
    StopReason.STOP_BC_SIGNAL_CONNECTION_INTERRUPTED,
    StopReason.STOP_BC_SIGNAL_CONNECTION_CLOSED_ABNORMALLY,
)
_LOST_MEDIA = (
    StopReason.STOP_BC_DATA_CONNECTION_INTERRUPTED,
    StopReason.STOP_BC_DATA_CONNECTION_CLOSED_ABNORMALLY,
)
"""What `8` INTERRUPTED means by its reason (PROTOCOL §9)."""

_RETRYABLE = (
    StatusCode.STATUS_MEDIA_DATA_ALL_CONNECTION_EXIST,
    StatusCode.STATUS_DUPLICATE_MEDIA_DATA_CONNECTION,
    StatusCode.STATUS_INTERNAL_EXCEPTION,
)
"""Refusals that pass: the server has not yet noticed that our old connection is gone, or stumbled."""

_FAULTY_KIND = {status: kind for kind, status in NO_SCOPE.items()} | {
    status: kind
    for kind, numbers in (
        (MediaType.AUDIO, (*range(18, 25),)),
        (MediaType.VIDEO, (*range(25, 31),)),
        (MediaType.SHARE, (*range(31, 36),)),
        (MediaType.TRANSCRIPT, (36, 37, 43)),
        (MediaType.CHAT, (38, 39)),
    )
    for status in numbers
}
"""Refusals that concern one kind of media: the others are asked for without it."""

_HINTS: dict[int | None, str] = {
    None: "The server gave no status_code, which is not the same as 0.",
    StatusCode.STATUS_INVALID_RTMS_STREAM_ID: "The stream has ended, or the payload is older than 60 s.",
    StatusCode.STATUS_INVALID_SIGNATURE: "`rtms sign PAYLOAD --verify HEX` finds the usual mistakes.",
    StatusCode.STATUS_DUPLICATE_SIGNAL_REQUEST: "Another client is connected to this stream; only one may be.",
}

_SUBSCRIBED = (
    MeetingEvent.ACTIVE_SPEAKER_CHANGE,
    MeetingEvent.PARTICIPANT_JOIN,
    MeetingEvent.PARTICIPANT_LEAVE,
    MeetingEvent.SHARING_START,
    MeetingEvent.SHARING_STOP,
    MeetingEvent.PARTICIPANT_VIDEO_ON,
    MeetingEvent.PARTICIPANT_VIDEO_OFF,
)
"""FIRST_PACKET_TIMESTAMP and MEDIA_CONNECTION_INTERRUPTED come by themselves (PROTOCOL §4)."""

_CAMERA_EVENTS = (
    MeetingEvent.PARTICIPANT_VIDEO_ON,
    MeetingEvent.PARTICIPANT_VIDEO_OFF,
    MeetingEvent.PARTICIPANT_LEAVE,
)


class Phase(StrEnum):
    """Where a channel stands; see the theory of operation."""

    IDLE = "idle"
    OPENING = "opening"
    SHAKING = "handshake"
    UP = "up"
    WAITING = "waiting"
    GONE = "gone"


class ChannelSnapshot(Struct, frozen=True):
    """One socket as it stands, for views. Times are µs on the session's clock."""

    name: str
    phase: Phase
    since_us: int
    last_in_us: int | None
    keep_alives: int
    last_keep_alive_us: int | None
    connects: int
    close_code: int | None
    note: str
    """Why it is lost or gone, for people."""


class SessionSnapshot(Struct, frozen=True):
    """The session as it stands, for views."""

    stream: Stream
    steps: tuple[tuple[str, int], ...]
    """The lifecycle so far: what, and when in µs."""
    channels: tuple[ChannelSnapshot, ...]
    stream_state: int | None
    session_state: int | None
    participants: dict[UserId, str]
    speaker: UserId
    refused: dict[str, str]
    """Kinds of media that were asked for and refused, with the reason."""
    ending: str
    """Why the end is near, or empty."""


class _Channel:
    """One channel's standing; the session's rules are in `Session`."""

    __slots__ = (
        "close_code",
        "connects",
        "doubt",
        "due_us",
        "keep_alives",
        "kinds",
        "last_in_us",
        "last_keep_alive_us",
        "lost_us",
        "name",
        "note",
        "phase",
        "since_us",
        "tries",
        "url",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.kinds = MediaType(0)
        self.url = ""
        self.phase = Phase.IDLE
        self.since_us = 0
        self.due_us: int | None = None
        """When the present phase has lasted too long, or the next try is due."""
        self.lost_us: int | None = None
        """Since when it has been without a working connection."""
        self.doubt: tuple[int, str] | None = None
        """When somebody said late that it is lost, and how."""
        self.tries = 0
        self.connects = 0
        self.last_in_us: int | None = None
        self.keep_alives = 0
        self.last_keep_alive_us: int | None = None
        self.close_code: int | None = None
        self.note = ""

    @property
    def is_media(self) -> bool:
        return self.name != SIGNALING

    @property
    def has_socket(self) -> bool:
        return self.phase in (Phase.OPENING, Phase.SHAKING, Phase.UP)

    def enter(self, phase: Phase, at_us: int, due_us: int | None = None) -> None:
        self.phase = phase
        self.since_us = at_us
        self.due_us = due_us
        self.doubt = None

    def snapshot(self) -> ChannelSnapshot:
        return ChannelSnapshot(
            self.name,
            self.phase,
            self.since_us,
            self.last_in_us,
            self.keep_alives,
            self.last_keep_alive_us,
            self.connects,
            self.close_code,
            self.note,
        )


class Session:
    """A `Machine` for one stream. The first `tick` connects; `Finish` is the last command.

    :param stream: what the webhook announced.
    :param signature: the handshake signature; the session never sees the secret.
    :param request: the media that are wanted.
    :param trusted: whether webhooks were verified; only such a one may have a recording deleted.
    """

    def __init__(
        self,
        stream: Stream,
        signature: Signature,
        request: MediaRequest,
        *,
        trusted: bool = False,
    ) -> None:
        self._stream = stream
        self._signature = signature
        self._request = request
        self._camera = Camera(request.video_user) if request.video_user else None
        self._trusted = trusted
        self._signaling = _Channel(SIGNALING)
        self._channels: dict[str, _Channel] = {SIGNALING: self._signaling}
        self._out: list[Command] = []
        self._deadline_us: int | None = 0
        self._started_us: int | None = None
        self._sequence = 0
        self._ready_sent = False
        self._early_closes = 0
        self._last_loss_us: int | None = None
        self._heard_us = 0
        self._media_seen = False
        self._refused: dict[MediaType, str] = {}
        self._ending = ""
        self._end_reason: int | None = None
        self._end_us: int | None = None
        self._close_asked_by = ""
        self._finished = False
        self._steps: list[tuple[str, int]] = []
        self._participants: dict[UserId, str] = {}
        self._speaker: UserId = None
        self._stream_state: int | None = None
        self._session_states: dict[str | None, int | None] = {}

    @property
    def deadline_us(self) -> int | None:
        """See `Machine.deadline_us`."""
        return self._deadline_us

    @property
    def has_ended(self) -> bool:
        """Whether the end has been announced: a started webhook for the same stream is news, no retry."""
        return self._finished or self._end_us is not None

    @property
    def nothing_granted(self) -> bool:
        """Whether every kind that was asked for was refused."""
        return bool(self._refused) and set(self._kinds_wanted()) <= set(self._refused)

    def snapshot(self) -> SessionSnapshot:
        """The session as it stands; a copy."""
        states = [state for state in self._session_states.values() if state is not None]
        return SessionSnapshot(
            self._stream,
            tuple(self._steps),
            tuple(channel.snapshot() for channel in self._channels.values()),
            self._stream_state,
            states[-1] if states else None,
            dict(self._participants),
            self._speaker,
            {MEDIA_NAMES[kind]: reason for kind, reason in self._refused.items()},
            self._ending,
        )

    def receive(self, frame: Frame) -> Sequence[Command]:
        """See `Machine.receive`."""
        channel = self._channels.get(frame.channel)
        message = frame.message
        if frame.direction is Direction.IN and channel is not None:
            self._heard_us = channel.last_in_us = frame.at_us
            if channel.phase is Phase.UP and self._media_seen and isinstance(message, Media):
                if message.user_name and message.user_id not in self._participants:
                    self._participants[message.user_id] = message.user_name
                return ()  # the hot path: deadlines only move later, and the next tick finds that out
        if frame.direction is Direction.OUT or self._finished:
            return ()
        at_us = frame.at_us
        match message:
            case ChannelState():
                self._on_state(channel, message, at_us)
            case StreamStart(stream):
                self._on_start(stream, at_us)
            case StreamStop(reason=reason):
                if reason == StopReason.STOP_BC_STREAM_REVOKED and not self._trusted:
                    self._warn(SIGNALING, "an unverified webhook says that the stream was revoked: nothing is deleted")
                    reason = None
                self._on_end("a stop webhook", reason, at_us)
            case StreamInterrupted(server_url=url):
                self._on_interrupted_webhook(url, at_us)
            case _ if channel is not None:
                self._on_message(channel, message, at_us)
            case _:
                pass  # a channel that nobody opened: a frame of some other capture
        return self._settle(at_us)

    def tick(self, at_us: int) -> Sequence[Command]:
        """See `Machine.tick`."""
        if self._finished:
            return ()
        if self._started_us is None:
            self._started_us = self._signaling.lost_us = at_us
            self._heard_us = at_us
            self._step("webhook", at_us)
            self._signaling.url = self._stream.server_url
            self._connect(self._signaling, at_us)
        if self._end_us is not None and at_us >= self._end_us:
            self._finish_ended(at_us)
        else:
            for channel in list(self._channels.values()):
                self._check_time(channel, at_us)
        return self._settle(at_us)

    # What comes in.

    def _on_state(self, channel: _Channel | None, state: ChannelState, at_us: int) -> None:
        match state.state:
            case State.STOPPING:
                self._on_stopping(state.reason or "us", at_us)
            case State.OPEN if channel is not None and channel.phase is Phase.OPENING:
                self._shake(channel, at_us)
            case State.REFUSED if channel is not None and channel.has_socket and state.final and not self._ending:
                self._give_up(channel, state.reason, at_us)
            case State.REFUSED if channel is not None and channel.has_socket:
                self._lose(channel, at_us, state.reason, has_socket=False)
            case State.CLOSED if channel is not None and channel.has_socket and not state.ours:
                channel.close_code = state.code
                self._on_closed(channel, state, at_us)
            case _:
                pass  # our own doing

    def _on_closed(self, channel: _Channel, state: ChannelState, at_us: int) -> None:
        if self._ending:
            channel.enter(Phase.IDLE, at_us)
            return
        how = f"closed with {state.code}" + (f" ({state.reason})" if state.reason else "")
        if channel.phase is Phase.SHAKING and state.code == 1000:
            self._early_closes += 1
            how += " right after the handshake: many see a wrong signature only as this"
            if self._early_closes >= SIGNATURE_TRIES:
                self._fail(f"{channel.name} {how}. {_HINTS[StatusCode.STATUS_INVALID_SIGNATURE]}")
                return
        self._lose(channel, at_us, how, has_socket=False)

    def _on_start(self, stream: Stream, at_us: int) -> None:
        if self._started_us is None or self._end_us is not None:
            return  # the webhook that this session began with; or one that comes after its end, for another session
        connected = self._signaling.phase in (Phase.OPENING, Phase.SHAKING, Phase.UP)
        if stream.is_retry_of(self._stream) and connected:
            return
        if self._signature == self._stream.signature and stream.signature is not None:
            self._signature = stream.signature
        self._stream = stream
        self._warn(SIGNALING, "the stream is announced anew: connecting to its new server")
        self._step("failover", at_us)
        self._ending = ""
        self._drop_all(at_us, "failover")
        self._signaling.url = stream.server_url
        self._signaling.lost_us = at_us
        self._signaling.tries = 0
        self._connect(self._signaling, at_us)

    def _on_interrupted_webhook(self, url: str | None, at_us: int) -> None:
        if url is not None:
            self._signaling.url = url
        if self._signaling.phase is not Phase.UP or self._ending:
            return
        how = "an interrupted webhook came"
        if self._is_recent(self._last_loss_us, at_us):
            self._signaling.doubt = self._signaling.doubt or (at_us, how)
        else:
            self._lose(self._signaling, at_us, how)

    def _on_stopping(self, who: str, at_us: int) -> None:
        if self._close_asked_by:
            return
        self._close_asked_by = who
        self._ending = f"asked to stop by {who}"
        if self._signaling.phase is not Phase.UP:
            self._finish_asked()
            return
        self._send(self._signaling, StreamCloseRequest(self._stream.stream_id))
        self._end_us = at_us + CLOSE_ANSWER_S * _US

    def _on_message(self, channel: _Channel, message: object, at_us: int) -> None:
        match message:
            case KeepAliveRequest(timestamp=timestamp, sequence=sequence):
                channel.keep_alives += 1
                channel.last_keep_alive_us = at_us
                self._send(channel, KeepAliveResponse(timestamp, sequence))
            case SignalingHandshakeResponse():
                if channel.phase is Phase.SHAKING and not channel.is_media:
                    self._on_signaling_answer(message, at_us)
            case MediaHandshakeResponse():
                if channel.phase is Phase.SHAKING and channel.is_media:
                    self._on_media_answer(channel, message, at_us)
            case Media() | Transcript() | Chat():
                self._on_media(channel, message, at_us)
            case EventUpdate():
                self._on_event(message, at_us)
            case StreamStateUpdate(state=state, reason=reason):
                self._on_stream_state(channel, state, reason, at_us)
            case SessionStateUpdate(session_id=session_id, state=state, stop_reason=reason):
                self._on_session_state(session_id, state, reason, at_us)
            case SessionStateResponse(session_id=session_id, state=state):
                self._session_states[session_id] = state
            case StreamStateResponse(state=state):
                self._stream_state = state
            case VideoSubscriptionResponse(user_id=user, status_code=status, reason=reason):
                if status != StatusCode.STATUS_OK:
                    self._warn(SIGNALING, f"the camera of {user} is not sent: {_explain(status, reason)}")
            case StreamCloseResponse():
                if self._close_asked_by:
                    self._finish_asked()
            case _:
                pass  # kept in the capture, counted by the recorder

    def _on_signaling_answer(self, answer: SignalingHandshakeResponse, at_us: int) -> None:
        channel = self._signaling
        if answer.status_code != StatusCode.STATUS_OK:
            again = channel.connects > 1 and answer.status_code == StatusCode.STATUS_DUPLICATE_SIGNAL_REQUEST
            self._refuse(channel, answer.status_code, answer.reason, again, at_us)
            return
        self._up(channel, at_us)
        self._ready_sent = False
        self._send(channel, EventSubscription(tuple((int(event), True) for event in self._events())))
        self._plan_media(answer.server_urls, at_us)

    def _on_media_answer(self, channel: _Channel, answer: MediaHandshakeResponse, at_us: int) -> None:
        status = answer.status_code
        if status == StatusCode.STATUS_OK:
            self._up(channel, at_us)
            return
        kind = _FAULTY_KIND.get(status) if status is not None else None
        if kind is None or kind not in channel.kinds:
            self._refuse(channel, status, answer.reason, False, at_us)
            return
        self._refuse_kind(kind, _explain(status, answer.reason))
        channel.kinds &= ~kind
        self._out.append(Close(channel.name, 1000, "asking again without it"))
        if channel.kinds:
            self._connect(channel, at_us)
        else:
            self._give_up(channel, _explain(status, answer.reason), at_us)

    def _on_media(self, channel: _Channel, message: Media | Transcript | Chat, at_us: int) -> None:
        if message.user_name and message.user_id is not None:
            self._participants[message.user_id] = message.user_name
        if channel.phase is Phase.SHAKING and channel.is_media:
            self._warn(channel.name, "media came without an answer to the handshake: taken as accepted")
            self._up(channel, at_us)
        if not self._media_seen:
            self._media_seen = True
            self._step("first media", at_us)

    def _on_event(self, event: EventUpdate, at_us: int) -> None:
        for user, name in event.participants():
            if name:
                self._participants[user] = name
                if self._camera is not None:
                    self._camera.name(user, name)
            if self._camera is not None and event.event_type in _CAMERA_EVENTS:
                self._camera.switch(user, on=event.event_type == MeetingEvent.PARTICIPANT_VIDEO_ON)
        if event.event_type == MeetingEvent.ACTIVE_SPEAKER_CHANGE:
            self._speaker = next((user for user, _ in event.participants()), None)
        elif event.event_type == MeetingEvent.MEDIA_CONNECTION_INTERRUPTED:
            self._on_media_lost(whole(event.fields.get("media_type")), "event 7 MEDIA_CONNECTION_INTERRUPTED", at_us)

    def _on_stream_state(self, channel: _Channel, state: int | None, reason: int | None, at_us: int) -> None:
        self._stream_state = state
        if state == StreamState.TERMINATED:
            self._on_end(f"8 STREAM_STATE_UPDATE on {channel.name}", reason, at_us)
        elif state == StreamState.INTERRUPTED:
            how = f"8 STREAM_STATE_UPDATE says {StopReason.label(reason)}"
            if reason in _LOST_SIGNALING and self._signaling.phase is Phase.UP:
                self._lose(self._signaling, at_us, how)
            elif reason in _LOST_MEDIA:
                self._on_media_lost(None, how, at_us)

    def _on_media_lost(self, media_type: int | None, how: str, at_us: int) -> None:
        """The server misses a media socket: find which. One that is being rebuilt already is that one."""
        media = [channel for channel in self._channels.values() if channel.is_media]
        if media_type is not None:
            media = [channel for channel in media if media_type & channel.kinds]
        if any(channel.phase is not Phase.UP or self._has_lately_lost(channel, at_us) for channel in media):
            for channel in media:
                if self._has_lately_lost(channel, at_us) and channel.phase is Phase.UP:
                    channel.doubt = channel.doubt or (at_us, how)
            return
        quiet = [channel for channel in media if at_us - (channel.last_in_us or 0) > 2 * _US]
        for channel in media if len(media) == 1 else quiet:
            self._lose(channel, at_us, how)

    def _on_session_state(self, session_id: str | None, state: int | None, reason: int | None, at_us: int) -> None:
        self._session_states[session_id] = state
        if all(known == SessionState.STOPPED for known in self._session_states.values()):
            self._ending = self._ending or "9 SESSION_STATE_UPDATE"
            self._end_reason = reason
        elif self._end_us is None:
            self._ending = ""  # another session of the stream goes on

    def _on_end(self, who: str, reason: int | None, at_us: int) -> None:
        if self._end_us is not None and not self._close_asked_by:
            self._end_reason = self._end_reason if reason is None else reason
            return
        self._step("stopped", at_us)
        self._ending = who
        self._end_reason = reason if reason is not None else self._end_reason
        self._end_us = at_us + LINGER_S * _US

    # What follows.

    def _settle(self, at_us: int) -> Sequence[Command]:
        """Make the joint moves, compute the deadline, and hand out what has collected."""
        if not self._finished:
            media = [channel for channel in self._channels.values() if channel.is_media]
            ups = [channel for channel in media if channel.phase is Phase.UP]
            settled = all(channel.phase in (Phase.UP, Phase.GONE) for channel in media)
            if ups and settled and not self._ready_sent and self._signaling.phase is Phase.UP:
                self._ready_sent = True
                self._send(self._signaling, ClientReadyAck(self._stream.stream_id))
                self._step("ready", at_us)
                if self._camera is not None:
                    self._camera.forget()
            if self._ready_sent and self._camera is not None and self._signaling.phase is Phase.UP:
                for user, wanted in self._camera.moves():
                    self._send(self._signaling, VideoSubscriptionRequest(user, wanted, self._zoom_ms(at_us)))
            if media and all(channel.phase is Phase.GONE for channel in media):
                why = "; ".join(dict.fromkeys(channel.note for channel in media if channel.note))
                if self._media_seen:
                    self._finish("interrupted", None, why)
                else:
                    self._fail(why)
            if self._ending and not any(channel.has_socket for channel in self._channels.values()):
                self._finish_ended(at_us)
        self._deadline_us = None if self._finished else self._next_deadline()
        out, self._out = self._out, []
        return out

    def _next_deadline(self) -> int | None:
        times = [self._end_us]
        for channel in self._channels.values():
            times.append(channel.due_us)
            times.append(self._silent_us(channel))
            if channel.doubt is not None:
                times.append(channel.doubt[0] + DOUBT_S * _US)
        return min((time for time in times if time is not None), default=None)

    def _silent_us(self, channel: _Channel) -> int | None:
        """When a connection that stays silent counts as dead.

        Some servers send keep-alives on the signaling socket only: a media socket that never had one may be silent as
        long as there is life elsewhere.
        """
        if channel.phase is not Phase.UP:
            return None
        heard_us = channel.last_in_us if channel.keep_alives or not channel.is_media else self._heard_us
        return (channel.since_us if heard_us is None else max(heard_us, channel.since_us)) + SILENCE_S * _US

    def _check_doubt(self, channel: _Channel, at_us: int) -> None:
        if channel.doubt is None or at_us < channel.doubt[0] + DOUBT_S * _US:
            return
        (doubted_us, how), channel.doubt = channel.doubt, None
        heard_us = channel.last_in_us if channel.is_media else self._heard_us
        if (heard_us is None or heard_us <= doubted_us) and not self._ending:
            self._lose(channel, at_us, f"{how}, and nothing else for {DOUBT_S} s")

    def _check_time(self, channel: _Channel, at_us: int) -> None:
        self._check_doubt(channel, at_us)
        silent_us = self._silent_us(channel)
        if silent_us is not None and at_us >= silent_us:
            if self._ending:
                self._finish_ended(at_us)
            else:
                self._lose(channel, at_us, f"neither keep-alive nor data for {SILENCE_S} s")
        elif channel.due_us is not None and at_us >= channel.due_us:
            if channel.phase is Phase.WAITING:
                if self._expired(channel, at_us):
                    self._give_up(channel, channel.note, at_us)
                else:
                    self._connect(channel, at_us)
            elif channel.has_socket:
                doing = "no connection" if channel.phase is Phase.OPENING else "no answer to the handshake"
                self._lose(channel, at_us, f"{doing} within {HANDSHAKE_S} s")

    def _expired(self, channel: _Channel, at_us: int) -> bool:
        limit_s = MEDIA_DEADLINE_S if channel.is_media else SIGNALING_DEADLINE_S
        return channel.lost_us is not None and at_us - channel.lost_us >= limit_s * _US

    def _connect(self, channel: _Channel, at_us: int) -> None:
        channel.connects += 1
        channel.enter(Phase.OPENING, at_us, at_us + HANDSHAKE_S * _US)
        self._out.append(Open(channel.name, channel.url))

    def _shake(self, channel: _Channel, at_us: int) -> None:
        channel.enter(Phase.SHAKING, at_us, at_us + HANDSHAKE_S * _US)
        self._step(f"{channel.name} open", at_us)
        stream = self._stream
        self._sequence += 1
        if channel.is_media:
            everything = channel.name == MEDIA and channel.kinds == EVERY_MEDIA
            self._send(
                channel,
                MediaHandshakeRequest(
                    stream.id,
                    stream.stream_id,
                    self._signature,
                    MediaType.ALL if everything else channel.kinds,
                    self._request.params.only(channel.kinds),
                    self._sequence,
                    product_ids=stream.product_ids(),
                ),
            )
        else:
            self._send(
                channel,
                SignalingHandshakeRequest(
                    stream.id,
                    stream.stream_id,
                    self._signature,
                    self._sequence,
                    self._request.buffer_data,
                    product_ids=stream.product_ids(),
                ),
            )

    def _up(self, channel: _Channel, at_us: int) -> None:
        channel.enter(Phase.UP, at_us)
        channel.tries = 0
        channel.note = ""
        self._early_closes = 0
        self._step(f"{channel.name} up", at_us)

    def _plan_media(self, urls: dict[str, str], at_us: int) -> None:
        """Decide which sockets carry which kinds, and open them."""
        plan: dict[str, tuple[str, MediaType]] = {}
        for kind in self._kinds_wanted():
            if kind in self._refused:
                continue
            name = MEDIA_NAMES[kind]
            if self._request.split or "all" not in urls:
                channel_name, url = f"{MEDIA}.{name}", urls.get(name)
            else:
                channel_name, url = MEDIA, urls["all"]
            if url is None and "all" in urls:
                channel_name, url = MEDIA, urls["all"]
            if url is None:
                self._refuse_kind(kind, "the server named no URL for it: the app has probably no scope")
                continue
            plan[channel_name] = (url, plan.get(channel_name, ("", MediaType(0)))[1] | kind)
        for gone in [name for name, channel in self._channels.items() if channel.is_media and name not in plan]:
            del self._channels[gone]
        for name, (url, kinds) in plan.items():
            channel = self._channels.setdefault(name, _Channel(name))
            channel.url, channel.kinds = url, kinds
            channel.lost_us = at_us
            channel.tries = 0
            self._connect(channel, at_us)
        if not plan:
            self._fail("none of the media that were asked for was granted")

    def _lose(self, channel: _Channel, at_us: int, how: str, *, has_socket: bool = True) -> None:
        """A connection is gone, or came to nothing: rebuild it later, with what depends on it."""
        was_up = channel.phase is Phase.UP
        if has_socket:
            self._drop(channel, at_us, how)
        if self._ending:
            channel.enter(Phase.IDLE, at_us)
            return
        if was_up:
            channel.lost_us = self._last_loss_us = at_us
            self._step(f"{channel.name} lost", at_us)
        channel.note = how
        if not channel.is_media:
            for other in self._channels.values():
                if other.is_media and other.phase is not Phase.GONE:
                    self._drop(other, at_us, "signaling was lost")
        wait_us = round(back_off_s(channel.tries, self._stream.stream_id) * _US)
        channel.tries += 1
        limit_s = MEDIA_DEADLINE_S if channel.is_media else SIGNALING_DEADLINE_S
        last_us = (channel.lost_us if channel.lost_us is not None else at_us) + limit_s * _US
        if at_us >= last_us:
            self._give_up(channel, how if channel.is_media else f"no connection for {limit_s} s: {how}", at_us)
            return
        channel.enter(Phase.WAITING, at_us, min(at_us + wait_us, last_us))
        self._warn(channel.name, f"{'lost' if was_up else 'no connection'}: {how}; next try in {wait_us / _US:.1f} s")

    def _drop(self, channel: _Channel, at_us: int, why: str) -> None:
        """Let go of a channel's socket, if it has one."""
        if channel.has_socket:
            self._out.append(Close(channel.name, 1000, why[:100]))
        channel.enter(Phase.IDLE, at_us)

    def _drop_all(self, at_us: int, why: str) -> None:
        for channel in self._channels.values():
            self._drop(channel, at_us, why)

    def _refuse(self, channel: _Channel, status: int | None, reason: str, again: bool, at_us: int) -> None:
        """A handshake was refused: try again where that can help, say why where it cannot."""
        why = f"{channel.name} handshake refused: {_explain(status, reason)}"
        if again or status in _RETRYABLE:
            self._lose(channel, at_us, why)
        elif channel.is_media:
            self._out.append(Close(channel.name, 1000, "refused"))
            for kind in MEDIA_NAMES:
                if kind in channel.kinds:
                    self._refuse_kind(kind, why)
            self._give_up(channel, why, at_us)
        else:
            self._fail(why)

    def _refuse_kind(self, kind: MediaType, why: str) -> None:
        self._refused[kind] = why
        self._warn(SIGNALING, f"{MEDIA_NAMES[kind]} is not granted: {why}")

    def _give_up(self, channel: _Channel, why: str, at_us: int) -> None:
        channel.enter(Phase.GONE, at_us)
        channel.note = why
        if not channel.is_media:
            if self._media_seen:
                self._finish("interrupted", None, why)
            else:
                self._fail(why)
        else:
            self._warn(channel.name, f"given up: {why}")

    def _finish_asked(self) -> None:
        """End as somebody on our side wanted: well, if recording had begun at all."""
        begun = self._media_seen or self._ready_sent
        self._finish("complete" if begun else "interrupted", None, self._close_asked_by)

    def _finish_ended(self, at_us: int) -> None:
        if self._close_asked_by and self._end_reason is None:
            self._finish_asked()
            return
        reason = self._end_reason
        known = StopReason.member(reason) if reason is not None else None
        if known == StopReason.STOP_BC_STREAM_REVOKED:
            status = "revoked"
        elif isinstance(known, StopReason) and known.is_failure:
            status = "interrupted"
        else:
            status = "complete"
        self._finish(status, reason, self._ending)

    def _fail(self, why: str) -> None:
        self._warn(SIGNALING, why)
        self._finish("failed", None, why)

    def _finish(self, status: str, reason: int | None, who: str) -> None:
        if not self._finished:
            self._finished = True
            self._out.append(Finish(status, reason, who))

    # Small things.

    def _kinds_wanted(self) -> list[MediaType]:
        wanted = media_names(self._request.types)
        return [kind for kind, name in MEDIA_NAMES.items() if name in wanted]

    def _events(self) -> Sequence[int]:
        if self._stream.product is Product.CONTACT_CENTER:
            return (*_SUBSCRIBED[:3], *ContactCenterEvent)
        return _SUBSCRIBED

    def _zoom_ms(self, at_us: int) -> int | None:
        """About what Zoom's clock says, as far as the webhook told."""
        sent_ms = self._stream.event_ts
        return None if sent_ms is None else sent_ms + (at_us - (self._started_us or 0)) // 1000

    def _has_lately_lost(self, channel: _Channel, at_us: int) -> bool:
        return self._last_loss_us is not None and self._is_recent(channel.lost_us, at_us)

    def _is_recent(self, loss_us: int | None, at_us: int) -> bool:
        """Whether a signal that comes now may tell of that loss."""
        return loss_us is not None and at_us - loss_us < LATE_SIGNAL_S * _US

    def _send(self, channel: _Channel, message: Message) -> None:
        self._out.append(Send(channel.name, message))

    def _warn(self, channel: str, text: str) -> None:
        self._out.append(Warn(channel, text))

    def _step(self, name: str, at_us: int) -> None:
        self._steps.append((name, at_us))


def back_off_s(tries: int, stream_id: str) -> float:
    """Seconds to wait after so many failed tries: 3, 6, 12, 24, 30, 30, … and up to a quarter more.

    The jitter comes from the stream's id, not from chance: many streams lost at once come back spread out, and a
    replay waits as long as the live session did.
    """
    first, longest = BACK_OFF_S
    jitter = zlib.crc32(f"{stream_id} {tries}".encode()) % 1000 / 4000
    return min(longest, first * (1 << min(tries, 10)) * (1 + jitter))


def _explain(status: int | None, reason: str) -> str:
    said = f" — the server says: {reason}" if reason else ""
    hint = _HINTS.get(status)
    name = f"status_code {StatusCode.explain(status)}" if status is not None else "no status_code"
    return f"{name}{said}." + (f" {hint}" if hint else "")
