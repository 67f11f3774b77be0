"""Patience with Zoom's REST API, and where it ends."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import accumulate

import pytest
from zoomcloud import Cloud, Reply, granted, zoom_cloud

from rtms_cli.cloud.addresses import find_addresses
from rtms_cli.cloud.rest import Action, Order, RestError, Target
from rtms_cli.cloud.tokens import TokenError, TokenFlow, Tokens, TokenSource
from rtms_cli.errors import Exit, Problem
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.secrets import Secret
from rtms_cli.station.control import Control

START = Order(Target(Product.MEETING, "85512345678"), Action.START, "an-app")
APP = TokenSource(TokenFlow.CLIENT, "an-app", Secret("its secret"))
SERVER = TokenSource(TokenFlow.ACCOUNT, "a-server", Secret("its secret"), "account")
GIVEN = TokenSource(TokenFlow.GIVEN, token=Secret("given"))


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with zoom_cloud() as running:
        yield running


class Watch:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def control(url: str, *sources: TokenSource, watch: Watch | None = None) -> Control:
    addresses, watch = find_addresses({}, cloud_url=url), watch or Watch()
    return Control(addresses, Tokens(sources or [APP], addresses), now=watch.now, sleep=watch.sleep)


async def test_who_asks_for_more_time_than_there_is_ends_it(cloud: Cloud) -> None:
    cloud.rest = [Reply(429, b"", {"Retry-After": "100"})]
    with pytest.raises(RestError, match="too many requests") as caught:
        await control(cloud.url).give(START, 50)
    assert "in 100 s" in caught.value.remedy
    assert len(cloud.calls) == 1


@pytest.mark.parametrize("headers", [{"Retry-After": "0"}, {}])
async def test_a_token_that_is_not_to_be_had_now_is_waited_for(headers: dict[str, str], cloud: Cloud) -> None:
    cloud.tokens = [Reply(503, b"", headers), granted()]
    accepted = await control(cloud.url).give(START)
    assert (accepted.tries, len(cloud.asked_for_tokens), len(cloud.calls)) == (2, 2, 1)


@pytest.mark.parametrize(
    ("reply", "delays"),
    [
        (Reply(400, {"code": 3000, "message": "Not yet."}), [1, 2, 4, 5, 5, 3]),
        (Reply(500), [1, 2, 4, 8, 5]),
        (Reply(503, b"", {"Retry-After": "7"}), [7, 7]),
        (Reply(503, b"", {"Retry-After": "0"}), [1, 2, 4, 8, 5]),
    ],
)
async def test_the_time_between_tries_grows_and_the_last_one_is_at_the_end(
    reply: Reply, delays: list[float], cloud: Cloud
) -> None:
    cloud.rest, watch, told = [reply], Watch(), list[str]()
    with pytest.raises(RestError):
        await control(cloud.url, watch=watch).give(START, 20, told.append)
    assert watch.slept == delays
    assert len(cloud.calls) == len(delays) + 1
    assert f"The next attempt is in {delays[0]} s, the last one in 20 s." in told[0]


async def test_a_long_wait_asks_less_often(cloud: Cloud) -> None:
    cloud.rest, watch = [Reply(400, {"code": 3000, "message": "Not yet."})], Watch()
    with pytest.raises(RestError):
        await control(cloud.url, watch=watch).give(START, 3600)
    assert sum(watch.slept) == pytest.approx(3600)
    assert all(delay <= max(5, before / 10) for delay, before in zip(watch.slept, accumulate(watch.slept), strict=True))
    assert 30 in watch.slept
    assert len(cloud.calls) < 200


async def test_a_users_token_that_is_refused_is_not_asked_for_again(cloud: Cloud) -> None:
    cloud.rest = [Reply(401, {"code": 124, "message": "Invalid access token."})]
    with pytest.raises(RestError, match="no longer valid"):
        await control(cloud.url, GIVEN).give(START)
    assert len(cloud.calls) == 1


async def test_where_each_token_is_refused_for_another_reason_all_are_told(cloud: Cloud) -> None:
    cloud.rest = [Reply(400, {"code": 4711, "message": "No scopes."}), Reply(400, {"code": 2308, "message": "No."})]
    with pytest.raises(RestError) as caught:
        await control(cloud.url, APP, SERVER).give(START)
    assert "error 4711" in caught.value.what
    assert "error 2308" in caught.value.what
    assert " Or: " in caught.value.remedy


async def test_a_way_that_gives_no_token_does_not_hide_what_the_first_one_was_told(cloud: Cloud) -> None:
    cloud.tokens = [granted(), Reply(400, {"reason": "Bad Request", "error": "invalid_request"})]
    cloud.rest = [Reply(400, {"code": 4711, "message": "No scopes."})]
    with pytest.raises(RestError, match="error 4711"):
        await control(cloud.url, APP, SERVER).give(START)
    assert len(cloud.asked_for_tokens) == 2


async def test_a_refused_way_to_a_token_is_told_at_once(cloud: Cloud) -> None:
    cloud.tokens = [Reply(400, {"reason": "Invalid client_id or client_secret", "error": "invalid_client"})]
    with pytest.raises(TokenError, match="invalid_client"):
        await control(cloud.url).give(START)
    assert len(cloud.asked) == 1


async def test_a_connection_that_breaks_after_an_answer_is_tried_again() -> None:
    answers = [
        b"HTTP/1.1 503 Later\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        b"",
        b"HTTP/1.1 204 Done\r\nconnection: close\r\n\r\n",
    ]
    told: list[str] = []
    async with raw_server(answers) as url:
        accepted = await control(url, GIVEN).give(START, tell=told.append)
    assert accepted.tries == 3
    assert "cannot be reached" in told[1]


async def test_a_connection_that_breaks_at_first_is_told() -> None:
    async with raw_server([b""]) as url:
        with pytest.raises(Problem, match="cannot be reached") as caught:
            await control(url, GIVEN).give(START)
    assert caught.value.exit_code is Exit.REFUSED


@asynccontextmanager
async def raw_server(answers: list[bytes]) -> AsyncIterator[str]:
    """A server that answers each connection with some bytes, and closes it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_who_hangs_up_without_an_answer_is_told_in_one_sentence() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(Problem) as caught:
            await control(url, GIVEN).give(START)
    assert caught.value.what == f"{url}/v2 cannot be reached: the connection was closed without an answer."
