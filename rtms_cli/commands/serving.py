"""`rtms replay --serve`: a capture becomes a server."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from msgspec import Struct

from rtms_cli.errors import Exit

if TYPE_CHECKING:
    from rtms_cli.simulator.zoom import Finding


class Serving(Struct, frozen=True):
    """What the options say about the server."""

    host: str = "127.0.0.1"
    port: int = 0
    speed: float | None = 1
    """`None` is as fast as the client reads."""
    webhook: str | None = None
    payload_out: Path | None = None
    once: bool = False
    cert: Path | None = None
    public_host: str | None = None


def serve_capture(path: Path, serving: Serving, options: Mapping[str, str | None], *, as_json: bool) -> None:
    """Serve a capture to one client after the other, until somebody ends it; tell what each did wrong.

    :param options: credentials from the command line, by name.
    """
    import asyncio

    from rtms_cli.capture import Capture
    from rtms_cli.commands.simulate import print_reports, server_tls, simulated_app, write_payloads
    from rtms_cli.protocol.numbers import EVERY_MEDIA
    from rtms_cli.simulator.recorded import Recording
    from rtms_cli.simulator.server import LiveStream, Simulator
    from rtms_cli.station.running import check_http_url, on_signals, run_loop

    if serving.webhook is not None:
        check_http_url("--webhook", serving.webhook)
    recording = Recording(Capture(path))
    for line in recording.problems:
        print(f"warning: {line}", file=sys.stderr)  # noqa: T201
    app, thrown_away = simulated_app(dict(options), EVERY_MEDIA)
    tls = server_tls(serving.cert)

    async def run() -> int:
        """How many findings there were."""
        is_ending = False

        def end(_: str) -> None:
            nonlocal is_ending
            is_ending = True
            simulator.end()

        def announce() -> LiveStream:
            return simulator.announce_recorded(
                recording,
                at_once=serving.speed is None,
                with_signature=bool(thrown_away),
                on_finding=None if as_json else _print_finding,
            )

        async with Simulator(
            app, serving.host, serving.port, serving.speed or 1, public_host=serving.public_host, tls=tls
        ) as simulator:
            stream = announce()
            typer.echo(f"the capture is served at {simulator.url()}", err=True)
            for line in thrown_away:
                typer.echo(line, err=True)
            on_signals(end)
            if serving.payload_out is not None:
                await asyncio.to_thread(write_payloads, serving.payload_out, [stream])
            elif serving.webhook is None:
                typer.echo(stream.webhook("started").decode())
            webhook, wrong = serving.webhook, 0
            if webhook is not None:
                await simulator.post(webhook, stream, "started")
            while True:
                reason = await stream.done()
                ended, is_last = stream, is_ending or serving.once
                if not is_last:
                    stream = announce()
                if webhook is not None:
                    await simulator.post(webhook, ended, "stopped", reason)
                    webhook = None  # one that is posted again and again would have its app record for ever
                report = ended.report()
                wrong += len(report.findings)
                if report.joined or report.findings or is_last:
                    print_reports([report], as_json=as_json)
                if is_last:
                    return wrong

    if run_loop(run()):
        raise typer.Exit(Exit.MISMATCH)


def _print_finding(finding: "Finding") -> None:
    """Tell of a mistake at once: the report comes when the client has gone."""
    from rtms_cli.view.text import escape

    typer.echo(f"wrong: {finding.channel or '-'}: {escape(finding.what)}", err=True)
