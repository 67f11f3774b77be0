"""The simulated cloud over real sockets, with clients that are not ours."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from rtms_cli.protocol.numbers import EVERY_MEDIA, Product
from rtms_cli.protocol.webhooks import Webhook
from rtms_cli.simulator.cloud_app import CloudApp, all_scopes
from rtms_cli.simulator.cloud_faults import CloudFault, CloudFaultAt
from rtms_cli.simulator.cloud_server import Cloud
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator
from rtms_cli.simulator.webhooks import CONTROL
from rtms_cli.wire.listener import Listener

ID, SECRET, ACCOUNT, TOKEN = "client", "a secret", "account", "secret token"
KEY, API_SECRET = "api-key", "an api secret"
CLIENT = {"grant_type": "client_credentials"}
BY_ACCOUNT = {"grant_type": "account_credentials", "account_id": ACCOUNT}
LONG = Scenario(600)


class Caller:
    """A client of raw HTTP and WebSockets."""

    def __init__(self, cloud: Cloud, http: httpx.AsyncClient) -> None:
        self.cloud = cloud
        self.http = http

    async def token(self, form: dict[str, str] | None = None, pair: tuple[str, str] = (ID, SECRET)) -> httpx.Response:
        return await self.http.post(f"{self.cloud.url}/oauth/token", data=CLIENT if form is None else form, auth=pair)

    async def good_token(self) -> str:
        return str((await self.token()).json()["access_token"])

    async def call(
        self, number: int = 0, action: str = "start", *, token: str | None = None, **settings: str
    ) -> httpx.Response:
        """Ask for an action about one of the subjects, as it is documented for its product."""
        subject = self.cloud.subjects[number]
        bearer = token or (jwt() if subject.product is Product.VIDEO_SDK else await self.good_token())
        method, path = path_of(subject.product, subject.name)
        body: dict[str, object] = {"action": action}
        if subject.product not in (Product.VIDEO_SDK, Product.PHONE):
            body["settings"] = {"client_id": ID, **settings}
        return await self.raw(method, path, body, bearer)

    async def raw(self, method: str, path: str, body: object, bearer: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        return await self.http.request(method, f"{self.cloud.url}/v2{path}", json=body, headers=headers)

    async def listen(self, token: str | None = None) -> ClientConnection:
        token = await self.good_token() if token is None else token
        return await connect(f"{self.cloud.events_url}&access_token={quote(token, safe='')}", proxy=None)

    @property
    def wrong(self) -> list[str]:
        return [finding.what for finding in self.cloud.report().mistakes]

    @property
    def notes(self) -> list[str]:
        return [finding.what for finding in self.cloud.report().findings if not finding.is_wrong]


def path_of(product: Product, name: str) -> tuple[str, str]:
    return {
        Product.MEETING: ("PATCH", f"/live_meetings/{name}/rtms_app/status"),
        Product.WEBINAR: ("PATCH", f"/live_meetings/{name}/rtms_app/status"),
        Product.VIDEO_SDK: ("PATCH", f"/videosdk/sessions/{quote(quote(name, safe=''), safe='')}/rtms_app/status"),
        Product.CONTACT_CENTER: ("PUT", f"/contact_center/{name}/rtms_app/status"),
        Product.PHONE: ("PATCH", f"/phone/calls/{name}/rtms_app/status"),
    }[product]


def jwt(secret: str = API_SECRET, alg: str = "HS256", **claims: object) -> str:
    now = int(time.time())
    parts = [{"alg": alg, "typ": "JWT"}, {"iss": KEY, "iat": now, "exp": now + 3600, **claims}]
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = hmac.digest(secret.encode(), signed, hashlib.sha256)
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@asynccontextmanager
async def calling(
    *shows: tuple[Product, Scenario],
    faults: Sequence[CloudFaultAt] = (),
    server_to_server: tuple[str, str] | None = None,
    scopes: tuple[str, ...] = all_scopes(EVERY_MEDIA),
    webhook: str | None = None,
    speed: float = 1,
) -> AsyncIterator[Caller]:
    app = CloudApp(ID, SECRET, ACCOUNT, server_to_server, (KEY, API_SECRET), "a user's token", scopes)
    wanted = shows or ((Product.MEETING, LONG),)
    async with (
        Simulator(App(ID, SECRET, TOKEN), webhook=webhook, speed=speed, client_in_real_time=False) as simulator,
        Cloud(simulator, app, wanted, faults=faults) as cloud,
        httpx.AsyncClient(trust_env=False, timeout=30) as http,
    ):
        yield Caller(cloud, http)


async def said(connection: ClientConnection) -> dict[str, object]:
    """The next message."""
    async with asyncio.timeout(30):
        told = json.loads(await connection.recv())
    assert isinstance(told, dict)
    return told


async def event(connection: ClientConnection) -> dict[str, object]:
    """The next message, which is an event."""
    told = await said(connection)
    assert told["module"] == "message"
    assert isinstance(told["content"], str)
    body = json.loads(told["content"])
    assert isinstance(body, dict)
    return body


async def close_code(connection: ClientConnection) -> int | None:
    async with asyncio.timeout(30):
        await connection.wait_closed()
    return connection.close_code


# Tokens.


async def test_a_token() -> None:
    async with calling() as caller:
        answer = await caller.token()
        told = answer.json()
        assert (answer.status_code, told["expires_in"], told["token_type"]) == (200, 3600, "bearer")
        assert told["api_url"] == caller.cloud.url
        assert "meeting:read:meeting_audio" in told["scope"].split()
        assert "meeting:update:participant_rtms_app_status" in told["scope"].split()
        again = await caller.token(BY_ACCOUNT)
        assert again.json()["access_token"] != told["access_token"]
        assert "meeting:update:participant_rtms_app_status:admin" in again.json()["scope"].split()
        assert not caller.cloud.report().findings
        assert caller.cloud.report().tokens == 2


@pytest.mark.parametrize(
    ("form", "pair", "error", "code"),
    [
        (CLIENT, (ID, "another"), "invalid_client", 4702),
        (CLIENT, ("somebody", SECRET), "invalid_client", 4702),
        ({}, (ID, SECRET), "invalid_request", 4706),
        ({"grant_type": "password"}, (ID, SECRET), "unsupported_grant_type", 4705),
        ({"grant_type": "account_credentials"}, (ID, SECRET), "invalid_request", None),
        ({"grant_type": "account_credentials", "account_id": "x"}, (ID, SECRET), "invalid_request", None),
    ],
)
async def test_no_token(form: dict[str, str], pair: tuple[str, str], error: str, code: int | None) -> None:
    async with calling() as caller:
        answer = await caller.token(form, pair)
        told = answer.json()
        assert (answer.status_code, told["error"], told.get("errorCode")) == (400, error, code)
        assert told["reason"]
        assert SECRET not in answer.text
        assert len(caller.cloud.report().findings) == 1


async def test_no_token_without_authorization() -> None:
    async with calling() as caller:
        url = f"{caller.cloud.url}/oauth/token"
        for header in (
            {},
            {"authorization": "Bearer x"},
            {"authorization": "Basic !"},
            {"authorization": "Basic eA=="},
        ):
            answer = await caller.http.post(url, data=CLIENT, headers=header)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client")
        assert (await caller.http.get(url)).status_code == 405
        assert len(caller.wrong) == 5


async def test_each_kind_of_app_has_its_flow() -> None:
    other = ("s2s", "another secret")
    async with calling(server_to_server=other) as caller:
        assert (await caller.token(BY_ACCOUNT, other)).status_code == 200
        assert (await caller.token(CLIENT)).status_code == 200
        for form, pair in ((CLIENT, other), (BY_ACCOUNT, (ID, SECRET))):
            answer = await caller.token(form, pair)
            assert (answer.status_code, answer.json()["errorCode"]) == (400, 4705)
        assert len(caller.notes) == 2
        assert not caller.wrong


async def test_a_token_by_a_query_and_not_by_json() -> None:
    async with calling() as caller:
        url = f"{caller.cloud.url}/oauth/token"
        answer = await caller.http.post(f"{url}?grant_type=client_credentials", auth=(ID, SECRET))
        assert answer.status_code == 200
        answer = await caller.http.post(url, json=CLIENT, auth=(ID, SECRET))
        assert (answer.status_code, answer.json()["error"]) == (415, "invalid_request")
        assert len(caller.wrong) == 1


# The REST API.


@pytest.mark.parametrize("product", list(Product))
async def test_start_and_stop(product: Product) -> None:
    async with calling((product, LONG)) as caller, await caller.listen() as events:
        assert (await said(events))["module"] == "build_connection"
        answer = await caller.call()
        assert answer.status_code in (202, 204)
        assert answer.content == b""
        started = await event(events)
        subject, stream = caller.cloud.subjects[0], caller.cloud.streams[0]
        assert str(started["event"]).endswith("rtms_started")
        payload = started["payload"]
        assert isinstance(payload, dict)
        assert payload[product.id_field] == subject.identity
        assert payload["server_urls"] == stream.url
        if product is Product.MEETING:
            assert payload["meeting_id"] == subject.name
        assert (await caller.call(action="stop")).status_code == answer.status_code
        stopped = await event(events)
        assert str(stopped["event"]).endswith("rtms_stopped")
        assert isinstance(stopped["payload"], dict)
        assert stopped["payload"]["stop_reason"] == 25
        assert (await caller.call()).status_code == answer.status_code
        again = await event(events)
        assert isinstance(again["payload"], dict)
        assert again["payload"]["rtms_stream_id"] != payload["rtms_stream_id"]
        assert not caller.cloud.report().findings
        assert caller.cloud.report().calls == 3


async def test_a_started_stream_is_that_of_a_participant() -> None:
    async with calling() as caller, await caller.listen() as events:
        await said(events)
        await caller.call(participant_user_id="user 7")
        payload = (await event(events))["payload"]
        assert isinstance(payload, dict)
        assert (payload["operator_id"], payload["is_original_host"]) == ("user 7", False)


async def test_what_is_so_already_is_only_noted() -> None:
    async with calling() as caller:
        for action in ("stop", "pause", "start", "start", "pause", "pause", "start", "resume", "stop", "resume"):
            assert (await caller.call(action=action)).status_code == 202
        assert len(caller.cloud.streams) == 1
        assert caller.notes == [
            "stop was called on a stream that is stopped",
            "pause was called on a stream that was not started",
            "start was called on a stream that is started",
            "pause was called on a stream that is paused",
            "resume was called on a stream that is started",
            "resume was called on a stream that was not started",
        ]


async def test_the_status_of_a_call() -> None:
    async with calling((Product.PHONE, LONG)) as caller:
        _, path = path_of(Product.PHONE, caller.cloud.subjects[0].name)
        for action, status in (("", "stopped"), ("start", "started"), ("stop", "stopped")):
            if action:
                await caller.call(action=action)
            answer = await caller.raw("GET", path, None, await caller.good_token())
            assert (answer.status_code, answer.json()["status"]) == (200, status)
        assert (await caller.call(action="pause")).status_code == 400


async def test_reading_and_writing_a_call_are_scopes_apart() -> None:
    async with calling((Product.PHONE, LONG), scopes=("phone:write:rtms_session",)) as caller:
        method, path = path_of(Product.PHONE, caller.cloud.subjects[0].name)
        token = await caller.good_token()
        assert (await caller.raw("GET", path, None, token)).json()["code"] == 4711
        body = {"action": "start", "settings": {"client_id": ID}}
        assert (await caller.raw(method, path, body, token)).status_code == 204
        assert caller.notes[1:] == ["'settings' is not valid in this call"]


async def test_a_stream_that_ends_late_does_not_end_its_successor() -> None:
    """Its client does not answer the close, which takes some seconds."""
    async with calling() as caller, await caller.listen() as events:
        await said(events)
        await caller.call()
        await event(events)
        first = caller.cloud.streams[0]
        host, _, path = first.url.removeprefix("ws://").partition("/")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(host.rpartition(":")[2]))
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade"
        writer.write(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n{key}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await caller.call(action="stop")
        await caller.call()
        assert [(await event(events))["event"] for _ in range(2)] == ["meeting.rtms_started", "meeting.rtms_stopped"]
        assert first.running is not None
        assert first.running.done()
        assert caller.cloud.subjects[0].status == "started"
        writer.close()


async def test_an_end_that_was_told_is_not_told_again() -> None:
    async with calling() as caller, await caller.listen() as events:
        await said(events)
        await caller.call()
        await event(events)
        (stream,) = caller.cloud.streams
        stream.end_was_told = True  # as a fault does that tells it
        await caller.call(action="stop")
        await stream.done()
        await caller.http.post(f"{caller.cloud.url}{CONTROL}", content=b"{}", headers={"x-rtms-simulator": "1"})
        assert await event(events) == {}


async def test_events_and_webhooks_are_the_same_bytes() -> None:
    posted: asyncio.Queue[bytes] = asyncio.Queue()

    def take(body: bytes, webhook: Webhook) -> None:
        posted.put_nowait(body)

    listener = Listener("127.0.0.1", 0, "/webhook", TOKEN, take, dict)
    url = f"http://127.0.0.1:{await listener.start()}/webhook"
    async with calling(webhook=url) as caller, await caller.listen() as events:
        await said(events)
        for action in ("start", "stop"):
            await caller.call(action=action)
            async with asyncio.timeout(30):
                assert (await said(events))["content"] == (await posted.get()).decode()
        assert not caller.cloud.reports()[0].findings
    await listener.stop()


@pytest.mark.parametrize("is_heard", [True, False])
async def test_who_was_not_told_is_not_to_blame(is_heard: bool) -> None:
    async with calling(speed=200) as caller, await caller.listen() as events:
        await said(events)
        if not is_heard:
            caller.cloud.provoke(CloudFaultAt(0, CloudFault.SECOND_SUBSCRIBER))
            assert await close_code(events) == 1000
        await caller.call()
        await caller.cloud.streams[0].done()
        (report,) = caller.cloud.reports()
        assert [finding.is_wrong for finding in report.findings] == [is_heard]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (2308, 400, 2308),
        (3000, 400, 3000),
        (13262, 400, 13262),
        (4711, 400, 4711),
        (124, 401, 124),
        (401, 401, 124),
        (403, 403, 403),
        (404, 404, 3001),
        (429, 429, 429),
        (500, 500, 500),
        (503, 503, 503),
        (418, 418, 418),
        (9999, 400, 9999),
    ],
)
async def test_each_error_comes_as_often_as_it_shall(error: int, status: int, code: int) -> None:
    async with calling(faults=[CloudFaultAt(0, CloudFault.REST_ERROR, error, 2)]) as caller:
        for _ in range(2):
            answer = await caller.call()
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert ("retry-after" in answer.headers) is (status in (429, 503))
        assert (await caller.call()).status_code == 202
        assert not caller.cloud.report().findings


@pytest.mark.parametrize("token", ["", "guessed"])
async def test_a_call_without_a_token_that_is_good(token: str) -> None:
    async with calling() as caller:
        method, path = path_of(Product.MEETING, caller.cloud.subjects[0].name)
        answer = await caller.raw(method, path, {"action": "start"}, token)
        assert (answer.status_code, answer.json()["code"]) == (401, 124)
        assert len(caller.wrong) == 1


async def test_a_users_token_is_good() -> None:
    async with calling() as caller:
        assert (await caller.call(token="a user's token")).status_code == 202


async def test_a_token_that_ends() -> None:
    async with calling() as caller:
        async with await caller.listen(token := await caller.good_token()) as events:
            assert (await said(events))["success"] is True
            caller.cloud.provoke(CloudFaultAt(0, CloudFault.TOKEN_EXPIRES))
            assert await close_code(events) == 1008
        answer = await caller.call(token=token)
        assert (answer.status_code, answer.json()["code"]) == (401, 124)
        assert (await caller.call()).status_code == 202
        assert not caller.wrong


async def test_a_token_without_the_scope() -> None:
    async with calling(scopes=("meeting:read:meeting_audio",)) as caller:
        answer = await caller.call()
        assert (answer.status_code, answer.json()["code"]) == (400, 4711)
        assert "meeting:update:participant_rtms_app_status" in answer.json()["message"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"action": "begin", "settings": {"client_id": ID}},
        {"action": "start"},
        {"action": "start", "settings": {"client_id": "somebody"}},
        {"action": "start", "settings": "x"},
    ],
)
async def test_a_body_that_is_none(body: object) -> None:
    async with calling() as caller:
        method, path = path_of(Product.MEETING, caller.cloud.subjects[0].name)
        answer = await caller.raw(method, path, body, await caller.good_token())
        assert (answer.status_code, answer.json()["code"]) == (400, 300)
        assert len(caller.wrong) == 1
        assert not caller.cloud.streams


async def test_calls_about_nothing() -> None:
    async with calling() as caller:
        token, body = await caller.good_token(), {"action": "start", "settings": {"client_id": ID}}
        answer = await caller.raw("PATCH", "/live_meetings/123/rtms_app/status", body, token)
        assert (answer.status_code, answer.json()["code"]) == (404, 3001)
        assert not caller.wrong
        assert (await caller.raw("PATCH", "/live_meetings/1/rtms", body, token)).status_code == 404
        name = caller.cloud.subjects[0].name
        assert (await caller.raw("PUT", f"/live_meetings/{name}/rtms_app/status", body, token)).status_code == 405
        assert (await caller.http.get(f"{caller.cloud.url}/")).status_code == 404
        assert len(caller.wrong) == 3


async def test_a_session_id_with_a_slash_is_encoded_twice() -> None:
    async with calling((Product.VIDEO_SDK, LONG)) as caller:
        name = caller.cloud.subjects[0].name
        assert "/" in name
        once = f"/videosdk/sessions/{quote(name, safe='')}/rtms_app/status"
        assert (await caller.raw("PATCH", once, {"action": "start"}, jwt())).status_code == 404
        assert caller.wrong == ["a session id with a / was URL-encoded once, not twice"]
        assert (await caller.call()).status_code == 202
        await caller.raw("PATCH", "/videosdk/sessions/a%252Db/rtms_app/status", {"action": "start"}, jwt())
        assert caller.notes == ["an id without / was URL-encoded twice"]


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("x", "the JWT does not have three parts"),
        ("a.b.c", "the JWT cannot be decoded"),
        (jwt(alg="none"), "the JWT is not signed with HS256"),
        (jwt("another secret"), "the JWT is not signed with the API secret"),
        (jwt(iss="another"), "the JWT has an iss other than the API key"),
        (jwt(exp=None), "the JWT lacks iat or exp"),
        (jwt(iat=int(time.time()) + 600), "the JWT has an iat in the future"),
        (jwt(exp=int(time.time()) - 1), "the JWT has expired"),
        (jwt(exp=int(time.time()) + 7000), "the JWT is valid for more than an hour"),
    ],
)
async def test_a_jwt_that_is_wrong(token: str, why: str) -> None:
    async with calling((Product.VIDEO_SDK, LONG)) as caller:
        answer = await caller.call(token=token)
        assert (answer.status_code, answer.json()["code"]) == (401, 124)
        assert [what.startswith(why) for what in caller.wrong] == [True]


# The event WebSocket.


async def test_heartbeats_are_answered_as_documented() -> None:
    async with calling() as caller, await caller.listen() as events:
        built = await said(events)
        assert (built["module"], built["success"]) == ("build_connection", True)
        await events.send('{"module":"heartbeat"}')
        assert await said(events) == {"module": "heartbeat", "success": True, "content": "live", "header": {}}


async def test_one_connection_a_subscription() -> None:
    async with calling() as caller, await caller.listen() as first:
        await said(first)
        async with await caller.listen() as second:
            await said(second)
            assert await close_code(first) == 1000
            assert caller.cloud.listeners == 1


@pytest.mark.parametrize("token", ["", "guessed"])
async def test_the_event_socket_wants_a_token(token: str) -> None:
    async with calling() as caller, await caller.listen(token) as events:
        assert (await said(events))["success"] is False
        assert await close_code(events) == 1008
        assert len(caller.wrong) == 1


async def test_fault_events_drop_refuses_for_a_while() -> None:
    async with calling() as caller:
        async with await caller.listen() as events:
            await said(events)
            caller.cloud.provoke(CloudFaultAt(0, CloudFault.EVENTS_DROP, 3000))
            assert await close_code(events) == 1006
            with pytest.raises(InvalidStatus) as refused:
                await caller.listen()
            assert refused.value.response.status_code == 503
        async with asyncio.timeout(30):
            connection = None
            while connection is None:
                connection = await listen_or_not(caller)
        async with connection:
            assert (await said(connection))["success"] is True


async def listen_or_not(caller: Caller) -> ClientConnection | None:
    try:
        return await caller.listen()
    except InvalidStatus:
        return None


async def test_faults_happen_at_their_time() -> None:
    async with calling(faults=[CloudFaultAt(200, CloudFault.EVENTS_DELAY, 1000)]) as caller:
        body = {"x-rtms-simulator": "1"}
        async with asyncio.timeout(30):
            while True:
                answer = await caller.http.post(f"{caller.cloud.url}{CONTROL}", content=b"{}", headers=body)
                if answer.json()["delay_s"] == 1:
                    break


async def test_fault_second_subscriber_over_sockets() -> None:
    async with calling() as caller:
        async with await caller.listen() as first:
            await said(first)
            caller.cloud.provoke(CloudFaultAt(0, CloudFault.SECOND_SUBSCRIBER))
            assert await close_code(first) == 1000
        await caller.call()
        async with await caller.listen() as second:
            await said(second)
            await caller.call(action="stop")
            assert (await event(second))["event"] == "meeting.rtms_stopped"
        figures = caller.cloud.report().events
        assert (figures.elsewhere, figures.delivered, figures.lost) == (1, 1, 0)


async def test_the_address_of_the_event_socket_is_no_page() -> None:
    async with calling() as caller:
        assert (await caller.http.get(f"{caller.cloud.url}/ws")).status_code == 426
        assert len(caller.wrong) == 1


async def test_events_of_ones_own() -> None:
    async with calling() as caller:
        url, field = f"{caller.cloud.url}{CONTROL}", {"x-rtms-simulator": "1"}
        body = b'{"event":"meeting.rtms_started","payload":{}}'
        assert (await caller.http.post(url, content=body)).status_code == 403
        assert (await caller.http.post(url, content=b"[]", headers=field)).status_code == 400
        assert (await caller.http.post(url, content=body, headers=field)).json() == {"connections": 0, "delay_s": 0}
        async with await caller.listen() as events:
            await said(events)
            assert (await caller.http.post(url, content=body, headers=field)).json()["connections"] == 1
            assert await said(events) == {"module": "message", "content": body.decode(), "header": {}}


async def test_the_end_of_the_cloud_tells_of_the_end_of_streams() -> None:
    async with calling() as caller:
        events = await caller.listen()
        await said(events)
        await caller.call()
        assert (await event(events))["event"] == "meeting.rtms_started"
    stopped = await event(events)
    assert stopped["event"] == "meeting.rtms_stopped"
    with pytest.raises(ConnectionClosed):
        await events.recv()
    assert events.close_code == 1001


async def test_strange_requests_are_answered() -> None:
    async with calling() as caller:
        many = "&".join(f"a{number}=1" for number in range(200))
        assert (await caller.http.post(f"{caller.cloud.url}/oauth/token?{many}", auth=(ID, SECRET))).status_code == 400
        headers = {"authorization": f"Bearer {await caller.good_token()}"}
        method, path = path_of(Product.MEETING, caller.cloud.subjects[0].name)
        for body in (b"", b"\xff", b"[" * 10_000):
            answer = await caller.http.request(method, f"{caller.cloud.url}/v2{path}", content=body, headers=headers)
            assert answer.status_code == 400
