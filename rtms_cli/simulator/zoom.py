"""Zoom's side of one stream: a Sans-I/O machine that is as strict as PROTOCOL says, and reports what clients do wrong.

Channels are the sockets that clients open. The server names them `signaling`, `signaling#2`, `media`,
`media#2`, …. The sequence (PROTOCOL §1):

    1 on signaling   →  2 with the media URLs      the stream's state and session follow
    3 on media       →  4 with what is granted     any number of sockets, each kind of media once
    7 on signaling                                 media flow from here on
    21 on signaling  →  22, then 8 TERMINATED      or the session is over: 9 STOPPED, 8 TERMINATED

The server answers every mistake with the documented status code, closes the socket, and records a `Finding`. Media are
lost while no client is connected, except audio: the last 60 s are kept until the client reconnects.

`Zoom` implements the protocol, `Client` manages the sockets, and a `Show` supplies what is sent: made up
(`show.MadeUp`, with its faults) or from a capture (`recorded.Recorded`).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from rtms_cli.machine import (
    MEDIA,
    SIGNALING,
    Announce,
    ChannelState,
    Close,
    Command,
    Direction,
    Finish,
    Frame,
    Packets,
    State,
)
from rtms_cli.protocol.media import MEDIA_NAMES, MediaParams, spelled_out
from rtms_cli.protocol.messages import (
    ClientReadyAck,
    EventSubscription,
    EventUpdate,
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
    UserId,
    VideoSubscriptionRequest,
    VideoSubscriptionResponse,
)
from rtms_cli.protocol.numbers import (
    EVERY_MEDIA,
    MediaType,
    MessageType,
    SessionState,
    StatusCode,
    StopReason,
    StreamState,
)
from rtms_cli.simulator.checks import (
    BY_THEMSELVES,
    check_events,
    check_identity,
    check_media,
    granted,
    is_mistake,
    note_missing,
)
from rtms_cli.simulator.client import FIRST_CONTACT_S, Client, ClientSocket, Finding, Phase
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.host import HOST, obey

__all__ = ["Finding", "Report", "Show", "Zoom"]

_CLEAN = (1000, 1001, 1005)
"""Close codes of a client that leaves for good. A client with any other code may reconnect."""


class Report(Struct, frozen=True):
    """What the client did, including its mistakes."""

    product: str
    stream_id: str
    joined: bool
    ready: bool
    sent: dict[str, int]
    """Number of messages sent to the client, by type name."""
    untaken: dict[str, int]
    """Number of messages that were due while no client was connected, by type name."""
    keep_alives: int
    answered: int
    slowest_answer_ms: float | None
    findings: tuple[Finding, ...]
    refused: dict[str, int] = {}
    """Number of handshakes refused because they were wrong, by status code and name."""
    refused_on_purpose: dict[str, int] = {}
    """Number of handshakes refused because the scenario says so; see `refused`."""

    @property
    def mistakes(self) -> list[Finding]:
        """Return the findings that are mistakes."""
        return [finding for finding in self.findings if finding.is_wrong]


class Show(Protocol):
    """What a stream sends in addition to the protocol's own messages, and when.

    `Zoom` calls it when the client is ready and when time has passed. The feed sends with `Zoom.tell`, `Zoom.client`
    and `Zoom.end`, and reads the time from `Zoom.client.now_us`.
    """

    @property
    def deviations(self) -> frozenset[Deviation]:
        """The server's deviations."""

    @property
    def params(self) -> MediaParams:
        """Parameters that are granted regardless of the request. Others are granted as requested."""

    @property
    def deadline_us(self) -> int | None:
        """When to call `play` next; `None` before `start`, and while waiting for the client."""

    def attach(self, zoom: "Zoom") -> None:
        """Attach to a stream. Called once, before any other method."""

    def start(self) -> None:
        """The client is ready: it sent `7`, for the first time or again."""

    def resume(self) -> None:
        """A ready client has opened another media socket."""

    def play(self) -> None:
        """Send what is due. Called at each tick, also before `start`."""

    def choose_video(self, user_id: UserId, *, subscribe: bool) -> tuple[StatusCode, str]:
        """Send another participant's video from now on, or stop (PROTOCOL §4, `28`).

        :returns: the status code and a readable reason.
        """


