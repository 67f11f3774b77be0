"""`rtms start`, `stop`, `pause`, `resume` and `status`, against a server that has nothing of ours."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from event_server import EventServer
from harness import Silent, made_certificate, make_station
from processes import rtms, running, until
from zoomcloud import TOKEN, Cloud, Reply, granted, zoom_cloud

from rtms_cli.cloud.addresses import find_addresses
from rtms_cli.cloud.rest import Action, Order, Target
from rtms_cli.cloud.tokens import TokenFlow, Tokens, TokenSource
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.secrets import Secret
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator
from rtms_cli.station.awaiting import Awaited, started_and_recorded
from rtms_cli.station.control import Control

SECRET, SERVER_SECRET, API_SECRET = (
    "secret-of-the-app-7f3a",
    "secret-of-the-server-91bc",
    "secret-of-the-video-sdk-api-55aa",
)
APP = {"ZOOM_CLIENT_ID": "an-app", "ZOOM_CLIENT_SECRET": SECRET}
SERVER = {"ZOOM_S2S_CLIENT_ID": "a-server", "ZOOM_S2S_CLIENT_SECRET": SERVER_SECRET, "ZOOM_ACCOUNT_ID": "account"}
SDK = {"ZOOM_VIDEO_SDK_API_KEY": "api-key", "ZOOM_VIDEO_SDK_API_SECRET": API_SECRET}
NUMBER = "855 1234 5678"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with zoom_cloud() as running_cloud:
        yield running_cloud


def asked(
    cloud: Cloud, *arguments: str, cwd: Path, settings: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command against the cloud; no secret and no token may be in what it says."""
    done = rtms(*arguments, "--cloud-url", cloud.url, cwd=cwd, settings=APP if settings is None else settings)
    for secret in (SECRET, SERVER_SECRET, API_SECRET, TOKEN):
        assert secret not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize("action", ["start", "stop", "pause", "resume"])
