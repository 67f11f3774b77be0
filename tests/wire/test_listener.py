"""The webhook endpoint against those who mean it ill or know no better: what they get, and that others are answered."""

import asyncio
import gzip
import json
import logging
import socket

import pytest
from simulation.loop import VirtualLoop
from wire.test_endpoint import BODY, Endpoint, signed

from rtms_cli.errors import Problem
from rtms_cli.wire import http
from rtms_cli.wire.listener import MAX_BODY, webhook_path
from rtms_cli.wire.notices import MOST, MOST_NEW, PERIOD_S, Notices
from rtms_cli.wire.paths import path_of

POST = b"POST /webhook HTTP/1.1\r\nHost: x\r\n"


def request(path: str = "/webhook", method: str = "POST", body: bytes = BODY, more: str = "") -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{head}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.mark.parametrize(
    "path",
    ["/webhook", "/webhook/", "//webhook", "/webhook?x=1", "/webhook/?token=secret", "/%77ebhook", "http://x/webhook"],
)
async def test_the_same_path(path: str) -> None:
    endpoint = Endpoint()
    async with endpoint.listening():
        assert status(await endpoint.raw(request(path, more="Connection: close\r\n"))) == 200
    assert len(endpoint.taken) == 1


@pytest.mark.parametrize(
    ("method", "path", "shown"),
    [
        ("POST", "/", "POST / was answered 404"),
        ("POST", "/zoom/webhook", "POST /zoom/webhook was answered 404: webhooks are expected at POST /webhook"),
        ("POST", "/webhooks", "POST /webhooks was answered 404"),
        ("GET", "/webhook", "GET /webhook was answered 405: only POST"),
        ("GET", "/favicon.ico?token=secret", "GET /favicon.ico was answered 404"),
        ("POST", "/%00%1b[31m", r"POST /\x00\x1b[31m was answered 404"),
        ("POST", "/%E2%80%AE%FF", r"POST /\u202e\udcff was answered 404"),
        ("POST", "/metrics", "POST /metrics was answered 404"),
        ("DELETE", "/healthz", "DELETE /healthz was answered 405"),
        ("CONNECT", "x:443", "CONNECT /443 was answered 404"),
        ("POST", "http://[", "POST http://[ was answered 404"),
    ],
)
async def test_another_path_is_shown(method: str, path: str, shown: str) -> None:
    endpoint = Endpoint()
    async with endpoint.listening():
        answer = await endpoint.raw(request(path, method))
    assert f" {status(answer)}" in shown
    assert len(endpoint.refused) == 1
    assert endpoint.refused[0].startswith(shown)
    assert "secret" not in endpoint.refused[0]


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"POST /web\0hook HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST /web hook HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST /webhook\r\n\r\n", 400),
        (b"POST /webhook HTTP/1.1\r\n\r\n", 400),
        (POST + b"A: \0\r\n\r\n", 400),
        (POST + b": x\r\n\r\n", 400),
        (POST + b"Content-Length: -1\r\n\r\n", 400),
        (POST + b"Content-Length: many\r\n\r\n", 400),
        (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (POST + b"Content-Length: " + b"9" * 15 + b"\r\n\r\n", 413),
        (POST + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1), 413),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (POST + b"A: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (POST + b"A: x\r\n" * 200 + b"\r\n", 431),
        (POST + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\n", 415),
    ],
)
async def test_what_is_no_request(sent: bytes, answered: int) -> None:
    endpoint = Endpoint()
    async with endpoint.listening() as client:
        assert status(await endpoint.raw(sent)) == answered
        assert (await client.post("/webhook", content=BODY, headers=signed())).status_code == 200
    assert len(endpoint.refused) == 1
    assert endpoint.refused[0].isprintable()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"POST /web hook?token=secret HTTP/1.1\r\nHost: x\r\n\r\n", "illegal request line: POST /web hook"),
        (b"POST /web\0hook\r\n\r\n", r"illegal request line: POST /web\x00hook"),
        (POST + b"x-zm-signature : v0=secret\r\n\r\n", "illegal header line: x-zm-signature "),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n", r"illegal chunk header: -5\r\n"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhelloX", "malformed chunk footer: ll"),
    ],
)
async def test_what_is_no_request_is_shown_without_its_secrets(sent: bytes, shown: str) -> None:
    endpoint = Endpoint()
    async with endpoint.listening():
        await endpoint.raw(sent)
    assert endpoint.refused == [f"a request was answered 400: not an HTTP request: {shown}"]


