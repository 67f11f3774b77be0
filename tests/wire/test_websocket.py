"""A server that breaks the rules of WebSocket: the connection ends at once, and the line says by which rule."""

import asyncio
import contextlib
import gc
import itertools
import json
import socket as socket_module
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from frames import tree
from harness import make_station
from processes import until
from websockets.utils import accept_key

from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.recording.writer import Writer
from rtms_cli.wire import sockets
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy
from rtms_cli.wire.sockets import AT_ONCE, MOST_EMPTY, SLICE, SLICE_BYTES, ClientSocket, OnMessages

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def frame(kind: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = b"") -> bytes:
    """A WebSocket frame, right or wrong."""
    head = bytes([fin << 7 | rsv << 4 | kind])
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65_536:
        head += struct.pack(">BH", bit | 126, size)
    else:
        head += struct.pack(">BQ", bit | 127, size)
    return head + mask + payload


def upgraded(request: bytes, headers: str = "") -> bytes:
    """The answer to an upgrade, with headers of the test's."""
    (key,) = (line[19:].strip() for line in request.splitlines() if line.lower().startswith(b"sec-websocket-key:"))
    answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return f"{answer}Sec-WebSocket-Accept: {accept_key(key.decode())}\r\n{headers}\r\n".encode()


class Server:
    """Accepts one connection, sends what the test says, and reads what comes, or nothing."""

    def __init__(self, sends: bytes, headers: str = "", *, reads: bool = True) -> None:
        self._sends, self._headers, self._reads = sends, headers, reads
        self.got = b""
        self.gone = asyncio.Event()

    async def open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Answer the upgrade, and send what there is to send; gives the path that was asked for."""
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(upgraded(request, self._headers) + self._sends)
        return request.split()[1]

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.open(reader, writer)
        if self._reads:
            try:
                self.got = await reader.read()
            except ConnectionResetError:
                pass
            self.gone.set()
        else:
            await self.gone.wait()
        writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self, "127.0.0.1", 0) as server:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"


def each(take: Callable[[bytes], object]) -> OnMessages:
    """Hands messages that came together to what takes one."""

    def take_all(raws: list[bytes]) -> None:
        for raw in raws:
            take(raw)

    return take_all


async def read_all(url: str) -> tuple[list[bytes], int, str]:
    """Connect; gives what came until the connection ended, and how it ended."""
    socket = await Dialer(HostPolicy())(url)
    came: list[bytes] = []
    closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
    socket.start(each(came.append), lambda code, reason: closed.set_result((code, reason)))
    async with asyncio.timeout(30):
        code, reason = await closed
    return came, code, reason


HELLO = frame(TEXT, b"{}")
BROKEN: dict[str, tuple[bytes, list[bytes], int, str]] = {
    "reserved bits": (HELLO + frame(TEXT, b"x", rsv=1), [b"{}"], 1002, "reserved bits"),
    "compressed": (frame(BINARY, b"x", rsv=4), [], 1002, "reserved bits set, as if compressed"),
    "reserved bits of a ping": (frame(PING, rsv=2), [], 1002, "reserved bits"),
    "a continuation without a start": (HELLO + frame(CONTINUATION, b"x"), [b"{}"], 1002, "does not continue a message"),
    "a continuation after the end": (
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b") + frame(CONTINUATION, b"c", fin=False),
        [b"ab"], 1002, "does not continue a message",
    ),
    "a message inside of another": (
        frame(TEXT, b"one", fin=False) + frame(TEXT, b"two"), [], 1002, "begins inside a fragmented one",
    ),
    "a fragmented message inside of another": (
        frame(TEXT, b"one", fin=False) + frame(BINARY, b"two", fin=False), [], 1002, "begins inside",
    ),
    "masked": (HELLO + frame(TEXT, b"xxxx", mask=b"1234"), [b"{}"], 1002, "masked frame"),
    "a long ping": (HELLO + frame(PING, b"x" * 126), [b"{}"], 1002, "payload size > 125"),
    "a fragmented ping": (HELLO + frame(PING, b"x", fin=False), [b"{}"], 1002, "fragmented control frame"),
    "a fragmented close": (frame(CLOSE, b"\x03\xe8", fin=False), [], 1002, "fragmented control frame"),
    "an unknown kind": (HELLO + frame(3, b"x"), [b"{}"], 1002, "invalid opcode"),
    "a close code that nobody may send": (HELLO + frame(CLOSE, b"\x03\xee"), [b"{}"], 1002, "close code 1006"),
    "a close code out of range": (HELLO + frame(CLOSE, b"\x13\x88"), [b"{}"], 1002, "close code 5000"),
    "a close code that means nothing": (HELLO + frame(CLOSE, b"\x00\x01"), [b"{}"], 1002, "close code"),
    "half a close code": (frame(CLOSE, b"\x03"), [], 1002, "close code"),
    "a close reason that is no text": (frame(CLOSE, b"\x03\xe8\xff"), [], 1007, "invalid UTF-8"),
    "text that is no text": (HELLO + frame(TEXT, b"\xff\xfe"), [b"{}", b"\xff\xfe"], 1007, "is not UTF-8"),
    "text in pieces that is no text": (
        frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"\x28"), [b"\xc3\x28"], 1007, "is not UTF-8",
    ),
    "empty fragments": (
        frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * (MOST_EMPTY + 10), [], 1002, "empty fragments",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
async def test_the_connection_ends_and_the_rule_is_named(case: str, caplog: pytest.LogCaptureFixture) -> None:
    sends, messages, code, rule = BROKEN[case]
    server = Server(sends + HELLO)
    async with server.listening() as url:
        came, closed, reason = await read_all(url)
        await server.gone.wait()
    assert (came, closed) == (messages, code)
    assert reason.startswith("protocol error: ")
    assert rule in reason
    sent = server.got[server.got.index(0x88) :]  # a close frame, masked
    mask, payload = sent[2:6], sent[6:8]
    assert int.from_bytes(bytes(byte ^ key for byte, key in zip(payload, mask, strict=False))) == code
    gc.collect()  # what asyncio has to say of a future that nobody asked, it says then
    assert not caplog.records


@pytest.mark.parametrize(
    ("sends", "messages"),
    [
        (frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"\xa9"), ["é".encode()]),
        (frame(BINARY, b"\xff"), [b"\xff"]),
        (frame(TEXT, b"a", fin=False) + frame(PING) + frame(CONTINUATION) + HELLO, [b"a", b"{}"]),
        (frame(TEXT, fin=False) + frame(CONTINUATION, b"x"), [b"x"]),
        (frame(PONG, b"unasked") + HELLO, [b"{}"]),
    ],
)
async def test_what_is_allowed_is_read(sends: bytes, messages: list[bytes]) -> None:
    async with Server(sends + frame(CLOSE, b"\x03\xe8bye")).listening() as url:
        assert await read_all(url) == (messages, 1000, "bye")


@pytest.mark.parametrize("code", [1002, 1007, 1009])
@pytest.mark.parametrize("reason", ["", "what you sent is too large"])
async def test_what_the_server_holds_against_us_is_told_as_its_own(code: int, reason: str) -> None:
    async with Server(HELLO + frame(CLOSE, code.to_bytes(2) + reason.encode())).listening() as url:
        assert await read_all(url) == ([b"{}"], code, reason)


@pytest.mark.parametrize(
    ("header", "what"),
    [("Sec-WebSocket-Extensions: permessage-deflate", "an extension"), ("Sec-WebSocket-Protocol: x", "a subprotocol")],
)
async def test_an_answer_that_grants_what_nobody_asked_for_is_none(header: str, what: str) -> None:
    server = Server(HELLO, f"{header}\r\n")
    async with server.listening() as url, asyncio.timeout(10):
        with pytest.raises(ConnectionError, match=f"answered with {what} that was not requested"):
            await Dialer(HostPolicy())(url)
        await server.gone.wait()


async def waiting_after(sends: bytes, answer: Callable[[ClientSocket, bytes], None]) -> tuple[int, tuple[int, str]]:
    """How much has waited at most for a server that sends and does not read, and how the connection ended."""
    server = Server(sends, reads=False)
    async with server.listening() as url:
        socket = await Dialer(HostPolicy())(url)
        closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        most = 0

        def take(raw: bytes) -> None:
            nonlocal most
            answer(socket, raw)
            if socket._transport is not None:
                most = max(most, socket._transport.underlying_transport.get_write_buffer_size())
            if raw == b"end":
                socket.abort()

        socket.start(each(take), lambda code, reason: closed.set_result((code, reason)))
        async with asyncio.timeout(50):
            ended = await closed
        server.gone.set()
    return most, ended


async def test_pings_of_a_server_that_does_not_read_are_not_all_answered() -> None:
    sends = frame(PING, b"x" * 125) * 200_000 + frame(TEXT, b"end")
    most, _ = await waiting_after(sends, lambda socket, raw: None)
    assert most <= sockets.MOST_PONGS + 1_000


async def test_a_ping_is_not_answered_where_much_waits_for_the_server() -> None:
    class Late(Server):
        async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.open(reader, writer)
            await self.filled.wait()
            writer.write(frame(PING, b"x") + HELLO)
            await self.gone.wait()
            writer.close()

        filled = asyncio.Event()

    server = Late(b"")
    async with server.listening() as url, asyncio.timeout(30):
        socket = await Dialer(HostPolicy())(url)
        assert socket._transport is not None
        transport = socket._transport.underlying_transport
        came, closed = asyncio.Event(), asyncio.Event()
        socket.start(lambda raws: came.set(), lambda code, reason: closed.set())
        while transport.get_write_buffer_size() <= sockets.MOST_PONGS:
            socket.send(bytes(200_000), binary=True)
            await asyncio.sleep(0.01)
        waiting = transport.get_write_buffer_size()
        server.filled.set()
        await came.wait()
        await asyncio.sleep(0)  # the answer would be put there in the next turn
        assert transport.get_write_buffer_size() <= waiting
        socket.abort()
        await closed.wait()
        server.gone.set()


async def test_only_the_last_of_many_pings_is_answered() -> None:
    server = Server(b"".join(frame(PING, b"%d" % number) for number in range(1_000, 6_000)) + HELLO)
    async with server.listening() as url:
        socket = await Dialer(HostPolicy())(url)
        closed = asyncio.Event()
        socket.start(lambda raws: socket.close(1000, ""), lambda code, reason: closed.set())
        await server.gone.wait()
        await closed.wait()
    assert 0 < server.got.count(b"\x8a\x84") < 100  # a pong of four bytes, masked


async def test_keep_alives_that_were_read_before_the_server_went_are_answered_to_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A write has failed, and what was read is still handed over: no library says anything on the terminal."""
    server = Server(HELLO * 100)
    async with server.listening() as url:
        socket = await Dialer(HostPolicy())(url)
        assert socket._transport is not None
        transport = socket._transport.underlying_transport
        closed = asyncio.Event()

        def answer(raw: bytes) -> None:
            transport.get_extra_info("socket").shutdown(socket_module.SHUT_RDWR)
            socket.send(b"x", binary=False)

        socket.start(each(answer), lambda code, reason: closed.set())
        async with asyncio.timeout(30):
            await closed.wait()
            await server.gone.wait()
    assert not caplog.records


