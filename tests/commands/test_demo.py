"""The demo's recording, the same from its capture, and a listener and a simulator that are content with each other."""

import asyncio
import json
import signal
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from harness import read_jsonl, read_wav, same_files
from processes import CREDENTIALS, rtms, running, until
from prometheus_client.parser import text_string_to_metric_families

from rtms_cli.protocol.numbers import Product
from rtms_cli.simulator.media import mixed
from rtms_cli.simulator.scenario import PEOPLE

RATE, PACKET = 16_000, 320


def only(folder: Path) -> Path:
    """The one recording in a folder."""
    (recording,) = folder.iterdir()
    return recording


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of `rtms demo`."""
    folder = tmp_path_factory.mktemp("demo")
    done = rtms("demo", "--seconds", "3", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "complete, reason 6 STOP_BC_MEETING_ENDED" in done.stdout
    assert "3.0 s, 3 people, nothing lost" in done.stdout
    return only(folder / "recordings")


def test_mixed_wav_holds_the_very_samples_that_were_sent(demo: Path) -> None:
    samples, rate = soundfile.read(demo / "audio/mixed.wav", dtype="int16")
    assert rate == RATE
    assert abs(len(samples) - 3 * RATE) <= PACKET
    assert np.array_equal(samples, mixed(len(PEOPLE), 0, len(samples), RATE))
    assert np.array_equal(samples, read_wav(demo / "audio/mixed.wav")[1])


def test_every_kind_of_file_is_there(demo: Path) -> None:
    manifest = json.loads((demo / "manifest.json").read_text())
    assert (manifest["status"], manifest["losses"], manifest["warnings"]) == ("complete", [], [])
    assert {track["kind"] for track in manifest["tracks"]} == {
        "audio", "video", "share", "transcript", "chat", "events"
    }  # fmt: skip
    assert {str(path.relative_to(demo)) for path in demo.rglob("*") if path.is_file()} >= {
        track["path"] for track in manifest["tracks"]
    } | {"capture.jsonl", "manifest.json"}
    assert read_jsonl(demo / "transcript.jsonl")[0]["text"] == "Good morning, can everybody hear me?"
    assert [line["event"] for line in read_jsonl(demo / "events.jsonl")][:2] == [
        "FIRST_PACKET_TIMESTAMP", "ACTIVE_SPEAKER_CHANGE"
    ]  # fmt: skip


def test_replay_makes_the_same_files(demo: Path, tmp_path: Path) -> None:
    done = rtms("replay", demo, "--out", tmp_path / "again", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    same_files(demo, only(tmp_path / "again"))


def test_replay_of_a_capture_that_ends_in_mid_line_says_so_and_keeps_the_rest(demo: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes((demo / "capture.jsonl").read_bytes()[:-10])
    done = rtms("replay", torn, "--out", tmp_path / "again", "--json", cwd=tmp_path)
    manifest = json.loads(done.stdout)["manifest"]
    assert manifest["messages"]["received"]["MEDIA_DATA_AUDIO"]["count"] == 150


@pytest.mark.parametrize(("arguments", "kinds"), [(["--media", "audio"], {"audio", "events"}), (["--split"], None)])
def test_demo_of_other_requests(arguments: list[str], kinds: set[str] | None, tmp_path: Path) -> None:
    done = rtms("demo", "--seconds", "1.5", "--json", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    events = [json.loads(line) for line in done.stdout.splitlines()]
    finished = events[-1]
    assert (finished["event"], finished["status"]) == ("finished", "complete")
    channels = {event["channel"] for event in events if event["event"] == "frame"}
    if kinds is None:
        assert channels == {"webhook", "signaling"} | {
            f"media.{kind}" for kind in ("audio", "video", "share", "transcript", "chat")
        }
    else:
        assert {track["kind"] for track in finished["tracks"]} == kinds


async def scraped(url: str) -> dict[tuple[str, ...], float]:
    """A listener's figures, by name and labels, as Prometheus' own parser reads them."""
    async with httpx.AsyncClient(timeout=None) as client:
        answer = await client.get(url)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = text_string_to_metric_families(answer.text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


async def test_listen_and_simulate_are_content_with_each_other_for_every_product(tmp_path: Path) -> None:
    async with running("listen", "--port", "0", "--json", cwd=tmp_path, settings=CREDENTIALS) as listen:
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        arguments = ["--webhook", url, "--products", "all", "--streams", "2", "--seconds", "2", "--json"]
        async with running("simulate", *arguments, cwd=tmp_path, settings=CREDENTIALS) as simulate:
            assert await simulate.exit_code() == 0, simulate.lines
        for _ in range(10):
            assert (await listen.event("finished"))["status"] == "complete"
        figures = await scraped(url.replace("/webhook", "/metrics"))
        listen.process.send_signal(signal.SIGINT)
        assert await listen.exit_code() == 0, listen.lines
    reports = json.loads(simulate.lines[-1])
    assert len(reports) == 10
    assert figures["rtms_streams",] == 0
    assert figures["rtms_recordings_total", "complete"] == 10
    assert figures["rtms_webhooks_total", "200"] == 20
    assert figures["rtms_messages_total", "MEDIA_DATA_AUDIO"] == 1400  # two channels of each call
    assert figures["rtms_received_bytes_total", "MEDIA_DATA_AUDIO"] > 1000 * 640 * 4 / 3
    assert figures["rtms_written_bytes_total",] > 1000 * 640
    assert figures["rtms_keep_alives_received_total",] == figures["rtms_keep_alives_answered_total",]
    assert (figures["rtms_losses_total",], figures["rtms_backlog_bytes",]) == (0, 0)
    assert figures["rtms_disk_free_bytes",] > 0
    assert {report["product"] for report in reports} == set(Product)
    assert not any(report["findings"] for report in reports)
    folders = list((tmp_path / "recordings").iterdir())
    assert len(folders) == 10
    for folder in folders:
        manifest = json.loads((folder / "manifest.json").read_text())
        assert (manifest["status"], manifest["losses"]) == ("complete", [])
        is_call = manifest["product"] in ("contact_center", "phone")
        sounds = {track.get("channel_id"): track["path"] for track in manifest["tracks"] if track["kind"] == "audio"}
        assert sorted(sounds, key=str) == (
            [0, 1] if is_call else [None]
        )  # on two sockets names may come after the sound
        _, samples = read_wav(folder / sounds[0 if is_call else None])
        assert np.array_equal(samples, mixed(2 if is_call else len(PEOPLE), 0, 2 * RATE, RATE))


@pytest.mark.parametrize("way", ["file", "standard input"])
async def test_join_takes_a_payload_with_its_own_signature(way: str, tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    async with running("simulate", "--payload-out", payload, "--seconds", "1", "--json", cwd=tmp_path) as simulate:
        await until(lambda: payload.exists() and payload.read_text().endswith("\n"))
        given = (str(payload), "") if way == "file" else ("-", payload.read_text())
        joined = await asyncio.to_thread(rtms, "join", given[0], "--media", "audio", cwd=tmp_path, stdin=given[1])
        assert joined.returncode == 0, joined.stdout + joined.stderr
        assert await simulate.exit_code() == 0
    folder = only(tmp_path / "recordings")
    assert json.loads((folder / "manifest.json").read_text())["stop"]["reason"] == 6
    assert '"signature":"[redacted]"' in (folder / "capture.jsonl").read_text().replace(": ", ":")


async def test_a_wrong_signature_is_named_on_both_sides(tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    arguments = ["--payload-out", str(payload), "--seconds", "1", "--json"]
    async with running("simulate", *arguments, cwd=tmp_path, settings=CREDENTIALS) as simulate:
        await until(lambda: payload.exists() and payload.read_text().endswith("\n"))
        wrong = CREDENTIALS | {"ZOOM_CLIENT_SECRET": "another"}
        joined = await asyncio.to_thread(rtms, "join", payload, cwd=tmp_path, settings=wrong)
        assert joined.returncode == 3
        assert "status_code 3 STATUS_INVALID_SIGNATURE" in joined.stdout
        assert "rtms sign" in joined.stdout
        simulate.process.send_signal(signal.SIGTERM)
        assert await simulate.exit_code() == 1
    (report,) = json.loads(simulate.lines[-1])
    assert "the signature is wrong" in report["findings"][0]["what"]


def test_output_in_an_old_encoding(tmp_path: Path) -> None:
    """A terminal, or a pipe on Windows, may lack arrows and ticks."""
    old = {"PYTHONIOENCODING": "ascii"}
    assert rtms("demo", "--seconds", "1", cwd=tmp_path, settings=old).stderr == ""
    for arguments in ((), ("--all",), ("--messages",), ("--timeline",)):
        shown = rtms("inspect", *arguments, cwd=tmp_path, settings=old)
        assert (shown.returncode, shown.stdout.isascii()) == (0, True), shown.stderr
    assert "MEDIA_DATA_AUDIO" in rtms("inspect", "--messages", cwd=tmp_path, settings=old).stdout


def test_the_demo_by_way_of_the_cloud(tmp_path: Path) -> None:
    done = rtms("demo", "--cloud", "--seconds", "4", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [
        "the simulated Zoom cloud is at http://127.0.0.1:",
        "token: requested by client_credentials, and issued",
        "connected to Zoom's event WebSocket",
        "REST: requested start: meeting 8",
        "(by the event WebSocket)",
        "recording Meeting",
        "REST: requested stop: meeting 8",
        "complete, reason 25 STOP_BC_MANUAL_API_TRIGGERED",
    ]
    places = [done.stdout.find(step) for step in steps]
    assert -1 not in places, done.stdout
    assert places == sorted(places)
    folder = only(tmp_path / "recordings")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["status"], manifest["losses"], manifest["warnings"]) == ("complete", [], [])
    assert manifest["announced_by"] == "events"
    assert {track["kind"] for track in manifest["tracks"]} == {
        "audio", "video", "share", "transcript", "chat", "events"
    }  # fmt: skip
    webhooks = [line for line in read_jsonl(folder / "capture.jsonl") if line.get("ch") == "webhook"]
    assert webhooks
    assert {line["via"] for line in webhooks} == {"events"}


def test_the_demo_by_way_of_the_cloud_in_json(tmp_path: Path) -> None:
    done = rtms("demo", "--cloud", "--seconds", "1", "--media", "audio", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    names = [line["event"] for line in lines]
    assert names.index("events") < names.index("started") < names.index("finished")
    assert next(line for line in lines if line["event"] == "finished")["status"] == "complete"


async def test_ctrl_c_ends_the_demo_by_way_of_the_cloud(tmp_path: Path) -> None:
    async with running("demo", "--cloud", "--seconds", "600", "--plain", cwd=tmp_path) as process:
        await process.line_with("MEDIA_DATA_TRANSCRIPT")
        process.process.send_signal(signal.SIGINT)
        assert await process.exit_code() == 0, process.lines
    assert json.loads((only(tmp_path / "recordings") / "manifest.json").read_text())["status"] == "complete"
    assert not any("found a mistake" in line for line in process.lines)
