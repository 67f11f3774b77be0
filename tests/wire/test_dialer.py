"""What ends before it is open: the dialer refuses it with one plain line, and leaves no descriptor behind.

A recorder that runs for months must not collect connections that nobody waits for any more.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import uvloop
from harness import made_certificate
from script import session
from websockets.utils import accept_key

from rtms_cli.machine import ChannelState, Frame, State
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.wire import dialer as dialer_module
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.dialer import Dialer, tls_context
from rtms_cli.wire.driver import Driver, FinalConnectionError
from rtms_cli.wire.hosts import HostPolicy


class Silent:
    """Accepts connections, and never says a word."""

    def __init__(self) -> None:
        self.came, self.gone = asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.came.set()
        assert await reader.read() == b""
        self.gone.set()
        writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self, "127.0.0.1", 0) as server:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"


async def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialer_module, "OPEN_TIMEOUT_S", 0.2)
    silent = Silent()
    async with silent.listening() as url, asyncio.timeout(10):
        with pytest.raises(ConnectionError, match="no answer within"):
            await Dialer(HostPolicy())(url)
        await silent.gone.wait()


async def test_a_server_that_had_not_answered_when_it_was_given_up() -> None:
    silent = Silent()
    async with silent.listening() as url, asyncio.timeout(dialer_module.OPEN_TIMEOUT_S / 2):
        dialing = asyncio.create_task(Dialer(HostPolicy())(url))
        await silent.came.wait()
        dialing.cancel()
        await asyncio.wait([dialing])
        assert dialing.cancelled()
        await silent.gone.wait()


# Connections that end, or are answered by something else, during the upgrade.

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(answer: bytes, *, reset: bool = False, request_first: bool = True) -> Serve:
    """A server that answers every request with the same bytes, and then closes the connection.

    `{accept}` in the answer becomes the right Sec-WebSocket-Accept.

    :param reset: close it with RST.
    :param request_first: read the request before that.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n") if request_first else b""
        if answer:
            key = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:-2])[b"Sec-WebSocket-Key"]
            writer.write(answer.replace(b"{accept}", accept_key(key.decode()).encode()))
            with contextlib.suppress(ConnectionError):  # the client may have read enough
                await writer.drain()
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        writer.close()

    return serve


SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)
CONNECTION = (State.OPENING, State.OPEN, State.REFUSED, State.CLOSED)
ENDED = "cannot connect to {}: the connection ended before the server answered the WebSocket upgrade"
NOT_HTTP = "{} did not answer the WebSocket upgrade in HTTP"
REFUSALS: dict[str, tuple[Serve, str]] = {
    "EOF before the request": (answering(b"", request_first=False), ENDED),
    "EOF": (answering(b""), ENDED),
    "RST": (answering(b"", reset=True), ENDED),
    "EOF in the answer": (answering(b"HTTP/1.1 101 Switching Proto"), ENDED),
    "RST in the answer": (answering(b"HTTP/1.1 101 Switching Proto", reset=True), ENDED),
    "another protocol, then EOF": (answering(b"SSH-2.0-OpenSSH_9.6\r\n"), ENDED),
    "another protocol": (answering(b"SSH-2.0-\x1b[2JOpen\nSSH\r\n\r\n"), NOT_HTTP),
    "no text": (answering(b"\xff\xfe\x00\r\n\r\n"), NOT_HTTP),
    "no end of the headers": (answering(b"x" * 200_000), NOT_HTTP),
    "no status": (answering(b"HTTP/1.1 \r\n\r\n"), NOT_HTTP),
    "busy": (
        answering(b"HTTP/1.1 503 Busy\r\n\r\n"),
        "{} answered HTTP 503 instead of opening a WebSocket",
    ),
    "an older proxy": (answering(b"HTTP/1.0 502 Bad\r\n\r\n"), "{} answered HTTP 502 instead of opening a WebSocket"),
    "no known status": (answering(b"HTTP/1.1 599 ?\r\n\r\n"), "{} answered HTTP 599 instead of opening a WebSocket"),
    "a page": (answering(b"HTTP/1.1 200 OK\r\n\r\n<html>"), "{} answered HTTP 200 instead of opening a WebSocket"),
    "a wrong accept": (answering(SWITCH % b"AAAA"), "{} answered HTTP 101 with a wrong Sec-WebSocket-Accept header"),
    "an old HTTP": (
        answering(b"HTTP/1.0 101 OK\r\n\r\n"),
        "{} answered in HTTP/1.0, which does not support WebSockets",
    ),
    "no upgrade": (answering(b"HTTP/1.1 101 OK\r\n\r\n"), "{} answered HTTP 101 with a wrong Upgrade header"),
    "a broken header": (
        answering(b"HTTP/1.1 101 OK\r\nnonsense\x1b[0m\r\n\r\n"),
        "{} answered HTTP 101 with invalid headers",
    ),
}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loops(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """The event loops that the recorder runs on."""
    factory: Callable[[], asyncio.AbstractEventLoop] = request.param
    return factory


@asynccontextmanager
async def listening(serve: Serve, certificate: Path | None = None) -> AsyncIterator[str]:
    """The URL of a server that closes every connection when it is done with it."""
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate / "both.pem")
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield f"{'ws' if tls is None else 'wss'}://localhost:{server.sockets[0].getsockname()[1]}/x"


