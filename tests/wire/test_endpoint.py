"""The webhook endpoint over real sockets: what is let in, what is refused with which status, and who is cut off."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import httpx
import pytest

from rtms_cli.protocol.signatures import webhook_signature
from rtms_cli.protocol.webhooks import OtherWebhook, Webhook
from rtms_cli.wire.hosts import HostPolicy
from rtms_cli.wire.listener import MAX_BODY, MAX_CONNECTIONS, Listener

TOKEN = "a token"
BODY = b'{"event":  "some.event", "payload": {"a": 1.0}}\n'


class Endpoint:
    """A listener, and what came through it."""

    def __init__(
        self,
        token: str | None = TOKEN,
        timeout_s: float = 10,
        most: int = MAX_CONNECTIONS,
        status: Mapping[str, object] = MappingProxyType({"status": "ok"}),
    ) -> None:
        self.taken: list[tuple[bytes, Webhook]] = []
        self.refused: list[str] = []
        self.listener = Listener(
            "127.0.0.1",
            0,
            "/webhook",
            token,
            self.take,
            lambda: dict(status),
            self.refused.append,
            timeout_s,
            max_connections=most,
        )

    def take(self, body: bytes, webhook: Webhook) -> None:
        self.taken.append((body, webhook))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[httpx.AsyncClient]:
        self.port = await self.listener.start()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=None) as client:
            yield client
        await self.listener.stop()

    async def raw(self, sent: bytes) -> bytes:
        """Send bytes, and read until we are cut off."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


def signed(body: bytes = BODY, token: str = TOKEN, age_s: int = 0) -> dict[str, str]:
    timestamp = str(int(time.time()) - age_s)
    return {"x-zm-request-timestamp": timestamp, "x-zm-signature": webhook_signature(token, timestamp, body)}


async def test_a_good_webhook_is_handed_on_raw() -> None:
    endpoint = Endpoint()
    async with endpoint.listening() as client:
        assert (await client.post("/webhook", content=BODY, headers=signed())).status_code == 200
        assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert endpoint.taken == [(BODY, OtherWebhook("some.event"))]
    assert endpoint.refused == []


NOBODY: dict[str, str] = {}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/webhook", BODY, lambda: NOBODY, 401),
        ("POST", "/webhook", BODY, lambda: signed(token="another"), 401),
        ("POST", "/webhook", BODY.strip(), lambda: signed(), 401),
        ("POST", "/webhook", BODY, lambda: signed(age_s=301), 401),
        ("POST", "/webhook", BODY, lambda: signed(age_s=-301), 401),
        ("POST", "/webhook", BODY, lambda: signed() | {"x-zm-request-timestamp": "soon"}, 401),
        ("POST", "/webhook", b"no json", lambda: signed(b"no json"), 400),
        ("POST", "/webhook", b"[" * 100_000, lambda: signed(b"[" * 100_000), 400),
        ("POST", "/webhook", b'{"event": 1}', lambda: signed(b'{"event": 1}'), 400),
        ("POST", "/webhook", b" " * (MAX_BODY + 1), lambda: NOBODY, 413),
        ("GET", "/webhook", b"", lambda: NOBODY, 405),
        ("PUT", "/webhook", BODY, lambda: signed(), 405),
        ("POST", "/healthz", BODY, lambda: signed(), 405),
        ("POST", "/other", BODY, lambda: signed(), 404),
    ],
)
async def test_what_is_refused(
    method: str, path: str, body: bytes, headers: Callable[[], dict[str, str]], status: int
) -> None:
    endpoint = Endpoint()
    async with endpoint.listening() as client:
        answer = await client.request(method, path, content=body, headers=headers())
    assert answer.status_code == status
    assert endpoint.taken == []


async def test_too_large_without_saying_so() -> None:
    endpoint = Endpoint()

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    async with endpoint.listening() as client:
        assert (await client.post("/webhook", content=chunks())).status_code == 413


async def test_validation_is_answered_and_needs_the_token() -> None:
    body = json.dumps({"event": "endpoint.url_validation", "payload": {"plainToken": "plain"}}).encode()
    endpoint = Endpoint()
    async with endpoint.listening() as client:
        answer = await client.post("/webhook", content=body, headers=signed(body))
        assert answer.json()["plainToken"] == "plain"
        assert len(answer.json()["encryptedToken"]) == 64
    unverified = Endpoint(None)
    async with unverified.listening() as client:
        assert (await client.post("/webhook", content=body)).status_code == 403
        assert (await client.post("/webhook", content=BODY)).status_code == 200
    assert len(unverified.taken) == 1


async def test_fifty_at_once() -> None:
    endpoint = Endpoint()
    async with endpoint.listening() as client:
        posts = (client.post("/webhook", content=BODY, headers=signed()) for _ in range(50))
        assert {answer.status_code for answer in await asyncio.gather(*posts)} == {200}
    assert len(endpoint.taken) == 50


