"""`rtms doctor`: each thing that can be wrong, with what fixes it; the webhook of a real listener."""

import hashlib
import hmac
import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from event_server import EventServer
from processes import RTMS, environment, rtms, running
from terminals import Terminal
from webapp import App
from zoomcloud import TOKEN, zoom_cloud

from rtms_cli.protocol.media import MediaRequest
from rtms_cli.wire.descriptors import for_a_stream, share_out
from rtms_cli.wire.listener import MAX_CONNECTIONS

GOOD = {
    "ZOOM_CLIENT_ID": "an-app-of-some-length-1",
    "ZOOM_CLIENT_SECRET": "a-secret-of-some-length-2",
    "ZOOM_SECRET_TOKEN": "a-token-of-some-length-3",
}

NO_NETWORK = {"https_proxy": "http://127.0.0.1:9"}
"""A proxy that is not there: nothing of a test reaches Zoom."""


def checks(*arguments: str, cwd: Path, settings: dict[str, str]) -> dict[str, dict[str, str]]:
    done = rtms("doctor", "--json", *arguments, cwd=cwd, settings=settings)
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == int(any(check["verdict"] == "wrong" for check in found.values()))
    assert not any(value in done.stdout for name, value in settings.items() if name != "ZOOM_CLIENT_ID")
    return found


def test_all_is_well_and_nothing_is_left_behind(tmp_path: Path, unused_tcp_port: int) -> None:
    found = checks("--offline", "--port", str(unused_tcp_port), cwd=tmp_path, settings=GOOD)
    assert {check["verdict"] for name, check in found.items() if name != "started webhooks"} == {"ok"}
    assert "websockets " in found["libraries"]["found"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "name", "fix"),
    [
        ({"ZOOM_CLIENT_SECRET": GOOD["ZOOM_CLIENT_SECRET"] + " "}, "client secret", "white space"),
        ({"ZOOM_CLIENT_SECRET": '"' + GOOD["ZOOM_CLIENT_SECRET"] + '"'}, "client secret", "quotation marks"),
        ({"ZOOM_CLIENT_SECRET": "“" + GOOD["ZOOM_CLIENT_SECRET"] + "”"}, "client secret", "quotation marks"),
        ({"ZOOM_CLIENT_SECRET": GOOD["ZOOM_CLIENT_SECRET"] + ";"}, "client secret", "There is a ; at its end"),
        ({"ZOOM_CLIENT_ID": "a-client-id with-a-blank"}, "client id", "white space in it"),
        ({"ZOOM_CLIENT_ID": "a-client-id-with-\u200b-nothing"}, "client id", "characters in it that Zoom never uses"),
        ({"ZOOM_SECRET_TOKEN": "<your_secret_token_here>"}, "secret token", "a placeholder"),
        ({"ZOOM_CLIENT_SECRET": "your-client-secret-goes-here"}, "client secret", "a placeholder"),
        ({"ZOOM_CLIENT_SECRET": "INSERT_SECRET_IN_THIS_PLACE"}, "client secret", "a placeholder"),
        ({"ZOOM_CLIENT_SECRET": "*" * 32}, "client secret", "a placeholder"),
        ({"ZOOM_SECRET_TOKEN": "https://zoom.us/of-some-length"}, "secret token", "paste the value alone"),
        ({"ZOOM_CLIENT_ID": "ZOOM_CLIENT=an-app-of-some-length"}, "client id", "paste the value alone"),
        ({"ZOOM_CLIENT_SECRET": "a-secret-of-some-length\\n"}, "client secret", "paste the value alone"),
        ({"ZOOM_CLIENT_SECRET": GOOD["ZOOM_SECRET_TOKEN"]}, "client secret", "the same as the secret token"),
        ({"ZOOM_SECRET_TOKEN": "short"}, "secret token", "was all of it pasted"),
        ({"ZOOM_SECRET_TOKEN": ""}, "secret token", "Set ZOOM_SECRET_TOKEN"),
        ({"ZOOM_CLIENT_SECRET": ""}, "credentials", "has both"),
        ({"ZOOM_CLIENT_ID": "", "ZOOM_CLIENT_SECRET": ""}, "client id and secret", "App Credentials"),
    ],
)
def test_credentials(change: dict[str, str], name: str, fix: str, tmp_path: Path) -> None:
    settings = {key: value for key, value in (GOOD | change).items() if value}
    found = checks("--offline", cwd=tmp_path, settings=settings)
    assert found[name]["verdict"] == "wrong"
    assert fix in found[name]["fix"]


