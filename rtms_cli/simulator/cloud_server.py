"""The simulated Zoom cloud on a network: tokens, the REST API and the event WebSocket, all on one port.

A `Simulator` on its own port serves the streams. Its announcements go out over the event WebSocket, and to a webhook if
one is configured.
"""

import asyncio
import hashlib
import secrets
import socket
import time
from collections.abc import Callable, Container, Sequence

from msgspec import structs

from rtms_cli.errors import Problem, reason_of
from rtms_cli.machine import WEBHOOK, Direction
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.strict_json import loads
from rtms_cli.protocol.webhooks import StreamStart, read_webhook
from rtms_cli.simulator.client import FIRST_CONTACT_S, Finding
from rtms_cli.simulator.cloud_app import CloudApp, error_answer, form_fields, json_answer
from rtms_cli.simulator.cloud_events import MOST_FINDINGS, EventServer
from rtms_cli.simulator.cloud_faults import CloudFaultAt
from rtms_cli.simulator.cloud_oauth import token_answer
from rtms_cli.simulator.cloud_report import CloudReport
from rtms_cli.simulator.cloud_rest import RestApi, Subject
from rtms_cli.simulator.cloud_tokens import TokenOffice
from rtms_cli.simulator.host import HOST, Action
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import LiveStream, Simulator
from rtms_cli.simulator.webhooks import CONTROL, CONTROL_FIELD, control_answer
from rtms_cli.simulator.zoom import Report
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.driver import Driver
from rtms_cli.wire.hosts import in_url
from rtms_cli.wire.http import Answer, Handler, HttpServer, Request
from rtms_cli.wire.upgrade import UpgradedSocket, upgrade, wants_upgrade

MAX_BODY = 1 << 18
REQUEST_S = 10.0
MOST_CONNECTIONS = 256
MOST_LATE_S = FIRST_CONTACT_S - 10
"""How soon after the start an event must arrive for the client to be blamed for not joining."""


