"""The simulated Zoom on a network: signaling and media sockets, and the webhooks that announce streams."""

import asyncio
import hashlib
import logging
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping

from msgspec import Struct, structs
from websockets.asyncio.server import Server, ServerConnection, serve

from rtms_cli.errors import Exit, Problem, reason_of
from rtms_cli.machine import Announce, Outward
from rtms_cli.protocol.media import MEDIA_NAMES, spelled_out
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.numbers import EVERY_MEDIA, MediaType, Product, StopReason
from rtms_cli.protocol.signatures import handshake_signature, signed_headers
from rtms_cli.protocol.webhooks import ACCEPTED, ANSWER_S, Stream, answer_fix
from rtms_cli.simulator.calls import media_of
from rtms_cli.simulator.deviations import Deviation, posted
from rtms_cli.simulator.recorded import Recorded, Recording
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.show import MadeUp
from rtms_cli.simulator.webhooks import Ids, stream_event, stream_payload, webhook_body
from rtms_cli.simulator.zoom import Finding, Report, Zoom
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.driver import Driver
from rtms_cli.wire.hosts import in_url
from rtms_cli.wire.poster import NoAnswerError, post
from rtms_cli.wire.sockets import TaskSocket

log = logging.getLogger(__name__)

REFUSED = 401
"""The HTTP status of an app that rejects a webhook's signature."""
MADE_UP = "The simulator generated its secret token: give the app the token shown above, or use one .env for both."
MOST_SAID = 200
"""How many characters of an answer's body are quoted."""

_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104  # told apart, not bound to


class App(Struct, frozen=True):
    """The app that clients authenticate as: its credentials and scopes."""

    client_id: str
    client_secret: str
    secret_token: str
    scopes: MediaType = EVERY_MEDIA
    video_sdk: tuple[str, str] | None = None
    """Key and secret that sign for Video SDK, if they differ."""
    has_made_up_pair: bool = False
    """Whether the simulator generated client id and secret, which clients cannot know."""
    has_made_up_token: bool = False
    """Whether the simulator generated the secret token."""

    def sign_stream(self, stream: Stream) -> Signature:
        """Return the signature for a stream's handshakes."""
        return self.sign(stream.product, stream.id, stream.stream_id)

    def sign(self, product: Product, identity: str, stream_id: str) -> Signature:
        """Return the correct handshake signature for these ids."""
        pair = (self.client_id, self.client_secret)
        if product is Product.VIDEO_SDK and self.video_sdk is not None:
            pair = self.video_sdk
        return handshake_signature(*pair, identity, stream_id)


class LiveStream:
    """An announced stream. Wait for its end with `done`."""

    def __init__(
        self,
        product: Product,
        identity: str,
        stream_id: str,
        url: str,
        zoom: Zoom,
        driver: Driver,
        scenario: Scenario,
        signature: Signature | None = None,
    ) -> None:
        self.product = product
        self.identity = identity
        self.stream_id = stream_id
        self.url = url
        self.zoom = zoom
        self.driver = driver
        self.scenario = scenario
        self.signature = signature
        """The signature that the started webhook carries, if any."""
        self.running: asyncio.Task[StopReason] | None = None
        self.webhook_findings: list[Finding] = []
        self.event_ts = int(time.time() * 1000)
        self.end_was_told = False
        """Whether a fault has already posted the stopped webhook."""
        self.port = 0
        """The port of its newest server."""
        self.next: asyncio.Future[LiveStream | None] | None = None
        """The stream that replaces it, for clients that connect while it ends. The result may be `None`."""
        self.fields: Mapping[str, object] = {}
        """Additional fields of its webhooks."""
        self._sockets = 0

    def channel_name(self, kind: str) -> str:
        """Return a name for another socket of this stream."""
        self._sockets += 1
        return kind if self._sockets == 1 else f"{kind}#{self._sockets}"

    def webhook(self, what: str, reason: StopReason | None = None, age_ms: int = 0) -> bytes:
        """Return the body of a webhook about this stream: `started`, `stopped` or `interrupted`; see `Announce`."""
        ids = Ids(self.product, self.identity, self.stream_id, self.url)
        payload = {**stream_payload(ids, what, None if reason is None else int(reason)), **self.fields}
        if what == "started" and self.signature is not None:
            payload["signature"] = str(self.signature)  # msgspec does not encode subclasses
        payload = posted(payload, self.product, self.scenario.deviations)
        event_ts = self.event_ts - age_ms if age_ms or what == "started" else int(time.time() * 1000)
        return webhook_body(stream_event(self.product, what), event_ts, payload)

    async def done(self) -> StopReason:
        """Wait until the stream has ended, and return the reason."""
        assert self.running is not None, "the simulator starts it"
        return await asyncio.shield(self.running)  # cancelling the wait does not end the stream

    def report(self) -> Report:
        """Return what the client has done so far."""
        report = self.zoom.report()
        return structs.replace(report, findings=(*self.webhook_findings, *report.findings))