def test_what_env_files_have_around_a_value(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("".join(f"{name} = {value};\n" for name, value in GOOD.items()))
    found = checks("--offline", cwd=tmp_path, settings={})
    assert found["client secret"]["verdict"] == "wrong"
    assert "a ; at its end: rtms ignores that, other programs do not" in found["client secret"]["fix"]
    assert not any(value in json.dumps(found) for value in GOOD.values())
    (tmp_path / ".env").write_text("".join(f'{name}="{value}\n' for name, value in GOOD.items()))
    found = checks("--offline", cwd=tmp_path, settings={})
    assert "quotation marks that do not match" in found["client secret"]["fix"]


def test_it_counts_streams_as_listen_does(tmp_path: Path) -> None:
    limited = ["sh", "-c", 'ulimit -n 300; exec "$@"', "sh", *RTMS, "doctor", "--offline", "--json"]
    done = subprocess.run(limited, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    [check] = [check for check in json.loads(done.stdout) if check["name"] == "open files"]
    allowed = share_out(300, 10, for_a_stream(MediaRequest()), 300, MAX_CONNECTIONS).streams
    assert check["verdict"] == "wrong"
    assert int(check["found"].split()[-4]) in range(allowed - 2, allowed + 3)


def test_a_missing_uvloop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    from rtms_cli.station import checkup

    def version(name: str) -> str:
        if name == "uvloop":
            raise metadata.PackageNotFoundError
        return "1"

    monkeypatch.setattr(checkup, "version", version)
    check = {check.name: check for check in checkup.installation_checks()}["libraries"]
    assert (check.verdict, check.found) == ("wrong", "uvloop not installed")
    assert "pip install uvloop. rtms works without it" in check.fix


def test_why_no_started_webhook_comes(tmp_path: Path) -> None:
    done = rtms("doctor", "--offline", "--json", cwd=tmp_path, settings=GOOD)
    [check] = [check for check in json.loads(done.stdout) if check["name"] == "started webhooks"]
    assert check["verdict"] == "unknown"
    assert check["look_at"][0]["what"] == "auto-start is off"
    assert "Share realtime meeting content" in check["look_at"][0]["where"]
    shown = rtms("doctor", "--offline", cwd=tmp_path, settings=GOOD).stdout
    places = [shown.index(f"{number}. {cause['what']}") for number, cause in enumerate(check["look_at"], 1)]
    assert places == sorted(places)


def test_a_port_that_is_taken_and_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = checks("--offline", "--port", port, "--out", "file/x", cwd=tmp_path, settings=GOOD)
    assert found[f"port {port}"]["verdict"] == found["disk"]["verdict"] == "wrong"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_escape_sequences_do_not_reach_the_terminal(options: tuple[str, ...], tmp_path: Path) -> None:
    done = rtms("doctor", "--offline", "--out", "x\x9b31m\x85\x1b[2J\u202e", *options, cwd=tmp_path)
    assert all(char.isprintable() for char in done.stdout.replace("\n", "")), done.stdout


async def test_the_webhook_url(tmp_path: Path) -> None:
    async with running("listen", "--port", "0", "--json", cwd=tmp_path, settings=GOOD) as listen:
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        found = checks("--webhook", url, cwd=tmp_path, settings=GOOD | NO_NETWORK)
        assert found["validation"]["verdict"] == found["forged webhook"]["verdict"] == "ok"
        assert "answered 401" in found["forged webhook"]["found"]
        assert found["signed text"]["found"] == "the app accepts a signature of the raw body"
        other = GOOD | NO_NETWORK | {"ZOOM_SECRET_TOKEN": "another-token-of-some-length"}
        found = checks("--webhook", url, cwd=tmp_path, settings=other)
        assert found["validation"]["verdict"] == "wrong"
        found = checks("--webhook", url.replace("webhook", "other"), cwd=tmp_path, settings=GOOD | NO_NETWORK)
        assert "Is the path right" in found["validation"]["fix"]


def sha(message: bytes) -> str:
    return hmac.new(GOOD["ZOOM_SECRET_TOKEN"].encode(), message, hashlib.sha256).hexdigest()


def compact(body: bytes) -> bytes:
    return json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("forms", "verdict", "found"),
    [
        ([bytes], "ok", "the raw body"),
        ([compact], "wrong", "the body as JSON.stringify writes it, only"),
        ([bytes, compact], "ok", "the raw body, and the body as JSON.stringify writes it"),
    ],
)
async def test_which_signed_text_an_app_accepts(
    forms: list[Callable[[bytes], bytes]], verdict: str, found: str, tmp_path: Path
) -> None:
    def answer(body: bytes) -> tuple[int, str]:
        plain = json.loads(body)["payload"]["plainToken"]
        return 200, json.dumps({"plainToken": plain, "encryptedToken": sha(plain.encode())})

    def verify(headers: dict[str, str], body: bytes) -> bool:
        head = f"v0:{headers['x-zm-request-timestamp']}:".encode()
        return headers["x-zm-signature"] in ["v0=" + sha(head + form(body)) for form in forms]

    async with (
        App(answer, verify).listening() as app,
        running("doctor", "--json", "--webhook", app.url, cwd=tmp_path, settings=GOOD | NO_NETWORK) as doctor,
    ):
        await doctor.exit_code()
    check = next(check for check in json.loads(doctor.lines[-1]) if check["name"] == "signed text")
    assert (check["verdict"], check["found"]) == (verdict, f"the app accepts a signature of {found}")


async def test_the_cloud_is_asked_for_a_token_and_an_event_subscription(tmp_path: Path) -> None:
    with zoom_cloud() as cloud:
        async with EventServer("sub", tokens={TOKEN}).listening() as events:
            given = {"ZOOM_OAUTH_URL": f"{cloud.url}/oauth/token", "ZOOM_EVENTS_URL": events.url}
            settings = {name: value for name, value in GOOD.items() if name != "ZOOM_SECRET_TOKEN"} | given
            async with running("doctor", "--events", "sub", "--json", cwd=tmp_path, settings=settings) as doctor:
                note = await doctor.line_with("takes it over from whoever holds it")
                await events.until_connected(1)
                await events.close()
                assert await doctor.exit_code() == 1
    assert note.startswith("note")
    found = {check["name"]: check for check in json.loads(doctor.lines[-1])}
    assert "secret token" not in found
    assert found["token by client_credentials"]["verdict"] == "ok"
    assert "without meeting:read:meeting_audio (audio)" in found["scopes by client_credentials"]["found"]
    assert found["event subscription"]["verdict"] == "wrong"
    assert "another client holds this subscription" in found["event subscription"]["found"]
    assert any("--events" in cause["where"] for cause in found["started webhooks"]["look_at"])
    said = "\n".join(doctor.lines)
    assert not any(secret in said for secret in (TOKEN, GOOD["ZOOM_CLIENT_SECRET"]))


def test_what_cannot_be_reached_is_unknown(tmp_path: Path, unused_tcp_port: int) -> None:
    options = ("--gov", "--events", "sub", "--port", str(unused_tcp_port))
    found = checks(*options, cwd=tmp_path, settings=GOOD | NO_NETWORK)
    for name in ("TLS to zoomgov.com", "token by client_credentials", "event subscription", "started webhooks"):
        assert found[name]["verdict"] == "unknown"
    assert "through the proxy 127.0.0.1:9" in found["TLS to zoomgov.com"]["found"]
    assert "zoom.us" not in json.dumps(found)


@pytest.mark.parametrize(
    ("options", "settings", "said"),
    [
        (("--token-flow", "password"), {}, "--token-flow password is not a token flow"),
        (("--events", "two words"), {}, "is not a subscription's id"),
        (("--cloud-url", "http://zoom.example"), {}, "not encrypted"),
        ((), {"ZOOM_BASE": "zoom.example"}, "ZOOM_BASE=zoom.example is not a cloud of Zoom's"),
    ],
)
def test_what_is_no_cloud(options: tuple[str, ...], settings: dict[str, str], said: str, tmp_path: Path) -> None:
    done = rtms("doctor", *options, cwd=tmp_path, settings=GOOD | NO_NETWORK | settings)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_flow_without_what_it_needs(tmp_path: Path) -> None:
    found = checks("--token-flow", "account_credentials", cwd=tmp_path, settings=GOOD | NO_NETWORK)
    assert found["token"]["verdict"] == "wrong"
    assert "ZOOM_ACCOUNT_ID" in found["token"]["fix"]


def test_an_app_may_be_named_twice_but_its_id_is_no_secret(tmp_path: Path) -> None:
    server = {"ZOOM_S2S_CLIENT_ID": GOOD["ZOOM_CLIENT_ID"], "ZOOM_S2S_CLIENT_SECRET": GOOD["ZOOM_CLIENT_SECRET"]}
    found = checks("--offline", cwd=tmp_path, settings=GOOD | server)
    assert found["Server-to-Server client secret"]["verdict"] == "ok"
    server["ZOOM_S2S_CLIENT_SECRET"] = GOOD["ZOOM_CLIENT_ID"]
    done = rtms("doctor", "--offline", cwd=tmp_path, settings=GOOD | server)
    assert "It is the same as the client id" in done.stdout


def test_what_is_wrong_is_told_in_whole_words(tmp_path: Path) -> None:
    terminal = Terminal([*RTMS, "doctor", "--offline"], tmp_path, 40, 120)
    terminal.shows("wrong.")
    assert terminal.end() == 1
    words = " ".join(terminal.text.split())
    assert "In Zoom's App Marketplace: Develop → Build App → your app → App Credentials." in words
