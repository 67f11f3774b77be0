"""`rtms listen`: webhooks in, recordings out."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands.groups import HookOptions, LiveOptions, MediaOptions, RecordingOptions, option_groups
from rtms_cli.commands.options import (
    AllowHost,
    ClientId,
    ClientSecret,
    SecretToken,
    check_http_url,
    given_credentials,
    tls_options,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from rtms_cli.wire.forwarder import Forwarder

UNVERIFIED = (
    "WARNING: webhooks are not verified, anybody can send them: set ZOOM_SECRET_TOKEN "
    "(Marketplace → your app → Feature → Event Subscriptions). "
    "Connecting to *.zoom.us, *.zoomgov.com and loopback only."
)


@option_groups
def listen(
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", help="0 takes a free one.", min=0, max=65535)] = 8080,
    path: Annotated[str, typer.Option(metavar="PATH", help="Of the webhook.")] = "/webhook",
    forward_to: Annotated[str | None, typer.Option(metavar="URL", help="An app to pass verified webhooks to.")] = None,
    *,
    media: MediaOptions,
    max_streams: Annotated[int, typer.Option(metavar="N", help="Recorded at once.", min=1)] = 100,
    allow_host: AllowHost = None,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    secret_token: SecretToken = None,
    live: LiveOptions,
    hooks: HookOptions,
    recording: RecordingOptions,
) -> None:
    """Record every stream that Zoom's webhooks announce.

    Ctrl-C finishes the recordings; a second one ends the process at once.

    A FORM may say more: --audio CODEC:RATE:CHANNELS:SEND_RATE, as l16:48:2:100;
    --video and --share CODEC:sd|hd|fhd|qhd:FPS, as h264:fhd:25.

    \b
    Example:
      rtms listen --port 8080 --media audio,transcript
    """
    from rtms_cli.commands.composing import shown_station
    from rtms_cli.live import opening
    from rtms_cli.live.dispatch import descriptors_for
    from rtms_cli.live.programs import DESCRIPTORS
    from rtms_cli.recording.files import free_space
    from rtms_cli.station.metrics import exposition
    from rtms_cli.station.running import run_loop
    from rtms_cli.wire.descriptors import for_a_stream, in_use, raise_limit, share_out
    from rtms_cli.wire.hosts import HostPolicy, in_url
    from rtms_cli.wire.listener import MAX_CONNECTIONS, Listener, webhook_path

    if forward_to is not None:
        check_http_url("--forward-to", forward_to)
    credentials = given_credentials(client_id=client_id, client_secret=client_secret, secret_token=secret_token)
    token = credentials.secret_token.value if credentials.secret_token else None
    request, tls = (
        media.request(separate=live.wants_each()),
        tls_options(recording.ca_file, insecure=recording.insecure),
    )
    path = webhook_path(path)
    out, policy = recording.out, HostPolicy(tuple(allow_host or ()))

    async def run() -> None:
        used = in_use() + (DESCRIPTORS * hooks.hook_jobs if hooks.on else 0)
        used += descriptors_for(len(recording.notify or ()))
        for_taps, for_taps_of_a_stream = opening.descriptors_for(live.taps())
        a_stream = for_a_stream(request) + for_taps_of_a_stream
        shares = share_out(raise_limit(), used + for_taps, a_stream, max_streams, MAX_CONNECTIONS)
        async with (
            shown_station(
                f"listen on http://{in_url(host)}:{port}{path}",
                recording,
                live,
                hooks,
                request,
                credentials.sign,
                policy,
                trusted=token is not None,
                tls=tls,
                max_streams=shares.streams,
            ) as station,
            nullcontext() if forward_to is None else _forwarder(forward_to, station.notice, tls) as forwarder,
        ):
            listener = Listener(
                host,
                port,
                path,
                token,
                station.take,
                station.health,
                station.notice,
                metrics=lambda answers: exposition(station.figures(answers, free_space(out))),
                forward=None if forwarder is None else forwarder.put,
                may_repeat=station.may_repeat,
                not_now=station.not_now,
                max_connections=shares.connections,
            )
            station.notice(f"listening on http://{in_url(host)}:{await listener.start()}{path}")
            for remark in await _remarks(out, max_streams, shares.streams, trusted=token is not None):
                station.notice(remark)
            try:
                await station.stopped()
            finally:
                await listener.stop()

    run_loop(run())


async def _remarks(out: "Path", wanted: int, streams: int, *, trusted: bool) -> list[str]:
    """What is told at the beginning.

    :param streams: how many of the wanted streams the limit of open files allows.
    """
    import asyncio
    import shlex

    from rtms_cli.recording.repair import unfinished
    from rtms_cli.wire.descriptors import raise_limit

    folders = await asyncio.to_thread(lambda: list(unfinished(out)))
    remarks = [f"unfinished: rtms repair {shlex.quote(str(folder))}" for folder in folders]
    if streams < wanted:
        remarks.append(f"WARNING: {streams} streams at once at most: `ulimit -n` is {raise_limit()}")
    if not trusted:
        remarks.append(UNVERIFIED)
    return remarks


def _forwarder(url: str, notice: "Callable[[str], None]", tls: "ssl.SSLContext | None") -> "Forwarder":
    from rtms_cli.wire.forwarder import Forwarder

    return Forwarder(url, notice, tls)