class Simulator:
    """The server. Use it with `async with`.

    :param app: the app whose client is expected.
    :param speed: how many times faster than real time the media are sent.
    :param client_in_real_time: whether the client's clock runs in real time. Then keep-alives and time-outs do, too.
    :param webhook: URL for the webhooks that a scenario's faults send.
    :param tls: a certificate and its key. URLs then start with `wss`.
    :param on_finding: called for each mistake as it happens.
    :param public_host: the host name in URLs. By default, the address to listen on, or this machine for a wildcard.
    """

    def __init__(
        self,
        app: App,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1,
        *,
        client_in_real_time: bool = True,
        webhook: str | None = None,
        public_host: str | None = None,
        tls: ssl.SSLContext | None = None,
        on_finding: Callable[[Finding], None] | None = None,
    ) -> None:
        self._app = app
        self._on_finding = on_finding
        self._host = host
        self._tls = tls
        self._port = port
        self._speed = speed
        self._client_speed = speed if client_in_real_time else 1
        self.webhook = webhook
        self.on_event: Callable[[bytes], None] | None = None
        """Called with the body of every webhook that `tell` sends."""
        self._public_host = public_host or ("127.0.0.1" if host in _WILDCARDS else host)
        self._posting: set[asyncio.Task[None]] = set()
        self._is_ending = asyncio.Event()
        self._streams: dict[str, LiveStream] = {}
        self._servers: list[Server] = []

    async def __aenter__(self) -> "Simulator":
        self._port = await self._listen(self._port)
        return self

    async def _listen(self, port: int) -> int:
        """Listen on another port and return it.

        :raises Problem: if that fails.
        """
        try:
            server = await serve(
                self._serve,
                self._host,
                port,
                compression=None,
                ping_interval=None,
                max_size=1 << 20,
                close_timeout=2,
                ssl=self._tls,
                logger=_quiet(),
            )
        except (OSError, UnicodeError) as error:
            raise Problem(
                f"Cannot listen on {self._host}:{port}: {reason_of(error)}.",
                "Choose another address with --host and --port.",
            ) from error
        self._servers.append(server)
        return int(next(iter(server.sockets)).getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        self.end()
        for stream in self._streams.values():
            if stream.next is not None and not stream.next.done():
                stream.next.set_result(None)
        for stream in self._streams.values():
            if stream.running is not None:
                await stream.running
        if self._posting:
            await asyncio.wait(self._posting)
        for server in self._servers:
            server.close()
            await server.wait_closed()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    def announce(
        self,
        product: Product,
        scenario: Scenario,
        number: int = 1,
        *,
        with_signature: bool = False,
        again: LiveStream | None = None,
        identity: str | None = None,
    ) -> LiveStream:
        """Create a stream that clients can join.

        :param number: distinguishes it from others created at the same moment.
        :param identity: the product's id, if the meeting already has one.
        :param again: an ended stream whose ids this one reuses.
        """
        digest = hashlib.sha256(f"{product} {number} {time.time_ns()}".encode()).hexdigest()
        stream_id = digest[24:56]
        if identity is None:
            identity = digest[:22] + "==" if product in (Product.MEETING, Product.WEBINAR) else digest[:24]
        if Deviation.NUMERIC_IDS in scenario.deviations:
            identity, stream_id = (str(int(part, 16)) for part in (digest[:12], digest[24:36]))
        if again is not None:
            identity, stream_id = again.identity, again.stream_id
        signature = self._app.sign(product, identity, stream_id)
        zoom = Zoom(
            product=product,
            identity=identity,
            stream_id=stream_id,
            signature=signature,
            urls=self._media_urls(self._port, stream_id, product),
            epoch_ms=int(time.time() * 1000),
            show=MadeUp(scenario),
            scopes=media_of(product, self._app.scopes),
            speed=self._client_speed,
            on_finding=self._on_finding,
        )
        return self._begin(product, identity, stream_id, zoom, scenario, signature if with_signature else None)

    def announce_recorded(
        self,
        recording: Recording,
        *,
        at_once: bool = False,
        with_signature: bool = False,
    ) -> LiveStream:
        """Create a recorded stream that one client can join. When it has ended, call this again for the next client.

        :param at_once: send as fast as the client reads.
        """
        signature = self._app.sign(recording.product, recording.id, recording.stream_id)
        zoom = Zoom(
            product=recording.product,
            identity=recording.id,
            stream_id=recording.stream_id,
            signature=signature,
            urls=self._media_urls(self._port, _in_path(recording.stream_id), None),
            epoch_ms=recording.zoom_ms,
            show=Recorded(recording, at_once=at_once),
            speed=self._client_speed,
            on_demand=True,
            on_finding=self._on_finding,
        )
        earlier = self._streams.get(_in_path(recording.stream_id))
        stream = self._begin(
            recording.product,
            recording.id,
            recording.stream_id,
            zoom,
            Scenario(),
            signature if with_signature else None,
        )
        stream.next = asyncio.get_running_loop().create_future()
        if earlier is not None and earlier.next is not None:
            earlier.next.set_result(stream)
        return stream

    def _begin(
        self,
        product: Product,
        identity: str,
        stream_id: str,
        zoom: Zoom,
        scenario: Scenario,
        signature: Signature | None,
    ) -> LiveStream:
        in_path = _in_path(stream_id)
        driver = Driver(zoom, None, Clock(self._speed), outward=lambda command: self._announce(stream, command))
        url = f"{self.url(self._port)}/signaling/{in_path}"
        stream = LiveStream(product, identity, stream_id, url, zoom, driver, scenario, signature)
        stream.port = self._port
        self._streams[in_path] = stream
        stream.running = asyncio.create_task(_run(driver), name=f"simulated stream {stream_id}")
        return stream

    def url(self, port: int | None = None) -> str:
        """Return the base URL for clients."""
        scheme = "ws" if self._tls is None else "wss"
        return f"{scheme}://{in_url(self._public_host)}:{port or self._port}"

    def _media_urls(self, port: int, stream_id: str, product: Product | None) -> dict[str, str]:
        scopes = spelled_out(media_of(product or "", self._app.scopes))
        names = [name for kind, name in MEDIA_NAMES.items() if kind in scopes]
        return {name: f"{self.url(port)}/media/{stream_id}/{name}" for name in [*names, "all"]}

    def end(self) -> None:
        """End every stream, as its host would. Do not wait for pending answers to started webhooks."""
        self._is_ending.set()
        for stream in self._streams.values():
            stream.driver.stop("the host")

    async def invite(self, stream: LiveStream) -> None:
        """Announce the start after the scenario's delay. If `on_event` is set, see `tell`.

        :raises Problem: if the webhook is the only way to announce it, and the app does not answer.
        """
        if not await self._before_the_end(asyncio.sleep(stream.scenario.webhook_after_s / self._speed)):
            stream.end_was_told = True  # no client was informed of the start
        elif self.on_event is not None:
            await self.tell(stream, "started")
        else:
            assert self.webhook is not None, "a webhook URL or on_event is required"
            await self.post(self.webhook, stream, "started")

    async def _before_the_end(self, work: Coroutine[None, None, None]) -> bool:
        """Run work until everything ends, and return whether it finished."""
        doing, ending = asyncio.create_task(work), asyncio.create_task(self._is_ending.wait())
        try:
            await asyncio.wait((doing, ending), return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                await doing
                return True
            return False
        finally:
            doing.cancel()
            ending.cancel()

    async def tell(self, stream: LiveStream, what: str, reason: StopReason | None = None, age_ms: int = 0) -> None:
        """Send an event to `on_event` and to the webhook, which does not have to answer."""
        body = stream.webhook(what, reason, age_ms)
        if self.on_event is not None:
            self.on_event(body)
        if self.webhook is not None:
            try:
                await self._deliver(self.webhook, stream, what, body)
            except Problem as problem:
                self._find(stream, problem.what)

    async def post(
        self, url: str, stream: LiveStream, what: str, reason: StopReason | None = None, age_ms: int = 0
    ) -> None:
        """Post a signed webhook. A wrong or late answer becomes a finding of the stream.

        :raises Problem: if the app does not answer.
        """
        await self._deliver(url, stream, what, stream.webhook(what, reason, age_ms))

    async def _deliver(self, url: str, stream: LiveStream, what: str, body: bytes) -> None:
        posting = self._post(url, stream, what, body)
        if what != "started":
            await posting
        elif not await self._before_the_end(posting):
            stream.end_was_told = True

    async def _post(self, url: str, stream: LiveStream, what: str, body: bytes) -> None:
        headers = signed_headers(self._app.secret_token, int(time.time()), body)
        try:
            answer = await post(url, body, headers, 2 * ANSWER_S)
        except NoAnswerError as error:
            raise Problem(
                f"Could not post the webhook to {url}: {error}.",
                "Is `rtms listen` (or your app) running there?",
                Exit.REFUSED,
            ) from None
        if answer.status not in ACCEPTED:
            said = answer.body.decode(errors="replace").strip()[:MOST_SAID]
            fix = MADE_UP if answer.status == REFUSED and self._app.has_made_up_token else answer_fix(answer.status)
            quoted = f" and {said!r}" if said else ""
            answered = f"webhook with {answer.status}{quoted}"
            if any(answered in finding.what for finding in stream.webhook_findings):
                self._find(stream, f"the app answered the {what} webhook in the same way.")
            else:
                self._find(stream, f"the app answered the {what} {answered} instead of 200. {fix}")
        elif answer.took_s > ANSWER_S:
            slow = f"the app answered the {what} webhook after {answer.took_s:.1f} s"
            self._find(stream, f"{slow}. Zoom waits {ANSWER_S:.0f} s.")

    def _find(self, stream: LiveStream, what: str) -> None:
        stream.webhook_findings.append(Finding(0, "webhook", what))
        if self._on_finding is not None:
            self._on_finding(stream.webhook_findings[-1])

    def _announce(self, stream: LiveStream, command: Outward) -> None:
        """Send a fault's webhook. A started webhook of a new server has that server's URL and a new time."""
        assert isinstance(command, Announce), "all commands of the simulator"
        task = asyncio.create_task(self._tell(stream, command), name="webhook")
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def _tell(self, stream: LiveStream, command: Announce) -> None:
        generation = stream.zoom.generation
        is_old, is_known = command.age_ms > 0, generation == 1 or f"server={generation}" in stream.url
        if command.what == "started" and not (is_old or is_known):
            if stream.zoom.moves:
                stream.port = await self._listen(0)
                stream.zoom.move_to(self._media_urls(stream.port, stream.stream_id, stream.product))
            stream.url = f"{self.url(stream.port)}/signaling/{stream.stream_id}?server={generation}"
            stream.event_ts += 1
        stream.end_was_told |= command.what == "stopped" and not is_old
        reason = None if command.reason is None else StopReason(command.reason)  # type: ignore[call-arg]
        await self.tell(stream, command.what, reason, command.age_ms)

    async def _serve(self, connection: ServerConnection) -> None:
        path, _, query = (connection.request.path if connection.request else "").partition("?")
        parts = path.strip("/").split("/")
        stream = self._streams.get(parts[1]) if len(parts) > 1 and parts[0] in ("signaling", "media") else None
        if stream is not None and stream.zoom.is_over and stream.next is not None:
            stream = await stream.next
        if stream is None or stream.running is None or stream.running.done():
            await connection.close(1008, "no such stream")
            return
        asked_at = int(connection.local_address[1])
        generation = stream.zoom.generation
        if (generation > 1 and query != f"server={generation}") or asked_at != stream.port:
            await connection.close(1011, "this server is dead")
            return
        socket = TaskSocket(connection)
        stream.driver.attach(stream.channel_name(parts[0]), socket)
        await socket.wait_closed()


def _in_path(stream_id: str) -> str:
    """Encode a stream id for a URL. A recorded id may contain any character."""
    return stream_id if stream_id.isalnum() and stream_id.isascii() else hashlib.sha256(stream_id.encode()).hexdigest()


async def _run(driver: Driver) -> StopReason:
    finish = await driver.run()
    reason = StopReason.member(finish.stop_reason or 0)
    return reason if isinstance(reason, StopReason) else StopReason.STOP_BC_INTERNAL_EXCEPTION


def _quiet() -> logging.Logger:
    """Return the library's logger, without tracebacks for clients that disconnect."""
    logger = logging.getLogger("rtms.simulator")
    logger.setLevel(logging.CRITICAL)
    return logger
