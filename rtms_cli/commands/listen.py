"""`rtms listen`: webhooks in, recordings out."""

from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands.groups import (
    CloudOptions,
    HookOptions,
    LiveOptions,
    MediaOptions,
    RecordingOptions,
    option_groups,
)
from rtms_cli.commands.options import (
    AllowHost,
    ClientId,
    ClientSecret,
    Events,
    OnlyOf,
    SecretToken,
    check_http_url,
    given_credentials,
    tls_options,
)
from rtms_cli.errors import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from rtms_cli.protocol.media import MediaRequest
    from rtms_cli.station.receiving import WebhookEndpoint
    from rtms_cli.wire.descriptors import Shares


@option_groups
def listen(
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", help="8080; none with --events.", min=0, max=65535),
    ] = None,
    path: Annotated[str, typer.Option(metavar="PATH", help="Of the webhook.")] = "/webhook",
    forward_to: Annotated[str | None, typer.Option(metavar="URL", help="An app to pass verified webhooks to.")] = None,
    events: Events = None,
    *,
    cloud: CloudOptions,
    only: OnlyOf = "all",
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
    """Record every stream that Zoom's webhooks announce, or its event WebSocket.

    Ctrl-C finishes the recordings; a second one ends the process at once.

    A FORM may say more: --audio CODEC:RATE:CHANNELS:SEND_RATE, as l16:48:2:100;
    --video and --share CODEC:sd|hd|fhd|qhd:FPS, as h264:fhd:25.

    \b
    Examples:
      rtms listen --port 8080 --media audio,transcript
      rtms listen --events SUBSCRIPTION
    """
    from rtms_cli.commands.composing import read_events, shown_station, until_stopped
    from rtms_cli.station.choosing import Only
    from rtms_cli.station.receiving import WebhookEndpoint
    from rtms_cli.station.running import run_loop
    from rtms_cli.wire.hosts import HostPolicy, in_url
    from rtms_cli.wire.listener import webhook_path

    if forward_to is not None:
        check_http_url("--forward-to", forward_to)
    if only not in tuple(Only):
        raise Problem(f"--only {only} is none.", f"Use {', '.join(Only)}.")
    credentials = given_credentials(client_id=client_id, client_secret=client_secret, secret_token=secret_token)
    tls = tls_options(recording.ca_file, insecure=recording.insecure)
    # A token goes to who answers: that is verified, whatever is done about media.
    source = read_events(events, cloud, credentials, tls_options(recording.ca_file, insecure=False))
    port = 8080 if port is None and source is None else port
    if port is None and forward_to is not None:
        raise Problem("--forward-to passes on what comes by HTTP, and nothing does.", "Add --port.")
    token = None if credentials.secret_token is None else credentials.secret_token.value
    endpoint = WebhookEndpoint(host, port, webhook_path(path), token, forward_to, has_events=source is not None)
    request = media.request(separate=live.wants_each())
    at = [] if port is None else [f"on http://{in_url(host)}:{port}{endpoint.path}"]
    title = " and ".join([*at, *(["by the event WebSocket"] if source else [])])

    async def run() -> None:
        shares = _shares(request, max_streams, live, hooks, recording)
        async with (
            shown_station(
                f"listen {title}",
                recording,
                live,
                hooks,
                request,
                credentials.sign,
                HostPolicy(tuple(allow_host or ())),
                trusted=endpoint.is_trusted,
                tls=tls,
                max_streams=shares.streams,
                choose=Only(only).refusal,
            ) as station,
            endpoint.open(station, recording.out, shares.connections, tls),
        ):
            for remark in await _remarks(recording.out, max_streams, shares.streams, endpoint):
                station.notice(remark)
            if source is None:
                await until_stopped(station, None)
                return
            station.notice("connecting to Zoom's event WebSocket")
            async with source.subscribed(station) as subscriber:
                await until_stopped(station, subscriber)

    run_loop(run())


def _shares(
    request: "MediaRequest", max_streams: int, live: LiveOptions, hooks: HookOptions, recording: RecordingOptions
) -> "Shares":
    """How many streams and connections there may be at once, with the files that this process may open."""
    from rtms_cli.live import opening
    from rtms_cli.live.dispatch import descriptors_for
    from rtms_cli.live.programs import DESCRIPTORS
    from rtms_cli.wire.descriptors import for_a_stream, in_use, raise_limit, share_out
    from rtms_cli.wire.listener import MAX_CONNECTIONS

    used = in_use() + (DESCRIPTORS * hooks.hook_jobs if hooks.on else 0)
    used += descriptors_for(len(recording.notify or ()))
    for_taps, for_taps_of_a_stream = opening.descriptors_for(live.taps())
    a_stream = for_a_stream(request) + for_taps_of_a_stream
    return share_out(raise_limit(), used + for_taps, a_stream, max_streams, MAX_CONNECTIONS)


async def _remarks(out: "Path", wanted: int, streams: int, endpoint: "WebhookEndpoint") -> list[str]:
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
    if endpoint.warning:
        remarks.append(f"WARNING: {endpoint.warning}")
    return remarks