def open_sockets() -> set[str]:
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # what iterdir itself reads with
            found.add(str(descriptor.readlink()))
    return {target for target in found if target.startswith("socket:")}


async def refusal(url: str, dialer: Dialer, *, sockets_before: set[str]) -> str:
    """Dial once, and wait until every socket that it took is closed; the test's time-out bounds that."""
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionError) as refused:
            await dialer(url)
    assert not isinstance(refused.value, FinalConnectionError)  # another try may help
    while open_sockets() - sockets_before:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return str(refused.value)


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_what_is_not_opened_is_refused_at_once(
    case: str, secure: bool, loops: Callable[[], asyncio.AbstractEventLoop], certificate: Path
) -> None:
    serve, line = REFUSALS[case]
    dialer = Dialer(HostPolicy(), tls_context(str(certificate / "cert.pem")) if secure else None)

    async def dial() -> None:
        async with listening(serve, certificate if secure else None) as url:
            assert await refusal(url, dialer, sockets_before=open_sockets()) == line.format(url)

    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(dial())


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_ends_in_the_tls_handshake(
    reset: bool, loops: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    async def hello_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        await answering(b"", reset=reset, request_first=False)(reader, writer)

    async def dial() -> None:
        async with listening(hello_only) as url:
            url = url.replace("ws:", "wss:")
            said = await refusal(url, Dialer(HostPolicy()), sockets_before=open_sockets())
            assert said == f"cannot connect to {url}: Connection reset by peer"

    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(dial())
    assert not caplog.records  # nothing that would be printed across the dashboard


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("proxy", ["http", "socks5"])
def test_a_proxy_that_connects_and_closes(
    proxy: str,
    secure: bool,
    reset: bool,
    loops: Callable[[], asyncio.AbstractEventLoop],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if proxy == "socks5":
            await reader.readexactly(3)
            writer.write(b"\x05\x00")
            await reader.read(300)
            writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
        else:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read(65_536)  # the upgrade, or the TLS client's hello
        await answering(b"", reset=reset, request_first=False)(reader, writer)

    async def dial() -> None:
        async with listening(serve) as address:
            place = address.removeprefix("ws://localhost").removesuffix("/x")
            monkeypatch.setenv("https_proxy", f"{proxy}://127.0.0.1{place}")
            monkeypatch.setenv("http_proxy", f"{proxy}://127.0.0.1{place}")
            url = f"{'wss' if secure else 'ws'}://rtms.zoom.us:443/x"
            said = await refusal(url, Dialer(HostPolicy()), sockets_before=open_sockets())
            why = ENDED.partition("{}: ")[2] if not secure else "Connection reset by peer"
            assert said == f"cannot connect to {url} through the proxy 127.0.0.1{place}: {why}"

    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(dial())


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_what_was_answered_and_closed_was_open(
    secure: bool, reset: bool, loops: Callable[[], asyncio.AbstractEventLoop], certificate: Path
) -> None:
    """That one the session sees as open, then closed without a word."""

    async def dial() -> None:
        accepting = answering(SWITCH % b"{accept}", reset=reset)
        async with listening(accepting, certificate if secure else None) as url, asyncio.timeout(5):
            before = open_sockets()
            socket = await Dialer(HostPolicy(), tls_context(str(certificate / "cert.pem")))(url)
            closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
            socket.start(lambda _: None, lambda code, reason: closed.set_result((code, reason)))
            assert await closed == (1006, "")
            while open_sockets() - before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(dial())


@pytest.mark.parametrize("reset", [False, True])
async def test_a_session_backs_off_from_a_server_that_closes(reset: bool) -> None:
    """Each end is a refused connection: 3 s, then 6 s, … and never a socket that was open."""
    frames: list[Frame] = []
    enough = asyncio.Event()

    def keep(frame: Frame) -> None:
        frames.append(frame)
        if sum(isinstance(kept.message, ChannelState) and kept.message.state is State.REFUSED for kept in frames) == 4:
            enough.set()

    async with listening(answering(b"", reset=reset)) as url, asyncio.timeout(20):
        stream = Stream(Product.MEETING, "uuid==", "stream1", url)
        driver = Driver(session(stream=stream), None, Clock(speed=40), Dialer(HostPolicy()), on_frame=keep)
        running = asyncio.create_task(driver.run())
        await enough.wait()
        driver.stop("the test")
        await running
    states = [(frame.at_us, frame.message) for frame in frames if isinstance(frame.message, ChannelState)]
    connections = [state.state for _, state in states if state.state in CONNECTION]
    assert connections == [State.OPENING, State.REFUSED] * 4
    assert {state.reason for _, state in states if state.state is State.REFUSED} == {ENDED.format(url)}
    tries = [at_us / 1_000_000 for at_us, state in states if state.state is State.OPENING]
    waits = [after - before for before, after in pairwise(tries)]
    assert all(wait >= due for wait, due in zip(waits, (3, 6, 12), strict=True))


@pytest.mark.parametrize("host", ["a..zoom.us", "é\ufffd.zoom.us", "a" * 64 + ".zoom.us", ".zoom.us"])
async def test_a_host_that_can_be_none_is_not_tried_again(host: str) -> None:
    with pytest.raises(FinalConnectionError, match="is not a WebSocket URL"):
        await Dialer(HostPolicy())(f"wss://{host}/x")
