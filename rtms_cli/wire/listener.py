"""The webhook endpoint: verifies the raw body, answers, then forwards the webhook. Independent of sessions.

Zoom waits about 3 s for an answer and retries failures, so the answer is sent first and the work begins afterwards.
Users who "get no rtms_started" look here: every rejected request is shown.
"""

import asyncio
import functools
import json
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from msgspec import structs

from rtms_cli.errors import Problem
from rtms_cli.protocol.signatures import WebhookCheck, challenge_answer, check_webhook
from rtms_cli.protocol.webhooks import UnreadableWebhook, UrlValidation, Webhook, read_webhook
from rtms_cli.wire.http import Answer, Fields, Handler, HttpServer, Request
from rtms_cli.wire.notices import Notices
from rtms_cli.wire.paths import path_of
from rtms_cli.wire.probes import PATHS, Probes, listen_on

log = logging.getLogger(__name__)

MAX_BODY = 1 << 20
"""Real webhooks stay under 10 KiB."""

REQUEST_TIMEOUT_S = 10.0
"""How long a request may take to arrive, including its body."""

MAX_CONNECTIONS = 256
"""Concurrent connections. A further one replaces a silent one."""

MOST_SIGNATURES = 100_000
"""How many webhook signatures are remembered: those of several minutes. Repeating one cannot create new ones."""

RETRY_AFTER_S = 60
OFFER_TIMEOUT_S = 2.5
"""Zoom waits 3 s for an answer (PROTOCOL §2)."""


