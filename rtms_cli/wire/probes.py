"""Probes of a process: `/healthz` (alive), `/readyz` (ready for a stream), `/metrics`."""

import logging
import socket
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from rtms_cli.errors import Problem, reason_of
from rtms_cli.protocol.strict_json import dumps
from rtms_cli.wire.http import Answer, Fields, Handler, HttpServer, Request
from rtms_cli.wire.paths import path_of

log = logging.getLogger(__name__)

HEALTH, READY, METRICS = "/healthz", "/readyz", "/metrics"
PATHS = (HEALTH, READY, METRICS)
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""
REQUEST_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 32


class Probes(Struct, frozen=True):
    """The functions that answer probes."""

    status: Callable[[], dict[str, object]]
    """What runs."""
    not_ready: Callable[[], Sequence[str]] = tuple
    """Returns why no stream would be accepted now, one line per reason."""
    metrics: Callable[[Mapping[int, int]], bytes] | None = None
    """Returns the metrics, given the number of answered webhooks by HTTP status."""

    def has(self, path: str) -> bool:
        """Return whether a path is a probe."""
        return path in PATHS and (path != METRICS or self.metrics is not None)

    def answer(self, path: str, answers: Mapping[int, int]) -> Answer:
        """Return the answer to a `GET` of a probe."""
        if path == METRICS and self.metrics is not None:
            return Answer(200, self.metrics(answers), METRICS_TYPE)
        if path == HEALTH:
            return Answer(200, dumps(self.status()), "application/json")
        reasons = list(self.not_ready())
        about = {name: value for name, value in self.status().items() if name != "streams"}
        body = dumps({"ready": not reasons, "reasons": reasons, **about})
        return Answer(503 if reasons else 200, body, "application/json")


def listen_on(host: str, port: int, option: str = "--port") -> socket.socket:
    """Return a listening socket.

    :param port: 0 selects a free port.
    :param option: the option that sets the port, for the message.
    :raises Problem: if the address cannot be used.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError, TypeError) as error:  # TypeError: the host is not a string
        raise Problem(
            f"Cannot listen on {host}:{port}: {reason_of(error)}.",
            f"Choose another port with {option}, or another address.",
        ) from error


class ProbeServer:
    """Answers probes, and nothing else, on this event loop."""

    def __init__(self, host: str, port: int, probes: Probes) -> None:
        self._host = host
        self._port = port
        self._probes = probes
        self._server = HttpServer(
            Handler(self._admit, self._answer, _refuse, max_body=0), REQUEST_TIMEOUT_S, MAX_CONNECTIONS
        )

    async def start(self) -> int:
        """Listen.

        :returns: the port. If 0 was requested, the system chooses it.
        :raises Problem: if the address cannot be used.
        """
        listening = listen_on(self._host, self._port, "--health-port")
        self._server.serve(listening)
        return int(listening.getsockname()[1])

    async def stop(self) -> None:
        """Stop listening. Pending answers are still sent."""
        await self._server.close()

    def _admit(self, request: Request) -> Answer | None:
        if not self._probes.has(path_of(request.target)):
            return Answer(404, f"the only paths are {', '.join(PATHS)}\n".encode())
        if request.method not in ("GET", "HEAD"):
            return Answer(
                405,
                b"use GET or HEAD\n",
                fields=((b"allow", b"GET, HEAD"),),
            )
        return None

    def _answer(self, request: Request) -> Answer:
        path = path_of(request.target)
        try:
            return self._probes.answer(path, {})
        except Exception:  # a defect in rtms must not stop the server that reports it
            log.exception("a defect in rtms: a request to %s could not be answered", path)
            return Answer(500, b"a defect in rtms\n")


def _refuse(status: int, why: str, fields: Fields = ()) -> Answer:
    return Answer(status, f"{why}\n".encode("utf-8", "replace"), fields=fields)