@pytest.mark.parametrize(
    "dripped",
    [
        b"",
        b"POST /webhook HTTP/1.1\r\nHost: x\r\n",
        b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
    ],
)
async def test_who_drips_is_cut_off(dripped: bytes) -> None:
    endpoint = Endpoint(timeout_s=0.3)
    async with endpoint.listening() as client:
        answer = await endpoint.raw(dripped)
        assert answer == b"" or b" 408 " in answer.splitlines()[0]
        assert (await client.get("/healthz")).status_code == 200
    assert endpoint.taken == []


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("wss://zoom.us/x", True), ("wss://rtms-sjc1.zoom.us:443/x", True), ("wss://RTMS.ZOOM.US.", True),
        ("wss://zoomgov.com/x", True), ("wss://rtms-1.zoomgov.com:443/x", True), ("wss://evilzoomgov.com", False),
        ("ws://127.0.0.1:1/x", True), ("ws://[::1]:1/x", True), ("ws://localhost/x", True),
        ("wss://my.example.org", True),
        ("ws://[::ffff:169.254.169.254%.zoom.us]/", False), ("wss://[fe80::1%25.zoom.us]", False),
        ("wss://evil.com\\.zoom.us/", False), ("wss://evil.com%2f.zoom.us/", False), ("wss://evil.com;.zoom.us", False),
        ("wss://[::ffff:10.0.0.1%.example.org]", False), ("wss://evil.com\\.example.org", False),
        ("wss://evilzoom.us", False), ("wss://zoom.us.evil.com", False), ("wss://zoom.us@evil.com", False),
        ("wss://user:pass@zoom.us", False), ("https://zoom.us", False), ("wss://", False), ("", False),
        ("wss://[", False),
        ("wss://10.0.0.1", False), ("ws://169.254.169.254", False), ("wss://zoom.us\\@evil.com", False),
        ("wss://zооm.us", False), ("wss://zoom.us:99999999", False), ("wss://example.org", False),
    ],
)  # fmt: skip
def test_names(url: str, allowed: bool) -> None:
    assert (HostPolicy(("*.example.org",)).check_name(url) is None) == allowed


@pytest.mark.parametrize(
    ("host", "address", "allowed"),
    [
        ("zoom.us", "170.114.52.2", True), ("zoom.us", "2407:30c0::1", True), ("zoom.us", "127.0.0.1", False),
        ("zoom.us", "10.1.2.3", False), ("zoom.us", "192.168.0.1", False), ("zoom.us", "169.254.169.254", False),
        ("zoom.us", "::1", False), ("zoom.us", "fe80::1%eth0", False), ("zoom.us", "::ffff:10.0.0.1", False),
        ("zoom.us", "fd00::1", False), ("zoom.us", "0.0.0.0", False), ("zoom.us", "224.0.0.1", False),
        ("zoom.us", "?", False),
        ("zoom.us", "64:ff9b::aa72:3402", True), ("zoom.us", "64:ff9b::a9fe:a9fe", False),
        ("zoom.us", "64:ff9b::7f00:1", False), ("zoom.us", "64:ff9b:1::a00:1", False),
        ("zoom.us", "2002:a00:1::", False), ("zoom.us", "2002:aa72:3402::1", False),
        ("zoom.us", "2001:0:aa72:3402::1", False), ("zoom.us", "::a00:1", False), ("zoom.us", "::", False),
        ("zoom.us", "::ffff:0:a00:1", False), ("zoom.us", "::ffff:aa72:3402", True),
        ("zoom.us", "2600::5efe:a00:1", False), ("zoom.us", "2600::200:5efe:7f00:1", False),
        ("zoom.us", "2001:db8::1", False), ("zoom.us", "fec0::1", False), ("zoom.us", "ff0e::1", False),
        ("zoom.us", "100.64.0.1", False), ("zoom.us", "168.63.129.16", False), ("zoom.us", "192.0.0.192", False),
        ("localhost", "64:ff9b::7f00:1", True), ("localhost", "::7f00:1", False),
        ("localhost", "127.0.0.1", True), ("localhost", "::1", True), ("localhost", "10.0.0.1", False),
        ("my.example.org", "10.0.0.1", True),
    ],
)  # fmt: skip
def test_addresses(host: str, address: str, allowed: bool) -> None:
    assert (HostPolicy(("*.example.org",)).check_address(host, address) is None) == allowed


def test_what_the_user_gave_is_not_checked() -> None:
    assert HostPolicy(("fe80::1%eth0", "fd00:*")).check_name("ws://[fe80::1%eth0]/") is None
    assert HostPolicy(("fe80::1%eth0", "fd00:*")).check_name("ws://[fd00::1]/") is None
    assert HostPolicy(given=("example.org",)).check_name("wss://example.org") is None
    assert HostPolicy(given=("example.org",)).check_address("example.org", "10.0.0.1") is None
