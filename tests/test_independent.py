"""A server that shares nothing with our protocol layer: plain `websockets` and `json`, shapes of the older documents.

Media content is a plain string with its fields beside it, the answer to `1` has only `all`, and the end is a close.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from harness import make_station, read_jsonl, read_wav
from websockets.asyncio.server import ServerConnection, serve

from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.webhooks import read_payload
from rtms_cli.recording.writer import Writer

ZERO = 1_738_394_112_345
PICTURE = b"\xff\xd8\xff\xe0 a picture \xff\xd9"


def speech() -> np.ndarray:
    """Two seconds at 16 kHz."""
    return np.random.default_rng(1).integers(-20_000, 20_000, 32_000, dtype=np.int16)


class OldServer:
    """Signaling and media on one port, told apart by the first message."""

    def __init__(self) -> None:
        self.heard: list[dict[str, object]] = []
        self.ready = asyncio.Event()
        self.done = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        async with serve(self.handle, "127.0.0.1", 0) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield f"ws://127.0.0.1:{self.port}"

    async def hear(self, socket: ServerConnection) -> dict[str, object]:
        message: dict[str, object] = json.loads(await socket.recv())
        self.heard.append(message)
        return message

    async def handle(self, socket: ServerConnection) -> None:
        first = await self.hear(socket)
        if first["msg_type"] == 1:
            await self.signaling(socket)
        else:
            await self.media(socket)

    async def signaling(self, socket: ServerConnection) -> None:
        urls = {"server_urls": {"all": f"ws://127.0.0.1:{self.port}/media"}}
        await socket.send(json.dumps({"msg_type": 2, "status_code": 0, "media_server": urls}))
        while (await self.hear(socket))["msg_type"] != 7:
            pass
        self.ready.set()
        await self.done.wait()
        await socket.send(json.dumps({"msg_type": 8, "state": 4, "reason": 6}))

    async def media(self, socket: ServerConnection) -> None:
        await socket.send(json.dumps({"msg_type": 4, "status_code": 0}).encode())
        await self.ready.wait()
        samples = speech()
        for number in range(100):
            packet = samples[320 * number : 320 * (number + 1)].tobytes()
            message = {"msg_type": 14, "user_name": "", "content": base64.b64encode(packet).decode()}
            await socket.send(json.dumps(message | {"timestamp": ZERO + 20 * number}))
        who = {"user_id": "16778240", "user_name": "Ann Lee", "timestamp": ZERO + 500}
        picture = base64.b64encode(PICTURE).decode()
        await socket.send(json.dumps({"msg_type": 15, "content": picture, **who}))
        await socket.send(json.dumps({"msg_type": "MEDIA_DATA_TRANSCRIPT", "content": "", **who}))
        await socket.send(json.dumps({"msg_type": "MEDIA_DATA_TRANSCRIPT", "content": "Grüß Gott", **who}).encode())
        await socket.send(json.dumps({"msg_type": 18, "content": "hi", **who}))
        await socket.send(json.dumps({"msg_type": 12, "timestamp": 99}))
        while (await self.hear(socket))["msg_type"] != 13:
            pass
        self.done.set()


async def test_an_old_server_is_recorded_just_as_well(tmp_path: Path) -> None:
    server = OldServer()
    writer = Writer()
    async with server.listening() as url:
        payload = {"meeting_uuid": "AbC123==", "rtms_stream_id": "stream123==", "server_urls": url}
        body = json.dumps({"event": "meeting.rtms_started", "payload": {"account_id": "a", "object": payload}}).encode()
        station = make_station(tmp_path, writer, MediaRequest(parse_media("audio,video,transcript,chat")))
        outcome = await station.record(read_payload(body), body)
    await writer.close()

    assert outcome.finish.status == "complete"
    assert [message["msg_type"] for message in server.heard] == [1, 5, 3, 7, 13]
    assert server.heard[-1] == {"msg_type": 13, "timestamp": 99}
    folder = outcome.folder
    assert folder is not None
    rate, samples = read_wav(folder / "audio/mixed.wav")
    assert rate == 16_000
    assert np.array_equal(samples, speech())
    assert (folder / "video/16778240_ann-lee.mjpeg").read_bytes() == PICTURE
    assert [line["text"] for line in read_jsonl(folder / "transcript.jsonl")] == ["Grüß Gott"]
    (chat,) = read_jsonl(folder / "chat.jsonl")
    assert chat == {"t": 0.5, "timestamp": ZERO + 500, "user_id": 16778240, "user_name": "Ann Lee", "text": "hi"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["stop"]["name"] == "STOP_BC_MEETING_ENDED"
    assert manifest["losses"] == []
    assert not (folder / "share").exists()