async def test_many_messages_that_are_read_together_leave_the_others_their_turns() -> None:
    """100,000 tiny ones can be read at once, and each costs what a message costs."""
    count = 60_000
    turns = [0]
    came = 0

    def turn() -> None:
        turns.append(came)
        loop.call_soon(turn)

    def take(raw: bytes) -> None:
        nonlocal came
        assert raw == b"%d" % came
        came += 1

    loop = asyncio.get_running_loop()
    sends = b"".join(frame(TEXT, b"%d" % number) for number in range(count)) + frame(CLOSE, b"\x03\xe8bye")
    server = Server(sends)
    async with server.listening() as url:
        socket = await Dialer(HostPolicy())(url)
        closed: asyncio.Future[tuple[int, str, int]] = loop.create_future()
        turn()
        socket.start(each(take), lambda code, reason: closed.set_result((code, reason, came)))
        async with asyncio.timeout(30):
            assert await closed == (1000, "bye", count)
            await server.gone.wait()
    tiny = AT_ONCE // 5
    assert max(after - before for before, after in itertools.pairwise(turns)) <= tiny + 2 * SLICE


async def test_of_large_messages_one_is_handed_over_at_a_time() -> None:
    loop = asyncio.get_running_loop()
    at: list[int] = []
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(turn)

    server = Server(frame(TEXT, b"x" * SLICE_BYTES) * 20 + frame(CLOSE, b"\x03\xe8"))
    async with server.listening() as url:
        socket = await Dialer(HostPolicy())(url)
        closed = asyncio.Event()
        turn()
        socket.start(lambda raws: at.append(turns), lambda code, reason: closed.set())
        async with asyncio.timeout(30):
            await closed.wait()
            await server.gone.wait()
    assert len(set(at)) == len(at) == 20