class Zoom:
    """The server's machine for one stream.

    :param identity: the product's id that the client must send.
    :param signature: the correct signature.
    :param urls: media URLs by Zoom's keys.
    :param epoch_ms: Zoom's clock, in Unix ms, when this machine's clock is 0.
    :param scopes: the media that the app may receive.
    :param speed: how much faster than real time this machine's clock runs; keep-alives stay in real time, for the
        client's sake.
    :param on_demand: wait for the first client indefinitely, and end when a client closes its signaling socket cleanly.
    :param on_finding: called for each mistake as it happens.
    """

    def __init__(
        self,
        *,
        product: str,
        identity: str,
        stream_id: str,
        signature: Signature,
        urls: dict[str, str],
        epoch_ms: int,
        show: Show,
        scopes: MediaType = EVERY_MEDIA,
        speed: float = 1,
        on_demand: bool = False,
        on_finding: Callable[[Finding], None] | None = None,
    ) -> None:
        self.product = product
        self.client = Client(epoch_ms, show.deviations, speed, on_finding)
        self.wants_buffered = True
        """Whether the client wants the audio from before it connected (PROTOCOL §4, `buffer_data`)."""
        self.params = MediaParams()
        """Parameters granted on all media sockets so far."""
        self._identity = identity
        self._stream_id = stream_id
        self._signature = signature
        self._urls = urls
        self._scopes = spelled_out(scopes)
        self._show = show
        self._deviations = show.deviations
        self._on_demand = on_demand
        self._events: set[int] = set(map(int, BY_THEMSELVES))
        self._was_ready = False
        self._has_accepted_media = False
        """Since the signaling handshake. A `7` may arrive just after the loss of the media connection."""
        self._joined = False
        self._stream_state: int | None = StreamState.ACTIVE
        self._session_state: int | None = SessionState.STARTED
        self._moves = False
        self._over = False
        if not on_demand:
            self.client.give_up_us = self.client.after(FIRST_CONTACT_S)
        show.attach(self)

    @property
    def generation(self) -> int:
        """The number of the live server, from 1. Each failover increases it by one."""
        return self.client.generation

    @property
    def moves(self) -> bool:
        """Whether the newest server uses a new port. Pass its URLs to `move_to`."""
        return self._moves

    def move_to(self, urls: dict[str, str]) -> None:
        """Send these media URLs from now on."""
        self._urls = urls

    @property
    def session_id(self) -> str:
        """The `rtms_session_id` of its messages."""
        return f"session-of-{self._stream_id}"

    @property
    def deadline_us(self) -> int | None:
        """See `Machine.deadline_us`."""
        if self._over:
            return None
        times = (self.client.give_up_us, self.client.next_keep_alive_us(), self._show.deadline_us)
        return min((time for time in times if time is not None), default=None)

    @property
    def is_over(self) -> bool:
        """Whether the stream has ended. Its sockets may still be closing."""
        return self._over

    def report(self) -> Report:
        """Return what the client has done so far."""
        client = self.client
        return Report(
            self.product,
            self._stream_id,
            self._joined,
            self._was_ready,
            dict(client.sent),
            dict(client.untaken()),
            client.keep_alives,
            client.answered,
            None if client.slowest_us is None else client.real_ms(client.slowest_us),
            tuple(client.findings),
            dict(client.refused),
            dict(client.refused_on_purpose),
        )

    def hear(self, packets: Packets) -> bool:
        """See `Machine.hear`. Clients send no media, so every packet goes to `receive`."""
        return False

    def receive(self, frame: Frame) -> Sequence[Command]:
        """See `Machine.receive`."""
        self.client.now_us = frame.at_us
        message = frame.message
        if self._over:
            return ()
        if isinstance(message, ChannelState):
            self._on_state(frame.channel, message)
        elif frame.channel == HOST:
            obey(self, frame.raw)
        elif frame.direction is Direction.IN and isinstance(message, Message):
            socket = self.client.socket(frame.channel)
            if socket is not None and socket.phase is not Phase.REFUSED:
                self._on_message(socket, message)
        return self.client.take_commands()

    def tick(self, at_us: int) -> Sequence[Command]:
        """See `Machine.tick`."""
        client = self.client
        client.now_us = at_us
        if self._over:
            return client.take_commands()  # a fault before the first tick may have ended the stream
        client.keep_alive()
        self._show.play()
        if client.give_up_us is not None and at_us >= client.give_up_us:
            if self._joined or not client.refused_on_purpose:
                client.find("", "no client connected or reconnected in time")
            self.end(StopReason.STOP_BC_AWAIT_RECONNECTION_TIMEOUT)
        return client.take_commands()

    # For feeds and faults, in addition to `client`.

    def say_started(self) -> None:
        """Inform a ready client that the stream is active and its session has started."""
        now_ms = self.client.zoom_ms()
        self.say(StreamStateUpdate(StreamState.ACTIVE, timestamp=now_ms))
        self.say(SessionStateUpdate(self.session_id, SessionState.STARTED, timestamp=now_ms))

    def say(self, message: Message) -> None:
        """Send a message on the signaling socket, if one is open."""
        if self.client.signaling is not None:
            self.client.send(self.client.signaling, message)

    def tell(
        self, news: Message, socket: ClientSocket | None, raw: bytes | None = None, *, unasked: bool = False
    ) -> bool:
        """Send an event or a change of state on a socket. Events go only to clients that subscribed to them.

        The state is remembered for answers to `10` and `19`.

        :param unasked: also send an event without a subscription.
        :returns: whether the client misses it because the socket is not open.
        """
        if isinstance(news, StreamStateUpdate):
            self._stream_state = news.state
        elif isinstance(news, SessionStateUpdate):
            self._session_state = news.state
        elif isinstance(news, EventUpdate) and not unasked and news.event_type not in self._events:
            return False
        if socket is not None:
            self.client.send(socket, news, raw)
        return socket is None

    def announce(self, what: str, reason: int | None = None, age_ms: int = 0) -> None:
        """Post a webhook: `started`, `interrupted` or `stopped` with a reason; see `Announce`."""
        self.client.command(Announce(what, reason, age_ms))

    def fail_over(self, *, moves: bool) -> None:
        """Let another server take over and announce it (PROTOCOL §2). The old one lives until `client.lose`.

        :param moves: whether the new server uses another port.
        """
        self.client.generation += 1
        self._moves = moves
        self.announce("started")

    def refuse_next(self, what: str, code: int | None, times: int) -> None:
        """Refuse the next handshakes on `SIGNALING` or `MEDIA`.

        :param code: the status code. `None` (signaling only) closes with 1000 instead of an answer.
        """
        self.client.refusals[what].extend([code] * times)

    def end(self, reason: StopReason, *, is_said: bool = False) -> None:
        """End the stream.

        :param is_said: whether the client already knows.
        """
        if self._over:
            return
        self._over = True
        client = self.client
        if not is_said:
            self._say_end(reason)
        for socket in client.sockets():
            if len(socket.asked) > 1:
                client.find(socket.name, f"{len(socket.asked)} keep-alives were not answered")
        for socket in client.sockets():
            client.command(Close(socket.name, 1000, "the stream has ended"))
        client.command(Finish("complete", reason, "the simulator"))

    def _say_end(self, reason: StopReason) -> None:
        signaling, now_ms = self.client.signaling, self.client.zoom_ms()
        if signaling is not None:
            self.say(SessionStateUpdate(self.session_id, SessionState.STOPPED, reason, now_ms))
            media = self.client.media_socket() or signaling
            last = media if Deviation.END_ON_MEDIA in self._deviations else signaling
            self.client.send(last, StreamStateUpdate(StreamState.TERMINATED, reason, now_ms))

    # Sockets.

    def _on_state(self, name: str, state: ChannelState) -> None:
        if state.state is State.OPEN:
            opened = self.client.opened(name)
            if Deviation.EARLY_KEEP_ALIVE in self._deviations and not opened.is_media:
                self.client.ask_alive(opened)
        elif state.state is State.CLOSED and state.ours:
            self.client.take_back(name, state.count)
        elif state.state is State.CLOSED:
            self.client.take_back(name, state.count)
            socket = self.client.socket(name)
            if socket is not None:
                was_signaling = socket is self.client.signaling
                self.client.forget(socket)
                if socket.phase is Phase.ACCEPTED and socket.generation == self.generation:
                    self._on_loss(socket, state.code)
                elif was_signaling:
                    self.client.forget_old()  # the client moves from the old server to the new one, as it should
                    self.client.wait_for(SIGNALING)
        elif state.state is State.STOPPING:
            self.end(StopReason.STOP_BC_HOST_TRIGGERED)

    def _on_loss(self, socket: ClientSocket, code: int | None) -> None:
        """Handle a lost client socket: wait for the client to reconnect, or end the stream (PROTOCOL §9)."""
        client = self.client
        if self._session_state == SessionState.STOPPED:
            if not socket.is_media:  # the client may treat `9` as the end, before `8` arrives
                self.end(StopReason.STOP_BC_MEETING_ENDED)
            return
        client.find(socket.name, "the client closed the connection before the end")
        if not socket.is_media:
            client.close_media()
        client.wait_for(MEDIA if socket.is_media else SIGNALING)
        if self._on_demand and not socket.is_media and code in _CLEAN:
            self.end(StopReason.STOP_BC_SIGNAL_CONNECTION_CLOSED_ABNORMALLY)

    def _refuse(self, socket: ClientSocket, answer: SignalingHandshakeResponse | MediaHandshakeResponse) -> None:
        socket.phase = Phase.REFUSED
        self.client.send(socket, answer)
        self.client.close(socket, 1000, "refused")

    # Messages.

    def _on_message(self, socket: ClientSocket, message: Message) -> None:
        client = self.client
        match message:
            case SignalingHandshakeRequest() if not socket.is_media:
                self._on_signaling_handshake(socket, message)
            case MediaHandshakeRequest() if socket.is_media:
                self._on_media_handshake(socket, message)
            case _ if socket.phase is not Phase.ACCEPTED:
                client.find(socket.name, f"{_name(message)} before the handshake")
                client.close(socket, 1008, "handshake expected")
            case KeepAliveResponse():
                client.on_alive(socket, message)
            case EventSubscription() if not socket.is_media:
                self._on_subscription(socket, message)
            case ClientReadyAck() if not socket.is_media:
                self._on_ready(socket, message)
            case StreamCloseRequest() if not socket.is_media:
                self._on_close_request(socket, message)
            case SessionStateRequest(session_id=session_id) if not socket.is_media:
                client.send(socket, SessionStateResponse(session_id, self._session_state, client.zoom_ms()))
            case StreamStateRequest(stream_id=stream_id) if not socket.is_media:
                if stream_id != self._stream_id:
                    client.find(socket.name, "19 STREAM_STATE_REQ with a wrong rtms_stream_id")
                client.send(socket, StreamStateResponse(self._stream_id, self._stream_state, client.zoom_ms()))
            case VideoSubscriptionRequest() if not socket.is_media:
                status, why = self._show.choose_video(message.user_id, subscribe=bool(message.subscribe))
                if status is not StatusCode.STATUS_OK:
                    client.find(socket.name, f"28: {why}")
                client.send(socket, VideoSubscriptionResponse(message.user_id, status, why, client.zoom_ms()))
            case _:
                client.find(socket.name, f"{_name(message)} is not a message that a client may send here")

    def _on_signaling_handshake(self, socket: ClientSocket, asked: SignalingHandshakeRequest) -> None:
        client = self.client
        if socket.generation == self.generation:
            client.forget_old()
        for refusal in client.due_refusal(SIGNALING):
            socket.phase = Phase.REFUSED
            if refusal is not None:
                client.send(socket, SignalingHandshakeResponse(refusal, "a scenario's", sequence=asked.sequence))
            if refusal is None or Deviation.SILENT_REFUSAL not in self._deviations:
                client.close(socket, 1000, "" if refusal is None else "refused")
            return
        note_missing(asked, socket.name, client)
        status, why = check_identity(asked, self._identity, self._stream_id, self._signature)
        if status is StatusCode.STATUS_OK and client.signaling is not None:
            status, why = StatusCode.STATUS_DUPLICATE_SIGNAL_REQUEST, "another signaling connection is open"
        if status is not StatusCode.STATUS_OK:
            client.find(socket.name, f"1: {why}")
            client.note_refusal(SIGNALING, status)
            self._refuse(socket, SignalingHandshakeResponse(status, why, sequence=asked.sequence))
            return
        client.signaling = socket
        client.is_ready = self._has_accepted_media = False
        client.accept(socket)
        self._joined = True
        self.wants_buffered = asked.buffer_data is not False
        if not self._was_ready:
            client.give_up_us = None
        server = "" if self.generation == 1 else f"?server={self.generation}"
        urls = {key: url + server for key, url in self._urls.items() if key == "all" or _KINDS[key] in self._scopes}
        client.send(socket, SignalingHandshakeResponse(StatusCode.STATUS_OK, "", urls, asked.sequence))

    def _on_media_handshake(self, socket: ClientSocket, asked: MediaHandshakeRequest) -> None:
        client = self.client
        for refusal in client.due_refusal(MEDIA):
            self._refuse(socket, MediaHandshakeResponse(refusal, "a scenario's", sequence=asked.sequence))
            return
        note_missing(asked, socket.name, client)
        status, why = check_identity(asked, self._identity, self._stream_id, self._signature)
        kinds = MediaType(0)
        if status is StatusCode.STATUS_OK:
            status, why, kinds = check_media(asked, self._scopes, client)
        if status is not StatusCode.STATUS_OK:
            if is_mistake(status, asked):
                client.find(socket.name, f"3: {why}")
            client.note_refusal(MEDIA, status)
            self._refuse(socket, MediaHandshakeResponse(status, why, sequence=asked.sequence))
            return
        params = self._show.params.only(kinds).or_else(granted(asked.params, kinds))
        socket.kinds = kinds
        client.accept(socket)
        self._has_accepted_media = True
        self.params = params.or_else(self.params)
        client.send(socket, MediaHandshakeResponse(StatusCode.STATUS_OK, "", params, asked.sequence))
        if Deviation.NO_MEDIA_ANSWER in self._deviations:
            client.is_ready = self._was_ready = True
        if self._was_ready and client.signaling is not None:
            client.came_back()
            self._show.resume()

    def _on_ready(self, socket: ClientSocket, message: ClientReadyAck) -> None:
        client = self.client
        if not self._has_accepted_media:
            client.find(socket.name, "7 CLIENT_READY_ACK before any media connection was accepted")
        elif message.stream_id != self._stream_id:
            client.find(socket.name, "7 CLIENT_READY_ACK with a wrong rtms_stream_id")
        elif Deviation.NO_MEDIA_ANSWER in self._deviations:
            pass  # media have been flowing since `3`
        elif client.is_ready:
            client.find(socket.name, "7 CLIENT_READY_ACK twice on one signaling connection")
        else:
            if client.expects_media():  # the media requested there start when it is accepted
                client.find(socket.name, "7 CLIENT_READY_ACK before every media connection was accepted")
            client.is_ready = self._was_ready = True
            client.came_back()
            self._show.start()

    def _on_subscription(self, socket: ClientSocket, message: EventSubscription) -> None:
        status, why = check_events(message, self.product, self.client)
        if status is not StatusCode.STATUS_OK:
            self.client.send(socket, EventSubscription((), status, why))
            return
        for event, wanted in message.events:
            if wanted and event is not None:
                self._events.add(event)
            elif event is not None and event not in BY_THEMSELVES:
                self._events.discard(event)

    def _on_close_request(self, socket: ClientSocket, message: StreamCloseRequest) -> None:
        client = self.client
        if message.stream_id != self._stream_id:
            status, why = StatusCode.STATUS_INVALID_RTMS_STREAM_ID, "another rtms_stream_id"
            client.find(socket.name, f"21: {why}")
            client.send(socket, StreamCloseResponse(self._stream_id, status, why, client.zoom_ms()))
            return
        client.send(socket, StreamCloseResponse(self._stream_id, StatusCode.STATUS_OK, "", client.zoom_ms()))
        self.end(StopReason.STOP_BC_RECEIVER_REQUEST_CLOSE)


_KINDS = {name: kind for kind, name in MEDIA_NAMES.items()}


def _name(message: Message) -> str:
    return MessageType.label(message.msg_type) if message.msg_type >= 0 else type(message).__name__
