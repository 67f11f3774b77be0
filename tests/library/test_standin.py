"""The fixture `rtms_zoom` in other people's test suites: processes of pytest, with nothing but the plugin."""

import subprocess
from pathlib import Path

import pytest
from processes import environment, pytest_of_a_client

from rtms_cli import Problem
from rtms_cli.library.standin import Zoom


def run_pytest(folder: Path, content: str, *options: str) -> "subprocess.CompletedProcess[str]":
    (folder / "test_client.py").write_text(content)
    return subprocess.run(
        [*pytest_of_a_client(folder), *options, "test_client.py"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


GOOD = """
import asyncio, json, subprocess, sys
import pytest
import rtms_cli


def credentials(zoom):
    return {"client_id": zoom.client_id, "client_secret": zoom.client_secret}


@pytest.mark.rtms_zoom(seconds=2)
async def test_an_async_client(rtms_zoom):
    async with rtms_cli.join(rtms_zoom.payload, **credentials(rtms_zoom)) as stream:
        items = [item async for item in stream]
    assert {type(item).__name__ for item in items} >= {"Audio", "Transcript", "Chat", "Event"}
    assert rtms_zoom.wait().findings == []
    assert rtms_zoom.report.joined


@pytest.mark.rtms_zoom(seconds=1)
def test_a_client_in_another_process(rtms_zoom, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in rtms_zoom.environment.items():
        monkeypatch.setenv(name, value)
    path = rtms_zoom.save("payload.json")
    subprocess.run([sys.executable, "-m", "rtms_cli", "join", path, "--media", "audio"], check=True)
    assert rtms_zoom.findings == []
    assert rtms_zoom.report.sent["MEDIA_DATA_AUDIO"] == 50


@pytest.mark.parametrize("rtms_zoom", [{"seconds": 1, "product": "webinar"}], indirect=True)
async def test_a_client_that_listens(rtms_zoom):
    async with rtms_cli.listen(port=0, secret_token=rtms_zoom.secret_token, **credentials(rtms_zoom)) as streams:
        rtms_zoom.post(streams.url)
        for other in rtms_zoom.announce(seconds=0.5, product="session"):
            other.post(streams.url)
        found = {}
        async for stream in streams:
            found[stream.product] = stream
            if len(found) == 2:
                break
        await asyncio.gather(*(stream.done() for stream in found.values()))
    assert set(found) == {"webinar", "session"}
    assert rtms_zoom.findings == []


@pytest.mark.rtms_zoom("flaky-network", seconds=2)
async def test_a_scenario(rtms_zoom):
    async with rtms_cli.join(rtms_zoom.payload, **credentials(rtms_zoom)) as stream:
        assert (await stream.done()).status == "complete"
    assert rtms_zoom.findings == []
"""


def test_good_clients_pass(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, GOOD)
    assert (done.returncode, "4 passed" in done.stdout) == (0, True), done.stdout + done.stderr


BAD = """
import asyncio, json
import pytest
from websockets.asyncio.client import connect


@pytest.mark.rtms_zoom(seconds=600)
async def test_a_client_that_signs_nothing(rtms_zoom):
    payload = rtms_zoom.payload["payload"]
    async with connect(payload["server_urls"]) as signaling:
        hello = {"msg_type": 1, "protocol_version": 1, "meeting_uuid": payload["meeting_uuid"]}
        await signaling.send(json.dumps(hello | {"rtms_stream_id": payload["rtms_stream_id"], "signature": "no"}))
        print(await signaling.recv())
    assert rtms_zoom.findings == []


@pytest.mark.rtms_zoom(seconds=600)
def test_a_client_without_an_endpoint(rtms_zoom):
    rtms_zoom.post("http://127.0.0.1:9/webhook")
    rtms_zoom.end()
    rtms_zoom.wait()
    assert rtms_zoom.findings == []
"""


def test_what_a_client_does_wrong_is_found(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, BAD)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed" in done.stdout
    assert "signature" in done.stdout.split("test_a_client_without_an_endpoint")[0]


def test_pytest_starts_as_fast_with_it(tmp_path: Path) -> None:
    content = (
        "import sys\n"
        "def test_it():\n"
        "    assert 'rtms_cli.testing' in sys.modules\n"
        "    ours = {name for name in sys.modules if name.startswith('rtms_cli.')} - {'rtms_cli.testing'}\n"
        "    assert not ours and 'numpy' not in sys.modules\n"
    )
    done = run_pytest(tmp_path, content)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rtms_zoom(scenario=" in run_pytest(tmp_path, content, "--markers").stdout


def test_a_wrong_setting_is_a_problem() -> None:
    with pytest.raises(Problem, match="There is no scenario 'nonsense'"):
        Zoom("nonsense")
    with pytest.raises(Problem, match="There is no product 'fax'"):
        Zoom(product="fax")
    with pytest.raises(Problem, match="scopes: 'smell'"):
        Zoom(scopes="smell")


def test_it_needs_no_fixture() -> None:
    with Zoom("every-status-code") as zoom:
        assert len(zoom.streams) > 1
        assert zoom.payload["event"] == "meeting.rtms_started"
        assert len({stream.stream_id for stream in zoom.streams}) == len(zoom.streams)
        with pytest.raises(TimeoutError):
            zoom.wait(0.01)
