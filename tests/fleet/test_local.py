"""The dispatch of one machine, called over a real pair of sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fleet.test_book import MS, body

from rtms_cli.fleet import messages
from rtms_cli.fleet.dispatch import DispatchError, Finished, Held, Offered, WorkerStatus
from rtms_cli.fleet.line import HEAD_NBYTES, MOST_NBYTES, Line
from rtms_cli.fleet.local import SILENT_S, LocalDispatch, Proxy, answer, answer_of
from rtms_cli.fleet.messages import Happened, read_up, write
from rtms_cli.protocol.webhooks import read_webhook


def status(worker: str, free: int = 10) -> WorkerStatus:
    return WorkerStatus(worker, 10, free)


class Clock:
    """Time that a test moves on."""

    def __init__(self) -> None:
        self.ms = MS

    def __call__(self) -> int:
        return self.ms


class Machine:
    """A dispatch, and what workers call."""

    def __init__(self, *, is_even: bool = True) -> None:
        self.clock = Clock()
        self.dispatch = LocalDispatch(is_even=is_even, now_ms=self.clock)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, *streams: str) -> None:
        for stream in streams:
            raw = body("started", MS, stream)
            assert await self.dispatch.offer(raw, read_webhook(raw), "http") is Offered.STARTS

    @asynccontextmanager
    async def proxy(self) -> AsyncIterator[Proxy]:
        """What one worker has, at the other end of a line."""
        ours, theirs = socket.socketpair()

        def asked(raw: bytes) -> None:
            message = read_up(raw)
            assert isinstance(message, messages.Ask)
            task = asyncio.create_task(reply(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        async def reply(message: messages.Ask) -> None:
            line.send(answer_of(message.number, await answer(self.dispatch, message.call)))

        def answered(raw: bytes) -> None:
            message = messages.read_down(raw)
            assert isinstance(message, messages.Answer)
            proxy.answered(message)

        line = await Line.connect(ours, asked, lambda: None)
        other = await Line.connect(theirs, answered, lambda: proxy.lost())
        proxy = Proxy(other.send)
        try:
            yield proxy
        finally:
            await other.close()
            await line.close()
            for task in self._tasks:
                task.cancel()


async def test_a_stream_goes_over_the_line_and_back() -> None:
    machine = Machine()
    async with machine.proxy() as one:
        raw = body("started", MS)
        assert await one.offer(raw, read_webhook(raw), "events") is Offered.STARTS
        (claim,) = await one.take(status("a"), 5)
        assert (claim.stream_id, claim.news[0].body, claim.news[0].via) == ("s1", raw, "events")
        held = Held(claim.epoch, claim.news[-1].number, "recording")
        stop = body("stopped", MS + 1)
        assert await one.offer(stop, read_webhook(stop), "http") is Offered.NEWS
        renewed = await one.renew(status("a"), {"s1": held})
        assert [news.body for news in renewed.news["s1"]] == [stop]
        assert (await one.report()).streams[0].owner == "a"
        assert await one.finish("a", "s1", held, "complete") is Finished.DONE
        assert [line.what for line in await one.history("s1")][:2] == ["offered", "taken"]
        assert await one.drain("a")
        assert (await one.renew(status("a"), {})).drain
        assert not await one.release("a", "s1", held, after_s=1.0, why="it is over")
        await one.leave("a")
        assert not await one.drain("a")
        assert not await one.restore(status("a"), claim, held), "it is known, and over"


async def test_who_waits_hears_of_a_stream_of_news_and_of_a_drain() -> None:
    machine = Machine()
    async with machine.proxy() as one, asyncio.timeout(20):
        await one.renew(status("a"), {})
        waiting = asyncio.create_task(one.changed("a", 60))
        await machine.start("s1")
        await waiting
        (claim,) = await one.take(status("a"), 1)
        waiting = asyncio.create_task(one.changed("a", 60))
        stop = body("stopped", MS + 1)
        await machine.dispatch.offer(stop, read_webhook(stop), "http")
        await waiting
        held = {"s1": Held(claim.epoch, claim.news[-1].number)}
        await one.renew(status("a"), held)
        waiting = asyncio.create_task(one.changed("a", 60))
        await machine.dispatch.drain("a")
        await waiting
        await one.renew(status("a"), held)
        await one.changed("a", 0.01)  # it was told: nothing is new


async def test_streams_are_spread_evenly() -> None:
    machine = Machine()
    a, b = status("a"), status("b")
    for one in (a, b):
        await machine.dispatch.renew(one, {})
    await machine.start(*(f"s{number}" for number in range(7)))
    assert len(await machine.dispatch.take(a, 10)) == 4
    assert await machine.dispatch.take(a, 6) == []
    assert len(await machine.dispatch.take(b, 10)) == 3
    await machine.start("s7")
    assert await machine.dispatch.take(a, 6) == [], "b has fewer"
    assert len(await machine.dispatch.take(b, 7)) == 1


async def test_who_has_no_room_or_is_silent_gets_none_that_another_would_take() -> None:
    machine = Machine()
    await machine.dispatch.renew(status("a", free=1), {})
    await machine.dispatch.renew(status("b"), {})
    await machine.start(*(f"s{number}" for number in range(6)))
    assert len(await machine.dispatch.take(status("b"), 10)) == 5
    assert await machine.dispatch.take(status("b", free=5), 5) == []
    machine.clock.ms += int(1000 * SILENT_S)
    assert len(await machine.dispatch.take(status("b", free=5), 5)) == 1, "a is silent"


async def test_the_streams_of_a_worker_that_died_are_the_others_at_once() -> None:
    machine = Machine()
    await machine.start("s1", "s2")
    assert len(await machine.dispatch.take(status("a"), 10)) == 2
    machine.clock.ms += 3_600_000  # the machine slept: that is not a death
    assert await machine.dispatch.take(status("b"), 10) == []
    machine.dispatch.leave_now("a")
    claims = await machine.dispatch.take(status("b"), 10)
    assert [(one.epoch, one.former) for one in claims] == [(2, "a"), (2, "a")]


async def test_a_line_that_is_gone_is_told_to_who_asks() -> None:
    ours, theirs = socket.socketpair()
    line = await Line.connect(ours, lambda raw: None, lambda: proxy.lost())
    proxy = Proxy(line.send)
    asked = asyncio.create_task(proxy.report())
    await asyncio.sleep(0)
    theirs.close()
    with pytest.raises(DispatchError, match="has exited"):
        await asked
    with pytest.raises(DispatchError, match="has exited"):
        await proxy.report()


async def test_messages_arrive_whole_however_they_are_cut() -> None:
    ours, theirs = socket.socketpair()
    heard: list[bytes] = []
    gone = asyncio.Event()
    await Line.connect(ours, heard.append, gone.set)
    said = [b"", b"one", bytes(100_000), b"the last"]
    raw = b"".join(len(one).to_bytes(HEAD_NBYTES) + one for one in said)
    for begin in range(0, len(raw), 999):
        await asyncio.to_thread(theirs.sendall, raw[begin : begin + 999])
    theirs.close()
    await gone.wait()
    assert heard == said


async def test_a_message_that_is_too_long_ends_the_line() -> None:
    ours, theirs = socket.socketpair()
    gone = asyncio.Event()
    await Line.connect(ours, lambda raw: None, gone.set)
    theirs.sendall((MOST_NBYTES + 1).to_bytes(HEAD_NBYTES))
    async with asyncio.timeout(20):
        await gone.wait()
    theirs.close()


def test_text_that_is_not_text_and_large_numbers_are_told_all_the_same() -> None:
    told = Happened("tap", {"name": "half \ud83d", "large": 1 << 70, "list": [1 << 64, True]}, "text")
    assert read_up(write(told)) == Happened(
        "tap", {"name": "half \ufffd", "large": float(1 << 70), "list": [float(1 << 64), True]}, "text"
    )
