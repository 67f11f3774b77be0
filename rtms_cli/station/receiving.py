"""Takes webhooks by HTTP for a station."""

import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from msgspec import Struct

from rtms_cli.protocol.webhooks import Webhook
from rtms_cli.recording.files import free_space
from rtms_cli.station.hearing import Hearer
from rtms_cli.station.metrics import exposition
from rtms_cli.wire.forwarder import Forwarder
from rtms_cli.wire.hosts import in_url
from rtms_cli.wire.listener import Listener
from rtms_cli.wire.probes import Probes, ProbeServer

UNVERIFIED = (
    "webhooks are not verified, anyone can send them: set ZOOM_SECRET_TOKEN "
    "(Marketplace → your app → Feature → Event Subscriptions). "
    "Connecting to *.zoom.us, *.zoomgov.com and loopback only."
)
CLOSED = "webhooks over HTTP are rejected: with --events they need ZOOM_SECRET_TOKEN"


class WebhookEndpoint(Struct, frozen=True):
    """Where webhooks come by HTTP, if they do.

    :param port: `None` listens nowhere; 0 takes a free one.
    :param token: verifies webhooks.
    :param forward_to: an app that gets what was let in, too.
    :param has_events: whether events come by another way as well.
    """

    host: str
    port: int | None
    path: str
    token: str | None
    forward_to: str | None
    has_events: bool

    @property
    def is_trusted(self) -> bool:
        """Whether all that comes is Zoom's: events come by TLS for a token, webhooks are verified or turned away."""
        return self.token is not None or self.has_events

    @property
    def closed(self) -> str:
        """Why no webhook is let in, if so."""
        return CLOSED if self.has_events and self.token is None else ""

    @property
    def warning(self) -> str:
        """What its users have to know, if anything."""
        if not self.is_trusted:
            return UNVERIFIED
        return "" if self.port is None else self.closed

    @asynccontextmanager
    async def open(
        self,
        station: Hearer,
        out: Path,
        max_connections: int,
        tls: ssl.SSLContext | None,
        offer: Callable[[bytes, Webhook], Coroutine[Any, Any, None]] | None = None,
    ) -> AsyncIterator[str | None]:
        """Listen, for as long as it is entered.

        :param offer: see `Listener`.
        :returns: the URL on this machine, or `None` if nothing listens.
        :raises Problem: if the address cannot be used.
        """
        if self.port is None:
            yield None
            return
        async with (
            nullcontext() if self.forward_to is None else Forwarder(self.forward_to, station.notice, tls) as forwarder
        ):
            listener = Listener(
                self.host,
                self.port,
                self.path,
                self.token,
                station.take,
                station.health,
                station.notice,
                metrics=lambda answers: exposition(station.figures(answers, free_space(out))),
                forward=None if forwarder is None else forwarder.put,
                may_repeat=station.may_repeat if offer is None else lambda webhook: False,
                not_now=station.not_now,
                max_connections=max_connections,
                closed=self.closed,
                offer=offer,
                not_ready=station.not_ready,
                on_ignored=station.ignored.add,
            )
            url = f"http://{in_url(self.host)}:{await listener.start()}{self.path}"
            station.notice(f"listening on {url}")
            try:
                yield url
            finally:
                await listener.stop()


@asynccontextmanager
async def answering_probes(station: Hearer, out: Path, host: str, port: int | None) -> AsyncIterator[None]:
    """Answer `/healthz`, `/readyz` and `/metrics` for a process that takes no webhooks, for as long as it is entered.

    :param port: `None` listens nowhere; 0 takes a free one.
    :raises Problem: if the address cannot be used.
    """
    if port is None:
        yield
        return
    probes = Probes(
        station.health, station.not_ready, lambda answers: exposition(station.figures(answers, free_space(out)))
    )
    server = ProbeServer(host, port, probes)
    station.notice(f"health on http://{in_url(host)}:{await server.start()}/healthz")
    try:
        yield
    finally:
        await server.stop()