def test_a_reset_behind_bytes_that_wait_is_noticed() -> None:
    """uvloop ceases to look at a socket when it was reset, although it has read only some of it."""
    uvloop = pytest.importorskip("uvloop")
    is_reset = threading.Event()
    said = frame(TEXT, b"x" * 10) * 5_000  # more than is read at a time

    def serve_one() -> None:
        connection, _ = listening.accept()
        connection.sendall(upgraded(connection.recv(1 << 16)) + HELLO)
        assert connection.recv(1)  # the client is at its first message
        connection.sendall(said)
        connection.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        is_reset.set()

    async def read() -> tuple[int, int, str]:
        socket = await Dialer(HostPolicy())(f"ws://127.0.0.1:{listening.getsockname()[1]}/x")
        closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        count = 0

        def take(raw: bytes) -> None:
            nonlocal count
            count += 1
            if count == 1:
                socket.send(b"go on", binary=False)
                assert is_reset.wait(20)

        socket.start(each(take), lambda code, reason: closed.set_result((code, reason)))
        async with asyncio.timeout(30):
            ended = await closed
        return count, *ended

    with socket_module.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve_one, daemon=True)
        serving.start()
        assert uvloop.run(read()) == (5_001, 1006, "")
        serving.join()


async def test_a_server_that_asks_and_does_not_read_the_answers_is_gone() -> None:
    sends = frame(TEXT, b"?" * 100) * 100_000
    most, ended = await waiting_after(sends, lambda socket, raw: socket.send(b"!" * 1_000, binary=False))
    assert most <= sockets.MOST_UNREAD + 2_000
    assert ended[0] == 1006
    assert "the server does not read" in ended[1]


