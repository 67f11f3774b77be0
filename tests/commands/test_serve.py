"""`rtms replay --serve`: a demo's capture, served to our own client and to one by hand."""

import asyncio
import gzip
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from harness import made_certificate, same_files
from processes import CREDENTIALS, Running, rtms, running, until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from rtms_cli.capture import Capture
from rtms_cli.simulator.recorded import Recording
from rtms_cli.simulator.server import App, Simulator

TIMED = ["capture.jsonl", "manifest.json"]
"""Files that tell when something came."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    done = rtms("demo", "--seconds", "3", "--out", folder, cwd=folder)
    assert done.returncode == 0, done.stdout
    return next(folder.iterdir())


def same_recording(one: Path, other: Path) -> None:
    timed = [str(path.relative_to(one)) for path in one.rglob("*.index.jsonl")]
    same_files(one, other, but=[*TIMED, *timed])


async def payload_of(serve: Running) -> dict[str, Any]:
    """The webhook's body, which is printed."""
    body: dict[str, Any] = json.loads(await serve.line_with('"meeting.rtms_started"'))
    return body


async def join(payload: dict[str, Any], out: Path, *arguments: str) -> Path:
    """Record a stream that is served.

    :returns: the recording.
    """
    await try_to_join(payload, out, *arguments)
    return next((out / "rec").iterdir())


async def try_to_join(
    payload: dict[str, Any], out: Path, *arguments: str, code: int = 0, secret: str = "its secret"
) -> None:
    await asyncio.to_thread(out.mkdir)
    (out / "payload.json").write_text(json.dumps(payload))
    settings = CREDENTIALS | {"ZOOM_CLIENT_SECRET": secret}
    arguments = ("join", "payload.json", "--plain", "--out", "rec", *arguments)
    async with running(*arguments, cwd=out, settings=settings) as process:
        assert await process.exit_code() == code, process.lines


async def test_twice_in_a_row_and_split_the_same_recording(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress((demo / "capture.jsonl").read_bytes()))
    arguments = ("replay", "c.jsonl.gz", "--serve", "--speed", "max")
    async with running(*arguments, cwd=tmp_path, settings=CREDENTIALS) as serve:
        payload = await payload_of(serve)
        for number, options in enumerate([[], ["--split"], []]):
            same_recording(demo, await join(payload, tmp_path / str(number), *options))
            await serve.line_with("sent 150 audio, 15 video")
            await serve.line_with("clean: the client did everything right.")
        few = await join(payload, tmp_path / "few", "--media", "transcript")
        assert (few / "transcript.jsonl").read_text().count("\n") == 1
        assert not (few / "audio").exists()
        await serve.line_with("clean")
        serve.process.terminate()
        assert await serve.exit_code() == 0


async def test_over_tls_under_another_name(demo: Path, tmp_path: Path) -> None:
    certificate = made_certificate(tmp_path)
    secured = ("--cert", certificate / "both.pem", "--public-host", "localhost")
    async with running(
        "replay", demo, "--serve", "--once", "--speed", "max", *secured, cwd=tmp_path, settings=CREDENTIALS
    ) as serve:
        payload = await payload_of(serve)
        assert payload["payload"]["server_urls"].startswith("wss://localhost:")
        same_recording(demo, await join(payload, tmp_path / "joined", "--ca-file", str(certificate / "cert.pem")))
        assert await serve.exit_code() == 0, serve.lines


async def test_a_connection_that_broke_breaks_again(tmp_path: Path) -> None:
    (tmp_path / "breaks.toml").write_text(
        'description = "Media break."\nseconds = 6\npeople = ["Ann"]\n[[event]]\nat = 1\ndrop = "media"\n'
    )
    arguments = ("simulate", "--scenario", "breaks.toml", "--payload-out", "payload.json")
    async with running(*arguments, cwd=tmp_path, settings=CREDENTIALS) as zoom:
        written = tmp_path / "payload.json"
        await until(lambda: written.exists() and written.read_text().endswith("\n"))
        payload = json.loads(written.read_text())
        recorded = await join(payload, tmp_path / "live", "--media", "audio")
        assert await zoom.exit_code() == 0, zoom.lines
    async with running("replay", recorded, "--serve", "--once", cwd=tmp_path, settings=CREDENTIALS) as serve:
        again = await join(await payload_of(serve), tmp_path / "again", "--media", "audio")
        assert await serve.exit_code() == 0, serve.lines
    same_files(recorded / "audio", again / "audio")
    for folder in (recorded, again):
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["status"] == "complete"
        closed = [(one["channel"], one["code"]) for one in manifest["connections"] if one["code"] == 1006]
        assert closed == [("media", 1006)]


async def test_in_real_time_by_webhook(demo: Path, tmp_path: Path) -> None:
    async with running("listen", "--port", "0", "--plain", cwd=tmp_path, settings=CREDENTIALS) as listen:
        hook = (await listen.line_with("listening on")).split("listening on ")[1]
        arguments = ("replay", demo, "--serve", "--once", "--webhook", hook, "--json")
        async with running(*arguments, cwd=tmp_path, settings=CREDENTIALS) as serve:
            assert await serve.exit_code() == 0, serve.lines
        (report,) = json.loads(serve.lines[-1])
        assert (report["ready"], report["findings"], report["untaken"]) == (True, [], {})
        await listen.line_with("complete")
        listen.process.terminate()
        assert await listen.exit_code() == 0
    same_recording(demo, next((tmp_path / "recordings").iterdir()))


