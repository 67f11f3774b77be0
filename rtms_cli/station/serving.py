"""What a stand-in for Zoom needs that is set up for somebody's client: an app, payloads, and a capture to serve."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from rtms_cli.errors import Problem
from rtms_cli.protocol.numbers import MediaType, Product
from rtms_cli.recording.files import atomic_write
from rtms_cli.simulator.recorded import Recording
from rtms_cli.simulator.server import App, LiveStream, Simulator
from rtms_cli.simulator.zoom import Finding, Report
from rtms_cli.station.credentials import Credentials


def simulated_app(credentials: Credentials, scopes: MediaType) -> tuple[App, Sequence[str]]:
    """The app that clients have to be; and where nothing is configured, the lines that tell its credentials."""
    pair, token = credentials.pair_for(Product.MEETING), credentials.secret_token
    sdk = credentials.pair_for(Product.VIDEO_SDK)
    if pair is not None and sdk is not None:
        return App(
            pair.client_id.value,
            pair.client_secret.value,
            token.value if token else "",
            scopes,
            (sdk.client_id.value, sdk.client_secret.value),
        ), ()
    app = App(
        secrets.token_urlsafe(16),
        secrets.token_urlsafe(24),
        token.value if token else secrets.token_urlsafe(16),
        scopes,
    )
    lines = [
        "no credentials are configured; a client may use these, which end with this process:",
        f"  export ZOOM_CLIENT_ID={app.client_id} ZOOM_CLIENT_SECRET={app.client_secret}",
    ]
    if token is None:
        lines.append(f"  export ZOOM_SECRET_TOKEN={app.secret_token}")
    return app, lines


def write_payloads(path: Path, live: Sequence[LiveStream]) -> None:
    """One file a stream: `payload.json`, `payload-2.json`, …"""
    for number, stream in enumerate(live, 1):
        target = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            atomic_write(target, stream.webhook("started") + b"\n")
        except OSError as error:
            raise Problem(f"Cannot write {target}: {error.strerror}.", "Choose another --payload-out.") from None


class ServedCapture:
    """Serves a recording to one client after the other.

    :param at_once: send as fast as the client reads.
    :param with_signature: put the signature into the started webhook, for a client without credentials.
    :param once: serve one client only.
    """

    def __init__(
        self,
        simulator: Simulator,
        recording: Recording,
        *,
        at_once: bool,
        with_signature: bool,
        once: bool = False,
        on_finding: Callable[[Finding], None] | None = None,
    ) -> None:
        self._simulator = simulator
        self._announce: Callable[[], LiveStream] = lambda: simulator.announce_recorded(
            recording, at_once=at_once, with_signature=with_signature, on_finding=on_finding
        )
        self._is_ending = once
        self.stream = self._announce()
        """The stream that the next client can join."""

    def end(self) -> None:
        """End it, as a host does."""
        self._is_ending = True
        self._simulator.end()

    async def reports(self, webhook: str | None) -> AsyncIterator[Report]:
        """What each client did, once it has gone; without those that only looked, but for the last.

        :param webhook: is posted to for the first client only: an app that is told again and again records for ever.
        """
        if webhook is not None:
            await self._simulator.post(webhook, self.stream, "started")
        is_last = False
        while not is_last:
            ended = self.stream
            reason = await ended.done()
            is_last = self._is_ending
            if not is_last:
                self.stream = self._announce()
            if webhook is not None:
                if not ended.end_was_told:
                    await self._simulator.post(webhook, ended, "stopped", reason)
                webhook = None
            report = ended.report()
            if report.joined or report.findings or is_last:
                yield report
