"""A recorder that simulated streams come to, and the pages that show it and its recordings: all of them real."""

import asyncio
import re
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

import httpx
from msgspec import Struct
from processes import CREDENTIALS, Running, running

from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.signatures import signed_headers
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, LiveStream, Simulator

APP = App(CREDENTIALS["ZOOM_CLIENT_ID"], CREDENTIALS["ZOOM_CLIENT_SECRET"], CREDENTIALS["ZOOM_SECRET_TOKEN"])
AXE = files("axe_core_python").joinpath("axe.min.js").read_text()
"""Judges whether a page is accessible: see `Page.judge`."""


class Recorder(Struct):
    """A `rtms listen` and the Zoom that it listens to.

    :param pages: the URL of its pages; empty without `--web`.
    :param out: where it records.
    """

    listener: Running
    simulator: Simulator
    webhook: str
    pages: str
    out: Path
    settings: dict[str, str]
    """The environment in which other commands find it."""

    async def begin(self, scenario: Scenario, product: Product = Product.MEETING, number: int = 1) -> LiveStream:
        """Have a stream begin, as Zoom does; returns when the webhook was answered."""
        stream = self.simulator.announce(product, scenario, number)
        await self.simulator.tell(stream, "started")
        assert not stream.webhook_findings, stream.webhook_findings
        return stream

    async def post(self, body: bytes) -> int:
        """Post a signed webhook; gives the status of the answer."""
        headers = signed_headers(APP.secret_token, int(time.time()), body)
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.post(self.webhook, content=body, headers=dict(headers))).status_code


@asynccontextmanager
async def recorder(folder: Path, *options: str, web: bool = True) -> AsyncIterator[Recorder]:
    """Run `rtms listen`, by default with `--web`, and a simulator that sends to it."""
    out = folder / "recordings"
    with tempfile.TemporaryDirectory(prefix="rtms-") as place:  # a socket's path is short
        settings = {**CREDENTIALS, "RTMS_RUNTIME_DIR": place}
        given = ("--port", "0", "--out", str(out), "--plain", *(("--web", "0") if web else ()), *options)
        async with running("listen", *given, cwd=folder, settings=settings) as listener:
            pages = (await listener.line_with("pages are on")).split()[-1] if web else ""
            hook = next((line for line in listener.lines if "listening on" in line), None)
            webhook = (hook or await listener.line_with("listening on")).split()[-1]
            reading = asyncio.create_task(drain(listener))
            try:
                async with Simulator(APP, webhook=webhook) as simulator:
                    yield Recorder(listener, simulator, webhook, pages, out, settings)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


@asynccontextmanager
async def pages(
    place: Path | str, *options: str, cwd: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """Run `rtms web` over recordings; gives its URL, with the token if it has one."""
    with tempfile.TemporaryDirectory(prefix="rtms-") as runtime:
        known = {"RTMS_RUNTIME_DIR": runtime, **(settings or {})}
        async with running("web", place, "--port", "0", *options, cwd=cwd, settings=known) as server:
            found = re.search(r"http://\S+", await server.line_with("http://"))
            assert found is not None
            reading = asyncio.create_task(drain(server))
            try:
                yield found[0]
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def drain(process: Running) -> None:
    """Keep what a process says, which would otherwise wait for somebody to read it."""
    assert process.process.stdout is not None
    async for line in process.process.stdout:
        process.lines.append(line.decode().rstrip("\n"))
