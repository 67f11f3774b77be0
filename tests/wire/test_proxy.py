"""Through a proxy that the environment names: a real one on loopback, which does CONNECT and knows all names."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from harness import made_certificate
from proxies import Proxy
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request

from rtms_cli.live.pieces import Beginning, TargetGoneError
from rtms_cli.live.sockets import WebSocketTarget
from rtms_cli.wire.dialer import Dialer, tls_context
from rtms_cli.wire.driver import FinalConnectionError
from rtms_cli.wire.hosts import HostPolicy
from rtms_cli.wire.poster import NoAnswerError, post


@asynccontextmanager
async def proxied(answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n", certificate: Path | None = None) -> AsyncIterator[Proxy]:
    async def greet(socket: ServerConnection) -> None:
        await socket.send("hello")
        await socket.wait_closed()

    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate / "both.pem")
    async with serve(greet, "127.0.0.1", 0, ssl=tls) as behind:
        proxy = Proxy(next(iter(behind.sockets)).getsockname()[1], answer)
        async with await asyncio.start_server(proxy, "127.0.0.1", 0) as listening:
            proxy.address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            yield proxy
        if proxy.serving:
            await asyncio.wait(proxy.serving)  # else the loop would end before their sockets have


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "ws", "wss", "socks", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)


async def first_message(url: str, dialer: Dialer) -> bytes:
    socket = await dialer(url)
    came: asyncio.Queue[bytes] = asyncio.Queue()
    socket.start(lambda raws: came.put_nowait(raws[0]), lambda code, reason: None)
    message = await came.get()
    socket.abort()
    return message


@pytest.mark.parametrize("spelling", ["http://ann:s3cret@{}", "ann:s3cret@{}", "http://ann:s3cret@{}/"])
async def test_the_proxy_finds_the_host(monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    async with proxied() as proxy:
        monkeypatch.setenv("http_proxy", spelling.format(proxy.address))
        assert await first_message("ws://only-the-proxy-knows.zoom.us:8443/x", Dialer(HostPolicy())) == b"hello"
    [head] = proxy.heads
    assert head.startswith(b"CONNECT only-the-proxy-knows.zoom.us:8443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"ann:s3cret") in head


async def test_tls_goes_through_to_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which must have a certificate for its own name, whatever the proxy is called."""
    certificate = made_certificate(tmp_path)
    async with proxied(certificate=certificate) as proxy:
        monkeypatch.setenv("https_proxy", f"http://{proxy.address}")
        unverified = Dialer(HostPolicy(), tls_context(verify=False))
        assert await first_message("wss://rtms.zoom.us:8443/x", unverified) == b"hello"
        with pytest.raises(FinalConnectionError, match=r"through the proxy .* its certificate is not trusted"):
            await Dialer(HostPolicy(), tls_context(str(certificate / "cert.pem")))("wss://rtms.zoom.us:8443/x")
    assert [head.split(b" HTTP")[0] for head in proxy.heads] == [b"CONNECT rtms.zoom.us:8443"] * 2


async def test_a_server_that_answers_after_it_was_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    came, may_answer, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def late(connection: ServerConnection, request: Request) -> None:
        came.set()
        await may_answer.wait()

    async def handle(socket: ServerConnection) -> None:
        await socket.wait_closed()
        gone.set()

    async with serve(handle, "127.0.0.1", 0, process_request=late) as behind, asyncio.timeout(10):
        proxy = Proxy(next(iter(behind.sockets)).getsockname()[1], b"HTTP/1.1 200 OK\r\n\r\n")
        async with await asyncio.start_server(proxy, "127.0.0.1", 0) as listening:
            monkeypatch.setenv("http_proxy", f"127.0.0.1:{listening.sockets[0].getsockname()[1]}")
            dialing = asyncio.create_task(Dialer(HostPolicy())("ws://rtms.zoom.us:8443/x"))
            await came.wait()
            dialing.cancel()
            await asyncio.wait([dialing])
            may_answer.set()
            await gone.wait()
        await asyncio.wait(proxy.serving)


