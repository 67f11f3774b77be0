"""`rtms listen --events` as a process, against an event server and a token endpoint that are not ours."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import trustme
from event_server import POLICY_VIOLATION, EventServer
from harness import read_jsonl
from processes import CREDENTIALS, Running, running
from proxies import Proxy
from zoomcloud import TOKEN, Cloud, Reply, granted, zoom_cloud

from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.signatures import signed_headers
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, LiveStream, Simulator

APP = {name: CREDENTIALS[name] for name in ("ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET")}
"""What a listener without a webhook's URL needs."""


class Zoom(NamedTuple):
    """Zoom's side: who gives tokens, who delivers events, who streams."""

    cloud: Cloud
    events: EventServer
    streams: Simulator

    def settings(self) -> dict[str, str]:
        return APP | {"ZOOM_OAUTH_URL": f"{self.cloud.url}/oauth/token", "ZOOM_EVENTS_URL": self.events.url}

    def meeting(self, seconds: float = 1, number: int = 1) -> LiveStream:
        return self.streams.announce(Product.MEETING, Scenario(seconds), number)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with zoom_cloud() as running_cloud:
        yield running_cloud


@asynccontextmanager
async def zoom(cloud: Cloud) -> AsyncIterator[Zoom]:
    app = App(CREDENTIALS["ZOOM_CLIENT_ID"], CREDENTIALS["ZOOM_CLIENT_SECRET"], CREDENTIALS["ZOOM_SECRET_TOKEN"])
    async with EventServer("sub", tokens={TOKEN}).listening() as events, Simulator(app) as streams:
        yield Zoom(cloud, events, streams)


