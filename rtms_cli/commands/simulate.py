"""`rtms simulate`: be Zoom, for a client under test."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from rtms_cli.commands import completing
from rtms_cli.commands.groups import ServerOptions, option_groups
from rtms_cli.commands.options import server_tls, time_option
from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtms_cli.protocol.numbers import MediaType, Product
    from rtms_cli.simulator.material import Material
    from rtms_cli.simulator.scenario import Scenario
    from rtms_cli.simulator.server import LiveStream
    from rtms_cli.simulator.zoom import Report


class ShowOptions(Struct, frozen=True):
    """What is shown: which scenario, for how long, with which faults and whose media."""

    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="TIME",
            parser=time_option("--seconds", 0.1, 86400),
            help="Length of each session; by default 10, or the length of its scenario or files.",
            show_default=False,
        ),
    ] = None
    scenario: Annotated[
        str | None,
        typer.Option(
            help="What happens: a name from --list, or a file.toml.",
            metavar="NAME|FILE",
            autocompletion=completing.scenarios,
        ),
    ] = None
    chaos: Annotated[int | None, typer.Option(help="Random faults; the same seed repeats them.", metavar="SEED")] = None
    audio: Annotated[
        list[Path] | None,
        typer.Option("--audio-file", metavar="FILE", help="Audio of one participant; may be repeated."),
    ] = None
    video: Annotated[
        Path | None, typer.Option("--video-file", metavar="FILE", help="Video of the first participant's camera.")
    ] = None
    transcript: Annotated[
        Path | None, typer.Option("--transcript-file", metavar="FILE", help="Transcript: .srt, .vtt or .jsonl.")
    ] = None

    def shows(self) -> "Sequence[Scenario]":
        """What is played: a scenario for each stream that it needs, with the user's material and chaos in it."""
        import random

        from msgspec import structs

        from rtms_cli.simulator.chaos import chaos
        from rtms_cli.simulator.scenario import Scenario
        from rtms_cli.simulator.scenario_file import load

        material, seconds = self._material(), self.seconds
        shows: Sequence[Scenario] = (Scenario(),) if self.scenario is None else load(self.scenario).scenarios
        if material is not None:
            shows = [show.with_material(material) for show in shows]
            seconds = seconds or (max(material.duration_ms / 1000, 0.1) if self.scenario is None else None)
        shows = [structs.replace(show, seconds=seconds or show.seconds) for show in shows]
        if self.chaos is None:
            return shows
        dice = random.Random(self.chaos)  # noqa: S311  # reproducible faults, no secrets
        wild = [structs.replace(show, faults=(*show.faults, *chaos(dice, show.duration_ms))) for show in shows]
        for show in wild:
            told = ", ".join(f"{fault.kind} at {fault.at_ms / 1000:.1f} s" for fault in show.faults)
            typer.echo(f"chaos {self.chaos}: {told or 'nothing, the session is too short'}", err=True)
        return wild

    def _material(self) -> "Material | None":
        """The user's own files, each looked at once; `None` if there are none."""
        if not self.audio and self.video is None and self.transcript is None:
            return None
        from rtms_cli.simulator.decoding import load_film, load_sound
        from rtms_cli.simulator.material import Material
        from rtms_cli.simulator.subtitles import load_transcript

        return Material(
            tuple(map(load_sound, self.audio or ())),
            None if self.video is None else load_film(self.video),
            () if self.transcript is None else load_transcript(self.transcript),
        )


