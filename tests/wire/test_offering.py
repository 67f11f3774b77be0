"""A webhook that has to be safe before it is answered."""

import asyncio

import pytest
from wire.test_endpoint import Endpoint
from wire.test_listener import request, status

from rtms_cli.errors import Problem
from rtms_cli.protocol.webhooks import Webhook
from rtms_cli.wire import listener

LAST = "Connection: close\r\n"


class Offering(Endpoint):
    """An endpoint whose webhooks go to a queue, which can be away or silent."""

    def __init__(self) -> None:
        super().__init__()
        self.listener._offer, self.listener._may_repeat = self.offer, lambda webhook: False
        self.is_away = False
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def offer(self, body: bytes, webhook: Webhook) -> None:
        await self.goes_on.wait()
        if self.is_away:
            raise Problem("the queue cannot be reached.")
        self.taken.append((body, webhook))


async def test_it_is_answered_when_it_is_safe() -> None:
    endpoint = Offering()
    endpoint.goes_on.clear()
    async with endpoint.listening():
        answering = asyncio.create_task(endpoint.raw(request(more=LAST)))
        done, _ = await asyncio.wait([answering], timeout=0.2)
        assert not done
        endpoint.goes_on.set()
        assert status(await answering) == 200
    assert len(endpoint.taken) == 1


async def test_a_queue_that_is_away_is_a_503_and_the_very_same_request_is_taken_later() -> None:
    endpoint = Offering()
    endpoint.is_away = True
    sent = request(more=LAST)
    async with endpoint.listening():
        answer = await endpoint.raw(sent)
        assert status(answer) == 503
        assert b"retry-after: 60" in answer
        endpoint.is_away = False
        assert status(await endpoint.raw(sent)) == 200
        assert status(await endpoint.raw(sent)) == 200
    assert len(endpoint.taken) == 1, "who repeats it later starts nothing"
    assert any("the queue cannot be reached" in line for line in endpoint.refused)


async def test_a_queue_that_is_silent_is_a_503_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "OFFER_TIMEOUT_S", 0.05)
    endpoint = Offering()
    endpoint.goes_on.clear()
    async with endpoint.listening():
        assert status(await endpoint.raw(request(more=LAST))) == 503


async def test_requests_in_a_row_wait_for_each_other() -> None:
    endpoint = Offering()
    bodies = [b'{"event": "some.event", "payload": {"number": %d}}' % number for number in range(20)]
    sent = b"".join(request(body=body) for body in bodies) + request(more=LAST)
    async with endpoint.listening():
        assert (await endpoint.raw(sent)).count(b"HTTP/1.1 200") == 21
    assert [body for body, _ in endpoint.taken][:-1] == bodies


async def test_who_goes_before_the_answer_loses_nothing_but_that() -> None:
    endpoint = Offering()
    endpoint.goes_on.clear()
    async with endpoint.listening():
        _, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        writer.write(request())
        await writer.drain()
        await asyncio.sleep(0)
        writer.close()
        endpoint.goes_on.set()
        async with asyncio.timeout(20):
            while not endpoint.taken:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert status(await endpoint.raw(request(more=LAST))) == 200