@asynccontextmanager
async def listening(
    there: Zoom, cwd: Path, *options: str, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """A listener that is connected."""
    given = there.settings() | dict(settings or {})
    command = ("listen", "--events", "sub", "--json", "--media", "audio", *options)
    async with running(*command, cwd=cwd, settings=given) as listen:
        await state(listen, "connected")
        yield listen


async def state(listen: Running, sought: str) -> dict[str, Any]:
    """Wait until the connection stands so."""
    while (event := await listen.event("events"))["state"] != sought:
        pass
    return event


def body_of(stream: LiveStream, what: str = "started") -> dict[str, Any]:
    event: dict[str, Any] = json.loads(stream.webhook(what))
    return event


def recordings(cwd: Path) -> list[Path]:
    return sorted((cwd / "recordings").iterdir()) if (cwd / "recordings").exists() else []


async def stop(listen: Running) -> None:
    listen.process.terminate()
    assert await listen.exit_code() == 0, listen.lines


async def test_an_event_becomes_a_recording(cloud: Cloud, tmp_path: Path) -> None:
    async with zoom(cloud) as there, listening(there, tmp_path) as listen:
        stream = there.meeting()
        await there.events.deliver({"event": "meeting.started", "event_ts": 1, "payload": {}})
        assert "meeting.started" in await listen.line_with("nothing to be done")
        await there.events.deliver(body_of(stream))
        finished = await listen.event("finished")
        assert stream.report().findings == ()
        await stop(listen)
        assert there.events.heard == [] or there.events.heard == [{"module": "heartbeat"}]
    assert finished["status"] == "complete"
    [folder] = recordings(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["status"], manifest["announced_by"], manifest["losses"]) == ("complete", "events", [])
    [webhook] = [line for line in read_jsonl(folder / "capture.jsonl") if line.get("ch") == "webhook"]
    assert webhook["via"] == "events"
    assert [asked.form["grant_type"] for asked in cloud.asked_for_tokens] == ["client_credentials"]


async def test_who_takes_the_subscription_over_is_told_and_the_gap_has_a_length(cloud: Cloud, tmp_path: Path) -> None:
    cloud.tokens = [granted("one"), granted("two")]
    async with zoom(cloud) as there:
        there.events.tokens = {"one", "two"}
        async with listening(there, tmp_path) as listen:
            await there.events.until_connected(1)
            await there.events.close()
            told = await state(listen, "taken over")
            assert "another connection took over this subscription" in told["text"]
            assert told["retry_s"] >= 5
            again = await state(listen, "connected")
            assert again["gap_seconds"] >= 5
            assert f"events of {again['gap_seconds']:.1f} s are lost" in again["text"]
            stream = there.meeting()
            await there.events.deliver(body_of(stream))
            await listen.event("finished")
            await stop(listen)
        assert there.events.connected == ["one", "two"]


async def test_a_connection_that_breaks_is_made_again_with_a_fresh_token(cloud: Cloud, tmp_path: Path) -> None:
    cloud.tokens = [granted("one"), Reply(503), granted("two")]
    async with zoom(cloud) as there:
        there.events.tokens = {"one", "two"}
        async with listening(there, tmp_path, "--port", "0", settings=CREDENTIALS) as listen:
            await there.events.until_connected(1)
            await there.events.cut()
            assert "the next attempt is in" in (await state(listen, "lost"))["text"]
            assert "503" in (await state(listen, "not connected"))["text"]
            again = await state(listen, "connected")
            assert again["gap_seconds"] >= 15
            assert there.events.connected == ["one", "two"]
            await stop(listen)


async def test_a_token_that_is_not_taken_any_more_is_renewed_at_once(cloud: Cloud, tmp_path: Path) -> None:
    cloud.tokens = [granted("one"), granted("two")]
    async with zoom(cloud) as there:
        there.events.tokens = {"one"}
        async with listening(there, tmp_path) as listen:
            await there.events.until_connected(1)
            there.events.tokens = {"two"}
            await there.events.close(POLICY_VIOLATION)
            assert "connecting with a new token" in (await state(listen, "lost"))["text"]
            await state(listen, "connected")
            assert there.events.connected == ["one", "two"]
            assert there.events.refused == []
            await stop(listen)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            Reply(400, {"reason": "Invalid client_id or client_secret", "error": "invalid_client"}),
            "the client id or the secret is wrong",
        ),
        (granted("another"), "Invalid Token"),
    ],
)
async def test_a_token_that_is_refused_ends_it_with_a_sentence(
    reply: Reply, said: str, cloud: Cloud, tmp_path: Path
) -> None:
    cloud.tokens = [reply]
    async with zoom(cloud) as there:
        command = ("listen", "--events", "sub", "--plain")
        async with running(*command, cwd=tmp_path, settings=there.settings()) as listen:
            assert await listen.exit_code() == 3, listen.lines
    assert any(said in line for line in listen.lines), listen.lines
    assert not any("Traceback" in line for line in listen.lines)
    assert recordings(tmp_path) == []


