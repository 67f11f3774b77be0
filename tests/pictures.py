"""Draws the README's picture again from a real run, and the screens that tests approve: `python tests/pictures.py`."""

import asyncio
import contextlib
import io
import tempfile
from pathlib import Path

from moments import SCREENS, SIZES, screen
from rich.console import Console

from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator
from rtms_cli.station.station import Station, recorder_in
from rtms_cli.view.screen import Screen
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy

PICTURE = Path(__file__).resolve().parent.parent / "docs/images/demo.svg"
SECONDS, SHOWN_AT_S = 20, 14


async def draw(out: Path) -> str:
    """Record a simulated meeting, and export the dashboard as it is in the middle of it."""
    console = Console(record=True, file=io.StringIO(), width=118, height=30, force_terminal=True)
    app = App("client", "secret", "token")
    writer = Writer()
    screen = Screen(
        "demo",
        lambda: station.snapshots(),
        lambda _: None,
        lambda _: None,
        out,
        lambda: SHOWN_AT_S / SECONDS,
        console=console,
    )
    station = Station(
        make_recorder=recorder_in(out),
        request=MediaRequest(split=True),
        sign=app.sign_stream,
        dial=Dialer(HostPolicy()),
        writer=writer,
        observers=[screen],
        trusted=True,
    )
    async with Simulator(app) as simulator:
        stream = simulator.announce(Product.MEETING, Scenario(SECONDS))
        body = stream.webhook("started")
        station.take(body, read_webhook(body))
        for _ in range(SHOWN_AT_S * 2):
            await asyncio.sleep(0.5)
            picture = screen.picture()
        console.print(picture)
        await station.stop("the picture")
        await writer.close()
    return console.export_svg(title="rtms demo")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        PICTURE.write_text(asyncio.run(draw(Path("recordings"))))
    SCREENS.mkdir(exist_ok=True)
    for width, height in SIZES:
        (SCREENS / f"{width}x{height}.txt").write_text(screen(width, height))
    print(PICTURE, SCREENS)
