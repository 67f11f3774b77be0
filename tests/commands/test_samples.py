"""Every line of docs/samples.md does what it says, against the Zoom simulator."""

import asyncio
import json
import re
import shlex
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from event_server import EventServer
from live.bots import Bot, serving
from processes import CREDENTIALS, environment, running, until
from receiver import Receiver
from redis_server import RedisServer
from s3_server import S3Server
from zoomcloud import zoom_cloud

from rtms_cli.protocol.numbers import Product
from rtms_cli.recording.audio import HEADER_SIZE
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator

SAMPLES = Path(__file__).resolve().parents[2] / "docs" / "samples.md"
STAND_IN = f"""#!{sys.executable}
import os, sys
data = sys.stdin.buffer.read() if len(sys.argv) < 2 else repr(sys.argv[1:]).encode()
name = f"{{os.path.basename(sys.argv[0])}}-{{os.environ.get('RTMS_USER_ID', 'all')}}"
with open(os.path.join(os.environ["GOT"], name), "wb") as out:
    out.write(data)
"""


def rows() -> list[str]:
    """The lines, without the columns that say what they are for."""
    found = re.findall(r"^\|[^|]*\| [^|]+ \| `(.+)` \|$", SAMPLES.read_text(), re.MULTILINE)
    return [line.replace(r"\|", "|") for line in found]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with `rtms`, and programs of someone's on the PATH."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "got").mkdir()
    for name in ("ENGINE", "NOTES", "VISION", "UPLOAD"):
        (tmp_path / "bin" / name).write_text(STAND_IN)
    (tmp_path / "bin" / "rtms").write_text(f'#!/bin/sh\nexec {sys.executable} -m rtms_cli "$@"\n')
    for program in (tmp_path / "bin").iterdir():
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def settings(place: Path) -> dict[str, str]:
    path = environment()["PATH"]
    return CREDENTIALS | {"PATH": f"{place / 'bin'}:{path}", "GOT": str(place / "got")}


@asynccontextmanager
async def zoom() -> AsyncIterator[Simulator]:
    client_id, secret, token = CREDENTIALS.values()
    app = App(client_id, secret, token)
    async with Simulator(app) as simulator:
        yield simulator


