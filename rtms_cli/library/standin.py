"""A Zoom simulator that a test starts and forgets: the simulator, in a thread with an event loop of its own."""

import asyncio
import json
import os
import secrets
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from msgspec import structs

from rtms_cli.errors import Problem
from rtms_cli.protocol.media import parse_media
from rtms_cli.protocol.numbers import Product, StopReason
from rtms_cli.simulator.client import Finding
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.scenario_file import load
from rtms_cli.simulator.server import App, LiveStream, Simulator
from rtms_cli.simulator.zoom import Report

T = TypeVar("T")

SECONDS = 3.0
"""How long a stream is where nothing else is said."""
ANSWER_S = 30.0
"""How long the simulator's thread may take for what takes no time."""


class SimulatedStream:
    """One stream of the simulator."""

    def __init__(self, zoom: "Zoom", live: LiveStream) -> None:
        self._zoom = zoom
        self._live = live
        body = live.webhook("started")
        self.payload: dict[str, Any] = json.loads(body)
        """The started webhook's JSON."""
        self.stream_id = live.stream_id

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the payload to a file, for a client that reads one."""
        target = Path(path)
        target.write_text(json.dumps(self.payload))
        return target

    def post(self, url: str) -> None:
        """Post signed webhooks to an endpoint, as Zoom does: the start now, and the stop when the stream ends.

        It does not wait for an answer. One that is wrong or late is a finding, and an endpoint that cannot be reached
        at the start.
        """
        self._zoom._begin(self._post(url))

    def end(self) -> None:
        """End the stream now, as a host does."""
        self._zoom._do(lambda: self._live.driver.stop("the host"))

    def wait(self, timeout: float = 60.0) -> "SimulatedStream":
        """Wait until the stream has ended: its time is over, or the client has left. Blocks; not on an event loop.

        :raises TimeoutError: if it has not by then.
        """
        self._zoom._call(self._done(), timeout)
        return self

    @property
    def report(self) -> Report:
        """What the client has done so far: `joined`, `ready`, `sent` (messages by their types' names), `findings`, …"""
        return self._zoom._do(self._live.report)

    @property
    def findings(self) -> list[str]:
        """What the client has done wrong so far; empty if it did everything right."""
        return [f"{finding.channel}: {finding.what}" for finding in self.report.mistakes]

    async def _done(self) -> StopReason:
        return await asyncio.shield(asyncio.ensure_future(self._live.done()))

    async def _post(self, url: str) -> None:
        live, simulator = self._live, self._zoom._simulator
        try:
            await simulator.post(url, live, "started")
        except Problem as problem:
            live.webhook_findings.append(Finding(0, "webhook", problem.what))
        reason = await live.done()
        if not live.end_was_told:
            with suppress(Problem):  # a client that has what it wanted need not be there any more
                await simulator.post(url, live, "stopped", reason)


class Zoom:
    """A Zoom simulator. Use it as a context manager, or through the fixture `rtms_zoom`.

    :param scenario: a name that `rtms simulate --list` shows, or a file.toml; empty for an ordinary meeting.
    :param seconds: the length of each stream. Default: the length of its scenario, or three seconds.
    :param product: `meeting`, `webinar`, `session`, `contact_center` or `phone`.
    :param scopes: the media that the app may have.
    :param speed: how many times faster than real time the simulator sends media.
    :raises Problem: if there is no such scenario.
    """

    def __init__(
        self,
        scenario: str = "",
        *,
        seconds: float | None = None,
        product: str = "meeting",
        scopes: str = "all",
        speed: float = 1,
    ) -> None:
        self.client_id = secrets.token_urlsafe(12)
        self.client_secret = secrets.token_urlsafe(24)
        self.secret_token = secrets.token_urlsafe(12)
        self._scenario, self._seconds, self._product = scenario, seconds, _product(product)
        try:
            app = App(self.client_id, self.client_secret, self.secret_token, parse_media(scopes))
        except ValueError as error:
            raise Problem(f"scopes: {error}") from None
        shows(scenario, seconds)
        self._simulator = Simulator(app, speed=speed)
        self._posting: set[asyncio.Task[None]] = set()
        self.streams: list[SimulatedStream] = []
        """All announced streams."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rtms-zoom", daemon=True)
        self._thread.start()
        self._call(self._simulator.__aenter__())
        self.announce()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._call(self._close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(ANSWER_S)
            if not self._thread.is_alive():
                self._loop.close()

    @property
    def environment(self) -> Mapping[str, str]:
        """The app's credentials as environment variables, for a client in another process."""
        return {
            "ZOOM_CLIENT_ID": self.client_id,
            "ZOOM_CLIENT_SECRET": self.client_secret,
            "ZOOM_SECRET_TOKEN": self.secret_token,
        }

    def announce(
        self, scenario: str | None = None, *, seconds: float | None = None, product: str | None = None
    ) -> list[SimulatedStream]:
        """Announce more streams that clients can join: as many as the scenario needs, which is usually one.

        Arguments that are left out are those of the simulator.

        :raises Problem: if there is no such scenario or product.
        """
        played = shows(self._scenario if scenario is None else scenario, seconds or self._seconds)
        chosen = self._product if product is None else _product(product)
        for number, show in enumerate(played, len(self.streams) + 1):
            live = self._do(partial(self._simulator.announce, chosen, show, number))
            self.streams.append(SimulatedStream(self, live))
        return self.streams[-len(played) :]

    # The first stream's.

    @property
    def payload(self) -> dict[str, Any]:
        """See `SimulatedStream`; this and the following attributes are those of the first stream."""
        return self.streams[0].payload

    def save(self, path: str | os.PathLike[str]) -> Path:
        """See `SimulatedStream`."""
        return self.streams[0].save(path)

    def post(self, url: str) -> None:
        """See `SimulatedStream`."""
        self.streams[0].post(url)

    def end(self) -> None:
        """See `SimulatedStream`."""
        self.streams[0].end()

    def wait(self, timeout: float = 60.0) -> SimulatedStream:
        """See `SimulatedStream`."""
        return self.streams[0].wait(timeout)

    @property
    def report(self) -> Report:
        """See `SimulatedStream`."""
        return self.streams[0].report

    @property
    def findings(self) -> list[str]:
        """What the clients of all streams have done wrong so far."""
        return [finding for stream in self.streams for finding in stream.findings]

    async def _close(self) -> None:
        for task in self._posting:
            task.cancel()
        if self._posting:
            await asyncio.wait(self._posting)
        await self._simulator.__aexit__()

    def _call(self, work: Coroutine[Any, Any, T], timeout: float = ANSWER_S) -> T:
        """Have something done by the simulator's thread."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    def _do(self, work: Callable[[], T]) -> T:
        """Have something done by the simulator's thread that takes no time."""

        async def do() -> T:
            return work()

        return self._call(do())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something begun by the simulator's thread."""

        async def begin() -> None:
            task = asyncio.create_task(work)
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)

        self._call(begin())


def shows(scenario: str, seconds: float | None) -> list[Scenario]:
    """What is played: a scenario for each stream that it needs.

    :raises Problem: if there is no such scenario.
    """
    found = load(scenario).scenarios if scenario else (Scenario(seconds or SECONDS),)
    return [structs.replace(show, seconds=seconds or show.seconds) for show in found]


def _product(name: str) -> Product:
    try:
        return Product(name)
    except ValueError:
        raise Problem(f"There is no product '{name}'.", f"There are {', '.join(Product)}.") from None
