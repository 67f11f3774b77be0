"""Ctrl-C and SIGTERM: once finishes every recording, twice ends at once; files are whole either way."""

import asyncio
import json
import signal
from pathlib import Path

import pytest
from harness import read_wav
from processes import CREDENTIALS, running, until
from websockets.asyncio.server import ServerConnection, serve

STREAMS = 20


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
async def test_once_finishes_twenty_recordings(asked: signal.Signals, tmp_path: Path) -> None:
    async with running("listen", "--port", "0", "--json", cwd=tmp_path, settings=CREDENTIALS) as listen:
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        arguments = ["--webhook", url, "--streams", str(STREAMS), "--seconds", "60"]
        async with running("simulate", *arguments, "--json", cwd=tmp_path, settings=CREDENTIALS) as simulate:
            for _ in range(STREAMS):
                await listen.line_with("CLIENT_READY_ACK")
            listen.process.send_signal(asked)
            async with asyncio.timeout(20):
                assert await listen.exit_code() == 0
            assert sum('"event":"finished"' in line for line in listen.lines) == STREAMS
            # The stopped webhooks come too late for a listener that is gone; the sockets were closed as they should be.
            await simulate.exit_code()
    folders = list((tmp_path / "recordings").iterdir())
    assert len(folders) == STREAMS
    for folder in folders:
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["status"] == "complete"
        assert manifest["stop"]["said_by"] == {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}[asked]
        assert manifest["losses"] == []
        if (folder / "audio").exists():
            assert read_wav(folder / "audio/mixed.wav")[0] == 16_000


async def test_twice_ends_at_once(tmp_path: Path) -> None:
    asked_to_close = asyncio.Event()

    async def deaf(socket: ServerConnection) -> None:
        """Accepts, and never answers `21`."""
        async for message in socket:
            match json.loads(message)["msg_type"]:
                case 1:
                    urls = {"server_urls": {"all": url}}
                    await socket.send(json.dumps({"msg_type": 2, "status_code": 0, "media_server": urls}))
                case 3:
                    await socket.send(json.dumps({"msg_type": 4, "status_code": 0}))
                case 21:
                    asked_to_close.set()

    async with serve(deaf, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        payload = tmp_path / "payload.json"
        payload.write_text(
            json.dumps({"meeting_uuid": "u", "rtms_stream_id": "s", "server_urls": url, "signature": "0" * 64})
        )
        async with running("join", payload, "--json", cwd=tmp_path) as join:
            await join.line_with("CLIENT_READY_ACK")
            join.process.send_signal(signal.SIGINT)
            await asked_to_close.wait()
            await until(lambda: list(tmp_path.glob("recordings/*/manifest.json")))
            join.process.send_signal(signal.SIGINT)
            assert await join.exit_code() == 130
    (folder,) = (tmp_path / "recordings").iterdir()
    assert json.loads((folder / "manifest.json").read_text())["status"] == "recording"