@pytest.mark.parametrize(
    ("sent", "before"),
    [(request() * 200, 50), (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 5000 + b"0\r\n\r\n", 0)],
)
async def test_who_sends_much_at_once_does_not_hold_the_others_up(sent: bytes, before: int) -> None:
    """Both wait in the kernel before anyone is read; the one who came first has much more to be read."""
    endpoint = Endpoint()
    async with endpoint.listening():
        address = ("127.0.0.1", endpoint.port)
        with socket.create_connection(address) as first, socket.create_connection(address) as second:
            first.sendall(sent)
            second.sendall(request())
            second.setblocking(False)
            assert b" 200 " in await asyncio.get_running_loop().sock_recv(second, 1000)
            assert len(endpoint.taken) + len(endpoint.refused) <= before + 1


async def test_requests_at_once_by_who_sends_no_more_are_answered() -> None:
    endpoint = Endpoint()
    async with endpoint.listening():
        with socket.create_connection(("127.0.0.1", endpoint.port)) as asking:
            asking.sendall(request() * 50)
            asking.shutdown(socket.SHUT_WR)
            reader, writer = await asyncio.open_connection(sock=asking)
            assert (await reader.read()).count(b" 200 ") == 50
            writer.close()


async def test_who_speaks_tls_is_told_apart() -> None:
    endpoint = Endpoint()
    async with endpoint.listening():
        await endpoint.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n" * 3)
    assert "TLS" in endpoint.refused[0]


async def test_a_compressed_body_is_named() -> None:
    endpoint, body = Endpoint(), gzip.compress(BODY)
    async with endpoint.listening() as client:
        headers = signed(body) | {"content-encoding": "gzip"}
        assert (await client.post("/webhook", content=body, headers=headers)).status_code == 415
    assert "compressed" in endpoint.refused[0]


async def test_a_challenge_that_is_no_text(caplog: pytest.LogCaptureFixture) -> None:
    body = rb'{"event": "endpoint.url_validation", "payload": {"plainToken": "\ud83d"}}'
    endpoint = Endpoint()
    async with endpoint.listening() as client:
        answer = await client.post("/webhook", content=body, headers=signed(body))
        assert answer.status_code in (200, 400)
    assert [entry for entry in caplog.records if entry.levelno >= logging.WARNING] == []