class Listener:
    """An HTTP server on this event loop.

    :param path: path of the webhook; see `webhook_path`.
    :param secret_token: Zoom's secret token; `None` accepts unverified webhooks.
    :param on_webhook: called with each webhook's raw body and parsed form, after it was answered.
    :param status: returns the answer to `GET /healthz`.
    :param on_notice: called with a line about each rejected request, and about requests that the listener handles
        itself.
    :param metrics: returns the answer to `GET /metrics`, given the number of answered webhooks by HTTP status.
    :param forward: called with the raw body and headers of each accepted request, after it was answered.
    :param may_repeat: returns whether to forward a webhook with a repeated signature.
    :param closed: why all webhooks are rejected, if so. Probes are still answered.
    :param not_now: returns why a webhook can only be handled later, if so. Zoom retries it.
    :param offer: stores a webhook before it is answered, instead of `on_webhook`. If it raises `Problem` or takes too
        long, the answer is 503 and Zoom retries.
    :param not_ready: returns why no stream would be accepted now, for `GET /readyz`.
    :param on_ignored: called with what each rejected request was, and why, however many there are.
    """

    def __init__(
        self,
        host: str,
        port: int,
        path: str,
        secret_token: str | None,
        on_webhook: Callable[[bytes, Webhook], None],
        status: Callable[[], dict[str, object]],
        on_notice: Callable[[str], None] = log.warning,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        metrics: Callable[[Mapping[int, int]], bytes] | None = None,
        forward: Callable[[bytes, Fields], None] | None = None,
        may_repeat: Callable[[Webhook], bool] = lambda webhook: True,
        not_now: Callable[[Webhook], str | None] = lambda webhook: None,
        max_connections: int = MAX_CONNECTIONS,
        closed: str = "",
        offer: Callable[[bytes, Webhook], Coroutine[Any, Any, None]] | None = None,
        not_ready: Callable[[], Sequence[str]] = tuple,
        on_ignored: Callable[[str, str], None] = lambda what, why: None,
    ) -> None:
        self._on_ignored = on_ignored
        self._host = host
        self._port = port
        self._path = webhook_path(path)
        self._secret_token = secret_token
        self._on_webhook = on_webhook
        self._probes = Probes(status, not_ready, metrics)
        self._forward = forward
        self._may_repeat = may_repeat
        self._not_now = not_now
        self._closed = closed
        self._offer = offer
        self._signatures: OrderedDict[str, None] = OrderedDict()
        """Signatures of recent webhooks. Older ones are rejected by age."""
        self._notices = Notices(on_notice)
        self._answers: Counter[int] = Counter()
        handler = Handler(self._admit, self._answer, self._refuse, MAX_BODY)
        self._server = HttpServer(handler, request_timeout_s, max_connections)

    async def start(self) -> int:
        """Listen.

        :returns: the port. If 0 was requested, the system chooses it.
        :raises Problem: if the address cannot be used.
        """
        listening = listen_on(self._host, self._port)
        self._server.serve(listening)
        return int(listening.getsockname()[1])

    async def stop(self) -> None:
        """Stop listening. Pending answers are still sent."""
        await self._server.close()
        self._notices.close()

    def _admit(self, request: Request) -> Answer | None:
        """Check a request's headers, and return an answer if its body is not needed."""
        path = path_of(request.target)
        is_probe = self._probes.has(path)
        methods = ("GET", "HEAD") if is_probe else ("POST",)
        if path != self._path and not is_probe:
            return self._turn_away(request, 404, f"webhooks are expected at POST {self._path}")
        if request.method not in methods:
            allow = b", ".join(method.encode() for method in methods)
            return self._turn_away(request, 405, f"only {allow.decode()} is answered there", ((b"allow", allow),))
        if path == self._path and self._closed:
            return self._refuse(403, self._closed)
        encoding = (request.field(b"content-encoding") or "identity").strip().lower()
        if path == self._path and encoding != "identity":
            return self._refuse(415, "the body is compressed, which Zoom's never are")
        return None

    def _answer(self, request: Request) -> Answer:
        path = path_of(request.target)
        try:
            if self._probes.has(path):
                return self._probes.answer(path, self._answers)
            answer = self._webhook(request)
        except Exception:  # a defect in rtms must not look like a missing endpoint
            log.exception("a defect in rtms: a request to %s could not be answered", path)
            answer = Answer(500, b"a defect in rtms\n")
        if path == self._path and answer.later is None:
            self._answers[answer.status] += 1
        return answer

    def _webhook(self, request: Request) -> Answer:
        body, is_again, seen = request.body, False, ""
        if self._secret_token is not None:
            signature, timestamp = request.field(b"x-zm-signature"), request.field(b"x-zm-request-timestamp")
            check = check_webhook(self._secret_token, signature, timestamp, body, time.time())
            if check is not WebhookCheck.GOOD:
                return self._refuse(401, check.value)
            seen = f"{signature} {timestamp}"
            is_again = seen in self._signatures if self._offer is not None else self._came_before(seen)
        webhook = read_webhook(body)
        answer = Answer(200)
        match webhook:
            case UnreadableWebhook(problem):
                return self._refuse(400, problem, kind="webhooks")  # only verified requests, if a secret token is set
            case UrlValidation(plain_token):
                if self._secret_token is None:
                    return self._refuse(
                        403, "Zoom is validating this URL, which requires the secret token: set ZOOM_SECRET_TOKEN"
                    )
                self._notices.tell("validations", "Zoom validated this URL: endpoint.url_validation was answered")
                answer = Answer(
                    200, json.dumps(challenge_answer(self._secret_token, plain_token)).encode(), "application/json"
                )
            case _:
                if is_again and not self._may_repeat(webhook):
                    self._notices.tell("repeated requests", "ignored a request that was repeated byte for byte")
                    return answer
                if (busy := self._not_now(webhook)) is not None:
                    return self._refuse(503, busy, ((b"retry-after", b"%d" % RETRY_AFTER_S),))
                if self._offer is not None:
                    return Answer(200, later=self._offered(self._offer(body, webhook), request, seen))
        return structs.replace(answer, after=lambda: self._hand_on(body, webhook, request.fields))

    async def _offered(self, offer: Coroutine[Any, Any, None], request: Request, seen: str) -> Answer:
        """Return the answer to a webhook once it is stored.

        :param seen: its signature. If it was not stored, the same request may be sent again.
        """
        try:
            async with asyncio.timeout(OFFER_TIMEOUT_S):
                await offer
        except (Problem, TimeoutError) as error:
            why = "the queue did not answer in time" if isinstance(error, TimeoutError) else str(error)
            answer = self._refuse(503, why, ((b"retry-after", b"%d" % RETRY_AFTER_S),))
        else:
            if seen:
                self._came_before(seen)
            forward = self._forward
            after = None if forward is None else functools.partial(forward, request.body, request.fields)
            answer = Answer(200, after=after)
        self._answers[answer.status] += 1
        return answer

    def _came_before(self, signature: str) -> bool:
        """Return whether a valid signature was seen before, and remember it."""
        if signature in self._signatures:
            return True
        self._signatures[signature] = None
        if len(self._signatures) > MOST_SIGNATURES:
            self._signatures.popitem(last=False)
        return False

    def _hand_on(self, body: bytes, webhook: Webhook, fields: Fields) -> None:
        try:
            if not isinstance(webhook, UrlValidation):
                self._on_webhook(body, webhook)
            if self._forward is not None:
                self._forward(body, fields)
        except Exception:  # Zoom has already been answered
            log.exception("a defect in rtms: a webhook was lost")

    def _turn_away(self, request: Request, status: int, why: str, fields: Fields = ()) -> Answer:
        what = f"{request.method[:20]} {_shown(path_of(request.target))}"
        self._on_ignored(f"{what}, answered {status}", why)
        self._notices.tell("requests to a wrong path", f"{what} was answered {status}: {why}", what)
        return Answer(status, f"{why}\n".encode(), fields=fields)

    def _refuse(self, status: int, why: str, fields: Fields = (), kind: str = "requests") -> Answer:
        self._on_ignored(f"a request, answered {status}", why)
        self._notices.tell(f"{kind} that were answered {status}", f"a request was answered {status}: {why}", why[:100])
        return Answer(status, f"{why}\n".encode("utf-8", "replace"), fields=fields)


def webhook_path(given: str) -> str:
    """Normalize the path for comparisons: `webhook`, `/webhook/` and `//webhook` become `/webhook`.

    :raises Problem: if it is not a valid webhook path.
    """
    path = path_of(given if given.startswith("/") else f"/{given}")
    if "://" in given or "?" in given or "#" in given or path in PATHS:
        raise Problem(f"--path {_shown(given)} is not a valid webhook path.", "Give a path such as /webhook.")
    return path


def _shown(path: str) -> str:
    return ascii(path[:100])[1:-1] if not path.isprintable() else path[:100]
