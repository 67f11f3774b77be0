"""`wss://` with a certificate that nobody trusts: refused at once, trusted with its authority, or with a warning."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from harness import made_certificate
from processes import CREDENTIALS, rtms, running, until
from websockets.asyncio.server import ServerConnection, serve

from rtms_cli.wire.dialer import Dialer, tls_context
from rtms_cli.wire.driver import FinalConnectionError
from rtms_cli.wire.hosts import HostPolicy


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, by an authority that nobody knows."""
    return made_certificate(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def server(certificate: Path, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> AsyncIterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "both.pem")
    context.maximum_version = newest

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(echo, "127.0.0.1", 0, ssl=context) as running:
        yield f"wss://localhost:{next(iter(running.sockets)).getsockname()[1]}/x"


async def test_an_unknown_authority_is_refused_for_good_with_what_to_do(certificate: Path) -> None:
    async with server(certificate) as url:
        with pytest.raises(FinalConnectionError, match=r"not trusted .*; --ca-file sets another CA"):
            await Dialer(HostPolicy())(url)


@pytest.mark.parametrize("verify", [True, False])
async def test_its_authority_or_no_verification_lets_it_pass(certificate: Path, verify: bool) -> None:
    context = tls_context(str(certificate / "cert.pem") if verify else None, verify=verify)
    async with server(certificate) as url:
        socket = await Dialer(HostPolicy(), context)(url)
        socket.abort()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_what_is_older_than_tls_1_2_is_refused(certificate: Path) -> None:
    context = tls_context(str(certificate / "cert.pem"))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    async with server(certificate, ssl.TLSVersion.TLSv1_1) as url:
        with pytest.raises(ConnectionError, match=r"TLS failed|TLS handshake|reset by peer"):
            await Dialer(HostPolicy(), context)(url)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_that_is_demanded_is_told_at_once_and_for_good(
    certificate: Path, newest: ssl.TLSVersion
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "both.pem")
    context.load_verify_locations(certificate / "cert.pem")
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, newest

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    dial = Dialer(HostPolicy(), tls_context(str(certificate / "cert.pem")))
    async with await asyncio.start_server(read, "127.0.0.1", 0, ssl=context) as running:
        url = f"wss://localhost:{running.sockets[0].getsockname()[1]}/x"
        for _ in range(2):
            with pytest.raises(FinalConnectionError, match="requires a client certificate, and rtms has none"):
                await dial(url)


async def test_a_server_that_only_ends_connections_is_tried_again(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "both.pem")
    came = []

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    dial = Dialer(HostPolicy(), tls_context(str(certificate / "cert.pem")))
    async with await asyncio.start_server(end, "127.0.0.1", 0, ssl=context) as running:
        for _ in range(2):
            with pytest.raises(ConnectionError, match="ended before the server answered") as caught:
                await dial(f"wss://localhost:{running.sockets[0].getsockname()[1]}/x")
            assert not isinstance(caught.value, FinalConnectionError)
    assert len(came) == 3  # it is asked once what TLS says


async def test_nobody_there_and_no_websocket_there(unused_tcp_port: int) -> None:
    with pytest.raises(ConnectionError, match="Connection refused"):
        await Dialer(HostPolicy())(f"ws://127.0.0.1:{unused_tcp_port}/x")
    with pytest.raises(FinalConnectionError, match="not one of Zoom's hosts"):
        await Dialer(HostPolicy())("ws://example.org/x")


async def test_the_stand_in_speaks_tls_and_our_own_client_trusts_its_authority(
    certificate: Path, tmp_path: Path
) -> None:
    arguments: list[str | Path] = [
        "--cert",
        certificate / "both.pem",
        "--public-host",
        "localhost",
        "--seconds",
        "1",
        "--json",
    ]
    payload = tmp_path / "payload.json"
    async with running("simulate", *arguments, "--payload-out", payload, cwd=tmp_path, settings=CREDENTIALS) as zoom:
        await until(payload.exists)
        assert '"wss://localhost:' in payload.read_text()
        joining: list[str | Path] = ["join", payload, "--ca-file", certificate / "cert.pem", "--json"]
        done = await asyncio.to_thread(rtms, *joining, cwd=tmp_path, settings=CREDENTIALS)
        assert (done.returncode, await zoom.exit_code()) == (0, 0), done.stderr
    broken = await asyncio.to_thread(rtms, "simulate", "--cert", payload, cwd=tmp_path)
    assert (broken.returncode, "cannot be used" in broken.stderr) == (2, True)


def test_a_key_with_a_passphrase_is_refused_without_a_question(certificate: Path, tmp_path: Path) -> None:
    both = certificate / "both.pem"
    command = ["openssl", "pkey", "-in", str(both), "-aes256", "-passout", "pass:abcd"]
    locked = subprocess.run(command, capture_output=True, check=True).stdout
    (tmp_path / "both.pem").write_bytes((certificate / "cert.pem").read_bytes() + locked)
    done = rtms("simulate", "--cert", "both.pem", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --cert both.pem cannot be used: its key has a passphrase.")


async def test_the_end_of_a_burst_does_not_wait_for_the_next_message(certificate: Path) -> None:
    """What TLS has taken off the socket before reading was paused is read when it goes on, and nothing else comes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "both.pem")

    async def burst(connection: ServerConnection) -> None:
        for _ in range(300):
            await connection.send("x" * 900)
        await connection.send("end")
        async with asyncio.timeout(10):
            assert await connection.recv() == b"read"

    async with serve(burst, "127.0.0.1", 0, ssl=context, compression=None) as running:
        url = f"wss://localhost:{next(iter(running.sockets)).getsockname()[1]}/x"
        dialer = Dialer(HostPolicy(), tls_context(str(certificate / "cert.pem")))
        for _ in range(40):
            socket = await dialer(url)
            closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
            socket.start(
                lambda raws, socket=socket: socket.send(b"read", binary=True) if b"end" in raws else None,  # type: ignore[misc]
                lambda code, reason, closed=closed: closed.set_result((code, reason)),  # type: ignore[misc]
            )
            assert await closed == (1000, "")
