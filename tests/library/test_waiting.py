"""What waits for a program: in order, bounded in time and memory, and counted where it goes."""

import asyncio
import threading

import numpy as np
import pytest

from rtms_cli import Audio, Event, Item, State
from rtms_cli.library import waiting as module
from rtms_cli.library.waiting import Waiting


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def sound(number: int) -> Audio:
    return Audio(np.full(1600, number, np.int16), 16000, number)


def text(number: int) -> Event:
    return Event(str(number), number, None, {})


async def taken(waiting: Waiting) -> list[Item]:
    """All that can be taken, of one that has ended."""
    found: list[Item] = []
    while (item := await waiting.take()) is not None:
        found.append(item)
    return found


async def test_all_comes_in_its_order() -> None:
    waiting = Waiting(10, asyncio.get_running_loop())
    items: list[Item] = [sound(1), text(2), text(3), sound(4), State("open", "media")]
    for item in items:
        waiting.put(item, 100)
    waiting.end()
    assert [id(item) for item in await taken(waiting)] == [id(item) for item in items]
    assert waiting.dropped == 0


async def test_old_media_goes_when_more_comes_and_texts_stay() -> None:
    clock = Clock()
    waiting = Waiting(1.0, asyncio.get_running_loop(), clock)
    for number in range(10):
        clock.now = number * 0.5
        waiting.put(sound(number), 3200)
        waiting.put(text(number), 100)
    waiting.end()
    found = await taken(waiting)
    assert [item.timestamp for item in found if isinstance(item, Audio)] == [7, 8, 9]
    assert [item.timestamp for item in found if isinstance(item, Event)] == list(range(10))
    assert waiting.dropped == 7
    assert waiting.dropped_seconds == pytest.approx(0.7)


async def test_memory_is_bounded_whatever_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NBYTES", 10_000)
    monkeypatch.setattr(module, "MOST_TEXTS", 5)
    waiting = Waiting(1e9, asyncio.get_running_loop())
    for number in range(10):
        waiting.put(sound(number), 3200)
        waiting.put(text(number), 100)
    waiting.put(text(10), 1 << 30)
    waiting.end()
    found = await taken(waiting)
    assert [item.timestamp for item in found if isinstance(item, Audio)] == [8, 9]
    assert [item.timestamp for item in found if isinstance(item, Event)] == [10]
    assert waiting.dropped == 18


async def test_what_another_thread_puts_wakes_who_waits() -> None:
    waiting = Waiting(10, asyncio.get_running_loop())
    count = 2000

    def put() -> None:
        for number in range(count):
            waiting.put(sound(number), 3200)
        waiting.end()

    thread = threading.Thread(target=put)
    first = asyncio.ensure_future(waiting.take())
    await asyncio.sleep(0)
    assert not first.done()
    thread.start()
    found = [await first, *await taken(waiting)]
    await asyncio.to_thread(thread.join)
    assert [item.timestamp for item in found if isinstance(item, Audio)] == list(range(count))


async def test_a_cancelled_taker_loses_nothing() -> None:
    waiting = Waiting(10, asyncio.get_running_loop())
    taking = asyncio.ensure_future(waiting.take())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.put(text(1), 100)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert await waiting.take() == text(1)


async def test_the_end_wakes_everybody() -> None:
    waiting = Waiting(10, asyncio.get_running_loop())
    taking = [asyncio.ensure_future(waiting.take()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting.end()
    assert await asyncio.gather(*taking) == [None] * 3


async def test_what_comes_when_nobody_takes_any_more_is_not_kept() -> None:
    waiting = Waiting(10, asyncio.get_running_loop())
    waiting.put(text(1), 100)
    waiting.close()
    waiting.put(text(2), 100)
    assert await waiting.take() is None


async def test_other_work_goes_on_though_there_is_always_one_more() -> None:
    waiting = Waiting(1e9, asyncio.get_running_loop())
    for number in range(100):
        waiting.put(text(number), 100)
    worked = 0

    async def work() -> None:
        nonlocal worked
        while True:
            worked += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(work())
    waiting.end()
    await taken(waiting)
    task.cancel()
    assert worked >= 100
