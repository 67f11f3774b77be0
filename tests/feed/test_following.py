"""A client of a feed comes back with what it has, and says what is wrong where it cannot."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from feed.scripted import PICTURE, Scripted, event, hello
from moments import view
from processes import until
from terminals import Terminal

from rtms_cli.errors import Exit, Problem
from rtms_cli.feed.attaching import Attached
from rtms_cli.feed.following import Address, Follower, read_address
from rtms_cli.feed.messages import VERSION, Answer, Event, FromServer, Hello, Picture
from rtms_cli.feed.pictures import detail_of, row_of


@asynccontextmanager
async def following(attached: Attached) -> AsyncIterator[None]:
    task = asyncio.create_task(attached.follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_comes_back_with_the_last_number_and_shows_nothing_twice() -> None:
    server = Scripted(
        [hello(seq=2), event(1), event(2), PICTURE, event(3)],
        [hello(seq=3, resumed=True), event(4), PICTURE],
    )
    async with server.served() as address:
        attached = Attached(lambda: address, watches="*")
        got: list[FromServer] = []
        attached.on_message = got.append
        async with following(attached):
            await until(lambda: any(isinstance(one, Event) and one.seq == 4 for one in got))
    assert [one.seq for one in got if isinstance(one, Event)] == [1, 2, 3, 4]
    assert server.paths == ["/feed?events=all", "/feed?run=r1&after=3&events=all"]
    assert set(server.tokens) == {"Bearer a-token"}


async def test_behind_another_run_it_begins_anew() -> None:
    server = Scripted(
        [hello(seq=2), event(1), event(2), PICTURE],
        [hello("r2", seq=1), event(1, "finished", status="complete", stream_id="s1"), PICTURE],
    )
    async with server.served() as address:
        attached = Attached(lambda: address, watches="s1")
        got: list[FromServer] = []
        attached.on_message = got.append
        async with following(attached):
            await until(lambda: attached.finished)
    assert [one.seq for one in got if isinstance(one, Event)] == [1, 2, 1]
    assert [one.status for one in attached.finished] == ["complete"]


async def test_the_story_of_a_stream_is_in_order_however_it_comes() -> None:
    """What was kept of a stream that is newly watched has lower numbers than what came already."""
    one = view()
    name = one.session.stream.stream_id
    told = [event(number, "transcript", stream_id=name, user_name="Kim") for number in (7, 2, 5, 2)]
    picture = Picture(6, "2026-11-28T12:00:00Z", [row_of(one)], [detail_of(one)])
    server = Scripted([hello(seq=6), event(6, "mark", stream_id=name), picture, *told])
    async with server.served() as address:
        attached = Attached(lambda: address, watches=name)
        async with following(attached):
            await until(lambda: len(attached.messages(name)) == 4)
        assert [one.text for one in attached.messages(name)] == [
            "“ Kim: event 2", "“ Kim: event 5", "mark: event 6", "“ Kim: event 7",
        ]  # fmt: skip
        (shown,) = attached.views()
        assert shown.recording.transcript == (("Kim", "event 2"), ("Kim", "event 5"), ("Kim", "event 7"))


async def test_an_order_is_answered() -> None:
    notices: list[str] = []
    server = Scripted([hello(), PICTURE, Answer(1, ok=True), Answer(2, ok=False, why="No.")])
    async with server.served() as address:
        attached = Attached(lambda: address)
        attached.on_notice = notices.append
        attached.on_message = lambda message: attached.mark("s1") if isinstance(message, Picture) else None
        async with following(attached):
            await until(lambda: len(notices) == 2 and server.heard)
    assert notices == ["marked: a line in events.jsonl", "WARNING: No."]
    assert '"type":"mark"' in server.heard[0]
    attached.stop("s1")
    await until(lambda: len(notices) == 3)
    assert notices[-1] == "not connected: the recorder has not heard of it"


@pytest.mark.parametrize(
    ("status", "remedy", "code"),
    [
        (401, "RTMS_WEB_TOKEN", Exit.REFUSED),
        (403, "name or address", Exit.REFUSED),
        (404, "URL", Exit.REFUSED),
        (503, "later", Exit.INTERRUPTED),
    ],
)
async def test_a_refusal_says_what_to_do(status: int, remedy: str, code: Exit) -> None:
    async with Scripted([], status=status).served() as address:
        with pytest.raises(Problem) as problem:
            await Attached(lambda: address).follow()
    assert remedy in problem.value.remedy
    assert problem.value.exit_code is code
    assert "a-token" not in str(problem.value)


async def test_a_server_that_ends_while_it_is_asked_may_come_back() -> None:
    def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    states: list[str] = []
    async with Scripted([hello(), PICTURE], [hello(), PICTURE]).served() as address:
        attached = Attached(lambda: address)
        task = asyncio.create_task(attached.follow())
        await until(attached.greeted.is_set)
    port = int(address.url.rpartition(":")[2])
    attached.on_notice = states.append
    async with await asyncio.start_server(hang_up, "127.0.0.1", port):
        await until(lambda: any("does not answer" in one for one in states))
    async with Scripted([hello(), PICTURE]).served(port):
        await until(lambda: "connected again" in states)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_token_is_for_the_server_that_was_named() -> None:
    other, named = Scripted([hello(), PICTURE]), Scripted([], status=302)
    async with other.served() as elsewhere, named.served() as address:
        named.elsewhere = int(elsewhere.url.rpartition(":")[2])
        with pytest.raises(Problem, match="302"):
            await Attached(lambda: address).follow()
    assert other.paths == []


@pytest.mark.timeout(300)
async def test_the_dashboard_keeps_its_picture_until_the_connection_is_back(tmp_path: Path) -> None:
    async with Scripted([hello(), PICTURE]).served() as address:
        port = int(address.url.rpartition(":")[2])
        shown = Terminal([sys.executable, "-m", "rtms_cli", "attach", f"http://127.0.0.1:{port}"], tmp_path)
        await asyncio.to_thread(shown.shows, "rtms  listen", "streaming", "Meeting m")
    try:
        await asyncio.to_thread(shown.shows, "connection lost at", "trying again", "Meeting m")
        async with Scripted([hello(resumed=True), PICTURE]).served(port):
            await asyncio.to_thread(shown.until, lambda text: "trying again" not in text and "connected again" in text)
            shown.type("q")
            assert await asyncio.to_thread(shown.end) == 0
        assert shown.is_restored()
    finally:
        shown.close()


@pytest.mark.parametrize(("said", "what"), [(hello(version=VERSION + 1), "newer"), ("<html>", "not a page of rtms")])
async def test_what_speaks_another_language_is_left(said: object, what: str) -> None:
    async with Scripted([said]).served() as address:
        with pytest.raises(Problem, match=what) as problem:
            await Attached(lambda: address).follow()
    assert problem.value.exit_code is Exit.REFUSED


async def test_unknown_messages_are_passed_over() -> None:
    server = Scripted([hello(), '{"type":"from later"}', '{"type":"event","seq":"x"}', event(1), PICTURE])
    async with server.served() as address:
        got: list[FromServer] = []
        follower = Follower(lambda: address, got.append, lambda: ("", 0), lambda why: None)
        task = asyncio.create_task(follower.run())
        await until(lambda: len(got) == 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [type(one) for one in got] == [Hello, Event, Picture]


async def test_it_waits_for_a_recorder_that_comes_later(tmp_path: Path) -> None:
    server, found, told = Scripted([hello(), PICTURE]), list[Address](), list[str]()
    got: list[FromServer] = []
    follower = Follower(lambda: found[0] if found else None, got.append, lambda: ("", 0), told.append)
    task = asyncio.create_task(follower.run())
    await until(lambda: len(told) > 1)
    assert set(told) == {"No recorder runs here."}
    async with server.served() as address:
        found.append(address)
        await until(lambda: got)
        assert told[-1] == ""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("text", "url", "token"),
    [
        ("recorder:8081", "ws://recorder:8081", None),
        ("https://a.example/?token=t-1", "wss://a.example", "t-1"),
        ("http://user:pw@[::1]:8081/live?token=", "ws://[::1]:8081", None),
        ("wss://a.example/feed", "wss://a.example", None),
    ],
)
def test_addresses(text: str, url: str, token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RTMS_WEB_TOKEN", raising=False)
    assert read_address(text) == Address(None, url, token)


@pytest.mark.parametrize("text", ["ftp://a", "http://", "http://[::1", "http://a:99999", "http://a/?token=%0d%0aX"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(Problem):
        read_address(text)
