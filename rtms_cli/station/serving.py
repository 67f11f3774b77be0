"""What a Zoom simulator needs that is set up for someone's client: an app, payloads, and a capture to serve."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from rtms_cli.errors import Problem, reason_of
from rtms_cli.protocol.numbers import MediaType, Product
from rtms_cli.recording.files import atomic_write
from rtms_cli.simulator.cloud_app import CloudApp, all_scopes
from rtms_cli.simulator.cloud_server import Cloud
from rtms_cli.simulator.recorded import Recording
from rtms_cli.simulator.server import App, LiveStream, Simulator
from rtms_cli.simulator.zoom import Report
from rtms_cli.station.credentials import Credentials, Pair


def simulated_app(credentials: Credentials, scopes: MediaType) -> tuple[App, Sequence[str]]:
    """The app that clients have to be.

    :returns: the app, and the lines that say which credentials were made up, and how to use them.
    """
    pair, token = credentials.pair_for(Product.MEETING), credentials.secret_token
    sdk = credentials.pair_for(Product.VIDEO_SDK)
    made_up = []
    has_pairs = pair is not None and sdk is not None
    if pair is not None and sdk is not None:
        client, video_sdk = _values(pair), _values(sdk)
    else:
        client, video_sdk = (secrets.token_urlsafe(16), secrets.token_urlsafe(24)), None
        made_up.append(f"  export ZOOM_CLIENT_ID={client[0]} ZOOM_CLIENT_SECRET={client[1]}")
    secret_token = secrets.token_urlsafe(16) if token is None else str(token.value)
    if token is None:
        made_up.append(f"  export ZOOM_SECRET_TOKEN={secret_token}")
    app = App(*client, secret_token, scopes, video_sdk, not has_pairs, token is None)
    if not made_up:
        return app, ()
    missing = "secret token is" if has_pairs else "credentials are"
    return app, [
        f"No {missing} configured (environment or .env), so the simulator made some up until it ends.",
        "Start your app with the same:",
        *made_up,
    ]


def simulated_cloud(app: App, credentials: Credentials) -> tuple[CloudApp, Sequence[str]]:
    """Whom the simulated cloud takes for whom; and the lines that tell what is made up.

    :param app: the app that streams.
    """
    account, given = credentials.account_id, credentials.access_token
    server, api = (
        None if pair is None else _values(pair) for pair in (credentials.server_to_server, credentials.video_sdk_api)
    )
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


def _values(pair: Pair) -> tuple[str, str]:
    return str(pair.client_id.value), str(pair.client_secret.value)


def cloud_lines(cloud: Cloud) -> Sequence[str]:
    """Where a client finds the simulated cloud, and what there is to start."""
    events = f"ws{cloud.url.removeprefix('http')}"
    lines = [
        f"the simulated Zoom cloud is at {cloud.url}: use --cloud-url, or",
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
            raise Problem(f"Cannot write {target}: {reason_of(error)}.", "Choose another --payload-out.") from None


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
    ) -> None:
        self._simulator = simulator
        self._announce: Callable[[], LiveStream] = lambda: simulator.announce_recorded(
            recording, at_once=at_once, with_signature=with_signature
        )
        self._is_ending = once
        self.stream = self._announce()
        """The stream that the next client can join."""

    def end(self) -> None:
        """End it, as a host does."""
        self._is_ending = True
        self._simulator.end()

    async def reports(self, webhook: str | None) -> AsyncIterator[Report]:
        """What each client did, once it has gone; where none came at all, that.

        :param webhook: is posted to for the first client only: an app that is told again and again records for ever.
        """
        if webhook is not None:
            await self._simulator.post(webhook, self.stream, "started")
        is_last = has_told = False
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
            if report.joined or report.refused or report.findings or (is_last and not has_told):
                has_told = True
                yield report
