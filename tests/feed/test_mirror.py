"""The feed of a recorder, passed on: what is kept, what its clients watch, and what happens when the recorder goes."""

import asyncio
import logging
from typing import Any

import pytest
from feed.scripted import PICTURE, Scripted, event, hello
from processes import until

from rtms_cli.feed import mirror as mirror_module
from rtms_cli.feed.following import Address
from rtms_cli.feed.journal import Journal
from rtms_cli.feed.messages import Event, Mark
from rtms_cli.feed.mirror import Mirror


async def test_it_asks_for_what_its_clients_watch_and_keeps_what_comes() -> None:
    server = Scripted([hello(seq=2), event(1), event(2), PICTURE])
    async with server.served() as address, Mirror(lambda: address) as mirror:
        await asyncio.sleep(0)
        assert server.paths == []  # nobody looks
        mirror.look({"s1"})
        await until(lambda: server.heard)
        await mirror.prepare()
        assert [one.seq for one in mirror.after(1)] == [2]
        assert (mirror.hello().run, mirror.hello().seq, mirror.hello().oldest) == ("r1", 2, 1)
        assert mirror.picture({"s1"}).streams == PICTURE.streams
        mirror.look({"*"})
        await until(lambda: len(server.heard) == 2)
    assert ['"streams":["s1"]' in server.heard[0], '"streams":"*"' in server.heard[1]] == [True, True]


async def test_it_says_that_its_recorder_is_away_and_keeps_the_last_picture() -> None:
    found: list[Address] = []
    async with Mirror(lambda: found[0] if found else None) as mirror:
        mirror.look(set())
        await until(lambda: mirror.why_not)
        never = mirror.picture(())
        assert (never.is_connected, never.lost_at, never.streams) == (False, None, [])
        async with Scripted([hello(), PICTURE]).served() as address:
            found.append(address)
            await until(lambda: mirror.picture(()).is_connected)
            assert mirror.why_not == ""
        await until(lambda: not mirror.picture(()).is_connected and mirror.why_not)
        assert mirror.picture(()).streams == PICTURE.streams
        assert mirror.picture(()).lost_at is not None


@pytest.mark.parametrize(
    ("again", "seqs", "calls"),
    [
        ([hello(seq=3, resumed=True), event(3), PICTURE], [1, 2, 3], 0),
        ([hello("r2", seq=1), event(1), PICTURE], [1], 1),
        ([hello(seq=9), event(8), event(9), PICTURE], [8, 9], 1),
    ],
)
async def test_its_clients_come_back_where_events_do_not_continue(again: Any, seqs: list[int], calls: int) -> None:
    told: list[int] = []
    server = Scripted([hello(seq=2), event(1), event(2), PICTURE], again)
    async with server.served() as address, Mirror(lambda: address, lambda: told.append(1)) as mirror:
        mirror.look(set())
        await until(lambda: [one.seq for one in mirror.after(0)] == seqs)
    assert len(told) == calls
    assert server.paths[1] == "/feed?run=r1&after=2&events=all"


async def test_a_defect_does_not_end_it(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "GREET_S", 0.01)
    defects, take = [KeyError("seq")], Journal.take

    def take_later(journal: Journal, one: Event) -> None:
        if defects:
            raise defects.pop()
        take(journal, one)

    monkeypatch.setattr(Journal, "take", take_later)
    async with Scripted([hello(seq=1), event(1), PICTURE]).served() as address, Mirror(lambda: address) as mirror:
        mirror.look(set())
        await until(lambda: [one.seq for one in mirror.after(0)] == [1] and mirror.picture(()).is_connected)
    (told,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert told.startswith("a defect in rtms: the pages have lost their recorder: KeyError: 'seq', in test_mirror.py:")


async def test_orders_are_passed_on() -> None:
    server = Scripted([hello(), PICTURE])
    async with server.served() as address, Mirror(lambda: address) as mirror:
        assert await mirror.obey(Mark(7, "s1", "x")) == "The recorder cannot be reached."
    late = Scripted([hello(), PICTURE])
    async with late.served() as address, Mirror(lambda: address) as mirror:
        mirror.look(set())
        await until(lambda: mirror.picture(()).is_connected and late.heard)
        asking = asyncio.create_task(mirror.obey(Mark(7, "s1", "x")))
        await until(lambda: len(late.heard) == 2)
        assert '"type":"mark","id":1,"stream_id":"s1"' in late.heard[1]
        await late.connections[-1].send('{"type":"answer","id":1,"ok":false,"why":"No."}')
        assert await asking == "No."
