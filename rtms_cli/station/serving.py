"""What a stand-in for Zoom needs that is set up for somebody's client: an app, payloads, and a capture to serve."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from rtms_cli.errors import Problem
from rtms_cli.protocol.numbers import MediaType, Product
from rtms_cli.recording.files import atomic_write
from rtms_cli.simulator.cloud_app import CloudApp, all_scopes
from rtms_cli.simulator.cloud_server import Cloud
from rtms_cli.simulator.recorded import Recording
from rtms_cli.simulator.server import App, LiveStream, Simulator
from rtms_cli.simulator.zoom import Finding, Report
from rtms_cli.station.credentials import Credentials, Pair


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


def simulated_cloud(app: App, credentials: Credentials) -> tuple[CloudApp, Sequence[str]]:
    """Whom the stand-in's cloud takes for whom; and the lines that tell what is made up.

    :param app: the app that streams.
    """
    account, given = credentials.account_id, credentials.access_token
    server, api = _values(credentials.server_to_server), _values(credentials.video_sdk_api)
    made = CloudApp(
        app.client_id,
        app.client_secret,
        secrets.token_urlsafe(12) if account is None else account.value,
        server,
        api or (secrets.token_urlsafe(16), secrets.token_urlsafe(24)),
        "" if given is None else given.value,
        all_scopes(app.scopes),
    )
    lines = []
    if account is None:
        lines.append(f"  export ZOOM_ACCOUNT_ID={made.account_id}")
    if api is None and made.video_sdk_api is not None:
        key, secret = made.video_sdk_api
        lines.append(f"  export ZOOM_VIDEO_SDK_API_KEY={key} ZOOM_VIDEO_SDK_API_SECRET={secret}")
    return made, lines


def _values(pair: Pair | None) -> tuple[str, str] | None:
    return None if pair is None else (str(pair.client_id.value), str(pair.client_secret.value))


def cloud_lines(cloud: Cloud) -> Sequence[str]:
    """Where a client finds the stand-in's cloud, and what there is to start."""
    events = f"ws{cloud.url.removeprefix('http')}"
    lines = [
        f"the stand-in for Zoom's cloud is at {cloud.url}: --cloud-url, or",
        f"  export ZOOM_OAUTH_URL={cloud.url} ZOOM_API_URL={cloud.url} ZOOM_EVENTS_URL={events}",
        f"its event subscription is {cloud.subscription}: {cloud.events_url}",
    ]
    for subject in cloud.subjects:
        product = "" if subject.product is Product.MEETING else f" --product {subject.product}"
        lines.append(f"a {_NAMES[subject.product]} can be started: rtms start {subject.name}{product}")
    return lines


_NAMES = {
    Product.MEETING: "meeting",
    Product.WEBINAR: "webinar",
    Product.VIDEO_SDK: "session",
    Product.CONTACT_CENTER: "contact center engagement",
    Product.PHONE: "phone call",
}


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
