"""What libraries say for programmers becomes English, whatever raised it."""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis.asyncio
from harness import made_certificate

from rtms_cli.errors import reason_of

PACKAGE = Path(__file__).parent.parent / "rtms_cli"
RAW = re.compile(r"Errno|Connect call|\[SSL|_ssl|attempt|\(\)|Error\b")


@contextmanager
def taken() -> Iterator[int]:
    """A port where someone listens who never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free() -> int:
    """A port where nobody listens."""
    with taken() as port:
        return port


async def said(work: Awaitable[object]) -> str:
    """What is said of the error that something raises."""
    with pytest.raises((OSError, httpx.HTTPError, redis.exceptions.RedisError)) as raised:
        await work
    return reason_of(raised.value)


async def ask(url: str) -> object:
    """One request."""
    async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
        return await client.get(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    "call",
    [
        lambda host, port: asyncio.open_connection(host, port),
        lambda host, port: ask(f"http://{host}:{port}/"),
        lambda host, port: redis.asyncio.Redis(host=host, port=port).ping(),
    ],
    ids=["asyncio", "httpx", "redis"],
)
async def test_nobody_listens(host: str, call: Callable[[str, int], Awaitable[object]]) -> None:
    assert await said(call(host, free())) == "Connection refused"


async def test_several_addresses_fail_in_several_ways() -> None:
    several = OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 101] …")
    assert reason_of(several) == "Connection refused"


async def test_somebody_else_listens() -> None:
    with taken() as port:
        assert await said(asyncio.start_server(lambda *_: None, "127.0.0.1", port)) == "Address already in use"


@pytest.mark.parametrize("call", [lambda host: asyncio.open_connection(host, 1), lambda host: ask(f"http://{host}/")])
async def test_there_is_no_such_host(call: Callable[[str], Awaitable[object]]) -> None:
    assert await said(call("nosuch.invalid")) in (
        "the host name is not known",
        "the host name cannot be looked up now",
    )


async def test_tls_that_fails(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made_certificate(tmp_path) / "both.pem")
    plain = await asyncio.start_server(answer, "127.0.0.1", 0)
    secure = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with plain, secure:
        ports = [server.sockets[0].getsockname()[1] for server in (plain, secure)]
        for call in (lambda port: asyncio.open_connection("127.0.0.1", port, ssl=True), ask_in_tls):
            assert await said(call(ports[0])) == "it does not speak TLS"
            assert (await said(call(ports[1]))).startswith("its certificate is not trusted (")


def ask_in_tls(port: int) -> Awaitable[object]:
    """One request."""
    return ask(f"https://127.0.0.1:{port}/")


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    for load in (
        lambda path: ssl.create_default_context(cafile=path),
        lambda path: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path),
    ):
        with pytest.raises(ssl.SSLError) as raised:
            load(tmp_path / "file")
        assert reason_of(raised.value) == "it is not a PEM file with what is needed"


def test_what_is_plain_already_stays() -> None:
    with pytest.raises(OSError) as raised:
        Path("/nosuch/file").open()
    assert reason_of(raised.value) == "No such file or directory"
    assert reason_of(ValueError("the whole text.")) == "the whole text"
    assert reason_of(TimeoutError()) == "no answer in time"
    assert reason_of(ConnectionResetError()) == "Connection reset by peer"
    assert reason_of(KeyError()) == "KeyError"


def test_its_own_reason_comes_before_that_of_what_was_tried_before() -> None:
    def look_elsewhere() -> None:
        try:
            Path("/nosuch/file").open()
        except OSError:
            Path("/").open()

    with pytest.raises(OSError) as raised:
        look_elsewhere()
    assert reason_of(raised.value) == "Is a directory"


def test_one_place_says_why() -> None:
    """`strerror` is a library's text as often as the system's."""
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\bstrerror\b", path.read_text().replace("os.strerror", ""))
    }
    assert found <= {"errors.py", "recording/ownership.py", "view/output.py"}
