"""`rtms listen`: webhooks in, recordings out."""

from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands.groups import (
    CloudOptions,
    HookOptions,
    LiveOptions,
    LoggedOptions,
    MediaOptions,
    WebOptions,
    option_groups,
)
from rtms_cli.commands.options import (
    AllowHost,
    ClientId,
    ClientSecret,
    Drain,
    Events,
    OnlyOf,
    OwnSlots,
    Queue,
    SecretToken,
    Workers,
    check_http_url,
    duration,
    given_credentials,
    is_terminal,
    tls_options,
    worker_count,
)
from rtms_cli.errors import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from rtms_cli.station.hearing import Hearer
    from rtms_cli.station.receiving import WebhookEndpoint


@option_groups
def listen(
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", metavar="PORT", help="8080 by default, or none with --events.", min=0, max=65535),
    ] = None,
    path: Annotated[str, typer.Option(metavar="PATH", help="Webhook path.")] = "/webhook",
    forward_to: Annotated[
        str | None, typer.Option(metavar="URL", help="Forward verified webhooks to this app.")
    ] = None,
    events: Events = None,
    *,
    cloud: CloudOptions,
    only: OnlyOf = "all",
    queue: Queue = None,
    slots: OwnSlots = 0,
    drain: Drain = "0",
    media: MediaOptions,
    max_streams: Annotated[int, typer.Option(metavar="N", help="Streams to record at once.", min=1)] = 100,
    workers: Workers = None,
    allow_host: AllowHost = None,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    secret_token: SecretToken = None,
    live: LiveOptions,
    hooks: HookOptions,
    pages: WebOptions,
    recording: LoggedOptions,
) -> None:
    """Record every stream that Zoom announces.

    Ctrl-C finishes the recordings; a second one ends the process at once.

    A FORM may say more: --audio CODEC:RATE:CHANNELS:SEND_RATE, as l16:48:2:100;
    --video and --share CODEC:sd|hd|fhd|qhd:FPS, as h264:fhd:25.

    \b
    Examples:
      rtms listen --port 8080 --media audio,transcript
      rtms listen --events SUBSCRIPTION
    """
    from contextlib import AsyncExitStack

    from rtms_cli.commands.composing import read_events, shares_of, shown_station, until_stopped
    from rtms_cli.commands.teams import Alone, Queued
    from rtms_cli.station.choosing import Only
    from rtms_cli.station.notify_systemd import tell_systemd
    from rtms_cli.station.receiving import WebhookEndpoint
    from rtms_cli.station.running import run_loop
    from rtms_cli.wire.hosts import HostPolicy, in_url
    from rtms_cli.wire.listener import webhook_path

    if forward_to is not None:
        check_http_url("--forward-to", forward_to)
    if only not in tuple(Only):
        raise Problem(f"--only {only} is not a choice.", f"Use {', '.join(Only)}.")
    credentials = given_credentials(client_id=client_id, client_secret=client_secret, secret_token=secret_token)
    tls = tls_options(recording.ca_file, insecure=recording.insecure)
    # The server gets a token, so its certificate is verified, whatever is done about media.
    source = read_events(events, cloud, credentials, tls_options(recording.ca_file, insecure=False))
    port = 8080 if port is None and source is None else port
    if slots and queue is None:
        raise Problem("--slots needs --queue.", "Streams at once without a queue: --max-streams.")
    if queue is not None and only != "all":
        raise Problem("--only works within one process, and --queue has several.", "Leave one out.")
    if port is None and forward_to is not None:
        raise Problem("--forward-to needs webhooks over HTTP.", "Add --port.")
    if port and port == pages.web:
        raise Problem(f"--web {pages.web} is the webhook's port, which a tunnel shows to everyone.", "Choose another.")
    token = None if credentials.secret_token is None else credentials.secret_token.value
    endpoint = WebhookEndpoint(host, port, webhook_path(path), token, forward_to, has_events=source is not None)
    team = Alone() if queue is None else Queued(queue, slots, duration("--drain", drain))
    request = media.request(separate=live.wants_each())
    where = f"http://{in_url(host)}:{port}{endpoint.path}" if port else "a free port"
    at = [] if port is None else [f"on {where}"]
    title = " and ".join([*at, *(["by the event WebSocket"] if source else [])])
    size = None if workers is None else worker_count(workers)
    if queue is not None and size is not None:
        raise Problem("--workers is for one machine, and --queue is for several.", "Leave one out.")
    if not endpoint.is_trusted and (queue is not None or size is not None):
        option = "--queue" if size is None else "--workers"
        raise Problem(f"{option} accepts only verified webhooks.", "Set ZOOM_SECRET_TOKEN, or use --events.")

    async def run() -> None:
        shares = shares_of(request, max_streams, live, hooks, recording)
        policy, choose, name = HostPolicy(tuple(allow_host or ())), Only(only).refusal, f"listen {title}"
        hearer: Hearer
        async with AsyncExitStack() as stack:
            if size is not None:
                from rtms_cli.commands.crew import Duty, crewed_reception

                given = {"client_id": client_id, "client_secret": client_secret}
                streams = min(max_streams, size * shares.streams)
                duty = Duty(media, live, hooks, recording, allow_host or [], streams, given)
                crewed = crewed_reception(name, size, duty, request, policy, choose, pages)
                hearer, offer = await stack.enter_async_context(crewed), None
            else:
                streams = shares.streams
                shown = shown_station(
                    name,
                    recording,
                    live,
                    hooks,
                    request,
                    credentials.sign,
                    policy,
                    trusted=endpoint.is_trusted,
                    tls=tls,
                    max_streams=streams,
                    choose=choose,
                    on_stop=team.stop,
                    in_fleet=queue is not None,
                    web=pages,
                    fleet={"workers": team.workers, "watch": team.watch},
                )
                hearer = station = await stack.enter_async_context(shown)
                offer = await stack.enter_async_context(team.open(station, live, recording))
            opened = endpoint.open(hearer, recording.out, shares.connections, tls, offer)
            if (url := await stack.enter_async_context(opened)) is not None:
                hearer.hints += _first_steps(url, endpoint.path)
                if not recording.quiet and (recording.plain or not (recording.as_json or is_terminal())):
                    for line in hearer.hints:
                        hearer.notice(line)
            for remark in await _remarks(recording.out, max_streams, streams, endpoint):
                hearer.notice(remark)
            tell_systemd("READY=1")
            if source is None:
                await until_stopped(hearer, None)
                return
            hearer.notice("connecting to Zoom's event WebSocket")
            async with source.subscribed(hearer) as subscriber:
                await until_stopped(hearer, subscriber)

    run_loop(run())


def _first_steps(url: str, path: str) -> list[str]:
    """How webhooks get here, and how to try it without Zoom."""
    return [
        f"In your app at Zoom, enter the webhook URL https://YOUR-HOST{path}",
        f"Point a tunnel or proxy at {url}",
        f"Try it without Zoom: rtms simulate --webhook {url}",
    ]


async def _remarks(out: "Path", wanted: int, streams: int, endpoint: "WebhookEndpoint") -> list[str]:
    """Remarks for the beginning.

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