async def test_the_socket_is_made_anew_and_the_manifest_names_the_rule(tmp_path: Path) -> None:
    """The third connection's packets are recorded like the first one's."""
    media = 0
    again = asyncio.Event()
    answer = {"msg_type": 4, "status_code": 0, "media_params": {}}

    def text(body: dict[str, object]) -> bytes:
        return frame(TEXT, json.dumps(body).encode())

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal media
        server = Server(b"")
        path = await server.open(reader, writer)
        if path == b"/m":
            media += 1
            said = {"msg_type": 18, "content": {"user_id": 1, "data": f"from {media}", "timestamp": 1_738_394_112_345}}
            writer.write(text(answer) + text(said))
            if media == 1:
                writer.write(frame(CONTINUATION, b"x"))
            else:
                again.set()
        else:
            urls = {"server_urls": {"all": f"{url}/m"}}
            writer.write(text({"msg_type": 2, "status_code": 0, "media_server": urls}))
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()

    recorders = Writer()
    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        station = make_station(tmp_path, recorders)
        payload = {"meeting_uuid": "u", "rtms_stream_id": "s", "server_urls": f"{url}/s"}
        body = json.dumps({"event": "meeting.rtms_started", "payload": payload}).encode()
        station.take(body, read_webhook(body))
        async with asyncio.timeout(30):
            await again.wait()
            await until(lambda: list(tmp_path.glob("*/chat.jsonl")))
        await station.stop("the test")
    await recorders.close()
    made = tree(tmp_path)
    (manifest,) = [json.loads(content) for name, content in made.items() if name.endswith("manifest.json")]
    broken = [one for one in manifest["connections"] if one["code"] == 1002]
    assert [(one["channel"], one["reason"]) for one in broken] == [
        ("media", "protocol error: a fragment does not continue a message")
    ]
    assert "(protocol error: a fragment does not continue a message)" in manifest["warnings"][0]["text"]
    (chat,) = [content for name, content in made.items() if name.endswith("chat.jsonl")]
    assert b"from 1" in chat