async def test_a_wrong_signature_is_refused_and_told(demo: Path, tmp_path: Path) -> None:
    async with running("replay", demo, "--serve", cwd=tmp_path, settings=CREDENTIALS) as serve:
        payload = await payload_of(serve)
        await try_to_join(payload, tmp_path / "wrong", code=3, secret="another")
        await serve.line_with("wrong: signaling: 1: the signature is wrong")
        serve.process.terminate()
        assert await serve.exit_code() == 1
    assert any("WRONG" in line and "the signature is wrong" in line for line in serve.lines)


class ByHand:
    """A client of plain `websockets` and `json`, with a socket for each of two kinds."""

    def __init__(self, payload: dict[str, Any]) -> None:
        self.url = payload["server_urls"]
        ids = {"meeting_uuid": payload["meeting_uuid"], "rtms_stream_id": payload["rtms_stream_id"]}
        message = f"an-app,{ids['meeting_uuid']},{ids['rtms_stream_id']}".encode()
        signature = hmac.new(b"its secret", message, hashlib.sha256).hexdigest()
        self.signed = {"protocol_version": 1, "sequence": 1, "signature": signature, **ids}
        self.frames: dict[str, list[bytes]] = {"signaling": [], "audio": [], "chat": []}

    async def ask(self, socket: ClientConnection, **body: object) -> dict[str, Any]:
        await socket.send(json.dumps(body))
        answer: dict[str, Any] = json.loads(await socket.recv())
        return answer

    async def read(self, name: str, socket: ClientConnection) -> None:
        try:
            while True:
                raw = await socket.recv(decode=False)
                message = json.loads(raw)
                if message["msg_type"] == 12:
                    await socket.send(json.dumps({**message, "msg_type": 13}))
                else:
                    self.frames[name].append(raw)
        except ConnectionClosed:
            pass

    async def run(self) -> None:
        async with connect(self.url, proxy=None) as signaling:
            urls = (await self.ask(signaling, msg_type=1, **self.signed))["media_server"]["server_urls"]
            async with connect(urls["audio"], proxy=None) as audio, connect(urls["chat"], proxy=None) as chat:
                for socket, kind in ((audio, 1), (chat, 16)):
                    granted = await self.ask(socket, msg_type=3, media_type=kind, **self.signed)
                    assert granted["status_code"] == 0
                await signaling.send(json.dumps({"msg_type": 7, "rtms_stream_id": self.signed["rtms_stream_id"]}))
                await asyncio.gather(
                    self.read("signaling", signaling), self.read("audio", audio), self.read("chat", chat)
                )


def recorded(capture: Path, *types: int) -> list[bytes]:
    """The raw bytes of frames that a capture has, cut out of its lines by hand."""
    found = []
    for line in capture.read_bytes().splitlines():
        where, _, data = line.partition(b'"data": ')
        if b'"dir": "in"' in where and b"webhook" not in where and json.loads(data[:-1])["msg_type"] in types:
            found.append(data[:-1])
    return found


@pytest.mark.parametrize("speed", ["max", "10"])
async def test_a_client_by_hand_gets_the_bytes(speed: str, demo: Path, tmp_path: Path) -> None:
    arguments = ("replay", demo, "--serve", "--once", "--speed", speed, "--payload-out", "p.json")
    async with running(*arguments, cwd=tmp_path, settings=CREDENTIALS) as serve:
        await serve.line_with("The capture is served at ws://127.0.0.1:")
        payload = tmp_path / "p.json"
        await until(lambda: payload.exists() and payload.read_bytes().endswith(b"\n"))
        client = ByHand(json.loads(payload.read_bytes())["payload"])
        await client.run()
        assert await serve.exit_code() == 0, serve.lines
    capture = demo / "capture.jsonl"
    assert client.frames["audio"] == recorded(capture, 14)
    assert client.frames["chat"] == recorded(capture, 18)
    events = [raw for raw in recorded(capture, 6, 8, 9) if json.loads(raw).get("event", {}).get("event_type", 1) == 1]
    assert client.frames["signaling"] == events  # nothing was subscribed to


def test_what_makes_no_sense(demo: Path, tmp_path: Path) -> None:
    for arguments, said in [
        (["--once"], "--once needs --serve."),
        (["--serve", "--out", "x"], "--out does nothing with --serve."),
        (["--serve", "--keep-encoded"], "--keep-encoded does nothing with --serve."),
        (["--port", "1"], "--port needs --serve."),
        (["--serve", "--speed", "0"], "--speed 0 is not a valid speed."),
        (["--serve", "--webhook", "host"], "--webhook host is not an http:// or https:// URL."),
    ]:
        done = rtms("replay", demo, *arguments, cwd=tmp_path, settings=CREDENTIALS)
        assert (done.returncode, said in done.stderr) == (2, True)


async def test_who_comes_while_another_is_leaving_is_served_from_the_start(demo: Path) -> None:
    app = App("an-app", "its secret", "")
    recording = Recording(Capture(demo))
    async with Simulator(app) as simulator:
        first = simulator.announce_recorded(recording, at_once=True)
        payload = json.loads(first.webhook("started"))["payload"]
        leaving, coming = ByHand(payload), ByHand(payload)
        async with connect(payload["server_urls"], proxy=None) as signaling:
            urls = (await leaving.ask(signaling, msg_type=1, **leaving.signed))["media_server"]["server_urls"]
            async with connect(urls["all"], proxy=None) as media:
                await leaving.ask(media, msg_type=3, media_type=32, **leaving.signed)
                media.transport.pause_reading()  # so its closing handshake takes as long as it may
                await signaling.close()
                await until(lambda: first.zoom.is_over)
                running = asyncio.create_task(coming.run())
                await first.done()
                second = simulator.announce_recorded(recording, at_once=True)
                await running
                await second.done()
    assert [finding.channel for finding in first.report().findings] == ["signaling"]
    assert second.report().findings == ()
    assert coming.frames["audio"] == recorded(demo / "capture.jsonl", 14)
