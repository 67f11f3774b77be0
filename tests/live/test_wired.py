"""The commands with taps over sockets: processes, a server of ours, a bot, and clients of what they serve."""

import asyncio
import base64
import json
import wave
from pathlib import Path

import pytest
from frames import ZERO_MS, said
from live.bots import Bot, Unreading, raw_server, serving
from live.tapping import PACKET, Tapped
from ports import free_port
from processes import CREDENTIALS, Running, rtms, running, until
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from rtms_cli.live import outlet
from rtms_cli.live.opening import descriptors_for
from rtms_cli.live.serving import MOST_ASKING, MOST_CLIENTS
from rtms_cli.live.spec import read_tap
from rtms_cli.machine import Frame

TOKEN = "the-token-of-the-taps"


def samples(recording: Path) -> bytes:
    with wave.open(str(recording / "audio/mixed.wav")) as source:
        return bytes(source.readframes(source.getnframes()))


async def webhook_of(listen: Running) -> str:
    return (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]


async def test_a_recording_and_its_taps_have_the_same_samples(tmp_path: Path) -> None:
    async with serving(Bot()) as plain, serving(Bot()) as bot:
        taps = [
            f"audio,hold=10s:{plain.url}?token=in-the-url",
            f"audio,hold=10s:twilio+{bot.url}",
            "all,hold=10s:listen:0",
        ]
        arguments = ["listen", "--port", "0", "--json", *(word for tap in taps for word in ("--tap", tap))]
        settings = CREDENTIALS | {"RTMS_TAP_TOKEN": TOKEN}
        async with running(*arguments, cwd=tmp_path, settings=settings) as listen:
            tap = await listen.event("tap")
            url = await webhook_of(listen)
            served = Bot()
            async with connect(f"{tap['url']}/next?token={TOKEN}") as client:
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
        (["--tap", "all:listen:9000", "--tap-host", "0.0.0.0"], {}, "open to everyone"),
        (["--tap", "audio:ws://127.0.0.1:1/"], {"RTMS_TAP_TOKEN": "two words"}, "RTMS_TAP_TOKEN"),
    ):
        done = rtms("demo", *arguments, cwd=tmp_path, settings=settings)
        assert done.returncode == 2
        assert what in done.stderr
        assert done.stderr.startswith("error: ")
        assert list(tmp_path.glob("recordings/*")) == []


def event(number: int, at_us: int, **fields: object) -> Frame:
    return said({"msg_type": 6, "event": {"event_type": number, "timestamp": ZERO_MS, **fields}}, at_us, "signaling")


async def test_a_target_is_told_who_was_named_by_then_whatever_else_zoom_sends() -> None:
    hostile: list[object] = [
        None,
        7,
        {"user_id": {"a": [1]}, "user_name": ["x"]},
        {"user_id": 10**50, "user_name": "big"},
    ]
    people = [*hostile, {"user_id": 7, "user_name": "Ada"}, {"user_id": 8, "user_name": "Bob"}]
    async with serving(Bot()) as sound, serving(Bot()) as events:
        tapped = Tapped(f"audio:{sound.url}", f"events:{events.url}")
        await tapped.come([event(3, 1_000, participants=people), event(3, 2_000, participants={"user_id": 1})])
        await tapped.come([event(2, 3_000, user_id={"a": 1}, user_name=7), event(3, 4_000, participants=[[[]]])])
        await tapped.speak(1, 3)
        await tapped.close()
    named = [(one["user_id"], one["user_name"]) for one in sound.texts[0]["participants"]]
    assert (7, "Ada") in named
    assert (8, "Bob") in named
    assert [text["type"] for text in events.texts].count("events") >= 4


async def test_a_connection_that_breaks_off_is_opened_again_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "FIRST_PAUSE_S", 0.01)
    async with serving(Bot()) as bot:
        tapped = Tapped(f"audio:{bot.url}")
        await tapped.come([event(3, 1_000, participants=[{"user_id": 7, "user_name": "Ada"}])])
        before = await tapped.speak(1, 10)
        await until(lambda: sum(len(data) for *_, data in bot.media) == len(before))
        bot.connections[0].transport.abort()
        number = 11
        while len(bot.connections) < 2 or len(bot.media) < 11:
            await tapped.speak(number, 1)
            await asyncio.sleep(0.005)
            number += 1
        (entry,) = await tapped.close()
    starts = [text for text in bot.texts if text["type"] == "start"]
    assert len(starts) == 2
    assert starts[0] == starts[1]
    assert (entry.restarts, entry.drops > 0) == (
        1,
        len(b"".join(data for *_, data in bot.media)) < (number - 1) * PACKET,
    )
    assert [fields["state"] for fields, _ in tapped.told] == ["open", "lost", "open"]


async def test_a_server_that_reads_nothing_costs_a_bounded_buffer() -> None:
    peer = Unreading()
    async with raw_server(peer) as url:
        tapped = Tapped(f"audio,buffer=1s:{url}")
        whole = await tapped.speak(0, 20_000)
        output = tapped.taps[0]._outputs[None]
        assert output.outlet is not None
        assert len(output.outlet.buffer._pieces) <= 60
        entry = output.current_entry()
        assert entry.drops > 1_000
        peer.transport.abort()
        (entry,) = await tapped.close()
    assert entry.bytes + entry.dropped_seconds * 32_000 == pytest.approx(len(whole), abs=PACKET * 60)


async def test_a_server_that_refuses_is_asked_once(tmp_path: Path) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(401, "no")

    async with serving(Bot(), answer=refuse) as bot:
        tapped = Tapped(f"audio:{bot.url}?token=very-secret")
        await tapped.speak(0, 5)
        await until(lambda: len(tapped.told) == 1)
        await tapped.speak(5, 5)
        (entry,) = await tapped.close()
    (told,) = tapped.told
    assert told[0]["state"] == "gone"
    assert told[1] == f"tap audio → {bot.url}: it answered HTTP 401; nothing more is sent to it"
    assert (entry.bytes, entry.restarts, entry.error) == (0, 0, "it answered HTTP 401")


@pytest.mark.parametrize(
    ("taps", "once", "each"),
    [
        ([], 0, 0),
        (["audio:ws://x/", "chat:wss://x/"], 0, 4),
        (["all:listen:9000"], MOST_CLIENTS + MOST_ASKING + 1, 0),
        (["audio,user=each:twilio+ws://x/"], 0, 20),
    ],
)
def test_descriptors_are_kept_for_taps(taps: list[str], once: int, each: int) -> None:
    assert descriptors_for([read_tap(text) for text in taps]) == (once, each)
