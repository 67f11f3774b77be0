"""`rtms demo`: the whole way, with no account: a Zoom simulator, webhook, handshakes, media, files."""

from pathlib import Path
from typing import Annotated

import typer

from rtms_cli.commands.groups import HookOptions, LiveOptions, MediaOptions, RecordingOptions, WebOptions, option_groups
from rtms_cli.commands.options import Json, Media, Notify, Out, Plain, Quiet, ShowText, Split, Verbose, time_option
from rtms_cli.errors import Exit


@option_groups
def demo(
    cloud: Annotated[
        bool, typer.Option("--cloud", help="Use the REST API and the event WebSocket instead of a webhook.")
    ] = False,
    seconds: Annotated[
        float,
        typer.Option(
            metavar="TIME", parser=time_option("--seconds", 1, 86400), help="Length of the simulated meeting."
        ),
    ] = 10,
    media: Media = "all",
    split: Split = False,
    out: Out = Path("recordings"),
    notify: Notify = None,
    plain: Plain = False,
    show_text: ShowText = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
    *,
    live: LiveOptions,
    hooks: HookOptions,
    pages: WebOptions,
) -> None:
    """Record a simulated meeting; needs no Zoom account.

    A Zoom simulator and a listener run in this process and talk over real sockets on this machine. With --cloud it
    also simulates Zoom's cloud: a token, the event WebSocket, and a stream that is started and stopped by REST.

    \b
    Examples:
      rtms demo --seconds 20 --out /tmp/demo
      rtms demo --cloud
    """
    import secrets
    import time

    from rtms_cli.commands.composing import shown_station
    from rtms_cli.simulator.server import App
    from rtms_cli.station.demonstrating import by_webhook, through_the_cloud
    from rtms_cli.station.running import run_loop
    from rtms_cli.wire.hosts import HostPolicy

    request = MediaOptions(media=media, split=split).request(separate=live.wants_each())
    recording = RecordingOptions(
        place=str(out), notify=notify, plain=plain, show_text=show_text, quiet=quiet, verbose=verbose, as_json=as_json
    )
    app = App(secrets.token_urlsafe(16), secrets.token_urlsafe(24), secrets.token_urlsafe(16))

    started = time.monotonic()

    async def run() -> Exit:
        async with shown_station(
            f"demo of {seconds:g} seconds",
            recording,
            live,
            hooks,
            request,
            app.sign_stream,
            HostPolicy(),
            trusted=True,
            progress=lambda: (time.monotonic() - started) / seconds,
            web=pages,
        ) as station:
            return await (through_the_cloud if cloud else by_webhook)(station, app, seconds)

    exit_code = run_loop(run())
    if exit_code is not Exit.OK:
        raise typer.Exit(exit_code)
