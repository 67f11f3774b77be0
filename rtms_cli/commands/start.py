"""`rtms start`: by Zoom's REST API; with `--record`, from nothing to a recording."""

from collections.abc import Sequence
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
from rtms_cli.commands.options import AllowHost, Events, given_credentials, tls_options
from rtms_cli.commands.remote import Id, RemoteOptions, ask, make_control
from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    from rtms_cli.station.station import Outcome


@option_groups
def start(
    given: Id,
    *,
    remote: RemoteOptions,
    cloud: CloudOptions,
    record: Annotated[bool, typer.Option("--record", help="Wait for the stream, and record it.")] = False,
    events: Events = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", "-p", metavar="PORT", help="Port for webhooks, at /webhook; 0: a free one.", min=0, max=65535
        ),
    ] = None,
    media: MediaOptions,
    allow_host: AllowHost = None,
    live: LiveOptions,
    hooks: HookOptions,
    recording: RecordingOptions,
) -> None:
    """Start the stream of a meeting, session or call.

    The meeting has to be in progress. What follows --record belongs to it, but for
    --ca-file and --json.

    \b
    Examples:
      rtms start 855 1234 5678
      rtms start 855 1234 5678 --record --events SUBSCRIPTION
    """
    if not record:
        ask(given, "start", remote, cloud, recording.ca_file, as_json=recording.as_json)
        return
    outcome = _record(given, remote, cloud, events, port, media, tuple(allow_host or ()), live, hooks, recording)
    if outcome.exit_code is not Exit.OK:
        raise typer.Exit(outcome.exit_code)


def _record(
    given: Sequence[str],
    remote: RemoteOptions,
    cloud: CloudOptions,
    events: str | None,
    port: int | None,
    media: MediaOptions,
    allow_hosts: tuple[str, ...],
    live: LiveOptions,
    hooks: HookOptions,
    recording: RecordingOptions,
) -> "Outcome":
    """Hear of the stream that is asked for, and record it; see `start` for the parameters.

    :raises Problem: if nothing could be heard, Zoom refuses, or no stream begins.
    """
    from rtms_cli.cloud.causes import numbered, usual_causes
    from rtms_cli.cloud.rest import Action
    from rtms_cli.commands.composing import read_events, shown_station
    from rtms_cli.station.awaiting import Awaited, started_and_recorded
    from rtms_cli.station.credentials import credentials_missing
    from rtms_cli.station.receiving import WebhookEndpoint
    from rtms_cli.station.running import run_loop
    from rtms_cli.wire.hosts import HostPolicy
    from rtms_cli.wire.listener import MAX_CONNECTIONS

    if events is None and port is None:
        raise Problem(
            "--record needs to hear of the stream that begins.",
            "Add --events SUBSCRIPTION, or --port PORT for webhooks (`rtms listen --help` has more of them).",
        )
    credentials = given_credentials()  # tokens may come from another app than signatures
    order = remote.order(given, Action.START, credentials)
    signing = given_credentials(client_id=remote.client_id)
    if signing.pair_for(order.target.product) is None:
        raise credentials_missing(order.target.product)
    source = read_events(events, cloud, credentials, tls_options(recording.ca_file, insecure=False))
    control = make_control(order, credentials, cloud, recording.ca_file, None if source is None else source.tokens)
    tls = tls_options(recording.ca_file, insecure=recording.insecure)
    token = None if credentials.secret_token is None else credentials.secret_token.value
    endpoint = WebhookEndpoint("127.0.0.1", port, "/webhook", token, None, has_events=source is not None)
    by_events = None if source is not None and port is not None else source is not None
    causes = numbered(
        usual_causes(cloud.addresses().base, order.target.product, by_events=by_events, is_called_for=True)
    )
    awaited = Awaited(order.target)

    async def run() -> "Outcome | None":
        async with (
            shown_station(
                f"start {order.target}",
                recording,
                live,
                hooks,
                media.request(separate=live.wants_each()),
                signing.sign,
                HostPolicy(allow_hosts),
                trusted=endpoint.is_trusted,
                tls=tls,
                choose=awaited.refusal,
            ) as station,
            endpoint.open(station, recording.out, MAX_CONNECTIONS, tls),
        ):
            if endpoint.warning:
                station.notice(f"WARNING: {endpoint.warning}")
            if source is None:
                return await started_and_recorded(station, awaited, control, order, remote.wait_s, causes)
            async with source.subscribed(station) as subscriber:
                return await started_and_recorded(
                    station, awaited, control, order, remote.wait_s, causes, subscriber=subscriber
                )

    outcome = run_loop(run())
    if outcome is None:
        raise Problem(
            f"Nothing was recorded: no stream of {order.target} had begun.",
            "`rtms doctor` looks for what may be wrong.",
            Exit.REFUSED,
        )
    return outcome