class Cloud:
    """The server. Use it with `async with`, inside the simulator's.

    :param shows: what can be started, and the scenario of each.
    :param faults: cloud faults. Their times count from the start of the cloud.
    :param on_finding: called for each mistake as it happens.
    """

    def __init__(
        self,
        simulator: Simulator,
        app: CloudApp,
        shows: Sequence[tuple[Product, Scenario]],
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        faults: Sequence[CloudFaultAt] = (),
        public_host: str | None = None,
        on_finding: Callable[[Finding], None] = lambda finding: None,
    ) -> None:
        self.subscription = secrets.token_hex(8)
        """The id of the event subscription."""
        self.streams: list[LiveStream] = []
        """All streams that were started, in order."""
        seed = secrets.token_bytes(32)
        self.subjects = [_subject(seed, number, product) for number, (product, _) in enumerate(shows)]
        """What can be started, in the order of `shows`."""
        self._shows = [scenario for _, scenario in shows]
        self._simulator = simulator
        self._app = app
        self._host = host
        self._port = port
        self._public_host = public_host or ("127.0.0.1" if host in ("", "0.0.0.0", "::") else host)  # noqa: S104
        self._tokens = TokenOffice(seed)
        if app.access_token:
            self._tokens.know(app.access_token, app.scopes)
        self._findings: list[Finding] = []
        self._on_finding = on_finding
        self._clock = Clock()
        self._events = EventServer(
            self._tokens,
            [self.subscription],
            faults,
            on_finding=on_finding,
            on_fault=lambda fault: self._rest.fail_next(fault.number, fault.times),
            on_delivery=self._delivered,
        )
        self._rest = RestApi(app, self._tokens, self.subjects, self._act, self._find)
        self._driver = Driver(self._events, None, self._clock)
        self._running: asyncio.Task[object] | None = None
        self._live: dict[str, LiveStream] = {}
        """The newest stream of each subject, by the subject's name."""
        self._begun: dict[str, int] = {}
        """Start time of each stream, by id, until a client has been informed in time."""
        self._playing: set[asyncio.Task[None]] = set()
        handler = Handler(self._admit, self._answer, self._refuse, MAX_BODY)
        self._server = HttpServer(handler, REQUEST_S, MOST_CONNECTIONS)

    async def __aenter__(self) -> "Cloud":
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listening = socket.create_server((self._host, self._port), family=family)
        except (OSError, UnicodeError) as error:
            raise Problem(
                f"Cannot listen on {self._host}:{self._port}: {reason_of(error)}.",
                "Choose another address with --host and --port.",
            ) from error
        self._port = int(listening.getsockname()[1])
        self._server.serve(listening)
        self._simulator.on_event = self.happen
        self._running = asyncio.create_task(self._driver.run(), name="event WebSocket")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._simulator.end()
        while self._playing:
            await asyncio.wait(self._playing)
        self._driver.stop("the simulator")
        assert self._running is not None, "it was entered"
        await self._running
        await self._server.close()

    @property
    def url(self) -> str:
        """The URL for clients, without a trailing slash."""
        return f"http://{in_url(self._public_host)}:{self._port}"

    @property
    def events_url(self) -> str:
        """The URL of the event WebSocket, as shown in Zoom's Marketplace."""
        return f"ws{self.url.removeprefix('http')}/ws?subscriptionId={self.subscription}"

    @property
    def listeners(self) -> int:
        """Return how many connections would receive an event."""
        return self._events.listeners

    def happen(self, body: bytes) -> None:
        """Deliver an event to all connected clients.

        :param body: a webhook's body.
        """
        self._driver.post(WEBHOOK, Direction.IN, body)

    def provoke(self, fault: CloudFaultAt) -> None:
        """Trigger a fault now."""
        self._events.provoke(fault)
        self._driver.post("fault", Direction.IN, b"{}")

    def report(self) -> CloudReport:
        """Return what clients have done so far."""
        findings = sorted([*self._findings, *self._events.findings], key=lambda finding: finding.at_ms)
        return CloudReport(
            self._tokens.count, self._rest.calls, self._rest.refused, self._events.figures, tuple(findings)
        )

    def reports(self) -> Sequence[Report]:
        """Return what the client of each stream has done so far.

        A stream without a client is not a mistake if no client was informed of it in time.
        """
        return [_excused(stream.report(), self._begun) for stream in self.streams]

    def _delivered(self, body: bytes) -> None:
        webhook = read_webhook(body)
        if isinstance(webhook, StreamStart):
            begun_us = self._begun.get(webhook.stream.stream_id)
            if begun_us is not None and self._clock.now_us() - begun_us < MOST_LATE_S * 1_000_000:
                del self._begun[webhook.stream.stream_id]

    # HTTP.

    def _admit(self, request: Request) -> Answer | None:
        return None

    def _refuse(self, status: int, why: str) -> Answer:
        self._find("http", f"answered {status}: {why}", True)
        return Answer(status, f"{why}\n".encode("utf-8", "replace"))

    def _answer(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        if path == "/oauth/token":
            return token_answer(request, self._app, self._tokens, self._clock.now_us(), self.url, self._find)
        if path == "/ws":
            return self._connect(request, query)
        if path == CONTROL:
            return self._control(request)
        if path.startswith("/v2/"):
            return self._rest.answer(request, self._clock.now_us(), time.time())
        self._find("http", f"{request.method[:10]} {ascii(path[:100])[1:-1]} does not exist", True)
        return Answer(404, b"nothing is here\n")

    def _connect(self, request: Request, query: str) -> Answer:
        if not wants_upgrade(request):
            self._find("events", "the event WebSocket's URL received a request that is not a WebSocket upgrade", True)
            return Answer(426, b"a WebSocket is expected\n", fields=((b"upgrade", b"websocket"),))
        if self._events.is_down(self._clock.now_us()):
            return Answer(503, b"not now\n")
        given = form_fields(query)
        subscription, token = given.get("subscriptionId", ""), given.get("access_token", "")

        def on_open(opened: UpgradedSocket) -> None:
            channel = self._events.admit(self._clock.now_us(), subscription, token)
            if channel is None:
                opened.abort()
            else:
                self._driver.attach(channel, opened)

        return upgrade(request, on_open)

    def _control(self, request: Request) -> Answer:
        """Send an event supplied by `rtms trigger`."""
        if request.method != "POST" or request.field(CONTROL_FIELD.encode()) is None:
            return Answer(403, b"this is for `rtms trigger --cloud-url`\n")
        try:
            is_object = isinstance(loads(request.body), dict)
        except ValueError:
            is_object = False
        if not is_object:
            return error_answer(400, 400, "The body is not a JSON object.")
        listeners = self._events.listeners
        self.happen(request.body)
        return json_answer(200, control_answer(listeners, self._events.delay_s))

    def _find(self, channel: str, what: str, is_wrong: bool) -> None:
        if len(self._findings) < MOST_FINDINGS:
            self._findings.append(Finding(self._clock.now_us() // 1000, channel, what, is_wrong))
            self._on_finding(self._findings[-1])

    # Streams.

    def _act(self, subject: Subject, action: Action, participant: str) -> None:
        """Carry out a REST call."""
        if action is not Action.START:
            self._live[subject.name].driver.post(HOST, Direction.IN, action.encode())
            return
        number = self.subjects.index(subject)
        stream = self._simulator.announce(
            subject.product, self._shows[number], len(self.streams) + 1, identity=subject.identity
        )
        stream.fields = _fields(subject, participant)
        self.streams.append(stream)
        self._live[subject.name] = stream
        if self._simulator.webhook is None:
            self._begun[stream.stream_id] = self._clock.now_us()
        task = asyncio.create_task(self._play(subject, stream), name=f"stream of {subject.name}")
        self._playing.add(task)
        task.add_done_callback(self._playing.discard)

    async def _play(self, subject: Subject, stream: LiveStream) -> None:
        await self._simulator.invite(stream)
        reason = await stream.done()
        if self._live.get(subject.name) is stream:
            subject.status = "stopped"
        if not stream.end_was_told:
            await self._simulator.tell(stream, "stopped", reason)


def _excused(report: Report, untold: Container[str]) -> Report:
    """Excuse a client that may not have been informed of the stream.

    :param untold: ids of streams that no client was informed of in time.
    """
    if report.joined or report.stream_id not in untold:
        return report
    findings = tuple(structs.replace(finding, is_wrong=False) for finding in report.findings)
    return structs.replace(report, findings=findings)


def _subject(seed: bytes, number: int, product: Product) -> Subject:
    """Create a subject with the names that calls and webhooks use for it."""
    digest = hashlib.sha256(seed + str(number).encode()).hexdigest()
    digits = f"{int(digest[:12], 16) % 10**10:010d}"
    if product in (Product.MEETING, Product.WEBINAR):
        return Subject(product, f"8{digits}", f"{digest[:22]}==")
    if product is Product.PHONE:
        return Subject(product, f"7{digits}{digits[:7]}", f"7{digits}{digits[:7]}")
    # A session's id may contain a slash, which must be encoded in a path. This finds clients that do not encode it.
    identity = f"{digest[:10]}/{digest[10:20]}+==" if product is Product.VIDEO_SDK else digest[:24]
    return Subject(product, identity, identity)


def _fields(subject: Subject, participant: str) -> dict[str, object]:
    """Return the additional webhook fields: the meeting's number, and the participant of the stream."""
    fields: dict[str, object] = {}
    if subject.product is Product.MEETING:
        fields["meeting_id"] = subject.name
        fields["is_original_host"] = not participant
    elif subject.product is Product.WEBINAR:
        fields["webinar_id"] = subject.name
    if participant:
        fields["operator_id"] = participant
    return fields