async def test_chunks_without_end() -> None:
    endpoint = Endpoint()
    async with endpoint.listening():
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(MAX_BODY // 10_000 + 2):
            writer.write(b"2710\r\n" + b" " * 10_000 + b"\r\n")
        assert status(await reader.read()) == 413
        writer.close()


async def test_a_client_that_asks_before_it_sends_its_body() -> None:
    endpoint = Endpoint()
    head, _, body = request(more="Expect: 100-continue\r\nConnection: close\r\n").partition(b"\r\n\r\n")
    async with endpoint.listening():
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        writer.write(head + b"\r\n\r\n")
        assert b" 100 " in await reader.readline()
        writer.write(body)
        assert b" 200 " in await reader.read()
        writer.close()


async def test_requests_in_a_row_on_one_connection() -> None:
    endpoint = Endpoint()
    async with endpoint.listening():
        last = request(more="Connection: close\r\n")
        assert (await endpoint.raw(request() * 50 + last)).count(b"HTTP/1.1 200") == 51
    assert len(endpoint.taken) == 51


async def test_a_head_request_gets_no_body() -> None:
    endpoint = Endpoint()
    async with endpoint.listening() as client:
        answer = await client.head("/healthz")
    assert answer.status_code == 200
    assert answer.content == b""


async def test_who_was_answered_early_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was answered before its body was read is closed, though its peer says nothing."""
    monkeypatch.setattr(http, "LINGER_S", 0.2)
    endpoint = Endpoint()
    async with endpoint.listening():
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        writer.write(b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert status(await reader.read()) == 404
        for _ in range(1000):
            writer.write(b" " * 1000)
            try:
                await writer.drain()
            except ConnectionError:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("it is still open")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /webhook HTTP/1.1\r\n",
        POST + b"Content-Length: 100\r\n\r\n",
        POST + b"Content-Length: 100\r\n\r\n{",
        POST + b"Transfer-Encoding: chunked\r\n\r\n",
        b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_however_many_hold_a_connection_others_are_answered(sent: bytes) -> None:
    endpoint = Endpoint(most=8)
    async with endpoint.listening():
        held = [await asyncio.open_connection("127.0.0.1", endpoint.port) for _ in range(30)]
        for _, writer in held:
            writer.write(sent)
        for _ in range(3):
            assert status(await endpoint.raw(request(more="Connection: close\r\n"))) == 200
        for _, writer in held:
            writer.close()
    assert len(endpoint.taken) == 3


async def asking_without_end(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        await writer.drain()


async def test_who_does_not_read_is_not_read_from() -> None:
    endpoint = Endpoint(timeout_s=0.5)
    async with endpoint.listening() as client:
        asking = socket.socket()
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or megabytes of answers fit into the kernel
        asking.connect(("127.0.0.1", endpoint.port))
        _, writer = await asyncio.open_connection(sock=asking, limit=1)
        with pytest.raises(ConnectionError):
            await asking_without_end(writer)
        assert (await client.get("/healthz")).status_code == 200
        writer.close()


@pytest.mark.parametrize(
    ("given", "path"),
    [("webhook", "/webhook"), ("/webhook/", "/webhook"), ("/a//b", "/a/b"), ("/", "/"), ("", "/"), ("/ü", "/ü")],
)
def test_the_path_as_people_give_it(given: str, path: str) -> None:
    assert webhook_path(given) == path


@pytest.mark.parametrize("given", ["http://x/webhook", "/healthz", "metrics/", "/webhook?x"])
def test_what_is_no_path_for_webhooks(given: str) -> None:
    with pytest.raises(Problem, match="--path"):
        webhook_path(given)


def test_paths_of_odd_targets() -> None:
    assert path_of("*") == "/*"
    assert path_of("/a/../b") == "/a/../b"


def test_a_few_lines_of_each_kind_are_told_and_then_how_many_more() -> None:
    said: list[str] = []

    async def tell() -> None:
        notices = Notices(said.append)
        for number in range(MOST + 7):
            notices.tell("apples", f"apple {number}")
        notices.tell("pears", "a pear")
        await asyncio.sleep(PERIOD_S + 1)
        notices.tell("apples", "another")
        notices.close()

    loop = VirtualLoop()
    loop.run_until_complete(tell())
    loop.close()
    assert said == [*(f"apple {n}" for n in range(MOST)), "a pear", "7 more apples in the last 60 s", "another"]


async def test_noise_hides_no_news_and_is_bounded() -> None:
    said: list[str] = []
    notices = Notices(said.append)
    for what in ["noise"] * 1000 + ["news"] * 1000 + [str(number) for number in range(1000)]:
        notices.tell("lines", what, what)
    notices.close()
    assert said[: MOST + 1] == ["noise"] * MOST + ["news"]
    assert len(said) == MOST + MOST_NEW
    assert said[-1] == f"{3000 - len(said) + 1} more lines in the last 60 s"


async def test_neither_a_scanner_nor_a_forger_hides_what_is_wrong() -> None:
    endpoint = Endpoint()
    no_webhook = b'{"event": "meeting.rtms_started"}'
    async with endpoint.listening() as client:
        for _ in range(30):
            await client.post("/wp-login.php")
            await client.post("/webhook", content=BODY)
            await endpoint.raw(b"x\r\n\r\n")
        await client.post("/zoom/webhook", content=BODY, headers=signed())
        await client.post("/webhook", content=BODY, headers=signed(age_s=600))
        await client.post("/webhook", content=no_webhook, headers=signed(no_webhook))
        shown = endpoint.refused[-3:]
    for line, part in zip(shown, ("POST /zoom/webhook", "timestamp", "no meeting_uuid"), strict=True):
        assert part in line
    assert len(endpoint.refused) == 3 * MOST + 3 + 3  # and how many more there were, of each kind


async def test_health_of_what_is_no_text() -> None:
    endpoint = Endpoint(status={"streams": ["\ud83d"]})
    async with endpoint.listening() as client:
        answer = await client.get("/healthz")
    assert json.loads(answer.content) == {"streams": ["\ufffd"]}  # a reader that is strict takes it
