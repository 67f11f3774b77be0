"""A dispatch that is a book in this process, which can be away; and workers on it over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from harness import Silent

from rtms_cli.fleet.book import Book
from rtms_cli.fleet.dispatch import (
    Claim,
    DispatchError,
    Finished,
    FleetReport,
    Happening,
    Held,
    Offered,
    Renewed,
    WorkerStatus,
)
from rtms_cli.fleet.worker import Worker, new_worker, now_ms
from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.webhooks import Webhook, read_webhook
from rtms_cli.recording.writer import Writer
from rtms_cli.session.life import Stage
from rtms_cli.simulator.server import App
from rtms_cli.station.station import Station, recorder_in
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy

UNIX_MS = 1_764_000_000_000


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that nobody tells."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


class Booked:
    """One worker's way to a book."""

    def __init__(self, book: Book, bell: asyncio.Condition) -> None:
        self.book, self.bell = book, bell
        self.is_away = False

    async def offer(self, body: bytes, webhook: Webhook, via: str) -> Offered:
        offered = self.book.offer(self._now(), body, webhook, via)
        await self.ring()
        return offered

    async def offer_raw(self, body: bytes) -> Offered:
        return await self.offer(body, read_webhook(body), "http")

    async def take(self, status: WorkerStatus, most: int) -> list[Claim]:
        return self.book.take(self._now(), status, most)

    async def renew(self, status: WorkerStatus, held: Mapping[str, Held]) -> Renewed:
        return self.book.renew(self._now(), status, held)

    async def restore(self, status: WorkerStatus, claim: Claim, held: Held) -> bool:
        return self.book.restore(self._now(), status, claim, held)

    async def finish(self, worker: str, stream_id: str, held: Held, status: str) -> Finished:
        return self.book.finish(self._now(), worker, stream_id, held, status)

    async def release(self, worker: str, stream_id: str, held: Held, *, after_s: float = 0.0, why: str = "") -> bool:
        released = self.book.release(self._now(), worker, stream_id, held, after_s=after_s, why=why)
        await self.ring()
        return released

    async def leave(self, worker: str) -> None:
        self.book.leave(self._now(), worker)
        await self.ring()

    async def changed(self, worker: str, timeout_s: float) -> None:
        self._now()
        async with self.bell:
            await self.bell.wait()

    async def ring(self) -> None:
        async with self.bell:
            self.bell.notify_all()

    async def report(self, *, with_streams: bool = True) -> FleetReport:
        return self.book.report(self._now(), with_streams=with_streams)

    async def history(self, stream_id: str) -> Sequence[Happening]:
        return self.book.history(stream_id)

    async def drain(self, worker: str) -> bool:
        return self.book.drain(worker)

    async def close(self) -> None:
        pass

    def _now(self) -> int:
        if self.is_away:
            raise DispatchError("The queue is away.", "Wait.")
        return UNIX_MS + now_ms()


class Fleet:
    """A book, and workers with it.

    :param app: whose streams they record.
    """

    def __init__(self, out: Path, app: App) -> None:
        self.out, self.app = out, app
        self.book, self.bell = Book(), asyncio.Condition()
        self.front = Booked(self.book, self.bell)

    @asynccontextmanager
    async def worker(self, slots: int = 10) -> AsyncIterator["Hand"]:
        """A worker at work."""
        writer, seen = Writer(), Silent()
        station = Station(
            make_recorder=recorder_in(self.out),
            request=MediaRequest(parse_media("audio")),
            sign=self.app.sign_stream,
            dial=Dialer(HostPolicy()),
            writer=writer,
            observers=[seen],
            trusted=True,
        )
        way = Booked(self.book, self.bell)
        worker = Worker(
            way, station, new_worker(slots), lambda make_folder: recorder_in(self.out, make_folder=make_folder)
        )
        task = asyncio.create_task(worker.run())
        try:
            yield Hand(worker, station, way, seen, task)
        finally:
            worker.stop("the test")
            way.is_away = False
            await self.front.ring()
            await task
            await station.stop("the test")
            await writer.close()


class Hand:
    """A worker with what belongs to it."""

    def __init__(self, worker: Worker, station: Station, way: Booked, seen: Silent, task: "asyncio.Task[None]") -> None:
        self.worker, self.station, self.way, self.seen, self.task = worker, station, way, seen, task

    async def has(self, count: int) -> None:
        """Wait until it records this many streams."""
        snapshots = self.station.snapshots
        await until(lambda: sum(view.session.stage == Stage.STREAMING for view in snapshots()) == count, "it records")

    def told(self) -> list[str]:
        """What was told of the fleet."""
        return [str(fields["what"]) for name, fields in self.seen.events if name == "fleet"]
