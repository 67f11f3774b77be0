"""A client that sends without end: it waits, and what waits for it has a limit."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection

import pytest
from processes import until

from rtms_cli.feed import serving
from rtms_cli.feed.messages import Answer, Event, Hello, Mark, Order, Picture, Watch, read_server, write
from rtms_cli.feed.serving import TRY_AGAIN, Asked, FeedServer, GoneError


class Quiet:
    """A `Source` of which nothing happens; it counts what it is asked."""

    def __init__(self) -> None:
        self.pictures = self.orders = 0
        self.defect: Exception | None = None

    def hello(self) -> Hello:
        return Hello(1, "test", "run", "", "", 0, 1, False)

    def after(self, seq: int) -> Collection[Event]:
        return ()

    async def prepare(self) -> None:
        pass

    def picture(self, watched: Collection[str]) -> Picture:
        self.pictures += 1
        if self.defect is not None:
            raise self.defect
        return Picture(0, "", [])

    def subscribe(self, on_event: Callable[[Event], None]) -> Callable[[], None]:
        return lambda: None

    def look(self, watched: Collection[str] | None) -> None:
        pass

    async def obey(self, order: Order) -> str:
        self.orders += 1
        return ""

    def listen(self, stream_id: str) -> AsyncIterator[bytes | str]:
        raise KeyError(stream_id)


class Flood:
    """A `Client` that sends the same message for ever, and takes messages once it may."""

    def __init__(self, message: Watch | Mark) -> None:
        self._message = write(message).decode()
        self.sent = 0
        self.may_take = asyncio.Event()
        self.taken: list[str] = []
        self.closed: list[int] = []

    async def send(self, message: str | bytes) -> None:
        await self.may_take.wait()
        self.taken.append(str(message))

    async def receive(self) -> str | bytes:
        if self.closed:
            raise GoneError
        self.sent += 1
        return self._message

    async def close(self, code: int, reason: str) -> None:
        self.closed.append(code)


@pytest.mark.parametrize("message", [Watch(["one"]), Mark(1, "one", "text")])
async def test_it_waits(message: Watch | Mark) -> None:
    """Behind the first messages, they are read at a pace: within a second, it is a few."""
    source, client = Quiet(), Flood(message)
    client.may_take.set()
    server = FeedServer(source, picture_s=1000, every_s=1000)
    talking = asyncio.create_task(server.serve(client, Asked()))
    while client.sent <= serving.MOST_AT_ONCE:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    for _ in range(100):
        await asyncio.sleep(0)
    assert client.sent == serving.MOST_AT_ONCE + 1
    assert source.pictures + source.orders == serving.MOST_AT_ONCE + 1, "the first picture comes unasked"
    talking.cancel()
    await asyncio.gather(talking, return_exceptions=True)


async def test_a_picture_with_a_defect_costs_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """Events and answers go out, the log has the defect once, and pictures come when they can be made."""
    source, client = Quiet(), Flood(Mark(1, "one", "text"))
    client.may_take.set()
    source.defect = ValueError("a rate")
    talking = asyncio.create_task(FeedServer(source, picture_s=0.001, every_s=1000).serve(client, Asked()))
    await until(lambda: source.pictures >= 5 and len(client.taken) > 5)
    assert {type(read_server(one)) for one in client.taken} == {Hello, Answer}
    source.defect = None
    await until(lambda: any(isinstance(read_server(one), Picture) for one in client.taken))
    (told,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert told.startswith("a defect in rtms: the feed has no pictures: ValueError: a rate, in test_floods.py:")
    talking.cancel()
    await asyncio.gather(talking, return_exceptions=True)


async def test_answers_that_it_does_not_read_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_WAITING", 50)
    source, client = Quiet(), Flood(Mark(1, "one", "text"))
    talking = asyncio.create_task(FeedServer(source, picture_s=1000, every_s=0).serve(client, Asked()))
    while source.orders < 200:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    client.may_take.set()
    await talking
    assert client.closed == [TRY_AGAIN]
    answers = [one for one in map(read_server, client.taken) if isinstance(one, Answer)]
    assert len(answers) <= 50
