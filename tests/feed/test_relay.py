"""Sounds of other processes are heard once each, whoever listens, and end as they end there."""

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest

from rtms_cli.errors import Problem
from rtms_cli.feed.ear import Relay
from rtms_cli.feed.source import SoundLostError
from rtms_cli.live.framing import HEADER, KINDS, VERSION
from rtms_cli.live.pieces import AUDIO

START = '{"type":"start","version":1}'


def sound(at_ms: int) -> bytes:
    """A message of 20 ms."""
    return HEADER.pack(KINDS[AUDIO], VERSION, HEADER.size, 0, at_ms) + bytes(960)


class Upstream:
    """A stream's sound, as a test says it."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[bytes | str | Exception] = asyncio.Queue()
        self.opened = 0
        self.closed = asyncio.Event()

    async def hear(self, stream_id: str) -> AsyncGenerator[bytes | str, None]:
        """See `Relay`."""
        assert stream_id == "one"
        self.opened += 1
        try:
            while True:
                message = await self.said.get()
                if isinstance(message, Exception):
                    raise message
                yield message
        finally:
            self.closed.set()


async def test_one_connection_serves_all_and_goes_with_the_last() -> None:
    upstream = Upstream()
    relay = Relay(upstream.hear)
    one = relay.listen("one")
    upstream.said.put_nowait(START)
    assert await anext(one) == START
    two = relay.listen("one")
    assert await anext(two) == START, "who comes later learns how it began"
    upstream.said.put_nowait(sound(7))
    assert await anext(one) == await anext(two) == sound(7)
    upstream.said.put_nowait("not a message")
    upstream.said.put_nowait(b"short")
    upstream.said.put_nowait('{"type":"gap","kind":"audio"}')
    assert json.loads(str(await anext(one)))["type"] == "gap"
    assert upstream.opened == 1
    await one.aclose()  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    assert not upstream.closed.is_set()
    await two.aclose()  # type: ignore[attr-defined]
    await upstream.closed.wait()
    again = relay.listen("one")
    upstream.said.put_nowait(START)
    assert await anext(again) == START
    assert upstream.opened == 2


async def test_the_end_of_a_stream_is_an_end() -> None:
    upstream = Upstream()
    for message in (START, sound(1), '{"type":"stop"}'):
        upstream.said.put_nowait(message)
    assert [message async for message in Relay(upstream.hear).listen("one")] == [START, sound(1), '{"type":"stop"}']
    assert upstream.closed.is_set()


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (SoundLostError("it went away"), "it went away"),
        (Problem("Nothing answers.", "Start it."), "Nothing answers."),
        (KeyError("there is no recorder"), "there is no recorder"),
    ],
)
async def test_a_loss_is_told_behind_what_was_heard(error: Exception, why: str) -> None:
    upstream = Upstream()
    for message in (START, error):
        upstream.said.put_nowait(message)
    heard = Relay(upstream.hear).listen("one")
    assert await anext(heard) == START
    with pytest.raises(SoundLostError, match=why):
        await anext(heard)
