"""`listen:PORT`, over real sockets: who gets in, what they are told, and what it costs that they do not read."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live.loops import on_both_loops
from msgspec import structs
from processes import until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from rtms_cli.errors import Problem
from rtms_cli.live.framing import HEADER
from rtms_cli.live.pieces import AUDIO, TRANSCRIPT, Beginning, Piece, SoundForm, TargetGoneError
from rtms_cli.live.serving import ServedTarget, TapServer

ADA = 16778240
HOSTILE = "/streams/../+=%2F?token=x#\r\n é"
BEGINNING = Beginning("meeting", "aB+/=", "s/t+r=", None, (AUDIO, TRANSCRIPT), SoundForm(16000, 1, "s16le"))


def audio(data: bytes, at_ms: int = 1_000, user_id: int | None = None, name: str | None = None) -> Piece:
    return Piece(AUDIO, data, user_id, name, at_ms, len(data) / 32_000)


def at_once(target: ServedTarget, *pieces: Piece) -> int:
    """Send, and see that nothing was waited for."""
    sending = target.send(pieces)
    with pytest.raises(StopIteration) as stopped:
        sending.send(None)
    nbytes = stopped.value.value
    assert isinstance(nbytes, int)
    return nbytes


@asynccontextmanager
async def stream(server: TapServer, beginning: Beginning = BEGINNING) -> AsyncIterator[ServedTarget]:
    target = server.target()
    await target.open(beginning)
    yield target
    await target.close()


def path_of(stream_id: str) -> str:
    return f"/{quote(stream_id, safe='')}"


async def read(connection: ClientConnection) -> tuple[list[dict[str, Any]], bytes]:
    """All texts, and all media put together, until the server closes."""
    texts, media = [], b""
    async for message in connection:
        if isinstance(message, str):
            texts.append(json.loads(message))
        else:
            media += message[HEADER.unpack_from(message)[2] :]
    return texts, media


@on_both_loops
async def test_each_client_gets_what_is_said_from_then_on() -> None:
    sound = bytes(range(256)) * 500
    async with TapServer() as server:
        async with stream(server) as target:
            assert at_once(target, audio(b"nobody is there", user_id=ADA, name="Ada")) == 0
            url = server.url + path_of(BEGINNING.stream_id)
            clients = [await connect(url) for _ in range(3)]
            await until(lambda: server.clients == 3)
            for at in range(0, len(sound), 1_000):
                assert at_once(target, audio(sound[at : at + 1_000], user_id=ADA, name="Ada")) == len(
                    sound[at : at + 1_000]
                )
            at_once(target, Piece(TRANSCRIPT, b'{"text":"hi"}\n', ADA, "Ada"))
        for client in clients:
            texts, media = await read(client)
            assert media == sound
            assert [text["type"] for text in texts] == ["start", "transcript", "stop"]
            assert texts[0]["participants"] == [
                {
                    "user": 1,
                    "user_id": ADA,
                    "user_name": "Ada",
                    "format": {"encoding": "s16le", "rate": 16000, "channels": 1},
                }
            ]
            assert texts[0]["stream_id"] == BEGINNING.stream_id
            assert client.close_code == 1000
        assert server.dropped == 0


@on_both_loops
async def test_a_client_that_reads_nothing_costs_its_buffer_and_is_told_what_it_missed() -> None:
    async with TapServer(most_nbytes=200_000) as server:
        async with stream(server) as target:
            url = server.url + path_of(BEGINNING.stream_id)
            stalled = await connect(url, max_queue=1)
            quick = await connect(url)
            await until(lambda: server.clients == 2)
            reading = asyncio.create_task(read(quick))
            sent = 0
            while server.dropped < 50:
                assert sent < 10_000
                at_once(target, audio(bytes(10_000), 1_000 + sent * 312, ADA + sent % 7, f"user {sent % 7}"))
                sent += 1
                assert server.waiting_nbytes <= 2 * 200_000
                await asyncio.sleep(0.001)
            heard = asyncio.create_task(read(stalled))
            await until(lambda: server.waiting_nbytes == 0)
        texts, media = await heard
        all_texts, all_media = await reading
    assert len(all_media) == sent * 10_000
    assert "gap" not in [text["type"] for text in all_texts]
    gaps = [text for text in texts if text["type"] == "gap"]
    assert {text["kind"] for text in gaps} == {"audio"}
    assert {text["why"] for text in gaps} == {"this client reads too slowly"}
    assert all(text["from_ms"] < text["to_ms"] for text in gaps)
    dropped = sum(text["count"] for text in gaps)
    assert dropped >= 43
    assert len(media) == (sent - dropped) * 10_000
    assert {text["user"] for text in texts if text["type"] == "user"} == set(range(1, 8))
    assert texts[-1] == {"type": "stop"}


async def test_what_waits_for_too_long_is_dropped_however_little_it_is() -> None:
    async with TapServer(buffer_s=0) as server, stream(server) as target:
        stalled = await connect(server.url + path_of(BEGINNING.stream_id), max_queue=1)
        await until(lambda: server.clients == 1)
        while server.dropped == 0:
            for _ in range(100):
                at_once(target, audio(bytes(5_000)))
            await asyncio.sleep(0)
        assert server.waiting_nbytes < 16 << 20
        stalled.transport.abort()
        await until(lambda: server.clients == 0)
        assert server.dropped > 0
        assert server.waiting_nbytes == 0


@on_both_loops
async def test_who_asks_for_the_next_stream_gets_it_from_its_beginning() -> None:
    async with TapServer() as server:
        async with stream(server, structs.replace(BEGINNING, stream_id="former")):
            clients = [await connect(f"{server.url}/next") for _ in range(2)]
            gone = await connect(f"{server.url}/next")
            await until(lambda: server.clients == 3)
            await gone.close()
            await until(lambda: server.clients == 2)
            target = server.target()
            await target.open(BEGINNING)
            at_once(target, audio(b"from the first"))
            late = await connect(f"{server.url}/next")
            await until(lambda: server.clients == 3)
            await target.close()
            for client in clients:
                texts, media = await read(client)
                assert texts[0]["stream_id"] == BEGINNING.stream_id
                assert media == b"from the first"
    with pytest.raises(ConnectionClosed, match="1001"):
        await late.recv()


@on_both_loops
async def test_who_watches_is_told_which_streams_run() -> None:
    async with TapServer() as server:
        watcher = await connect(server.url)
        assert json.loads(await watcher.recv()) == {"type": "streams", "version": 1, "streams": []}
        async with stream(server):
            started = json.loads(await watcher.recv())
            assert started["type"] == "started"
            assert started["stream"]["path"] == "/streams/s%2Ft%2Br%3D"
            async with stream(server, structs.replace(BEGINNING, stream_id="other")):
                assert json.loads(await watcher.recv())["stream"]["stream_id"] == "other"
                later = await connect(server.url + "/")
                listed = json.loads(await later.recv())["streams"]
                assert [one["stream_id"] for one in listed] == [BEGINNING.stream_id, "other"]
                async with httpx.AsyncClient() as http:
                    answer = await http.get(server.url.replace("ws:", "http:"))
                    assert answer.headers["content-type"] == "application/json"
                    assert answer.json()["streams"] == listed
                    one = await http.get(server.url.replace("ws:", "http:") + "/other")
                    assert one.json() == listed[1]
            assert json.loads(await watcher.recv()) == {"type": "stopped", "stream_id": "other"}
        assert json.loads(await watcher.recv())["type"] == "stopped"
    with pytest.raises(ConnectionClosed):
        await watcher.recv()


async def test_a_watcher_that_missed_changes_gets_the_list() -> None:
    async with TapServer(most_nbytes=10_000) as server:
        watcher = await connect(server.url, max_queue=1)
        await until(lambda: server.clients == 1)
        count = 0
        while server.dropped == 0:
            count += 1
            target = server.target()
            await target.open(structs.replace(BEGINNING, stream_id=f"s{count}", id="x" * 5_000))
            await asyncio.sleep(0)
            await target.close()
        last = server.target()
        await last.open(structs.replace(BEGINNING, stream_id="last"))
        running: set[str] = set()
        lists = 0
        while running != {"last"} or lists < 2:
            told = json.loads(await watcher.recv())
            match told["type"]:
                case "streams":
                    lists += 1
                    running = {one["stream_id"] for one in told["streams"]}
                case "started":
                    running.add(told["stream"]["stream_id"])
                case _:
                    running.discard(told["stream_id"])
        await watcher.close()


@pytest.mark.parametrize("stream_id", [HOSTILE, "/streams", "..", "", "\ud83d", "a" * 2_000])
async def test_a_stream_is_found_under_its_id_whatever_that_is(stream_id: str) -> None:
    async with TapServer() as server, stream(server, structs.replace(BEGINNING, stream_id=stream_id)):
        listed = json.loads(server.listed())["streams"]
        if stream_id in ("", "\ud83d"):
            return  # nobody can ask for it, and the list is JSON anyway
        async with connect(server.url.removesuffix("/streams") + listed[0]["path"]) as client:
            assert json.loads(await client.recv())["type"] == "start"


@given(stream_id=st.text(min_size=1, max_size=30))
def test_a_path_holds_nothing_that_ends_it(stream_id: str) -> None:
    async def ask() -> str:
        server = TapServer()
        await server.target().open(structs.replace(BEGINNING, stream_id=stream_id))
        return str(json.loads(server.listed())["streams"][0]["path"])

    path = asyncio.run(ask())
    assert path.isascii()
    assert path.isprintable()
    assert not set(path.removeprefix("/streams/")) & set("/?# ")


async def test_a_stream_that_is_not_there_is_404() -> None:
    async with TapServer() as server, stream(server):
        for path in ("/x", "/streams/x", "/streamsx", "/", "/streams/s"):
            with pytest.raises(InvalidStatus, match="404"):
                await connect(server.url.removesuffix("/streams") + path)
            async with httpx.AsyncClient() as http:
                answer = await http.get(server.url.replace("ws:", "http:").removesuffix("/streams") + path)
                assert answer.status_code == 404


async def test_targets_of_one_stream_are_one_to_clients() -> None:
    """A tap for each participant has a target for each."""
    telephone = SoundForm(8000, 1, "mulaw")
    async with TapServer() as server:
        ada, bob = server.target(), server.target()
        await ada.open(structs.replace(BEGINNING, user_id=ADA, user_name="Ada"))
        client = await connect(server.url + path_of(BEGINNING.stream_id))
        await until(lambda: server.clients == 1)
        await bob.open(structs.replace(BEGINNING, user_id="bob", user_name="Bob", sound=telephone))
        at_once(ada, audio(b"a"))
        at_once(bob, audio(b"b"))
        await ada.close()
        assert len(json.loads(server.listed())["streams"]) == 1
        at_once(bob, audio(b"c"))
        with pytest.raises(TargetGoneError):
            await ada.send([])
        await bob.close(hurry=True)
        assert json.loads(server.listed())["streams"] == []
        texts, media = await read(client)
    assert media == b"abc"
    assert [text["type"] for text in texts] == ["start", "user", "user", "stop"]
    assert texts[0]["user_id"] is None
    assert [(text["user_name"], text["format"]["encoding"]) for text in texts[1:3]] == [
        ("Ada", "s16le"),
        ("Bob", "mulaw"),
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://[::1"},
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example:80"},
        {"Host": "[::1"},
    ],
)
async def test_web_pages_are_kept_out(headers: dict[str, str]) -> None:
    async with TapServer() as server:
        async with httpx.AsyncClient() as http:
            answer = await http.get(server.url.replace("ws:", "http:"), headers=headers)
            assert answer.status_code == 403
        if "Origin" in headers:
            with pytest.raises(InvalidStatus, match="403"):
                await connect(server.url, additional_headers=headers)


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:5173"])
async def test_pages_of_this_machine_are_let_in(origin: str) -> None:
    async with TapServer() as server:
        async with connect(server.url, additional_headers={"Origin": origin}) as client:
            assert json.loads(await client.recv())["type"] == "streams"


async def test_a_token_is_wanted_where_there_is_one() -> None:
    token = "a-token-with-+and/"
    async with TapServer("0.0.0.0", token=token) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        for wrong in ("", "?token=", "?token=a-token", "?token=" + quote(token) + "x", "?x=" + quote(token)):
            with pytest.raises(InvalidStatus, match="401") as refused:
                await connect(url + wrong)
            assert refused.value.response.headers["WWW-Authenticate"] == "Bearer"
        for field in (f"Basic {token}", token, "Bearer", "Bearer é".encode().decode("latin-1")):
            async with httpx.AsyncClient() as http:
                answer = await http.get(
                    url.replace("ws:", "http:"), headers=[(b"authorization", field.encode("latin-1"))]
                )
                assert answer.status_code == 401
                assert token not in answer.text
        for right in ("?token=" + quote(token, safe=""), "?x=1&token=" + token):
            async with connect(url + right) as client:
                assert json.loads(await client.recv())["type"] == "streams"
        headers = {"Authorization": f"bearer {token}", "Origin": "https://app.example"}
        async with connect(url, additional_headers=headers) as client:
            assert json.loads(await client.recv())["type"] == "streams"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.org"])
@pytest.mark.parametrize("token", [None, ""])
def test_beyond_this_machine_there_must_be_a_token(host: str, token: str | None) -> None:
    with pytest.raises(Problem, match="open to everyone"):
        TapServer(host, token=token)


async def test_a_port_that_is_taken_is_a_problem() -> None:
    async with TapServer() as server:
        with pytest.raises(Problem, match="cannot listen"):
            await TapServer(port=server.port).__aenter__()
    with pytest.raises(Problem, match="cannot listen"):
        TapServer(port=99_999)


async def test_there_are_so_many_clients_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtms_cli.live.serving.MOST_CLIENTS", 2)
    async with TapServer() as server:
        first, _ = await connect(server.url), await connect(server.url)
        await until(lambda: server.clients == 2)
        with pytest.raises(InvalidStatus, match="503"):
            await connect(server.url)
        await first.close()
        await until(lambda: server.clients == 1)
        async with connect(server.url) as third:
            assert json.loads(await third.recv())["type"] == "streams"


async def test_all_clients_may_come_at_once() -> None:
    async with TapServer() as server:
        clients = await asyncio.gather(*(connect(server.url) for _ in range(100)))
        await until(lambda: server.clients == 100)
        await asyncio.gather(*(client.close() for client in clients))


@on_both_loops
async def test_who_connects_and_says_nothing_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtms_cli.live.serving.MOST_ASKING", 5)
    async with TapServer() as server:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
        for reader, _ in silent[:15]:
            with pytest.raises((ConnectionError, EOFError)):  # it was ended
                await reader.readexactly(1)
        async with connect(server.url) as client:
            assert json.loads(await client.recv())["type"] == "streams"
        for _, writer in silent:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@on_both_loops
@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00" + bytes(512) + b"\r\n\r\n",  # TLS
        b"POST /streams HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /streams HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /streams HTTP/1.0\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /streams HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET /streams/%ff%00?token=%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /streams HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_costs_nothing(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with TapServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(said)
        with suppress(ConnectionError):
            answer = await reader.read()
            assert not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 1"))
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        async with connect(server.url) as client:
            assert json.loads(await client.recv())["type"] == "streams"
    assert [record for record in caplog.records if record.name.startswith(("rtms", "websockets"))] == []


@on_both_loops
async def test_a_client_may_say_what_it_likes() -> None:
    async with TapServer() as server, stream(server) as target:
        client = await connect(server.url + path_of(BEGINNING.stream_id))
        for said in ("x", b"y" * 1_000, "{", "") * 100:
            await client.send(said)
        await (await client.ping())
        at_once(target, audio(b"still"))
        assert json.loads(await client.recv())["type"] == "start"
        message = await client.recv()
        assert isinstance(message, bytes)
        assert message.endswith(b"still")
        await client.send(bytes(1 << 20))
        with pytest.raises(ConnectionClosed, match="1009"):
            await client.recv()
        await until(lambda: server.clients == 0)


@on_both_loops
@pytest.mark.parametrize("hurry", [False, True])
async def test_the_end_does_not_wait_for_who_reads_nothing(monkeypatch: pytest.MonkeyPatch, hurry: bool) -> None:
    monkeypatch.setattr("rtms_cli.live.serving.CLOSE_S", 60 if hurry else 0.2)
    server = TapServer()
    async with asyncio.timeout(30):
        async with server, stream(server) as target:
            stalled = await connect(server.url + path_of(BEGINNING.stream_id), max_queue=1)
            await until(lambda: server.clients == 1)
            while server.waiting_nbytes < 1_000_000:
                at_once(target, audio(bytes(10_000)))
                await asyncio.sleep(0)
            closing = target.close()
            with pytest.raises(StopIteration):
                closing.send(None)
            if hurry:
                await server.close(hurry=True)
    assert server.clients == 0
    assert server.waiting_nbytes == 0
    stalled.transport.abort()
    await stalled.wait_closed()
