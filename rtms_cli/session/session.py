"""One stream over all its sockets, from the webhook to the last close. No socket, no clock, no file.

Theory of operation. A session has a signaling channel and one or more media channels; `channel.PHASES` has the moves
of each, `life.STAGES` those of the stream. What happens to one channel moves others (the joint moves; PROTOCOL §1, §9):

    signaling UP                       the media channels open
    no media channel under way         7 CLIENT_READY_ACK goes out, once a signaling connection, where any is UP
    signaling lost                     the media go with it; both are rebuilt
    media lost                         that channel is rebuilt, the others flow on
    every media channel GONE           the session has nothing left to do: it failed, or was interrupted

What is a sign of a failure, and what has to be rebuilt after it, stands in `rules.FAILURES`. Several signs may report
one loss (a socket closes, a webhook comes, `8` says so): what is being rebuilt is not rebuilt again, and a sign that
comes within `LATE_SIGNAL_S` after the rebuilding is believed only if nothing is heard for `DOUBT_S` from then on.

The end: `8` TERMINATED, a stop webhook, or `9` STOPPED for the last session announce it. Media may still be under way
on another socket than the one that brought the news, so the session lingers until the server has closed its sockets,
or for `LINGER_S`. Another session that starts takes a `9` back: what was closed meanwhile is rebuilt.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from rtms_cli.machine import (
    SIGNALING,
    WEBHOOK,
    ChannelState,
    Command,
    Direction,
    Frame,
    Packets,
    Send,
    State,
)
from rtms_cli.protocol.endings import Status
from rtms_cli.protocol.media import MEDIA_NAMES, MediaRequest
from rtms_cli.protocol.messages import (
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
    SignalingHandshakeResponse,
    Signature,
    StreamCloseRequest,
    StreamCloseResponse,
    StreamStateResponse,
    StreamStateUpdate,
    Transcript,
    VideoSubscriptionRequest,
    VideoSubscriptionResponse,
)
from rtms_cli.protocol.numbers import StatusCode, StopReason, as_int
from rtms_cli.protocol.urls import other_urls
from rtms_cli.protocol.webhooks import Stream, StreamInterrupted, StreamStart, StreamStop, is_older
from rtms_cli.protocol.zoom_clock import ZoomClock
from rtms_cli.session import rules
from rtms_cli.session.camera import Camera
from rtms_cli.session.channel import Channel, ChannelSnapshot, Phase
from rtms_cli.session.connections import Connections
from rtms_cli.session.handshakes import greeting, usable_urls
from rtms_cli.session.life import Life, Stage
from rtms_cli.session.rules import US, Rebuild, explain_refusal
from rtms_cli.session.subscriptions import Subscriptions


class SessionSnapshot(Struct, frozen=True):
    """The session as it stands, for views."""

    stream: Stream
    stage: Stage
    steps: tuple[tuple[str, int], ...]
    """The lifecycle so far: what, and when in µs."""
    channels: tuple[ChannelSnapshot, ...]
    stream_state: int | None
    session_state: int | None
    refused: dict[str, str]
    """Kinds of media that were asked for and refused, with the reason."""
    ending: str
    """Why the end is near, or empty."""


class Session:
    """A `Machine` for one stream. The first `tick` connects; `Finish` is the last command.

    :param stream: what the webhook announced.
    :param signature: the handshake signature; the session never sees the secret.
    :param request: the media that are wanted.
    :param trusted: whether webhooks were verified; only a verified one may have a recording deleted.
    :param continues: whether it goes on with a recording: what a former session brought is not a failure's.
    """

    def __init__(
        self,
        stream: Stream,
        signature: Signature,
        request: MediaRequest,
        *,
        trusted: bool = False,
        continues: bool = False,
    ) -> None:
        self._stream = stream
        self._signature = signature
        self._request = request
        self._trusted = trusted
        self._life = Life(trusted=trusted, begun=continues)
        self._camera = Camera(request.video_user, stream.product) if request.video_user else None
        self._connections = Connections(stream.stream_id, request)
        self._connections.signaling.url = stream.server_url
        self._connections.signaling.has_been_up = continues  # the server has accepted this signature before
        self._deadline_us: int | None = 0
        self._zoom_clock = ZoomClock()
        self._sequence = 0
        self._ready_sent = False
        self._media_seen = False
        self._stream_state: int | None = None
        self._joined_us: int | None = None
        """When the server accepted us first."""
        self._unspoken: set[str] = set()
        self._subscriptions = Subscriptions(stream.product)

    @property
    def deadline_us(self) -> int | None:
        """See `Machine.deadline_us`."""
        return self._deadline_us

    @property
    def has_ended(self) -> bool:
        """Whether the end has been announced for good: a started webhook for the same stream is news, no retry."""
        return self._life.has_ended or self._life.end_us is not None

    @property
    def was_ended(self) -> bool:
        """Whether Zoom said that the stream is over."""
        return self._life.outlook.is_over

    @property
    def may_go_on(self) -> bool:
        """Of a session that has ended: whether its recording is continued when the stream is announced again."""
        return self._life.may_go_on

    @property
    def nothing_granted(self) -> bool:
        """Whether every kind that was asked for was refused."""
        return self._connections.nothing_granted

    def snapshot(self) -> SessionSnapshot:
        """The session as it stands; a copy."""
        connections = self._connections
        return SessionSnapshot(
            self._stream,
            self._life.stage,
            tuple(connections.steps),
            tuple(channel.snapshot() for channel in connections.channels.values()),
            self._stream_state,
            self._life.outlook.session_state,
            {MEDIA_NAMES[kind]: reason for kind, reason in connections.refused.items()},
            self._life.why,
        )

    def receive(self, frame: Frame) -> Sequence[Command]:
        """See `Machine.receive`."""
        connections = self._connections
        channel = connections.channels.get(frame.channel)
        message = frame.message
        if frame.direction is Direction.IN and channel is not None:
            connections.heard_us = channel.last_in_us = frame.at_us
            if channel.phase is Phase.UP and self._media_seen and isinstance(message, Media):
                return ()  # the hot path: deadlines only move later, and the next tick finds that out
        if frame.direction is Direction.OUT or self._life.has_ended:
            return ()
        at_us = frame.at_us
        match message:
            case ChannelState():
                self._on_state(channel, message, at_us)
            case StreamStart() | StreamStop() | StreamInterrupted():
                self._on_webhook(message, at_us)
            case Message() if channel is not None:
                self._on_message(channel, message, at_us)
            case _:
                pass  # a channel that nobody opened: a frame of some other capture
        return self._settle(at_us)

    def hear(self, packets: Packets) -> bool:
        """See `Machine.hear`: once media flow on a channel that is up, it matters only that they do."""
        connections = self._connections
        channel = connections.channels.get(packets.channel)
        if channel is None or channel.phase is not Phase.UP or not self._media_seen or not channel.is_media:
            return False
        # Deadlines only move later, and the next tick finds that out.
        connections.heard_us = channel.last_in_us = packets.at_us[-1]
        return True

    def tick(self, at_us: int) -> Sequence[Command]:
        """See `Machine.tick`."""
        life, connections = self._life, self._connections
        if life.has_ended:
            return ()
        if life.stage is Stage.ANNOUNCED:
            life.enter(Stage.CONNECTING)
            life.outlook.take(StreamStart(self._stream), WEBHOOK)
            self._zoom_clock.announce(self._stream.event_ts, at_us)
            connections.heard_us = at_us
            connections.step("webhook", at_us)
            self._name_unspoken(other_urls(self._stream.server_urls))
            connections.start_anew(connections.signaling.url, at_us, "")
        if life.end_us is not None and at_us >= life.end_us:
            self._finish()
        else:
            connections.check_time(at_us)
        return self._settle(at_us)

    # What comes in.

    def _on_state(self, channel: Channel | None, state: ChannelState, at_us: int) -> None:
        if state.state is State.STOPPING:
            self._on_stopping(state.reason or "us", at_us)
        elif state.state is State.LEAVING:
            self._connections.leave()
            self._finish(state.reason)
        if channel is None or not channel.has_socket or state.ours:
            return
        connections = self._connections
        match state.state:
            case State.OPEN if channel.phase is Phase.OPENING:
                connections.shake(channel, at_us)
                self._sequence += 1
                self._send(channel, greeting(channel, self._stream, self._signature, self._request, self._sequence))
            case State.REFUSED if state.final and connections.rebuilds:
                connections.give_up(channel, state.reason, at_us)
            case State.REFUSED:
                connections.lose(channel, at_us, state.reason, has_socket=False)
            case State.CLOSED:
                channel.close_code = state.code
                how = f"closed with {state.code}" + (f" ({state.reason})" if state.reason else "")
                is_loss = not channel.is_media and connections.rebuilds
                if is_loss and (why := self._subscriptions.closed(at_us, state.code)):
                    connections.warn(SIGNALING, why)
                if channel.phase is Phase.SHAKING and state.code == _NORMAL_CLOSE and connections.rebuilds:
                    connections.close_early(channel, at_us, how)
                else:
                    connections.lose(channel, at_us, how, has_socket=False)
            case _:
                pass  # nothing about a socket

    def _on_webhook(self, webhook: StreamStart | StreamStop | StreamInterrupted, at_us: int) -> None:
        connections = self._connections
        match webhook:
            case StreamStart(stream):
                self._on_start(stream, at_us)
            case StreamStop() | StreamInterrupted() if self._life.outlook.is_past(webhook):
                what = "a stop" if isinstance(webhook, StreamStop) else "an interrupted"
                connections.warn(SIGNALING, f"{what} webhook came that is older than the stream's start: ignored")
            case StreamInterrupted() if self._is_about_former_connection(webhook):
                text = "an interrupted webhook came about the connection before this one: ignored"
                connections.warn(SIGNALING, text)
            case StreamStop(reason=reason):
                if reason == StopReason.STOP_BC_STREAM_REVOKED and not self._trusted:
                    text = "an unverified webhook says that the stream was revoked: nothing is deleted"
                    connections.warn(SIGNALING, text)
                self._on_said(webhook, WEBHOOK, at_us)
            case StreamInterrupted(server_url=url):
                if url is not None:
                    connections.signaling.url = url
                connections.lose_signaling("an interrupted webhook came", at_us, is_late=True)

    def _is_about_former_connection(self, webhook: StreamInterrupted) -> bool:
        """Whether a loss that is told late is one that was repaired since: it is older than the rebuilt connection."""
        up_ms = None
        signaling = self._connections.signaling
        if signaling.phase is Phase.UP and self._connections.was_rebuilt:
            up_ms = self._zoom_clock.ms(signaling.since_us)
        return is_older(webhook.event_ts, up_ms)

    def _on_start(self, stream: Stream, at_us: int) -> None:
        if self._life.end_us is not None:
            return  # it comes after the end, for another session
        is_early = self._life.stage is Stage.ANNOUNCED  # among them the webhook that this session began with
        if stream.is_retry_of(self._stream) and (is_early or self._connections.signaling.has_socket):
            return
        if stream.is_older_than(self._stream):
            self._connections.warn(SIGNALING, "a started webhook of the past came: ignored")
            return
        if self._signature == self._stream.signature and stream.signature is not None:
            self._signature = stream.signature
        self._zoom_clock.announce(stream.event_ts, at_us)
        self._stream = stream = stream.after(self._stream)
        self._name_unspoken(other_urls(stream.server_urls))
        if is_early:
            self._connections.signaling.url = stream.server_url  # nothing is connected yet
            return
        self._connections.warn(SIGNALING, "the stream is announced again: connecting to its new server")
        self._connections.step("failover", at_us)
        self._life.outlook.announce(stream)
        self._connections.rebuilds = True
        self._connections.start_anew(stream.server_url, at_us, "failover")
        self._life.enter(self._stage_of_connections())

    def _on_stopping(self, who: str, at_us: int) -> None:
        life, signaling = self._life, self._connections.signaling
        if life.asked_by:
            return
        if signaling.phase is Phase.UP:
            self._send(signaling, StreamCloseRequest(self._stream.stream_id))
        if life.stage is Stage.STREAMING:
            life.ask(who, at_us + rules.CLOSE_ANSWER_S * US)
            self._connections.rebuilds = False
        else:
            self._finish(who)  # where a connection is missing, so is what it would have brought

    def _on_message(self, channel: Channel, message: Message, at_us: int) -> None:
        if channel.phase is Phase.UP and not channel.is_media:
            self._on_refused_events(channel, message, at_us)
        match message:
            case KeepAliveRequest(timestamp=timestamp, sequence=sequence):
                channel.keep_alives += 1
                channel.last_keep_alive_us = at_us
                self._zoom_clock.hear(timestamp, at_us)
                self._send(channel, KeepAliveResponse(timestamp, sequence))
            case SignalingHandshakeResponse() if channel.phase is Phase.SHAKING and not channel.is_media:
                self._on_signaling_answer(channel, message, at_us)
            case MediaHandshakeResponse() if channel.phase is Phase.SHAKING and channel.is_media:
                self._on_media_answer(channel, message, at_us)
            case Media() | Transcript() | Chat():
                self._on_media(channel, message, at_us)
            case EventUpdate():
                if self._camera is not None:
                    self._camera.take(message)
                self._on_sign(message, at_us)
            case StreamStateUpdate(state=state):
                self._stream_state = state
                self._on_said(message, channel.name, at_us)
                self._on_sign(message, at_us)
            case SessionStateUpdate() | SessionStateResponse():
                self._on_said(message, channel.name, at_us)
            case StreamStateResponse(state=state):
                self._stream_state = state
            case VideoSubscriptionResponse(user_id=user, status_code=status, reason=reason):
                if status != StatusCode.STATUS_OK:
                    text = f"the camera of {user} is not sent: {explain_refusal(status, reason)}"
                    self._connections.warn(SIGNALING, text)
            case StreamCloseResponse() if self._life.asked_by:
                self._finish()
            case _:
                pass  # kept in the capture, counted by the recorder

    def _on_signaling_answer(self, channel: Channel, answer: SignalingHandshakeResponse, at_us: int) -> None:
        status = answer.status_code
        if status != StatusCode.STATUS_OK:
            self._connections.refuse(channel, status, answer.reason, at_us)
            return
        self._connections.accept(channel, at_us)
        self._joined_us = at_us if self._joined_us is None else self._joined_us
        self._ready_sent = False
        for subscription in self._subscriptions.ask(at_us):
            self._send(channel, subscription)
        urls, others = usable_urls(answer.server_urls)
        self._name_unspoken(others)
        self._connections.open_media(urls, at_us)

    def _on_refused_events(self, channel: Channel, message: Message, at_us: int) -> None:
        refused = self._subscriptions.refused(message, at_us)
        if refused is not None:
            self._connections.warn(SIGNALING, refused[0])
            for subscription in refused[1]:
                self._send(channel, subscription)

    def _name_unspoken(self, offered: Iterable[str]) -> None:
        """Tell which of the URLs that were offered are for protocols that are not spoken here."""
        for url in offered:
            if url not in self._unspoken and len(self._unspoken) < _MOST_UNSPOKEN:
                self._unspoken.add(url)
                self._connections.warn(
                    SIGNALING, f"{url} is offered too, and not used: only WebSockets are spoken here"
                )

    def _on_media_answer(self, channel: Channel, answer: MediaHandshakeResponse, at_us: int) -> None:
        status = answer.status_code
        kind = rules.FAULTY_KIND.get(status) if status is not None else None
        if status == StatusCode.STATUS_OK:
            self._connections.accept(channel, at_us)
        elif kind is not None and kind in channel.kinds:
            self._connections.ask_for_less(channel, kind, explain_refusal(status, answer.reason), at_us)
        elif status in rules.NO_SUCH_TYPE and self._connections.may_ask_otherwise(channel):
            self._connections.ask_otherwise(channel, explain_refusal(status, answer.reason), at_us)
        else:
            self._connections.refuse(channel, status, answer.reason, at_us)

    def _on_media(self, channel: Channel, message: Media | Transcript | Chat, at_us: int) -> None:
        if channel.phase is Phase.SHAKING and channel.is_media:
            text = "media came without an answer to the handshake: taken as accepted"
            self._connections.warn(channel.name, text)
            self._connections.accept(channel, at_us)
        if not self._media_seen:
            self._media_seen = self._life.begun = True
            self._connections.step("first media", at_us)

    # What it means.

    def _on_said(self, message: Message | StreamStop, channel: str, at_us: int) -> None:
        """Someone spoke of the stream's or a session's state: an end, one that is taken back, or neither."""
        life, outlook = self._life, self._life.outlook
        was_over, was_final = outlook.is_over, outlook.is_final
        if not outlook.take(message, channel):
            return
        if outlook.is_over:
            life.enter(Stage.ENDING)
            self._connections.rebuilds = False
            is_early = self._joined_us is None or at_us - self._joined_us <= rules.EARLY_S * US
            if outlook.reason == StopReason.STOP_BC_AUTHENTICATION_FAILURE and is_early and not was_over:
                self._connections.warn(SIGNALING, rules.TWO_VERSIONS)
            if outlook.is_final and not was_final:
                life.end_us = at_us + rules.LINGER_S * US
                self._connections.step("stopped", at_us)
        elif life.is_ending and not life.asked_by:  # another session of the stream goes on
            life.enter(self._stage_of_connections())
            self._connections.resume(at_us)

    def _on_sign(self, message: EventUpdate | StreamStateUpdate, at_us: int) -> None:
        """Act on a sign of a lost connection (PROTOCOL §9)."""
        sign = rules.sign_of(message)
        if sign is None:
            return
        if isinstance(message, EventUpdate):
            how, media_type = "event 7 MEDIA_CONNECTION_INTERRUPTED", as_int(message.fields.get("media_type"))
        else:
            how, media_type = f"8 STREAM_STATE_UPDATE says {StopReason.label(message.reason)}", None
        match rules.rebuild_after(sign):
            case Rebuild.BOTH:
                self._connections.lose_signaling(how, at_us)
            case Rebuild.MEDIA:
                self._connections.lose_media(media_type, how, at_us)
            case _:
                pass  # the end, which `_on_said` sees to

    # What follows.

    def _settle(self, at_us: int) -> Sequence[Command]:
        """Make the joint moves, compute the deadline, and hand out what has collected."""
        life, connections = self._life, self._connections
        if connections.may_be_ready and not life.has_ended:
            self._be_ready(at_us)
        if life.stage not in (Stage.ANNOUNCED, Stage.ENDING, Stage.ENDED):
            life.enter(self._stage_of_connections())
        if life.is_ending and not connections.has_sockets:
            self._finish()
        elif connections.failure is not None:
            self._finish(connections.failure, gave_up=True)
        times: tuple[int | None, ...] = () if life.has_ended else (life.end_us, connections.next_us())
        if life.stage is Stage.ANNOUNCED:
            times = (0,)
        self._deadline_us = min((time for time in times if time is not None), default=None)
        out, connections.out = connections.out, []
        return out

    def _be_ready(self, at_us: int) -> None:
        signaling = self._connections.signaling
        if not self._ready_sent:
            self._ready_sent = self._life.begun = True
            self._send(signaling, ClientReadyAck(self._stream.stream_id))
            self._connections.step("ready", at_us)
            if self._camera is not None:
                self._camera.forget()
        for user, wanted in self._camera.moves() if self._camera is not None else ():
            self._send(signaling, VideoSubscriptionRequest(user, wanted, self._zoom_clock.ms(at_us)))

    def _stage_of_connections(self) -> Stage:
        """Where the stream is in its life, while no end is near."""
        if self._connections.are_up and self._ready_sent:
            return Stage.STREAMING
        is_back = self._life.stage is not Stage.CONNECTING and self._life.begun
        return Stage.INTERRUPTED if is_back else Stage.CONNECTING

    def _finish(self, why: str = "", *, gave_up: bool = False) -> None:
        if not self._life.has_ended:
            finish = self._life.finish(why, gave_up=gave_up)
            if finish.status == Status.FAILED:
                self._connections.warn(SIGNALING, why)
            self._connections.out.append(finish)

    def _send(self, channel: Channel, message: Message) -> None:
        self._connections.out.append(Send(channel.name, message))


_NORMAL_CLOSE = 1000
_MOST_UNSPOKEN = 20
