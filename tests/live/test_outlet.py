"""Between threads, and to a target that comes and goes: each piece is passed on in order, or counted."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import until

from rtms_cli.live import outlet
from rtms_cli.live.outlet import MOST_NBYTES, Buffer, Outlet
from rtms_cli.live.pieces import AUDIO, GAP, Beginning, Piece, TargetGoneError
from rtms_cli.recording.manifest import TapEntry

BEGINNING = Beginning("meeting", "id", "stream", None, (AUDIO,))


def piece(number: int, nbytes: int = 8) -> Piece:
    return Piece(AUDIO, number.to_bytes(8) * (nbytes // 8), timestamp_ms=20 * number, seconds=0.02)


def number_of(one: Piece) -> int:
    return int.from_bytes(one.data[:8])


class Fickle:
    """A target that fails as often as it is told to, before or after it has taken something."""

    def __init__(self, failures: Sequence[str]) -> None:
        self.failures = list(failures)
        self.taken: list[Piece] = []
        self.is_open = False
        self.closed: list[bool] = []

    async def open(self, beginning: Beginning) -> None:
        assert not self.is_open
        if self.failures and self.failures[0] == "open":
            raise TargetGoneError(f"no {self.failures.pop(0)}")
        self.is_open = True

    async def send(self, pieces: Sequence[Piece]) -> int:
        assert self.is_open
        await asyncio.sleep(0)
        if self.failures and self.failures[0] == "send":
            raise TargetGoneError(f"no {self.failures.pop(0)}")
        self.taken += pieces
        return sum(len(one.data) for one in pieces if one.kind != GAP)

    async def close(self, *, hurry: bool = False) -> int | None:
        self.is_open = False
        self.closed.append(hurry)
        return None


def opened(target: Fickle, told: list[str], *, restarts: bool = True) -> Outlet:
    made = Outlet(
        target, BEGINNING, TapEntry(AUDIO, "a test"), 10.0, lambda _, text: told.append(text),
        asyncio.get_running_loop(), restarts=restarts,
    )  # fmt: skip
    made.start()
    return made


@settings(deadline=None, max_examples=60)
@given(
    failures=st.lists(st.sampled_from(["open", "send"]), max_size=5),
    puts=st.lists(st.integers(1, 3), max_size=30),
    restarts=st.booleans(),
)
def test_each_piece_is_taken_in_order_or_counted(failures: list[str], puts: list[int], restarts: bool) -> None:
    async def play() -> None:
        target, told, count = Fickle(failures), list[str](), 0
        made = opened(target, told, restarts=restarts)
        for at, many in enumerate(puts):
            for _ in range(many):
                made.buffer.put(piece(count), at * 20_000)
                count += 1
            made.buffer.wake()
            await asyncio.sleep(0.001)
        await made.close()
        numbers = [number_of(one) for one in target.taken if one.kind != GAP]
        assert numbers == sorted(set(numbers))
        assert len(numbers) + made.entry.drops == count
        assert made.entry.bytes == 8 * len(numbers)
        assert made.entry.dropped_seconds == pytest.approx(0.02 * made.entry.drops)
        assert not target.is_open

    before = outlet.FIRST_PAUSE_S
    outlet.FIRST_PAUSE_S = 0.001
    try:
        asyncio.run(play())
    finally:
        outlet.FIRST_PAUSE_S = before


async def test_a_target_is_told_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "FIRST_PAUSE_S", 0.001)
    target, told = Fickle(["send"]), list[str]()
    made = opened(target, told)
    made.buffer.put(piece(0), 0)
    made.buffer.wake()
    await until(lambda: target.closed)
    made.buffer.put(piece(1), 0)
    made.buffer.wake()
    await made.close()
    gap, rest = target.taken
    assert gap.kind == GAP
    assert b'"from_ms":0,"to_ms":20' in gap.data
    assert b'"count":1' in gap.data
    assert number_of(rest) == 1
    assert any("no send; retrying in" in text for text in told)


async def test_a_target_that_is_away_for_hours_is_not_told_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(outlet, "LONGEST_PAUSE_S", 0.004)
    target, told = Fickle(["open"] * 20), list[str]()
    made = opened(target, told)
    await until(lambda: target.is_open)
    await made.close()
    assert [text.partition("retrying in ")[2] for text in told if "retrying in" in text] == ["0.001 s", "0.002 s"]
    assert made.entry.restarts == 20


async def test_a_defect_in_a_target_is_told_when_it_happens() -> None:
    class Broken(Fickle):
        async def send(self, pieces: Sequence[Piece]) -> int:
            raise RuntimeError("ours")

    told: list[str] = []
    made = opened(Broken([]), told)
    made.buffer.put(piece(0), 0)
    made.buffer.wake()
    await until(lambda: len(told) == 2)
    assert "a defect in rtms: RuntimeError('ours')" in told[-1]
    with pytest.raises(RuntimeError, match="ours"):
        await made.close()
    assert made.entry.drops == 1


async def test_a_buffer_holds_so_many_seconds_and_bytes() -> None:
    buffer = Buffer(2.0, asyncio.get_running_loop())
    for number in range(1000):
        buffer.put(piece(number), number * 20_000)
    taken = await buffer.take()
    assert [number_of(one) for one in taken[1:]] == list(range(899, 1000))
    assert buffer.drops == 899
    large = Buffer(600.0, asyncio.get_running_loop())
    for number in range(100):
        large.put(piece(number, 1 << 20), 0)
        assert large._nbytes <= MOST_NBYTES
    assert large.drops == 100 - MOST_NBYTES // ((1 << 20) + outlet.PIECE_COST)


async def test_what_one_thread_puts_another_takes() -> None:
    buffer, got = Buffer(600.0, asyncio.get_running_loop()), list[int]()

    def put() -> None:
        for number in range(5000):
            buffer.put(piece(number), 0)
            if number % 7 == 0:
                buffer.wake()
        buffer.end()

    thread = threading.Thread(target=put)
    thread.start()
    while pieces := await buffer.take():
        got += [number_of(one) for one in pieces]
    thread.join()
    assert got == list(range(5000))
