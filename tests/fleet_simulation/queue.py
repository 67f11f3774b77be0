"""The queue: the real rules, behind a network that loses and delays, and that restarts with and without its data."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from fleet_simulation.clock import Clock

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
from rtms_cli.protocol.webhooks import Webhook

if TYPE_CHECKING:
    from fleet_simulation.processes import Process

T = TypeVar("T")

TIMEOUT_S = 3.0
"""For how long a worker waits for an answer."""


class Queue:
    """A book that may be away.

    :param tells_due: whether who waits for a change is woken when a claim runs out, too.
    :param loses: how many answers are lost.
    """

    def __init__(self, clock: Clock, dice: random.Random, *, tells_due: bool, loses: float) -> None:
        self.clock, self.dice, self.tells_due, self.loses = clock, dice, tells_due, loses
        self.book = Book()
        self.is_up = True
        self.lost_data_at: float | None = None
        self.waiting: list[Callable[[], None]] = []
        """Who is to be told of a change."""

    def down(self) -> None:
        """Go away."""
        self.is_up = False

    def up(self, *, with_data: bool) -> None:
        """Come back."""
        self.is_up = True
        if not with_data:
            self.book = Book()
            self.lost_data_at = self.clock.now

    def ring(self) -> None:
        """Tell all who wait that there may be something to do."""
        waiting, self.waiting = self.waiting, []
        for tell in waiting:
            tell()

    def way_s(self) -> float:
        """How long a message is under way."""
        return self.dice.choice((0.001, 0.003, 0.01, 0.05)) if self.dice.random() < 0.97 else self.dice.uniform(0.1, 2)


class Way:
    """A process's way to the queue: a `Dispatch`."""

    def __init__(self, queue: Queue, process: "Process") -> None:
        self._queue, self._process = queue, process

    async def offer(self, body: bytes, webhook: Webhook, via: str) -> Offered:
        return await self._call(lambda book, now_ms: book.offer(now_ms, body, webhook, via), rings=True)

    async def take(self, status: WorkerStatus, most: int) -> list[Claim]:
        return await self._call(lambda book, now_ms: book.take(now_ms, status, most))

    async def renew(self, status: WorkerStatus, held: Mapping[str, Held]) -> Renewed:
        return await self._call(lambda book, now_ms: book.renew(now_ms, status, held))

    async def restore(self, status: WorkerStatus, claim: Claim, held: Held) -> bool:
        return await self._call(lambda book, now_ms: book.restore(now_ms, status, claim, held))

    async def finish(self, worker: str, stream_id: str, held: Held, status: str) -> Finished:
        def do(book: Book, now_ms: int) -> Finished:
            became = book.finish(now_ms, worker, stream_id, held, status)
            self._process.world.on_finished(self._process, stream_id, held.epoch, became, status)
            return became

        return await self._call(do, rings=True)

    async def release(self, worker: str, stream_id: str, held: Held, *, after_s: float = 0.0, why: str = "") -> bool:
        return await self._call(
            lambda book, now_ms: book.release(now_ms, worker, stream_id, held, after_s=after_s, why=why), rings=True
        )

    async def leave(self, worker: str) -> None:
        await self._call(lambda book, now_ms: book.leave(now_ms, worker), rings=True)

    async def changed(self, worker: str, timeout_s: float) -> None:
        loop, queue, process = asyncio.get_running_loop(), self._queue, self._process
        changed = loop.create_future()

        def tell() -> None:
            if not process.is_dead and not process.is_cut_in:
                queue.clock.after(queue.way_s(), lambda: _set(process, changed, None))

        if process.is_cut_out or process.is_cut_in:
            await asyncio.sleep(timeout_s)
            return
        if not queue.is_up:
            raise DispatchError("The queue refuses connections.", "Wait.")
        queue.waiting.append(tell)
        due_ms = queue.book.due_ms(worker) if queue.tells_due else None
        if due_ms is not None and process.worker.claims.free:
            timeout_s = min(timeout_s, max(0.05, (due_ms - queue.clock.now_ms) / 1000))
        await asyncio.wait([changed], timeout=timeout_s)

    async def report(self, *, with_streams: bool = True) -> FleetReport:
        return await self._call(lambda book, now_ms: book.report(now_ms, with_streams=with_streams))

    async def history(self, stream_id: str) -> Sequence[Happening]:
        return await self._call(lambda book, _: book.history(stream_id))

    async def drain(self, worker: str) -> bool:
        return await self._call(lambda book, _: book.drain(worker))

    async def close(self) -> None:
        pass

    async def _call(self, do: Callable[[Book, int], T], *, rings: bool = False) -> T:
        queue, process = self._queue, self._process
        if process.is_dead:
            raise DispatchError("This process is dead.", "")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def arrive() -> None:
            if process.is_cut_out:
                if queue.dice.random() < 0.3:  # it is sent again until the way is open
                    queue.clock.after(queue.dice.uniform(1, 30), lambda: None if process.is_gone else arrive())
                return
            if not queue.is_up:
                error = DispatchError("The queue refuses connections.", "Wait.")
                queue.clock.after(queue.way_s(), lambda: _fail(process, answer, error))
                return
            result = do(queue.book, queue.clock.now_ms)
            if rings:
                queue.ring()
            if queue.loses and queue.dice.random() < queue.loses:
                error = DispatchError("The connection to the queue was reset.", "Wait.")
                queue.clock.after(queue.way_s(), lambda: _fail(process, answer, error))
            elif not process.is_cut_in:
                queue.clock.after(queue.way_s(), partial(_set, process, answer, result))

        queue.clock.after(queue.way_s(), arrive)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise DispatchError("The queue does not answer.", "Wait.") from None


def _set(process: "Process", future: "asyncio.Future[T]", result: T) -> None:
    def take() -> None:
        if not future.done():
            future.set_result(result)

    if not process.is_dead:
        process.loop.call_soon(take)


def _fail(process: "Process", future: "asyncio.Future[T]", error: Exception) -> None:
    def take() -> None:
        if not future.done():
            future.set_exception(error)

    if not process.is_dead:
        process.loop.call_soon(take)