@option_groups
def simulate(
    products: Annotated[
        str,
        typer.Option(
            metavar="PRODUCTS",
            help="meeting, webinar, session, contact_center, phone, separated by commas; or all.",
            autocompletion=completing.products,
        ),
    ] = "meeting",
    streams: Annotated[int, typer.Option(metavar="N", help="Streams per product at once.", min=1, max=1000)] = 1,
    speed: Annotated[
        float, typer.Option(metavar="FACTOR", help="How many times faster than real time.", min=0.01, max=1000)
    ] = 1,
    scopes: Annotated[
        str,
        typer.Option(metavar="KINDS", help="Media that the app may receive.", autocompletion=completing.media_kinds),
    ] = "all",
    cloud: Annotated[
        bool, typer.Option("--cloud", help="Simulate Zoom's cloud until Ctrl-C: clients start streams by REST.")
    ] = False,
    list_them: Annotated[bool, typer.Option("--list", help="List the built-in scenarios.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    *,
    show: ShowOptions,
    server: ServerOptions,
) -> None:
    """Simulate Zoom for a client under test.

    Announces streams, sends media, and reports what the client did wrong (exit code 1 then). The client signs with the
    credentials that are configured here. Without any, the simulator makes some up and shows them. Without --webhook and
    --payload-out the started webhook's body is printed.

    With --cloud it issues tokens, answers Zoom's REST API, and delivers events over a WebSocket, all at --port;
    meetings begin when a client starts them, as often as it likes.

    \b
    Examples:
      rtms simulate --webhook http://127.0.0.1:8080/webhook --products all
      rtms simulate --webhook http://127.0.0.1:8080/webhook --scenario flaky-network
      rtms simulate --cloud --port 8900
      rtms simulate --audio-file anna.wav --video-file camera.mp4 --transcript-file said.srt
    """
    import asyncio

    from rtms_cli.protocol.media import parse_media
    from rtms_cli.simulator.server import Simulator
    from rtms_cli.station.running import on_signals, run_loop
    from rtms_cli.station.serving import simulated_app, write_payloads
    from rtms_cli.view.report import print_finding, print_reports, suggest_join

    if list_them:
        _list(as_json=as_json)
        return
    wanted = read_products(products)
    try:
        scoped = parse_media(scopes)
    except ValueError as error:
        raise Problem(f"--scopes: {error}") from None
    shows = show.shows()
    if cloud:
        _be_the_cloud(wanted, [*shows] * streams, speed, scoped, server, as_json=as_json)
        return
    if any(each.cloud_faults for each in shows):
        typer.echo("what the scenario has happen in the cloud is left out: that needs --cloud", err=True)
    app, made_up = simulated_app(server.credentials(), scoped)
    tls, webhook = server_tls(server.cert), server.webhook

    async def play(simulator: Simulator, stream: "LiveStream") -> "Report":
        if webhook is not None:
            await simulator.invite(stream)
        reason = await stream.done()
        if webhook is not None and not stream.end_was_told:
            await simulator.post(webhook, stream, "stopped", reason)
        return stream.report()

    async def run() -> "Sequence[Report]":
        async with Simulator(
            app,
            server.host,
            server.port,
            speed,
            webhook=webhook,
            public_host=server.public_host,
            tls=tls,
            on_finding=None if as_json else print_finding,
        ) as simulator:
            on_signals(lambda _: simulator.end())
            for line in (f"The Zoom simulator listens at {simulator.url()}", *made_up):
                typer.echo(line, err=True)
            live = [
                simulator.announce(product, each, number, with_signature=app.has_made_up_pair)
                for product in wanted
                for number, each in enumerate([*shows] * streams, 1)
            ]
            if server.payload_out is not None:
                await asyncio.to_thread(write_payloads, server.payload_out, live)
                suggest_join(server.payload_out)
            elif webhook is None:
                for stream in live:
                    typer.echo(stream.webhook("started").decode())
            return await asyncio.gather(*(play(simulator, stream) for stream in live))

    reports = run_loop(run())
    print_reports(reports, as_json=as_json, payload=server.payload_out)
    if any(report.mistakes for report in reports):
        raise typer.Exit(Exit.MISMATCH)


def _be_the_cloud(
    products: "Sequence[Product]",
    shows: "Sequence[Scenario]",
    speed: float,
    scopes: "MediaType",
    server: ServerOptions,
    *,
    as_json: bool,
) -> None:
    """Be Zoom's cloud until someone ends it.

    :param shows: what each product has to show.
    """
    import asyncio

    from rtms_cli.simulator.cloud_server import Cloud
    from rtms_cli.simulator.server import Simulator
    from rtms_cli.station.running import on_signals, run_loop
    from rtms_cli.station.serving import cloud_lines, simulated_app, simulated_cloud
    from rtms_cli.view.report import print_finding, print_reports

    if server.payload_out is not None:
        raise Problem("--payload-out and --cloud exclude each other.", "A client of the cloud starts streams itself.")
    credentials = server.credentials()
    app, made_up = simulated_app(credentials, scopes)
    cloud_app, made_up_for_cloud = simulated_cloud(app, credentials)
    tls = server_tls(server.cert)

    async def run() -> Cloud:
        ended = asyncio.Event()
        streams = Simulator(
            app,
            server.host,
            0,
            speed,
            webhook=server.webhook,
            public_host=server.public_host,
            tls=tls,
            on_finding=lambda finding: print_finding(finding) if finding.channel == "webhook" else None,
        )
        async with streams as simulator:
            cloud = Cloud(
                simulator,
                cloud_app,
                [(product, each) for product in products for each in shows],
                server.host,
                server.port,
                faults=shows[0].cloud_faults,
                public_host=server.public_host,
                on_finding=print_finding,
            )
            async with cloud:
                on_signals(lambda _: ended.set())
                for line in (*made_up, *made_up_for_cloud, *cloud_lines(cloud)):
                    typer.echo(line, err=True)
                await ended.wait()
        return cloud

    cloud = run_loop(run())
    report, reports = cloud.report(), cloud.reports()
    print_reports(reports, as_json=as_json, cloud=report)
    if report.mistakes or any(each.mistakes for each in reports):
        raise typer.Exit(Exit.MISMATCH)


def read_products(text: str) -> "Sequence[Product]":
    """Read `--products`.

    :raises Problem: if a name is not valid; it names those that are.
    """
    from rtms_cli.protocol.numbers import Product

    if text == "all":
        return list(Product)
    try:
        return [Product(name.strip()) for name in text.split(",")]
    except ValueError as error:
        raise Problem(f"--products: {error}.", f"Use {', '.join(Product)}, or all.") from None


def _list(*, as_json: bool) -> None:
    """The scenarios that are built in, on standard output."""
    import msgspec

    from rtms_cli.simulator.scenario_file import built_in

    files = built_in()
    if as_json:
        rows = [
            {
                "name": file.name,
                "description": file.description,
                "seconds": file.scenarios[0].seconds,
                "streams": len(file.scenarios),
            }
            for file in files
        ]
        typer.echo(msgspec.json.encode(rows).decode())
        return
    width = max(len(file.name) for file in files)
    for file in files:
        typer.echo(f"{file.name:{width}}  {file.description}")