def test_zoom_is_asked_and_what_proves_it_is_named(action: str, cloud: Cloud, tmp_path: Path) -> None:
    done = asked(cloud, action, NUMBER, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"requested {action}: meeting 85512345678 (204, by client_credentials)" in done.stdout
    assert "confirm" in done.stdout
    call = cloud.calls[0]
    assert (call.method, call.path) == ("PATCH", "/v2/live_meetings/85512345678/rtms_app/status")
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert call.headers["content-type"] == "application/json"
    assert call.value == {"action": action, "settings": {"client_id": "an-app"}}


def test_a_number_in_pieces_is_one_number_and_ids_are_not_put_together(cloud: Cloud, tmp_path: Path) -> None:
    done = asked(cloud, "stop", *NUMBER.split(), "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["id"] == "85512345678"
    done = asked(cloud, "stop", "one", "two", "--product", "phone", cwd=tmp_path)
    assert done.returncode == 2
    assert "'one two' are several ids" in done.stderr


def test_a_server_to_server_app_starts_another_apps_stream(cloud: Cloud, tmp_path: Path) -> None:
    options = ("--client-id", "streaming", "--participant", "user", "--token-flow", "account_credentials", "--json")
    done = asked(cloud, "start", NUMBER, *options, cwd=tmp_path, settings=SERVER)
    assert json.loads(done.stdout) == {
        "action": "start",
        "product": "meeting",
        "id": "85512345678",
        "accepted": True,
        "http_status": 204,
        "tries": 1,
        "token_flow": "account_credentials",
        "answer": None,
    }
    assert cloud.asked_for_tokens[0].form == {"grant_type": "account_credentials", "account_id": "account"}
    assert cloud.calls[0].value == {
        "action": "start",
        "settings": {"client_id": "streaming", "participant_user_id": "user"},
    }


def test_a_session_is_started_with_a_jwt_and_no_token(cloud: Cloud, tmp_path: Path) -> None:
    done = asked(cloud, "start", "/ab+c==", "--product", "session", cwd=tmp_path, settings=SDK)
    assert done.returncode == 0, done.stderr
    call = cloud.asked[0]
    assert call.path == "/v2/videosdk/sessions/%252Fab%252Bc%253D%253D/rtms_app/status"
    scheme, _, token = call.headers["authorization"].partition(" ")
    claims = jwt.decode(token, API_SECRET, ["HS256"], issuer="api-key")
    assert scheme == "Bearer"
    assert claims["exp"] <= time.time() + 3600
    assert token not in done.stdout + done.stderr


def test_a_session_without_its_key_is_a_mistake_in_the_settings(cloud: Cloud, tmp_path: Path) -> None:
    done = asked(cloud, "start", "s", "--product", "session", cwd=tmp_path)
    assert done.returncode == 2
    assert "ZOOM_VIDEO_SDK_API_KEY" in done.stderr
    assert cloud.asked == []


def test_the_status_of_a_phone_call_is_shown(cloud: Cloud, tmp_path: Path) -> None:
    cloud.rest = [Reply(200, {"status": "started", "note": "\x1b[31m", "refresh_token": "hidden"})]
    done = asked(cloud, "status", "7006926284340112376", "--product", "phone", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "phone call 7006926284340112376: Zoom says (200, by client_credentials)" in done.stdout
    assert "status: started" in done.stdout
    assert "\x1b" not in done.stdout
    assert "hidden" not in done.stdout
    assert cloud.calls[0].method == "GET"


BAD = "400 with error "
REFUSALS = [
    (Reply(400, {"code": 2308, "message": "Not allowed."}), f'{BAD}2308 "Not allowed."', "--participant"),
    (Reply(400, {"code": 2310, "message": "Failed."}), f"{BAD}2310", "Developer Pack"),
    (Reply(400, {"code": 3000, "message": "Not yet."}), f"{BAD}3000", "not in progress"),
    (Reply(400, {"code": 13262, "message": "No."}), f"{BAD}13262", "Share realtime meeting content with apps"),
    (Reply(401, {"code": 124, "message": "Invalid access token."}), "401 with error 124", "no longer valid"),
    (Reply(400, {"code": 4711, "message": "No scopes."}), f"{BAD}4711", "meeting:update:participant_rtms_app_status"),
    (Reply(400, {"code": 300, "message": "Validation."}), f"{BAD}300", "--client-id: an-app"),
    (Reply(404, {"code": 3001, "message": "Gone."}), "404 with error 3001", "https://…/j/"),
    (Reply(404, {"code": 1001, "message": "Who?"}), "404 with error 1001", "--participant"),
    (Reply(403, b""), "403", "Zoom Apps → “Share realtime"),
    (Reply(403, {"code": 77777, "message": "x"}), "403 with error 77777", "settings"),
    (Reply(404), "404", "there is none"),
    (Reply(429, b"", {"Retry-After": "100"}), "429", "in 100 s"),
    (Reply(500), "500", "something is wrong on Zoom's side"),
    (Reply(503, b"<html>down</html>"), "503, with a page of HTML", "Zoom's side"),
    (Reply(400, {"code": 98765, "message": "New thing."}), f'{BAD}98765 "New thing."', "request is wrong"),
    (Reply(418, {}, {"x-zm-trackingid": "WEB_1"}), "418 (tracking id WEB_1)", "not documented"),
    (Reply(302, b"", {"location": "https://portal.example/?token=hidden"}), "302", "not Zoom's"),
    (Reply(200, b"<!doctype html><html>"), "200, with a page of HTML", "not Zoom's"),
]


@pytest.mark.parametrize(("reply", "named", "says"), REFUSALS)
def test_each_error_has_its_sentence_and_exit_code(
    reply: Reply, named: str, says: str, cloud: Cloud, tmp_path: Path
) -> None:
    cloud.rest = [reply]
    done = asked(cloud, "start", NUMBER, "--wait", "0", "--json", cwd=tmp_path)
    assert done.returncode == 3
    assert f"error: Zoom does not start meeting 85512345678: {named}" in done.stderr
    assert says in done.stderr
    told = json.loads(done.stdout)
    assert (told["accepted"], told["http_status"]) == (False, reply.status)
    assert told["error"] in done.stderr
    assert "hidden" not in done.stderr


def test_what_comes_back_of_a_token_is_not_shown(cloud: Cloud, tmp_path: Path) -> None:
    cloud.rest = [Reply(400, {"code": 99, "message": f"Bearer {TOKEN} of {SECRET} is bad"}, {"x-zm-trackingid": TOKEN})]
    done = asked(cloud, "stop", NUMBER, cwd=tmp_path)
    assert done.returncode == 3
    assert "[redacted]" in done.stderr


TOKENS = [
    (Reply(400, {"reason": "Invalid client_id or client_secret", "error": "invalid_client"}), "ZOOM_CLIENT_ID"),
    (Reply(400, {"reason": "unsupported grant type", "error": "unsupported_grant_type"}), "--token-flow"),
    (Reply(401, {"status": False, "errorCode": 4741, "errorMessage": "The token has been revoked."}), "newer token"),
    (Reply(500), "something is wrong on Zoom's side"),
    (Reply(200, b"<html>log in</html>"), "a page to log in"),
    (Reply(200, {"access_token": "two\nlines"}), "with no token in it"),
    (Reply(200, {"access_token": 5}), "with no token in it"),
]


@pytest.mark.parametrize(("reply", "says"), TOKENS)
def test_where_there_is_no_token_that_is_said(reply: Reply, says: str, cloud: Cloud, tmp_path: Path) -> None:
    cloud.tokens = [reply]
    done = asked(cloud, "start", NUMBER, "--wait", "0", cwd=tmp_path)
    assert done.returncode == 3
    assert says in done.stderr
    assert cloud.calls == []


def test_what_is_not_in_progress_yet_is_tried_again(cloud: Cloud, tmp_path: Path) -> None:
    cloud.rest = [Reply(400, {"code": 3000, "message": "Not yet."}), Reply(202)]
    done = asked(cloud, "start", NUMBER, "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["tries"] == 2
    assert "not in progress yet. The next attempt is in 1 s" in done.stderr
    assert len(cloud.asked_for_tokens) == 1


def test_what_passes_is_waited_for_as_long_as_zoom_says(cloud: Cloud, tmp_path: Path) -> None:
    cloud.rest = [Reply(429, b"", {"Retry-After": "0"}), Reply(503, b"", {"Retry-After": "1"}), Reply(204)]
    done = asked(cloud, "start", NUMBER, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "429: there were too many requests. The next attempt is in 1 s" in done.stderr
    assert "503: something is wrong on Zoom's side. The next attempt is in 1 s" in done.stderr


def test_a_refused_token_is_replaced_and_then_the_next_way_is_tried(cloud: Cloud, tmp_path: Path) -> None:
    gone = Reply(401, {"code": 124, "message": "Access token is expired."})
    scopes = Reply(400, {"code": 4711, "message": "No scopes."})
    cloud.tokens = [granted("one"), granted("two"), granted("three")]
    cloud.rest = [gone, scopes, Reply(204)]
    done = asked(cloud, "start", NUMBER, "--json", cwd=tmp_path, settings=APP | SERVER)
    assert done.returncode == 0, done.stderr
    assert [call.headers["authorization"] for call in cloud.calls] == ["Bearer one", "Bearer two", "Bearer three"]
    assert json.loads(done.stdout)["token_flow"] == "account_credentials"
    assert "not by client_credentials" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        (["start", "abc"], APP, "is not a meeting number"),
        (["start", NUMBER, "--product", "party"], APP, "is not one of Zoom's products"),
        (["start", NUMBER, "--wait", "nan"], APP, "--wait nan is not a time."),
        (["start", NUMBER, "--wait", "inf"], APP, "--wait inf is not a time."),
        (["stop", NUMBER], {"ZOOM_CLIENT_ID": "an-app"}, "ZOOM_CLIENT_SECRET is not"),
        (["status", NUMBER], APP, "no status for a meeting's stream"),
    ],
)
def test_json_is_printed_too_where_zoom_is_not_asked(
    arguments: list[str], settings: dict[str, str], says: str, cloud: Cloud, tmp_path: Path
) -> None:
    done = asked(cloud, *arguments, "--json", cwd=tmp_path, settings=settings)
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert (told["action"], told["accepted"]) == (arguments[0], False)
    assert says in told["error"]
    assert told["error"] in done.stderr
    assert cloud.asked_for_tokens == cloud.calls == []


def test_the_government_cloud_may_be_named_beside_its_credentials(cloud: Cloud, tmp_path: Path) -> None:
    """In `.env`, which names no URLs: where credentials go is not for any folder to say."""
    (tmp_path / ".env").write_text('ZOOM_BASE="zoomgov.com"\nZOOM_API_URL=https://elsewhere.example\n')
    cloud.rest = [Reply(403, {})]
    done = asked(cloud, "start", NUMBER, "--wait", "0", cwd=tmp_path)
    assert "  zoomgov.com/profile/setting" in done.stderr
    assert len(cloud.calls) == 1

    done = rtms("start", NUMBER, "--wait", "0", cwd=tmp_path, settings=APP | {"HTTPS_PROXY": "http://127.0.0.1:9"})
    assert "zoomgov.com cannot be reached for a token" in done.stderr
    assert "elsewhere" not in done.stderr


def test_nobody_there_is_told_at_once(tmp_path: Path) -> None:
    done = rtms("start", NUMBER, "--cloud-url", "http://127.0.0.1:9", cwd=tmp_path, settings=APP)
    assert done.returncode == 3
    assert "cannot be reached" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["start", "4444AAAiAAAAAiAiAiiAii=="], "is a meeting's UUID"),
        (["start", NUMBER, "--product", "party"], "Use meeting, webinar, session, contact_center, phone"),
        (["status", NUMBER], "no status for a meeting's stream"),
        (["pause", "1", "--product", "phone"], "cannot be paused"),
        (["start", "e", "--product", "contact-center", "--participant", "u"], "--participant does not apply"),
        (["start", NUMBER, "--token-flow", "magic"], "--token-flow magic"),
        (["start", NUMBER, "--token-flow", "access_token"], "Set ZOOM_ACCESS_TOKEN"),
        (["start", NUMBER, "--cloud-url", "http://example.org"], "not encrypted"),
        (["start"], "Missing argument"),
    ],
)
def test_mistakes_are_told_without_asking_zoom(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = rtms(*arguments, cwd=tmp_path, settings=APP | {"ZOOM_OAUTH_URL": "http://127.0.0.1:9"})
    assert done.returncode == 2
    assert says in done.stderr


async def test_no_secret_is_in_the_process_list_or_in_a_file(cloud: Cloud, tmp_path: Path) -> None:
    cloud.rest = [Reply(400, {"code": 3000, "message": "Not yet."})]
    arguments = ("--debug", "start", NUMBER, "--wait", "600", "--cloud-url", cloud.url)
    alone = {"PYTHONUNBUFFERED": "1"}  # a process with arguments of its own
    async with running(*arguments, cwd=tmp_path, settings=APP | SERVER | alone) as process:
        await process.line_with("not in progress yet")
        shown = command_line(process.process.pid) + "\n".join(process.lines)
        assert NUMBER in shown
        for secret in (SECRET, SERVER_SECRET, TOKEN):
            assert secret not in shown
        assert files_in(tmp_path) == []


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def files_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


@asynccontextmanager
async def recording_place(cloud: Cloud) -> AsyncIterator[tuple[EventServer, Simulator, dict[str, str]]]:
    """An event WebSocket, a simulator for the streams, and the settings that lead there."""
    app = App(APP["ZOOM_CLIENT_ID"], SECRET, "the-secret-token-of-the-app")
    async with EventServer("sub", tokens={TOKEN}).listening() as events, Simulator(app) as simulator:
        yield (
            events,
            simulator,
            APP
            | {
                "ZOOM_OAUTH_URL": f"{cloud.url}/oauth/token",
                "ZOOM_API_URL": f"{cloud.url}/v2",
                "ZOOM_EVENTS_URL": events.url,
            },
        )


def started_event(body: bytes, number: object, **more: object) -> dict[str, Any]:
    """A started webhook of the simulator's, as that of a meeting with a number."""
    event: dict[str, Any] = json.loads(body)
    event["payload"].update({"meeting_id": number, **more} if number is not None else more)
    return event


def manifest_in(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("recordings/*/manifest.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("number", ["855 1234 5678", 85512345678, None])
async def test_from_nothing_to_a_recording_by_the_event_websocket(number: object, cloud: Cloud, tmp_path: Path) -> None:
    async with recording_place(cloud) as (events, simulator, settings):
        arguments = ("start", NUMBER, "--record", "--events", "sub", "--media", "audio", "--json")
        async with running(*arguments, cwd=tmp_path, settings=settings) as process:
            await process.line_with('"state":"accepted"')
            assert cloud.calls[0].value == {"action": "start", "settings": {"client_id": "an-app"}}
            assert events.connected == [TOKEN]
            assert len(cloud.asked_for_tokens) == 1  # a second token may end the first one
            other = simulator.announce(Product.MEETING, Scenario(30))
            await events.deliver(started_event(other.webhook("started"), 99999999999))
            await process.line_with("it is not of meeting 85512345678, which is waited for")
            stream = simulator.announce(Product.MEETING, Scenario(1))
            await events.deliver(started_event(stream.webhook("started"), number))
            assert (await process.event("started"))["stream_id"] == stream.stream_id
            await events.deliver(started_event(other.webhook("started"), number, operator_id="bob"))
            await process.line_with("one is recorded already")
            assert await process.exit_code() == 0, process.lines
    manifest = manifest_in(tmp_path)
    assert (manifest["status"], manifest["announced_by"]) == ("complete", "events")
    assert not [secret for secret in (SECRET, TOKEN) if secret in "\n".join(process.lines)]


async def test_from_nothing_to_a_recording_by_webhooks(cloud: Cloud, tmp_path: Path) -> None:
    token = {"ZOOM_SECRET_TOKEN": "the-secret-token-of-the-app"}
    async with recording_place(cloud) as (_, simulator, settings):
        arguments = ("start", NUMBER, "--record", "--port", "0", "--media", "audio", "--plain")
        async with running(*arguments, cwd=tmp_path, settings=settings | token) as process:
            url = (await process.line_with("listening on ")).rpartition(" ")[2]
            await process.line_with("waiting for its started webhook")
            stream = simulator.announce(Product.MEETING, Scenario(1))
            await simulator.post(url, stream, "started")
            assert await process.exit_code() == 0, process.lines
    assert manifest_in(tmp_path)["announced_by"] == "http"


async def test_a_refusal_ends_it_with_its_sentence(cloud: Cloud, tmp_path: Path) -> None:
    cloud.rest = [Reply(400, {"code": 2308, "message": "Not allowed."})]
    async with recording_place(cloud) as (events, _, settings):
        arguments = ("start", NUMBER, "--record", "--events", "sub", "--plain")
        async with running(*arguments, cwd=tmp_path, settings=settings) as process:
            assert await process.exit_code() == 3
        assert len(events.connected) == 1
    assert any("2308" in line and "nor an alternative host" in line for line in process.lines)
    assert not (tmp_path / "recordings").exists() or list((tmp_path / "recordings").iterdir()) == []


async def test_zoom_is_not_asked_while_nothing_could_be_heard(cloud: Cloud, tmp_path: Path) -> None:
    cloud.tokens = [Reply(400, {"reason": "Invalid client_id or client_secret", "error": "invalid_client"})]
    async with recording_place(cloud) as (_, _, settings):
        arguments = ("start", NUMBER, "--record", "--events", "sub", "--plain")
        async with running(*arguments, cwd=tmp_path, settings=settings) as process:
            assert await process.exit_code() == 3
    assert any("invalid_client" in line for line in process.lines)
    assert cloud.calls == []


async def test_who_stops_waiting_is_told_that_nothing_was_recorded(cloud: Cloud, tmp_path: Path) -> None:
    async with recording_place(cloud) as (_, _, settings):
        arguments = ("start", NUMBER, "--record", "--events", "sub", "--plain")
        async with running(*arguments, cwd=tmp_path, settings=settings) as process:
            await process.line_with("waiting for its started webhook")
            process.process.terminate()
            assert await process.exit_code() == 3
    assert any("Nothing was recorded: no stream of meeting 85512345678 had begun." in line for line in process.lines)


async def test_a_stream_that_begins_by_itself_needs_no_yes(cloud: Cloud, tmp_path: Path) -> None:
    cloud.rest = [Reply(400, {"code": 3000, "message": "Not yet."})]
    async with recording_place(cloud) as (events, simulator, settings):
        arguments = ("start", NUMBER, "--record", "--events", "sub", "--media", "audio", "--plain", "--wait", "600")
        async with running(*arguments, cwd=tmp_path, settings=settings) as process:
            await process.line_with("not in progress yet")
            stream = simulator.announce(Product.MEETING, Scenario(1))
            await events.deliver(started_event(stream.webhook("started"), 85512345678))
            assert await process.exit_code() == 0, process.lines
    assert manifest_in(tmp_path)["status"] == "complete"


async def test_the_usual_causes_are_listed_where_nothing_begins(cloud: Cloud, tmp_path: Path) -> None:
    order = Order(Target(Product.MEETING, "85512345678"), Action.START, "an-app")
    source = TokenSource(TokenFlow.CLIENT, "an-app", Secret(SECRET))
    addresses = find_addresses({}, cloud_url=cloud.url)
    control, awaited, silent = Control(addresses, Tokens([source], addresses)), Awaited(order.target), Silent()
    writer = Writer()
    station = make_station(tmp_path, writer, observer=silent)
    waiting = asyncio.create_task(
        started_and_recorded(station, awaited, control, order, 0, ["1. this", "2. that"], patience_s=0)
    )
    await until(lambda: "  2. that" in silent.notices)
    assert silent.notices[-2:] == ["  1. this", "  2. that"]
    assert not waiting.done()
    await station.stop("the test")
    assert await waiting is None
    await writer.close()


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        ([NUMBER], APP, "Add --events SUBSCRIPTION, or --port PORT"),
        ([NUMBER, "--port", "0", "--client-id", "app"], SERVER, "ZOOM_CLIENT_SECRET"),
        ([NUMBER, "--port", "0"], {}, "ZOOM_CLIENT_ID"),
        (["s", "--product", "session", "--port", "0"], APP, "ZOOM_VIDEO_SDK_API_KEY"),
        ([NUMBER, "--events", "a b"], APP, "is not a subscription's id"),
    ],
)
def test_what_is_missing_for_a_recording_is_told_before_anything_is_asked(
    arguments: list[str], settings: dict[str, str], says: str, tmp_path: Path
) -> None:
    done = rtms("start", *arguments, "--record", "--cloud-url", "http://127.0.0.1:9", cwd=tmp_path, settings=settings)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""


def test_zooms_certificate_is_verified_whatever_is_said_of_other_servers(tmp_path: Path) -> None:
    made_certificate(tmp_path)
    with zoom_cloud(tmp_path / "both.pem") as cloud:
        done = asked(cloud, "start", NUMBER, "--insecure", cwd=tmp_path)
        assert done.returncode == 3
        assert "certificate" in done.stderr.lower()
        assert cloud.asked == []
        done = asked(cloud, "start", NUMBER, "--ca-file", "cert.pem", cwd=tmp_path)
        assert done.returncode == 0, done.stderr


@asynccontextmanager
async def refusing_proxy() -> AsyncIterator[tuple[dict[str, str], list[bytes]]]:
    """A proxy that remembers where it was asked to lead, and leads nowhere; with the settings that name it."""
    asked_for: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked_for.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        address = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        yield {"HTTPS_PROXY": address, "https_proxy": address, "NO_PROXY": "", "no_proxy": ""}, asked_for


async def test_government_has_hosts_of_its_own_also_behind_a_proxy(tmp_path: Path) -> None:
    async with refusing_proxy() as (proxy, asked_for):
        async with running("start", NUMBER, "--gov", cwd=tmp_path, settings=APP | proxy) as process:
            assert await process.exit_code() == 3
    assert asked_for == [b"CONNECT zoomgov.com:443 HTTP/1.1\r\n"]
    assert any("zoomgov.com cannot be reached for a token" in line for line in process.lines)


async def test_the_api_is_where_the_tokens_answer_says(cloud: Cloud, tmp_path: Path) -> None:
    cloud.tokens = [granted(api_url="https://api-eu.zoom.us")]
    async with refusing_proxy() as (proxy, asked_for):
        at = {"ZOOM_OAUTH_URL": cloud.url} | proxy
        async with running("start", NUMBER, cwd=tmp_path, settings=APP | at) as process:
            assert await process.exit_code() == 3
    assert asked_for == [b"CONNECT api-eu.zoom.us:443 HTTP/1.1\r\n"]
    assert any("https://api-eu.zoom.us/v2 cannot be reached" in line for line in process.lines)


async def test_who_stops_before_anything_could_be_heard_asks_zoom_for_nothing(cloud: Cloud, tmp_path: Path) -> None:
    async with recording_place(cloud) as (events, _, settings):
        events.holds = False
        arguments = ("start", NUMBER, "--record", "--events", "sub", "--plain")
        async with running(*arguments, cwd=tmp_path, settings=settings) as process:
            await process.line_with("connecting to Zoom's event WebSocket")
            await until(lambda: cloud.asked_for_tokens)
            process.process.terminate()
            assert await process.exit_code() == 3
    assert cloud.calls == []
