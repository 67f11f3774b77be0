"""What `rtms doctor` asks Zoom's cloud, against servers that are not ours."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from event_server import EventServer
from harness import made_certificate
from zoomcloud import SCOPE, Cloud, Reply, granted, zoom_cloud

from rtms_cli.cloud.addresses import Addresses, find_addresses
from rtms_cli.cloud.scopes import CONTROL_SCOPE, MEDIA_SCOPES, missing_scopes
from rtms_cli.cloud.tokens import Token, TokenFlow, TokenSource
from rtms_cli.protocol.secrets import Secret
from rtms_cli.station.checkup import Check
from rtms_cli.station.cloud_checkup import subscription_check, token_checks, way_checks
from rtms_cli.wire.dialer import Dialer, tls_context
from rtms_cli.wire.hosts import HostPolicy

APP = TokenSource(TokenFlow.CLIENT, "an-app", Secret("the-secret-of-the-app"), origin="ZOOM_CLIENT_ID")
SERVER = TokenSource(TokenFlow.ACCOUNT, "s2s", Secret("the-other-secret-of-s2s"), "account")
GIVEN = TokenSource(TokenFlow.GIVEN, token=Secret("a-given-token"))
EVERY_SCOPE = " ".join([*(f"{scope}:admin" for scope in MEDIA_SCOPES.values()), CONTROL_SCOPE])
INVALID = Reply(400, {"reason": "Invalid client_id or client_secret", "error": "invalid_client"})
NOT_THIS_FLOW = Reply(400, {"reason": "unsupported grant type", "error": "unsupported_grant_type"})
STARTED = {
    "event": "meeting.rtms_started",
    "event_ts": 1738394112345,
    "payload": {"meeting_uuid": "m==", "rtms_stream_id": "s==", "server_urls": "wss://x.example"},
}


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with zoom_cloud() as running:
        yield running


def at(cloud: Cloud) -> Addresses:
    return find_addresses({}, cloud_url=cloud.url)


async def tokens_of(
    cloud: Cloud, *sources: TokenSource, is_needed: bool = False
) -> tuple[dict[str, Check], list[TokenFlow]]:
    checks, tokens = await token_checks(sources, at(cloud), None, is_needed=is_needed)
    assert not any(source.client_secret and source.client_secret in repr(checks) for source in sources)
    assert not any(token.value in repr(checks) for token in tokens)
    return {check.name: check for check in checks}, [token.flow for token in tokens]


async def test_each_flow_is_tried_and_one_that_works_will_do(cloud: Cloud) -> None:
    cloud.tokens = [INVALID, granted(scope=EVERY_SCOPE)]
    checks, flows = await tokens_of(cloud, APP, SERVER, GIVEN, is_needed=True)
    assert flows == [TokenFlow.ACCOUNT, TokenFlow.GIVEN]
    refused = checks["token by client_credentials"]
    assert (refused.verdict, refused.fix) == ("unknown", "The one by account_credentials works.")
    assert "the client id or the secret is wrong" in refused.found
    assert checks["token by account_credentials"].found == "Zoom issued one, valid for 60 min"
    assert checks["scopes by account_credentials"].verdict == "ok"
    assert checks["token by access_token"].verdict == "unknown"


@pytest.mark.parametrize(
    ("reply", "is_needed", "verdict", "fix"),
    [
        (INVALID, False, "wrong", "App Credentials"),
        (NOT_THIS_FLOW, False, "unknown", "Webhooks need no token"),
        (NOT_THIS_FLOW, True, "wrong", "--token-flow"),
        (Reply(503), True, "unknown", "Try again later"),
    ],
)
async def test_a_refused_token(reply: Reply, is_needed: bool, verdict: str, fix: str, cloud: Cloud) -> None:
    cloud.tokens = [reply]
    checks, flows = await tokens_of(cloud, APP, is_needed=is_needed)
    assert flows == []
    assert checks["token by client_credentials"].verdict == verdict
    assert fix in checks["token by client_credentials"].fix


@pytest.mark.parametrize(
    ("scope", "verdict", "there", "not_there"),
    [
        (EVERY_SCOPE, "ok", "all of RTMS", "without"),
        (f"meeting:read:meeting_audio {SCOPE}", "ok", "meeting:read:meeting_screenshare (share)", "meeting_audio"),
        ("meeting:read:meeting_audio", "ok", f"{CONTROL_SCOPE} (rtms start)", "meeting_audio"),
        ("user:read:user", "unknown", "1 in all, none of RTMS", "user:read"),
        ("", "unknown", "lists none", "without"),
        (None, "unknown", "lists none", "without"),
    ],
)
async def test_scopes(scope: str | None, verdict: str, there: str, not_there: str, cloud: Cloud) -> None:
    cloud.tokens = [granted(scope=scope)]
    checks, _ = await tokens_of(cloud, APP)
    check = checks["scopes by client_credentials"]
    assert check.verdict == verdict
    assert there in check.found
    assert not_there not in check.found
    assert bool(check.fix) == ("without" in check.found)


def test_scopes_of_a_whole_account_are_as_good() -> None:
    assert missing_scopes(EVERY_SCOPE.split()) == []
    assert missing_scopes(["meeting:read:meeting_audio:master"]) == [*list(MEDIA_SCOPES.values())[1:], CONTROL_SCOPE]
    assert missing_scopes([f"{CONTROL_SCOPE}:other"]) == [*MEDIA_SCOPES.values(), CONTROL_SCOPE]


async def test_nobody_there_is_unknown() -> None:
    addresses = find_addresses({}, cloud_url="http://127.0.0.1:9")
    checks, tokens = await token_checks([APP], addresses, None, is_needed=True)
    assert ([check.verdict for check in checks], tokens) == (["unknown"], [])
    [way] = await way_checks(addresses, tls_context())
    assert way.verdict == "unknown"


# The way there.


class Dated:
    """A server over TLS that answers with a `Date`."""

    def __init__(self, date: str) -> None:
        self.date = date

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 302 X\r\nDate: {self.date}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


async def way_to(certificate: Path, date: str, tls: ssl.SSLContext) -> dict[str, Check]:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate / "both.pem")
    async with await asyncio.start_server(Dated(date), "127.0.0.1", 0, ssl=serving) as server:
        port = server.sockets[0].getsockname()[1]
        addresses = find_addresses({"ZOOM_OAUTH_URL": f"https://localhost:{port}"})
        return {check.name.split(":")[0]: check for check in await way_checks(addresses, tls)}


async def test_the_clock_is_held_against_zooms(tmp_path: Path) -> None:
    certificate = made_certificate(tmp_path)
    trusting = tls_context(str(certificate / "cert.pem"))
    found = await way_to(certificate, "Sun, 06 Nov 1994 08:49:37 GMT", trusting)
    assert found["TLS to localhost"].verdict == "ok"
    assert found["clock"].verdict == "wrong"
    assert "NTP" in found["clock"].fix
    assert (await way_to(certificate, "some day", trusting))["clock"].verdict == "unknown"
    found = await way_to(certificate, "", tls_context())
    assert found["TLS to localhost"].verdict == "wrong"
    assert "--ca-file" in found["TLS to localhost"].fix


async def test_a_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://ann:s3cret@127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    [check] = await way_checks(find_addresses({}), tls_context())
    assert check.verdict == "unknown"
    assert "not reached through the proxy 127.0.0.1:9" in check.found
    assert "s3cret" not in check.found
    monkeypatch.setenv("https_proxy", "gopher://ann:s3cret@proxy")
    [check] = await way_checks(find_addresses({}), tls_context())
    assert (check.name, check.verdict) == ("proxy", "wrong")
    assert "s3cret" not in check.found


# The event subscription.

DIAL = Dialer(HostPolicy())
LONG_S = 30.0


def token(flow: TokenFlow = TokenFlow.CLIENT, value: str = "a/token+of=ours") -> Token:
    return Token(Secret(value), flow)


async def test_a_subscription_that_nobody_else_wants() -> None:
    async with EventServer("sub 1", tokens={"a/token+of=ours"}).listening() as server:
        check = await subscription_check(DIAL, f"{server.url}?subscriptionId=sub%201", [token()], 0.5, LONG_S)
        assert (check.verdict, check.fix) == ("ok", "")
        assert "no other client took it over" in check.found
        assert server.connected == ["a/token+of=ours"]
        assert server.heard == [{"module": "heartbeat"}]


async def test_who_comes_back_holds_it() -> None:
    async with EventServer("sub").listening() as server:
        url = f"{server.url}?subscriptionId=sub"
        checking = asyncio.create_task(subscription_check(DIAL, url, [token()], LONG_S))
        await server.until_connected(1)
        await server.deliver(STARTED)
        other = await DIAL(f"{url}&access_token=the-others")
        check = await checking
        other.abort()
    assert check.verdict == "wrong"
    assert check.found.startswith("another client holds this subscription")
    assert "What came meanwhile (1 event) goes nowhere else: meeting rtms_started of stream s==" in check.fix


async def test_a_connection_that_breaks_proves_nothing() -> None:
    async with EventServer("sub").listening() as server:
        url = f"{server.url}?subscriptionId=sub"
        checking = asyncio.create_task(subscription_check(DIAL, url, [token()], LONG_S))
        await server.until_connected(1)
        await server.cut()
        check = await checking
    assert check.verdict == "unknown"
    assert "broke" in check.found


async def test_a_token_that_is_not_taken_leads_to_the_next() -> None:
    async with EventServer("sub", tokens={"good"}).listening() as server:
        tokens = [token(value="bad"), token(TokenFlow.ACCOUNT, "good")]
        check = await subscription_check(DIAL, f"{server.url}?subscriptionId=sub", tokens, 0.5, LONG_S)
        assert check.verdict == "ok"
        assert "The token by client_credentials was not accepted; --token-flow account_credentials" in check.fix
        check = await subscription_check(DIAL, f"{server.url}?subscriptionId=sub", tokens[:1], 0.5, LONG_S)
        assert (server.refused, server.connected) == (["bad", "bad"], ["good"])
    assert check.verdict == "wrong"
    assert "closed with code 1008" in check.found
    assert "another --token-flow" in check.fix


async def test_a_subscription_that_is_another_apps() -> None:
    async with EventServer("sub").listening() as server:
        url = f"{server.url}?subscriptionId=other"
        check = await subscription_check(DIAL, url, [token(), token(TokenFlow.GIVEN)], 0.5, LONG_S)
        assert len(server.refused) == 1
    assert check.verdict == "wrong"
    assert "Invalid subscription" in check.found
    assert "Event Subscriptions" in check.fix


async def test_a_server_that_does_not_answer_a_heartbeat() -> None:
    async with EventServer("sub").listening() as server:
        server.answers = False
        check = await subscription_check(DIAL, f"{server.url}?subscriptionId=sub", [token()], 0.1, 0.2)
    assert (check.verdict, "heartbeat had no answer" in check.found) == ("unknown", True)


async def test_what_cannot_be_connected_to() -> None:
    check = await subscription_check(DIAL, "ws://127.0.0.1:9/ws?subscriptionId=sub", [token()], 0.5, LONG_S)
    assert check.verdict == "unknown"
    assert "token+of" not in check.found
    check = await subscription_check(DIAL, "ws://127.0.0.1:9/ws?subscriptionId=sub", [], 0.5, LONG_S)
    assert check.verdict == "unknown"


async def test_what_is_refused_in_http() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws?subscriptionId=sub"
        check = await subscription_check(DIAL, url, [token(), token(TokenFlow.GIVEN)], 0.5, LONG_S)
    assert check.verdict == "wrong"
    assert "answered HTTP 401" in check.found
    assert "token+of" not in check.found


async def test_what_comes_in_masses_is_counted_and_not_kept() -> None:
    async with EventServer("sub").listening() as server:
        server.extra = [
            {"module": "message", "content": json.dumps(STARTED | {"event": f"meeting.{number}"}), "header": {}}
            for number in range(2000)
        ]
        url = f"{server.url}?subscriptionId=sub"
        checking = asyncio.create_task(subscription_check(DIAL, url, [token()], LONG_S))
        await server.until_connected(1)
        await server.close()
        check = await checking
    assert "(2000 events)" in check.fix
    assert "meeting.2 of stream s==, …" in check.fix
    assert len(check.fix) < 500