async def shell(line: str, place: Path) -> str:
    """Run a line in a shell, as someone would; returns its standard output."""
    process = await asyncio.create_subprocess_shell(
        line,
        cwd=place,
        env=environment(settings(place)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode(errors="replace")


async def joined(
    line: str, place: Path, seconds: float = 2.5, product: Product = Product.MEETING, payload: str = "payload.json"
) -> str:
    """Run a line with `join payload.json`."""
    async with zoom() as simulator:
        stream = simulator.announce(product, Scenario(seconds))
        (place / payload).write_bytes(stream.webhook("started"))
        return await shell(line, place)


async def listened(
    line: str, place: Path, is_done: Callable[[], object], more: Mapping[str, str] | None = None
) -> None:
    """Run a line with `listen`, and let Zoom announce a stream; it is asked to end once something has happened."""
    arguments = shlex.split(line)[1:]
    async with (
        zoom() as simulator,
        running(*arguments, "--port", "0", "--plain", cwd=place, settings=settings(place) | dict(more or {})) as rtms,
    ):
        url = (await rtms.line_with("listening on")).split()[-1]
        stream = simulator.announce(Product.MEETING, Scenario(2.5))
        await simulator.post(url, stream, "started")
        await simulator.post(url, stream, "stopped", await stream.done())
        await until(is_done)
        rtms.process.send_signal(signal.SIGTERM)
        assert await rtms.exit_code() == 0, rtms.lines


def recording(place: Path) -> Path:
    (folder,) = (place / "recordings").glob("2*")
    return folder


def wav(place: Path, name: str = "mixed") -> bytes:
    return (recording(place) / f"audio/{name}.wav").read_bytes()[HEADER_SIZE:]


def got(place: Path, name: str) -> bytes:
    return (place / "got" / name).read_bytes()


def nothing_missed(place: Path) -> bool:
    """Whether a tap got all: on a machine that is busy with something else, sound may come late."""
    taps = json.loads((recording(place) / "manifest.json").read_text())["taps"]
    return all(tap["drops"] == 0 and tap["late_seconds"] == 0 and tap["silence_seconds"] == 0 for tap in taps)


def check_audio(place: Path, out: str) -> None:
    assert len(wav(place)) >= 2 * 32_000


def check_engine(place: Path, out: str) -> None:
    assert len(got(place, "ENGINE-all")) >= 2 * 32_000
    assert got(place, "ENGINE-all") == wav(place) or not nothing_missed(place)


def check_each(place: Path, out: str) -> None:
    names = sorted(path.name for path in (place / "got").iterdir())
    assert names
    assert all(name.startswith("ENGINE-1677") for name in names)


def check_transcript(place: Path, out: str) -> None:
    assert out.encode() == (recording(place) / "transcript.jsonl").read_bytes() != b""


def check_notes(place: Path, out: str) -> None:
    assert b"Good morning" in got(place, "NOTES-all")
    assert not (place / "recordings").exists()


def check_chat(place: Path, out: str) -> None:
    assert out.encode() == (recording(place) / "chat.jsonl").read_bytes() != b""


def check_events(place: Path, out: str) -> None:
    assert "ACTIVE_SPEAKER_CHANGE" in out


def check_video(place: Path, out: str) -> None:
    (video,) = (recording(place) / "video").glob("*.h264")
    assert video.stat().st_size > 1000


def check_vision(place: Path, out: str) -> None:
    assert got(place, "VISION-all").startswith(b"\xff\xd8\xff")


def check_slides(place: Path, out: str) -> None:
    assert list((recording(place) / "export").glob("**/*.pdf"))


JOINED: dict[str, Callable[[Path, str], None]] = {
    "--media audio": check_audio,
    "--tap audio,rate=16000:exec:ENGINE": check_engine,
    "--tap audio:- | ENGINE": check_engine,
    "--tap audio,user=each:exec:ENGINE": check_each,
    "--media transcript --tap transcript:-": check_transcript,
    "--media transcript --tap transcript:exec:NOTES --no-record": check_notes,
    "--tap chat:-": check_chat,
    "--tap events:-": check_events,
    "--media video --video h264": check_video,
    "--media video --tap video,every=5s:exec:VISION": check_vision,
    "--media share --on 'finished=rtms export {folder} --to slides'": check_slides,
}
ELSEWHERE = {
    "rtms join payload.json --tap audio,user=each:wss://engine.example/listen",
    "rtms join payload.json --tap audio:twilio+wss://bot.example/media",
    "rtms listen --notify http://127.0.0.1:9000/rtms,events=transcript,batch=2s",
    "rtms listen --tap transcript:exec:NOTES --notify http://127.0.0.1:9000/rtms",
    "rtms listen --out s3://bucket/recordings",
    "rtms join session.json --media audio,transcript",
    "rtms listen --queue redis://queue.example.com",
    "rtms work --queue redis://queue.example.com",
    "rtms listen --events SUBSCRIPTION",
    "rtms listen --on 'finished=rtms export {folder} --to mp4'",
    "rtms listen --on 'finished=UPLOAD {folder}'",
    "rtms listen --tap all:listen:9000",
    'rtms start "855 1234 5678" --record --events SUBSCRIPTION',
    'rtms stop "855 1234 5678" --json',
    "rtms simulate --chaos 42 --webhook http://127.0.0.1:8080/webhook",
}
"""Lines that have a test of their own below."""


def test_every_line_is_run() -> None:
    assert {f"rtms join payload.json {options}" for options in JOINED} | ELSEWHERE == set(rows())


@pytest.mark.parametrize("options", JOINED)
async def test_a_line(options: str, place: Path) -> None:
    seconds = 4 if "share" in options else 2.5  # the screen is shared a little later
    out = await joined(f"rtms join payload.json {options}", place, seconds)
    JOINED[options](place, out)


async def test_an_engine_behind_a_websocket(place: Path) -> None:
    async with serving(Bot()) as bot:
        await joined(f"rtms join payload.json --tap audio,user=each:{bot.url}", place)
    starts = [text for text in bot.texts if text["type"] == "start"]
    assert len(starts) == len(bot.connections) >= 1
    assert bot.media


async def test_a_voice_bot(place: Path) -> None:
    async with serving(Bot()) as bot:
        await joined(f"rtms join payload.json --tap audio:twilio+{bot.url}", place)
    assert [text["event"] for text in bot.texts[:2]] == ["connected", "start"]
    assert bot.texts[-1]["event"] == "stop"
    assert sum(text["event"] == "media" for text in bot.texts) >= 100


async def test_the_transcript_into_an_app(place: Path) -> None:
    receiver = Receiver()
    await receiver.start()
    line = f"rtms listen --notify {receiver.url},events=transcript,batch=2s"
    await listened(line, place, lambda: any("Good morning" in json.dumps(one.event) for one in receiver.taken))
    await receiver.kill()


async def test_an_app_that_acts_on_what_is_said(place: Path) -> None:
    receiver = Receiver()
    await receiver.start()
    line = f"rtms listen --tap transcript:exec:NOTES --notify {receiver.url}"
    await listened(line, place, lambda: (place / "got/NOTES-all").exists() and receiver.taken)
    assert b"Good morning" in got(place, "NOTES-all")
    await receiver.kill()


async def test_an_upload_while_it_runs(place: Path) -> None:
    with S3Server() as s3:
        line = f"rtms listen --out {s3.url}/recordings"
        await listened(line, place, lambda: any(key.endswith("/manifest.json") for key in s3.keys()), s3.settings)
        assert any(key.endswith("/audio/mixed.wav") for key in s3.keys())


async def test_a_session_of_the_video_sdk(place: Path) -> None:
    line = "rtms join session.json --media audio,transcript"
    await joined(line, place, product=Product.VIDEO_SDK, payload="session.json")
    assert "_session_" in recording(place).name
    assert len(wav(place)) >= 2 * 32_000


async def test_a_listener_and_a_worker(place: Path) -> None:
    with RedisServer() as redis:
        work = ["--queue", redis.url, "--plain", "--out", "recordings"]
        async with running("work", *work, cwd=place, settings=settings(place)) as worker:
            line = f"rtms listen --queue {redis.url}"
            await listened(line, place, lambda: list((place / "recordings").glob("2*/audio/mixed.wav")))
            worker.process.send_signal(signal.SIGTERM)
            assert await worker.exit_code() == 0, worker.lines
    assert len(wav(place)) >= 2 * 32_000


async def test_events_without_a_public_url(place: Path) -> None:
    with zoom_cloud() as cloud:
        async with zoom() as simulator, EventServer("SUBSCRIPTION").listening() as events:
            at = {"ZOOM_OAUTH_URL": f"{cloud.url}/oauth/token", "ZOOM_EVENTS_URL": events.url}
            listen = ["listen", "--events", "SUBSCRIPTION", "--plain"]
            async with running(*listen, cwd=place, settings=settings(place) | at) as rtms:
                stream = simulator.announce(Product.MEETING, Scenario(2.5))
                await rtms.line_with("connected")
                await events.deliver(json.loads(stream.webhook("started")))
                await until(lambda: list((place / "recordings").glob("2*/audio/mixed.wav")))
                await stream.done()
                rtms.process.send_signal(signal.SIGTERM)
                assert await rtms.exit_code() == 0, rtms.lines
    assert len(wav(place)) >= 2 * 32_000


async def test_a_film_when_it_is_over(place: Path) -> None:
    line = "rtms listen --on 'finished=rtms export {folder} --to mp4'"
    await listened(line, place, lambda: list((place / "recordings").glob("2*/export/*.mp4")))


async def test_an_upload_when_it_is_over(place: Path) -> None:
    await listened("rtms listen --on 'finished=UPLOAD {folder}'", place, lambda: (place / "got/UPLOAD-all").exists())
    assert got(place, "UPLOAD-all").decode() == repr([str(recording(place))])


async def test_a_client_in_another_language(place: Path) -> None:
    """Its client in 15 lines is run by the tests of docs/live-websocket.md."""
    line = "rtms listen --tap all:listen:0"
    await listened(line, place, lambda: list((place / "recordings").glob("2*/manifest.json")))


async def test_a_stream_is_started_recorded_and_stopped(place: Path) -> None:
    with zoom_cloud() as cloud:
        async with zoom() as simulator, EventServer("SUBSCRIPTION").listening() as events:
            at = {
                "ZOOM_OAUTH_URL": f"{cloud.url}/oauth/token",
                "ZOOM_API_URL": cloud.url,
                "ZOOM_EVENTS_URL": events.url,
            }
            start = shlex.split('rtms start "855 1234 5678" --record --events SUBSCRIPTION')[1:]
            async with running(*start, "--plain", cwd=place, settings=settings(place) | at) as rtms:
                await rtms.line_with("waiting for its started webhook")
                await events.deliver(json.loads(simulator.announce(Product.MEETING, Scenario(2.5)).webhook("started")))
                assert await rtms.exit_code() == 0, rtms.lines
            async with running("stop", "855 1234 5678", "--json", cwd=place, settings=settings(place) | at) as rtms:
                assert (await rtms.line_with('"accepted":true'))[0] == "{"
        assert [json.loads(call.body)["action"] for call in cloud.calls] == ["start", "stop"]
    assert len(wav(place)) > 32_000


async def test_failures(place: Path) -> None:
    async with running("listen", "--port", "0", "--plain", cwd=place, settings=settings(place)) as rtms:
        url = (await rtms.line_with("listening on")).split()[-1]
        await shell(f"rtms simulate --chaos 42 --seconds 5 --webhook {url}", place)
        rtms.process.send_signal(signal.SIGTERM)
        assert await rtms.exit_code() == 0
    assert len(wav(place)) > 32_000
