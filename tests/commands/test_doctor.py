"""`rtms doctor`: each thing that can be wrong, with what mends it; the webhook of a real listener."""

import json
import socket
from pathlib import Path

import pytest
from processes import rtms, running

GOOD = {
    "ZOOM_CLIENT_ID": "an-app-of-some-length-1",
    "ZOOM_CLIENT_SECRET": "a-secret-of-some-length-2",
    "ZOOM_SECRET_TOKEN": "a-token-of-some-length-3",
}


def checks(*arguments: str, cwd: Path, settings: dict[str, str]) -> dict[str, dict[str, str]]:
    done = rtms("doctor", "--json", *arguments, cwd=cwd, settings=settings)
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == int(any(check["verdict"] == "wrong" for check in found.values()))
    assert not any(value in done.stdout for name, value in settings.items() if name != "ZOOM_CLIENT_ID")
    return found


def test_all_is_well_and_nothing_is_left_behind(tmp_path: Path, unused_tcp_port: int) -> None:
    found = checks("--offline", "--port", str(unused_tcp_port), cwd=tmp_path, settings=GOOD)
    assert {check["verdict"] for check in found.values()} == {"ok"}
    assert "websockets " in found["libraries"]["found"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "name", "fix"),
    [
        ({"ZOOM_CLIENT_SECRET": GOOD["ZOOM_CLIENT_SECRET"] + " "}, "client secret", "white space"),
        ({"ZOOM_CLIENT_SECRET": '"' + GOOD["ZOOM_CLIENT_SECRET"] + '"'}, "client secret", "quotation marks"),
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


def test_a_port_that_is_taken_and_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = checks("--offline", "--port", port, "--out", "file/x", cwd=tmp_path, settings=GOOD)
    assert found[f"port {port}"]["verdict"] == found["disk"]["verdict"] == "wrong"


async def test_the_webhook_url(tmp_path: Path) -> None:
    async with running("listen", "--port", "0", "--json", cwd=tmp_path, settings=GOOD) as listen:
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        found = checks("--url", url, cwd=tmp_path, settings=GOOD)
        assert found["validation"]["verdict"] == found["forged webhook"]["verdict"] == "ok"
        assert "answered 401" in found["forged webhook"]["found"]
        other = GOOD | {"ZOOM_SECRET_TOKEN": "another-token-of-some-length"}
        found = checks("--url", url, cwd=tmp_path, settings=other)
        assert found["validation"]["verdict"] == "wrong"
        found = checks("--url", url.replace("webhook", "other"), cwd=tmp_path, settings=GOOD)
        assert "Is the path right" in found["validation"]["fix"]