@pytest.mark.parametrize(
    ("host", "but"), [("127.0.0.1", ""), ("localhost", ""), ("[::1]", ""), ("rtms.zoom.us", "zoom.us")]
)
async def test_what_needs_no_proxy(monkeypatch: pytest.MonkeyPatch, host: str, but: str) -> None:
    """This machine itself, whatever the environment says: a proxy's loopback is another machine's."""
    async with proxied() as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        monkeypatch.setenv("no_proxy", but)
        with pytest.raises(ConnectionError) as refused:
            await Dialer(HostPolicy(allowed=("*.invalid",)))(f"ws://{host}:1/x")
    assert "proxy" not in str(refused.value)
    assert proxy.heads == []


async def test_webhooks_and_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy in ("ftp://proxy", "socks5://proxy:1"):
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(NoAnswerError):
            await post("http://app.example/webhook", b"{}", {}, 5)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "the connection was closed without an answer"),
        (b"what\x1b[31m\r\n\r\n", "the answer is not valid HTTP"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://x/\x1b\r\nContent-Length: 0\r\n\r\n", "the answer is not valid HTTP"),
    ],
)
async def test_an_answer_that_is_none_is_told_in_our_words(answer: bytes, why: str) -> None:
    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answered, "127.0.0.1", 0) as server:
        with pytest.raises(NoAnswerError, match=why):
            await post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"{}", {}, 30)


@pytest.mark.parametrize(
    ("answer", "kind", "why"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", FinalConnectionError, "status 407"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", FinalConnectionError, "status 403"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", ConnectionError, "status 502"),
        (b"what?\r\n\r\n", ConnectionError, "invalid response"),
        (b"", ConnectionError, ""),
    ],
)
async def test_a_proxy_that_refuses(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, kind: type[ConnectionError], why: str
) -> None:
    async with proxied(answer) as proxy:
        monkeypatch.setenv("all_proxy", "socks5://nobody:1")
        monkeypatch.setenv("http_proxy", f"http://ann:s3cret@{proxy.address}")
        with pytest.raises(ConnectionError) as refused:
            await Dialer(HostPolicy())("ws://rtms.zoom.us:8443/x")
    assert type(refused.value) is kind
    said = str(refused.value)
    assert said.startswith(f"cannot connect to ws://rtms.zoom.us:8443/x through the proxy {proxy.address}: ")
    assert why in said
    assert "s3cret" not in said


@pytest.mark.parametrize("proxy", ["http://ann:s3cret@127.0.0.1:1", "socks5://ann:s3cret@127.0.0.1:1"])
async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(ConnectionError, match=r"through the proxy 127\.0\.0\.1:1: ") as refused:
        await Dialer(HostPolicy())("ws://rtms.zoom.us:8443/x")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("proxy", ["ftp://ann:s3cret@proxy", "http://ann:s3cret@proxy:99999", "http://ann@proxy"])
async def test_what_is_no_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(FinalConnectionError, match=r"the proxy in the environment .* is not valid: ") as refused:
        await Dialer(HostPolicy())("ws://rtms.zoom.us:8443/x")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("spelling", ["http://ann:s3cret@{}", "ann:s3cret@{}"])
async def test_a_tap_goes_through_the_proxy_too(monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    async with proxied() as proxy:
        monkeypatch.setenv("http_proxy", spelling.format(proxy.address))
        target = WebSocketTarget("ws://only-the-proxy-knows.example:8443/x")
        await target.open(Beginning("meeting", "id", "stream", None, ()))
        await target.close()
    [head] = proxy.heads
    assert head.startswith(b"CONNECT only-the-proxy-knows.example:8443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"ann:s3cret") in head


@pytest.mark.parametrize(("status", "final"), [(407, True), (502, False)])
async def test_a_proxy_that_refuses_a_tap(monkeypatch: pytest.MonkeyPatch, status: int, final: bool) -> None:
    async with proxied(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status) as proxy:
        monkeypatch.setenv("http_proxy", f"http://ann:s3cret@{proxy.address}")
        with pytest.raises(TargetGoneError) as gone:
            await WebSocketTarget("ws://x.example/").open(Beginning("meeting", "id", "stream", None, ()))
    assert str(gone.value) == f"the proxy from the environment answered HTTP {status}"
    assert gone.value.final is final


async def test_a_proxy_that_is_none_ends_a_tap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "gopher://ann:s3cret@x")
    with pytest.raises(TargetGoneError, match="environment is not valid") as gone:
        await WebSocketTarget("ws://x.example/").open(Beginning("meeting", "id", "stream", None, ()))
    assert gone.value.final
