"""The webhook endpoint: raw body → verify → answer → hand on. It knows nothing of sessions.

Zoom waits about 3 s for an answer and sends again what failed, so the answer goes out first; the work begins when it
is on the wire.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from rtms_cli.errors import Problem
from rtms_cli.protocol.signatures import WebhookCheck, challenge_answer, check_webhook
from rtms_cli.protocol.webhooks import UnreadableWebhook, UrlValidation, Webhook, read_webhook

log = logging.getLogger(__name__)

MAX_BODY = 1 << 20
"""Real webhooks stay under 10 KiB."""

REQUEST_TIMEOUT_S = 10.0
"""How long a request's header, and then its body, may take to arrive: who drips is cut off."""

MAX_CONNECTIONS = 512
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""


class Listener:
    """An HTTP server on this event loop.

    :param secret_token: Zoom's; `None` lets unverified webhooks in.
    :param on_webhook: is given each webhook's raw body and reading, after it was answered.
    :param status: what `GET /healthz` answers with.
    :param on_refused: is told, in a line, why a request was not let in.
    :param metrics: what `GET /metrics` answers with, given how often a webhook was answered, by HTTP status.
    :param forward: is given the raw body and headers of everything that was let in, after it was answered.
    """

    def __init__(
        self,
        host: str,
        port: int,
        path: str,
        secret_token: str | None,
        on_webhook: Callable[[bytes, Webhook], None],
        status: Callable[[], dict[str, object]],
        on_refused: Callable[[str], None] = log.warning,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        metrics: Callable[[Mapping[int, int]], bytes] | None = None,
        forward: Callable[[bytes, Sequence[tuple[bytes, bytes]]], None] | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._secret_token = secret_token
        self._on_webhook = on_webhook
        self._status = status
        self._on_refused = on_refused
        self._timeout_s = request_timeout_s
        self._forward = forward
        self._answers: Counter[int] = Counter()
        routes = [
            Route(path, self._count, methods=["POST"]),
            Route("/healthz", self._health, methods=["GET"]),
        ]
        if metrics is not None:
            self._metrics = metrics
            routes.append(Route("/metrics", self._figures, methods=["GET"]))
        self._app = Starlette(routes=routes)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen.

        :returns: the port, which was chosen by the system where 0 was asked for.
        :raises Problem: where the address cannot be had.
        """
        try:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            listening = socket.create_server((self._host, self._port), family=family, backlog=256)
        except OSError as error:
            raise Problem(
                f"Cannot listen on {self._host}:{self._port}: {error.strerror or error}.",
                "Choose another with --host and --port.",
            ) from error
        timeout_s = self._timeout_s

        class Impatient(_ImpatientProtocol):
            request_timeout_s = timeout_s

        self._server = _Server(
            uvicorn.Config(
                self._app,
                http=Impatient,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=2,
            )
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]), name="webhook listener")
        return int(listening.getsockname()[1])

    async def stop(self) -> None:
        """Stop listening; requests that are being answered are finished."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving

    async def _count(self, request: Request) -> Response:
        answer = await self._webhook(request)
        self._answers[answer.status_code] += 1
        return answer

    async def _webhook(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await _read_body(request)
        except TimeoutError:
            return self._refuse(408, "the body did not arrive in time")
        if body is None:
            return self._refuse(413, f"the body is larger than {MAX_BODY >> 20} MiB")
        if self._secret_token is not None:
            signature, timestamp = request.headers.get("x-zm-signature"), request.headers.get("x-zm-request-timestamp")
            check = check_webhook(self._secret_token, signature, timestamp, body, time.time())
            if check is not WebhookCheck.GOOD:
                return self._refuse(401, check.value)
        webhook = read_webhook(body)
        match webhook:
            case UnreadableWebhook(problem):
                return self._refuse(400, problem)
            case UrlValidation(plain_token):
                if self._secret_token is None:
                    return self._refuse(
                        403, "Zoom validates this URL, which needs the secret token: set ZOOM_SECRET_TOKEN"
                    )
                answer: Response = JSONResponse(challenge_answer(self._secret_token, plain_token))
            case _:
                answer = Response(status_code=200)
        answer.background = BackgroundTask(self._hand_on, body, webhook, request.headers.raw)
        return answer

    async def _hand_on(self, body: bytes, webhook: Webhook, headers: Sequence[tuple[bytes, bytes]]) -> None:
        if not isinstance(webhook, UrlValidation):
            self._on_webhook(body, webhook)
        if self._forward is not None:
            self._forward(body, headers)

    async def _health(self, request: Request) -> Response:
        return JSONResponse(self._status())

    async def _figures(self, request: Request) -> Response:
        return Response(self._metrics(self._answers), media_type=METRICS_TYPE)

    def _refuse(self, status: int, why: str) -> Response:
        self._on_refused(f"a request was answered {status}: {why}")
        return PlainTextResponse(why + "\n", status)


async def _read_body(request: Request) -> bytes | None:
    """The raw body, or `None` where it is too large."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MAX_BODY:
        return None
    body = bytearray()
    with contextlib.suppress(ClientDisconnect):  # what is missing shows as a body that is no JSON
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return None
    return bytes(body)


class _Server(uvicorn.Server):
    """Signals are the command's affair: one Ctrl-C has to finish recordings first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _ImpatientProtocol(H11Protocol):
    """Closes a connection whose next request header does not arrive in time; uvicorn itself waits for ever."""

    request_timeout_s = REQUEST_TIMEOUT_S
    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._header_timer is None:
            self._wait_for_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_header(self) -> None:
        self._header_timer = self.loop.call_later(self.request_timeout_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
