"""The commands with taps over sockets: processes, a server of ours, a bot, and clients of what they serve."""

import asyncio
import base64
import json
import socket
import wave
from pathlib import Path

from live.bots import Bot, serving
from processes import CREDENTIALS, Running, rtms, running
from websockets.asyncio.client import connect

TOKEN = "the-token-of-the-taps"


def samples(recording: Path) -> bytes:
    with wave.open(str(recording / "audio/mixed.wav")) as source:
        return bytes(source.readframes(source.getnframes()))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def webhook_of(listen: Running) -> str:
    return (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]


async def test_a_recording_and_its_taps_have_the_same_samples(tmp_path: Path) -> None:
    port = free_port()
    async with serving(Bot()) as plain, serving(Bot()) as bot:
        taps = [f"audio:{plain.url}?token=in-the-url", f"audio:twilio+{bot.url}", f"all:listen:{port}"]
        arguments = ["listen", "--port", "0", "--json", *(word for tap in taps for word in ("--tap", tap))]
        settings = CREDENTIALS | {"RTMS_TAP_TOKEN": TOKEN}
        async with running(*arguments, cwd=tmp_path, settings=settings) as listen:
            url = await webhook_of(listen)
            served = Bot()
            async with connect(f"ws://127.0.0.1:{port}/streams/next?token={TOKEN}") as client:
                simulate = ["simulate", "--webhook", url, "--seconds", "2", "--json"]
                done = await asyncio.to_thread(rtms, *simulate, cwd=tmp_path, settings=CREDENTIALS)
                assert done.returncode == 0, done.stdout + done.stderr
                async for message in client:
                    served.messages.append(message)
            assert (await listen.event("finished"))["status"] == "complete"
        said = "\n".join(listen.lines)
    (recording,) = (tmp_path / "recordings").iterdir()
    whole = samples(recording)
    assert len(whole) > 60_000
    assert b"".join(data for *_, data in plain.media) == whole
    assert b"".join(data for kind, *_, data in served.media if kind == 1) == whole
    for kind in ("transcript", "chat", "events"):
        lines = [json.loads(line) for line in (recording / f"{kind}.jsonl").read_text().splitlines()]
        live = [text["line"] for text in served.texts if text["type"] == kind]
        assert [line | {"t": 0} for line in live] == [line | {"t": 0} for line in lines]  # zero may move
        assert lines
    chunks = [base64.b64decode(text["media"]["payload"]) for text in bot.texts if text["event"] == "media"]
    assert abs(len(b"".join(chunks)) * 4 - len(whole)) < 640
    assert bot.texts[-1]["event"] == "stop"
    assert plain.authorization == bot.authorization == [f"Bearer {TOKEN}"]
    manifest = (recording / "manifest.json").read_text()
    assert json.loads(manifest)["taps"][0]["target"] == plain.url
    for secret in ("in-the-url", TOKEN):
        assert secret not in manifest
        assert secret not in said
        assert secret not in (recording / "capture.jsonl").read_text()


async def test_each_participant_has_a_connection_and_all_are_one_stream_to_clients(tmp_path: Path) -> None:
    port = free_port()
    async with serving(Bot()) as bot:
        taps = ["--tap", f"audio,user=each:{bot.url}", "--tap", f"audio,user=each:listen:{port}"]
        arguments = ["listen", "--port", "0", "--json", "--no-record", *taps]
        async with running(*arguments, cwd=tmp_path, settings=CREDENTIALS) as listen:
            url = await webhook_of(listen)
            served = Bot()
            async with connect(f"ws://127.0.0.1:{port}/streams/next") as client:
                simulate = ["simulate", "--webhook", url, "--seconds", "7", "--json"]
                done = await asyncio.to_thread(rtms, *simulate, cwd=tmp_path, settings=CREDENTIALS)
                assert done.returncode == 0, done.stdout + done.stderr
                async for message in client:
                    served.messages.append(message)
            await listen.event("finished")
    names = {text["user"]: text["user_name"] for text in served.texts if text["type"] == "user"}
    starts = [text for text in bot.texts if text["type"] == "start"]
    assert len(starts) > 1
    assert {start["user_name"] for start in starts} == set(names.values())
    assert {user for _, user, _, _ in served.media} == set(names)
    assert sum(len(data) for *_, data in bot.media) == sum(len(data) for *_, data in served.media)


def test_what_cannot_be_served_is_said_before_anything_runs(tmp_path: Path) -> None:
    for arguments, settings, what in (
        (["--tap", "all:listen:9000", "--tap-host", "0.0.0.0"], {}, "open to everybody"),
        (["--tap", "audio:ws://127.0.0.1:1/"], {"RTMS_TAP_TOKEN": "two words"}, "RTMS_TAP_TOKEN"),
    ):
        done = rtms("demo", *arguments, cwd=tmp_path, settings=settings)
        assert done.returncode == 2
        assert what in done.stderr
        assert done.stderr.startswith("error: ")
        assert list(tmp_path.glob("recordings/*")) == []
