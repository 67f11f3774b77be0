"""The dispatch of one machine: a `Book` in the process that listens, which its workers call over a line.

Streams go to the worker that has the fewest. A worker's claims last as long as its process: the process that starts
workers notices at once when one dies, and calls `leave`. A frozen machine therefore never takes over its own streams.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, structs

from rtms_cli.fleet import messages
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
from rtms_cli.protocol.webhooks import Webhook, read_webhook

FOR_EVER_S = 1e9
SILENT_S = 6.0
"""A worker that was silent for this long gets no stream that another would take. Workers call every 2 s."""
LOOK_S = 1.0
"""How often a waiting worker checks again while a stream is kept for another one."""
ANSWER_S = 10.0
"""How long to wait for an answer, in addition to the call's own duration."""

T = TypeVar("T")


class LocalDispatch:
    """See the module docstring and `Dispatch`.

    :param lease_s: how long a claim lasts without a renewal.
    :param is_even: whether to spread streams evenly. Otherwise, the first worker that asks takes them.
    :param now_ms: returns monotonic Unix milliseconds.
    """

    def __init__(
        self, *, lease_s: float = FOR_EVER_S, is_even: bool = True, now_ms: Callable[[], int] | None = None
    ) -> None:
        self.book = Book(lease_s)
        self._is_even = is_even
        ahead_ms = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000
        self._now_ms = now_ms or (lambda: ahead_ms + time.monotonic_ns() // 1_000_000)
        self._workers: dict[str, WorkerStatus] = {}
        self._heard_ms: dict[str, int] = {}
        self._held: dict[str, dict[str, Held]] = {}
        self._told_to_drain: set[str] = set()
        self._change = asyncio.Event()

    async def offer(self, body: bytes, webhook: Webhook, via: str) -> Offered:
        """See `Dispatch`."""
        return self.offer_now(body, webhook, via)

    def offer_now(self, body: bytes, webhook: Webhook, via: str) -> Offered:
        """See `offer`. Does not wait."""
        offered = self.book.offer(self._now_ms(), body, webhook, via)
        self._wake()
        return offered

    async def take(self, status: WorkerStatus, most: int) -> list[Claim]:
        """See `Dispatch`."""
        self._hear(status)
        claims = self.book.take(self._now_ms(), status, self._allowed(status.worker, most))
        self._workers[status.worker] = structs.replace(status, free=max(0, status.free - len(claims)))
        held = self._held.setdefault(status.worker, {})
        held.update({one.stream_id: Held(one.epoch, one.news[-1].number if one.news else 0) for one in claims})
        return claims

    async def renew(self, status: WorkerStatus, held: Mapping[str, Held]) -> Renewed:
        """See `Dispatch`."""
        self._hear(status)
        renewed = self.book.renew(self._now_ms(), status, held)
        seen = {stream_id: news[-1].number for stream_id, news in renewed.news.items()}
        self._held[status.worker] = {
            stream_id: structs.replace(one, seen=seen.get(stream_id, one.seen)) for stream_id, one in held.items()
        }
        if renewed.drain:
            self._told_to_drain.add(status.worker)
        return renewed

    async def restore(self, status: WorkerStatus, claim: Claim, held: Held) -> bool:
        """See `Dispatch`."""
        self._hear(status)
        return self.book.restore(self._now_ms(), status, claim, held)

    async def finish(self, worker: str, stream_id: str, held: Held, status: str) -> Finished:
        """See `Dispatch`."""
        finished = self.book.finish(self._now_ms(), worker, stream_id, held, status)
        self._wake()
        return finished

    async def release(self, worker: str, stream_id: str, held: Held, *, after_s: float = 0.0, why: str = "") -> bool:
        """See `Dispatch`."""
        released = self.book.release(self._now_ms(), worker, stream_id, held, after_s=after_s, why=why)
        self._wake()
        return released

    async def leave(self, worker: str) -> None:
        """See `Dispatch`."""
        self.leave_now(worker)

    def leave_now(self, worker: str) -> None:
        """See `leave`. Does not wait."""
        self.book.leave(self._now_ms(), worker)
        for known in (self._workers, self._heard_ms, self._held):
            known.pop(worker, None)
        self._told_to_drain.discard(worker)
        self._wake()

    async def changed(self, worker: str, timeout_s: float) -> None:
        """See `Dispatch`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while not self._has_something(worker):
            left_s = end - loop.time()
            due_ms = self.book.due_ms(worker)
            if due_ms is not None:
                until_s = (due_ms - self._now_ms()) / 1000
                left_s = min(left_s, until_s if until_s > 0 else LOOK_S)
            if left_s <= 0:
                return
            change = self._change
            try:
                async with asyncio.timeout(left_s):
                    await change.wait()
            except TimeoutError:
                continue

    async def report(self, *, with_streams: bool = True) -> FleetReport:
        """See `Dispatch`."""
        return self.report_now()

    def report_now(self) -> FleetReport:
        """See `report`. Does not wait."""
        return self.book.report(self._now_ms())

    async def history(self, stream_id: str) -> Sequence[Happening]:
        """See `Dispatch`."""
        return self.book.history(stream_id)

    async def drain(self, worker: str) -> bool:
        """See `Dispatch`."""
        is_known = self.book.drain(worker)
        self._wake()
        return is_known

    async def close(self) -> None:
        """See `Dispatch`. There is nothing to close."""

    def heard_of(self, worker: str) -> None:
        """Note that a worker has called."""
        self._heard_ms[worker] = self._now_ms()

    def _hear(self, status: WorkerStatus) -> None:
        self._workers[status.worker] = status
        self.heard_of(status.worker)

    def _wake(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def _has_something(self, worker: str) -> bool:
        if self.book.has_news(worker, {}):  # it has to drain
            return worker not in self._told_to_drain or self._has_news(worker)
        due_ms = self.book.due_ms(worker)
        is_due = due_ms is not None and due_ms <= self._now_ms()
        return (is_due and self._allowed(worker, 1) > 0) or self._has_news(worker)

    def _has_news(self, worker: str) -> bool:
        held = self._held.get(worker, {})
        return worker not in self._told_to_drain and self.book.has_news(worker, held)

    def _allowed(self, worker: str, most: int) -> int:
        """Return how many streams a worker may take now, so that all have about as many."""
        if not self._is_even:
            return most
        now_ms = self._now_ms()
        waiting, owned = self.book.spread(now_ms)
        alive = [
            name for name, heard_ms in self._heard_ms.items() if name == worker or now_ms - heard_ms < SILENT_S * 1000
        ]
        room = {name: self._workers[name].free for name in alive if name in self._workers}
        room[worker] = most
        counts = {name: owned.get(name, 0) for name in room}
        allowed = 0
        for _ in range(waiting):
            with_room = [name for name, left in room.items() if left > 0]
            if not with_room:
                break
            next_one = min(with_room, key=lambda name: (counts[name], name))
            counts[next_one] += 1
            room[next_one] -= 1
            allowed += next_one == worker
        return allowed


async def answer(dispatch: LocalDispatch, call: messages.Call) -> object:
    """Carry out a worker's call.

    :raises DispatchError: if that fails.
    """
    match call:
        case messages.Offer(body, via):
            return await dispatch.offer(body, read_webhook(body), via)
        case messages.Take(status, most):
            return await dispatch.take(status, most)
        case messages.Renew(status, held):
            return await dispatch.renew(status, held)
        case messages.Restore(status, claim, one):
            return await dispatch.restore(status, claim, one)
        case messages.End(worker, stream_id, one, ended_as):
            return await dispatch.finish(worker, stream_id, one, ended_as)
        case messages.Release(worker, stream_id, one, after_s, why):
            return await dispatch.release(worker, stream_id, one, after_s=after_s, why=why)
        case messages.Leave(worker):
            await dispatch.leave(worker)
        case messages.Await(worker, timeout_s):
            await dispatch.changed(worker, timeout_s)
        case messages.Report():
            return await dispatch.report()
        case messages.Recall(stream_id):
            return await dispatch.history(stream_id)
        case messages.Drain(worker):
            return await dispatch.drain(worker)
    return None


class Proxy:
    """A worker's side of `LocalDispatch`; see `Dispatch`.

    :param send: sends a message, and returns whether the other end is connected.
    """

    def __init__(self, send: Callable[[bytes], bool]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Raw]] = {}
        self._is_gone = False

    async def offer(self, body: bytes, webhook: Webhook, via: str) -> Offered:
        """See `Dispatch`."""
        return await self._ask(messages.Offer(body, via), messages.OFFERED)

    async def take(self, status: WorkerStatus, most: int) -> list[Claim]:
        """See `Dispatch`."""
        return await self._ask(messages.Take(status, most), messages.CLAIMS)

    async def renew(self, status: WorkerStatus, held: Mapping[str, Held]) -> Renewed:
        """See `Dispatch`."""
        return await self._ask(messages.Renew(status, dict(held)), messages.RENEWED)

    async def restore(self, status: WorkerStatus, claim: Claim, held: Held) -> bool:
        """See `Dispatch`."""
        return await self._ask(messages.Restore(status, claim, held), messages.YES_OR_NO)

    async def finish(self, worker: str, stream_id: str, held: Held, status: str) -> Finished:
        """See `Dispatch`. Without a connection, it counts as done."""
        if self._is_gone:
            return Finished.DONE
        return await self._ask(messages.End(worker, stream_id, held, status), messages.FINISHED)

    async def release(self, worker: str, stream_id: str, held: Held, *, after_s: float = 0.0, why: str = "") -> bool:
        """See `Dispatch` and `finish`."""
        if self._is_gone:
            return True
        return await self._ask(messages.Release(worker, stream_id, held, after_s, why), messages.YES_OR_NO)

    async def leave(self, worker: str) -> None:
        """See `Dispatch`."""
        await self._ask(messages.Leave(worker), messages.NOTHING)

    async def changed(self, worker: str, timeout_s: float) -> None:
        """See `Dispatch`."""
        await self._ask(messages.Await(worker, timeout_s), messages.NOTHING, timeout_s)

    async def report(self, *, with_streams: bool = True) -> FleetReport:
        """See `Dispatch`."""
        return await self._ask(messages.Report(), messages.REPORT)

    async def history(self, stream_id: str) -> Sequence[Happening]:
        """See `Dispatch`."""
        return await self._ask(messages.Recall(stream_id), messages.HISTORY)

    async def drain(self, worker: str) -> bool:
        """See `Dispatch`."""
        return await self._ask(messages.Drain(worker), messages.YES_OR_NO)

    async def close(self) -> None:
        """See `Dispatch`. The line belongs to its owner."""

    def answered(self, given: messages.Answer) -> None:
        """Process an answer."""
        asked = self._asked.get(given.number)
        if asked is None or asked.done():
            return  # the caller no longer waits
        if given.problem:
            asked.set_exception(DispatchError(given.problem))
        else:
            asked.set_result(given.value)

    def lost(self) -> None:
        """The other end is gone."""
        self._is_gone = True
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(DispatchError(GONE))

    async def _ask(self, call: messages.Call, decoder: "msgspec.msgpack.Decoder[T]", takes_s: float = 0.0) -> T:
        number = next(self._numbers)
        self._asked[number] = asked = asyncio.get_running_loop().create_future()
        try:
            if not self._send(messages.write(messages.Ask(number, call))):
                raise DispatchError(GONE)
            async with asyncio.timeout(takes_s + ANSWER_S):
                return decoder.decode(await asked)
        except TimeoutError:
            raise DispatchError(f"The process that listens did not answer within {ANSWER_S:.0f} s.") from None
        finally:
            del self._asked[number]


GONE = "The process that listens has exited."


def answer_of(number: int, value: Any) -> bytes:
    """Return the message that answers an `Ask`."""
    return messages.write(messages.Answer(number, Raw(messages.write(value))))
