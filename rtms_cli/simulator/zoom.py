"""Zoom's side of one stream: a Sans-I/O machine that is as strict as PROTOCOL says, and tells what clients do wrong.

Channels are the sockets that clients open, by names that the server gives: `signaling`, `signaling#2`, `media`,
`media#2`, …. The order of things (PROTOCOL §1):

    1 on signaling   →  2 with the media URLs      the stream's state and session follow
    3 on media       →  4 with what is granted     any number of sockets, each kind of media once
    7 on signaling                                 from here on media flows
    21 on signaling  →  22, then 8 TERMINATED      or the show is over: 9 STOPPED, 8 TERMINATED

Every mistake gets the documented status code, is closed, and becomes a `Finding`. Media that nobody is there to take is
lost, but for audio: the last 60 s of it wait for the client to come back.

The parts: `Zoom` knows the protocol, `Client` the sockets, and a `Show` what is sent: made up (`show.MadeUp`, with its
faults) or out of a capture (`recorded.Recorded`).
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
"""Close codes of a client that goes for good; one whose connection breaks may come back."""


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
    refused: dict[str, int] = {}
    """Handshakes that were refused because they are wrong, by the status code with its name."""
    refused_on_purpose: dict[str, int] = {}
    """Handshakes that were refused because the scenario says so; see `refused`."""

    @property
    def mistakes(self) -> list[Finding]:
        """The findings that a server would mind."""
        return [finding for finding in self.findings if finding.is_wrong]


class Show(Protocol):
    """What one stream sends beside the protocol's own messages, and when.

    `Zoom` says when the client is ready and that time has passed; the show sends by `Zoom.tell`, `Zoom.client` and
    `Zoom.end`, and reads the time from `Zoom.client.now_us`.
    """

    @property
    def deviations(self) -> frozenset[Deviation]:
        """How the server speaks."""

    @property
    def params(self) -> MediaParams:
        """What is granted whatever the client asks for; what is not in it is granted as asked."""

    @property
    def deadline_us(self) -> int | None:
        """When `play` has something to do; `None` before `start`, and when only the client matters."""

    def attach(self, zoom: "Zoom") -> None:
        """Belong to this stream; called once, before anything else."""

    def start(self) -> None:
        """The client is ready: it sent `7`, for the first time or again."""

    def resume(self) -> None:
        """A ready client has one more media socket."""

    def play(self) -> None:
        """Send what is due; called at each tick, also before `start`."""

    def choose_video(self, user_id: UserId, *, subscribe: bool) -> tuple[StatusCode, str]:
        """Show another participant's video from now on, or stop (PROTOCOL §4, `28`).

        :returns: the status code, and what is wrong.
        """


class Zoom:
    """The server's machine for one stream.

    :param identity: the product's id, which the client must send.
    :param signature: the one that is right.
    :param urls: media URLs by Zoom's keys.
    :param epoch_ms: Zoom's clock when this machine's is 0.
    :param scopes: the media that the app may have.
    :param speed: how much faster than real time this machine's clock runs; keep-alives stay in real time, for the
        client's sake.
    :param on_demand: wait for the first client without a limit, and end with a client that closes its signaling socket
        cleanly.
    :param on_finding: is called for each mistake when it is made.
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
        """Whether the client wants the audio from before it came (PROTOCOL §4, `buffer_data`)."""
        self.params = MediaParams()
        """What was granted on all media sockets so far."""
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
        """Since the signaling handshake: a `7` may cross the loss of the media connection."""
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
        """Which of the servers is alive: 1, and one more after each failover."""
        return self.client.generation

    @property
    def moves(self) -> bool:
        """Whether the newest server has a port of its own; tell its URLs to `move_to`."""
        return self._moves

    def move_to(self, urls: dict[str, str]) -> None:
        """Hand out these media URLs from now on."""
        self._urls = urls

    @property
    def session_id(self) -> str:
        """The `rtms_session_id` in messages."""
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
        """Whether it has said its last word; its sockets may still be closing."""
        return self._over

    def report(self) -> Report:
        """What the client did so far."""
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
        """See `Machine.hear`: a client sends no media, so whatever looks like that is read."""
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
            return client.take_commands()  # a fault before the first tick may have ended it
        client.keep_alive()
        self._show.play()
        if client.give_up_us is not None and at_us >= client.give_up_us:
            if self._joined or not client.refused_on_purpose:
                client.find("", "no client came, or none came back in time")
            self.end(StopReason.STOP_BC_AWAIT_RECONNECTION_TIMEOUT)
        return client.take_commands()

    # What a show and faults may do, beside what `client` offers.

    def say_started(self) -> None:
        """Tell a client that is ready that the stream is active and its session started."""
        now_ms = self.client.zoom_ms()
        self.say(StreamStateUpdate(StreamState.ACTIVE, timestamp=now_ms))
        self.say(SessionStateUpdate(self.session_id, SessionState.STARTED, timestamp=now_ms))

    def say(self, message: Message) -> None:
        """Send a message on signaling, if there is a connection."""
        if self.client.signaling is not None:
            self.client.send(self.client.signaling, message)

    def tell(
        self, news: Message, socket: ClientSocket | None, raw: bytes | None = None, *, unasked: bool = False
    ) -> bool:
        """Send an event or a change of state on a socket; an event only to a client that has subscribed to it.

        A state is remembered, for `10` and `19` ask for it.

        :param unasked: send an event without a subscription, too.
        :returns: whether the client misses it, for the socket is not there.
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
        """Let another server take over, and announce it (PROTOCOL §2); the old one lives until `client.lose`.

        :param moves: whether it has another port.
        """
        self.client.generation += 1
        self._moves = moves
        self.announce("started")

    def refuse_next(self, what: str, code: int | None, times: int) -> None:
        """Refuse the next handshakes on `SIGNALING` or `MEDIA`.

        :param code: the status code; `None` is a close with 1000 and without an answer, on signaling only.
        """
        self.client.refusals[what].extend([code] * times)

    def end(self, reason: StopReason, *, is_said: bool = False) -> None:
        """End the stream.

        :param is_said: whether the client knows it already.
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
                    self.client.forget_old()  # the client leaves an old server for the new one, as it should
                    self.client.wait_for(SIGNALING)
        elif state.state is State.STOPPING:
            self.end(StopReason.STOP_BC_HOST_TRIGGERED)

    def _on_loss(self, socket: ClientSocket, code: int | None) -> None:
        """The client's socket is gone: wait for it to come back, or end with it (PROTOCOL §9)."""
        client = self.client
        if self._session_state == SessionState.STOPPED:
            if not socket.is_media:  # it takes `9` for the end, as it may, and `8` may be a while yet
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
                client.find(socket.name, f"{_name(message)} is nothing that a client sends here")

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
            pass  # media flows since `3`
        elif client.is_ready:
            client.find(socket.name, "7 CLIENT_READY_ACK twice on one signaling connection")
        else:
            if client.expects_media():  # what it asks for there still comes when it is accepted
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