async def test_one_event_by_both_ways_is_one_connection(cloud: Cloud, tmp_path: Path) -> None:
    async with zoom(cloud) as there, listening(there, tmp_path, "--port", "0", settings=CREDENTIALS) as listen:
        url = next(line for line in listen.lines if "listening on" in line).split("listening on ")[1].split('"')[0]
        stream = there.meeting(seconds=2)
        body = stream.webhook("started")
        async with httpx.AsyncClient() as client:

            async def post() -> None:
                headers = signed_headers(CREDENTIALS["ZOOM_SECRET_TOKEN"], stream.event_ts // 1000, body)
                answer = await client.post(url, content=body, headers=headers)
                assert answer.status_code == 200

            for _ in range(3):
                await asyncio.gather(there.events.deliver(body_of(stream)), post())
        await listen.event("finished")
        assert stream.report().joined
        assert stream.report().findings == ()
        await stop(listen)
    [folder] = recordings(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [one["channel"] for one in manifest["connections"]].count("signaling") == 1


async def test_a_proxy_leads_to_the_event_server(cloud: Cloud, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("ws.zoomgov.com").configure_cert(tls)
    async with EventServer("sub", tokens={TOKEN}).listening(tls) as events:
        proxy = Proxy(events.port, b"HTTP/1.1 200 OK\r\n\r\n")
        async with await asyncio.start_server(proxy, "127.0.0.1", 0) as serving:
            port = serving.sockets[0].getsockname()[1]
            settings = APP | {
                "ZOOM_OAUTH_URL": f"{cloud.url}/oauth/token",
                "https_proxy": f"http://ann:s3cret@127.0.0.1:{port}",
                "no_proxy": "",
            }
            command = ("listen", "--events", "sub", "--gov", "--ca-file", "authority.pem", "--json")
            async with running(*command, cwd=tmp_path, settings=settings) as listen:
                await state(listen, "connected")
                await stop(listen)
        await asyncio.wait(proxy.serving)
    [head] = proxy.heads
    assert head.startswith(b"CONNECT ws.zoomgov.com:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"ann:s3cret") in head
    assert TOKEN.encode() not in head
    assert events.connected == [TOKEN]
    assert not any("s3cret" in line or TOKEN in line for line in listen.lines)


async def test_what_nobody_expects_is_shown_and_costs_nothing(cloud: Cloud, tmp_path: Path) -> None:
    async with zoom(cloud) as there:
        there.events.extra = [
            {"module": "new\x1b[2Jmodule", "content": "what?"},
            {"module": "message", "content": 7},
            {"module": "message", "content": "no JSON"},
            {"module": "message", "content": "[" * 100_000},
            {"no": "module"},
            {"module": "message", "content": json.dumps({"event": "endpoint.url_validation", "payload": {}})},
        ]
        async with listening(there, tmp_path) as listen:
            assert "new\\u001b[2Jmodule" in await listen.line_with("other module")
            stream = there.meeting()
            await there.events.deliver(body_of(stream))
            assert (await listen.event("finished"))["status"] == "complete"
            await stop(listen)
        assert len(there.events.connected) == 1
    assert not any("\x1b" in line for line in listen.lines)


async def test_of_two_streams_of_a_meeting_only_the_hosts_is_recorded(cloud: Cloud, tmp_path: Path) -> None:
    async with zoom(cloud) as there, listening(there, tmp_path, "--only", "host") as listen:
        guests, hosts = two_of_one_meeting(there)
        await there.events.deliver(body_of(guests))
        told = await listen.line_with("--only host")
        assert guests.stream_id in told
        assert "its operator bob is not the host" in told
        await there.events.deliver(body_of(hosts))
        assert (await listen.event("finished"))["stream_id"] == hosts.stream_id
        await stop(listen)
        assert (hosts.report().joined, guests.report().joined) == (True, False)
    assert len(recordings(tmp_path)) == 1


async def test_of_two_streams_of_a_meeting_only_the_first_is_recorded(cloud: Cloud, tmp_path: Path) -> None:
    async with zoom(cloud) as there, listening(there, tmp_path, "--only", "first") as listen:
        guests, hosts = two_of_one_meeting(there)
        await there.events.deliver(body_of(guests))
        await listen.event("started")
        await there.events.deliver(body_of(hosts))
        assert f"stream {guests.stream_id} of operator bob came before" in await listen.line_with("--only first")
        await there.events.deliver(body_of(guests))  # sent again, it is no other one
        assert (await listen.event("finished"))["stream_id"] == guests.stream_id
        await there.events.deliver(body_of(hosts))
        assert (await listen.event("finished"))["stream_id"] == hosts.stream_id
        await stop(listen)
    assert len(recordings(tmp_path)) == 2


def two_of_one_meeting(there: Zoom) -> tuple[LiveStream, LiveStream]:
    """A guest's stream and the host's."""
    guests = there.streams.announce(Product.MEETING, Scenario(2), 1)
    hosts = there.streams.announce(Product.MEETING, Scenario(2), 2, identity=guests.identity)
    guests.fields = {"operator_id": "bob", "is_original_host": False}
    hosts.fields = {"operator_id": "ann", "is_original_host": "true"}
    return guests, hosts


async def test_what_is_no_choice(cloud: Cloud, tmp_path: Path) -> None:
    async with zoom(cloud) as there:
        command = ("listen", "--events", "sub", "--only", "guest")
        async with running(*command, cwd=tmp_path, settings=there.settings()) as listen:
            assert await listen.exit_code() == 2
    assert "host, first, all" in " ".join(listen.lines)
