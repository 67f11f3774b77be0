"""`rtms demo`: the whole way, with no account: a stand-in for Zoom, webhook, handshakes, media, files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands.groups import HookOptions, LiveOptions, MediaOptions, RecordingOptions, option_groups
from rtms_cli.commands.options import Json, Media, Notify, Out, Plain, Split
from rtms_cli.errors import Exit

if TYPE_CHECKING:
    from rtms_cli.protocol.webhooks import Webhook


@option_groups
def demo(
    seconds: Annotated[float, typer.Option(help="How long the simulated meeting is.", min=1, max=86400)] = 10,
    media: Media = "all",
    split: Split = False,
    out: Out = Path("recordings"),
    notify: Notify = None,
    plain: Plain = False,
    as_json: Json = False,
    *,
    live: LiveOptions,
    hooks: HookOptions,
) -> None:
    """Record a simulated meeting; needs no Zoom account.

    A stand-in for Zoom and a listener run in this process and talk over real sockets on this machine.

    \b
    Example:
      rtms demo --seconds 20 --out /tmp/demo
    """
    import asyncio
    import secrets
    import time

    from rtms_cli.commands.composing import shown_station
    from rtms_cli.protocol.numbers import Product
    from rtms_cli.simulator.scenario import Scenario
    from rtms_cli.simulator.server import App, Simulator
    from rtms_cli.station.running import run_loop
    from rtms_cli.wire.hosts import HostPolicy
    from rtms_cli.wire.listener import Listener

    request = MediaOptions(media=media, split=split).request(separate=live.wants_each())
    recording = RecordingOptions(out=out, notify=notify, plain=plain, as_json=as_json)
    app = App(secrets.token_urlsafe(16), secrets.token_urlsafe(24), secrets.token_urlsafe(16))

    started = time.monotonic()

    async def run() -> Exit:
        async with (
            Simulator(app) as simulator,
            shown_station(
                f"demo of {seconds:g} seconds",
                recording,
                live,
                hooks,
                request,
                app.sign_stream,
                HostPolicy(),
                trusted=True,
                progress=lambda: (time.monotonic() - started) / seconds,
            ) as station,
        ):

            def take(body: bytes, webhook: "Webhook") -> None:
                if not station.outcomes:  # the result is the last word, though the stop webhook may come after it
                    station.take(body, webhook)

            listener = Listener("127.0.0.1", 0, "/webhook", app.secret_token, take, station.health, station.notice)
            url = f"http://127.0.0.1:{await listener.start()}/webhook"
            station.notice(f"the stand-in for Zoom is at port {simulator.port}, the webhook listener at {url}")
            stream = simulator.announce(Product.MEETING, Scenario(seconds))
            await simulator.post(url, stream, "started")
            done, stopped = asyncio.create_task(stream.done()), asyncio.create_task(station.stopped())
            await asyncio.wait([done, stopped], return_when=asyncio.FIRST_COMPLETED)
            was_cut_short = not done.done()
            if was_cut_short:
                simulator.end()  # it would wait for a client to come back
            stopped.cancel()
            await simulator.post(url, stream, "stopped", await done)
            await station.idle()
            await listener.stop()
            findings = () if was_cut_short else stream.report().findings
            for finding in findings:
                station.notice(f"the stand-in found fault with us: {finding.channel}: {finding.what}")
            if findings:
                return Exit.MISMATCH
            nothing = Exit.INTERRUPTED if was_cut_short else Exit.FAULT
            return max((outcome.exit_code for outcome in station.outcomes), default=nothing)

    exit_code = run_loop(run())
    if exit_code is not Exit.OK:
        raise typer.Exit(exit_code)
