"""The clients that are compared, each in a process of its own: `python clients.py NAME PORT STREAMS FOLDER`."""

import asyncio
import base64
import json
import os
import resource
import sys
import time
import wave
from pathlib import Path
from typing import Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.writer import Writer
from rtms_cli.station.running import run_loop
from rtms_cli.station.station import Station, recorder_in
from rtms_cli.view.lines import JsonLines
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy

NAME, PORT, STREAMS, FOLDER = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])


async def floor() -> int:
    """`websockets` receiving bytes and throwing them away: what no client on it can undercut."""

    async def one(number: int) -> int:
        count = 0
        url = f"ws://127.0.0.1:{PORT}/bare/{number}"
        async with connect(url, compression=None, max_size=None, ping_interval=None, proxy=None) as socket:
            try:
                while True:
                    await socket.recv(decode=False)
                    count += 1
            except ConnectionClosed:
                return count

    return sum(await asyncio.gather(*(one(number) for number in range(STREAMS))))


async def picows_floor() -> int:
    """`picows` on uvloop doing the same: what a stream in real time costs before anything is done with it."""

    class Count(WSListener):
        def __init__(self) -> None:
            self.messages = 0
            self.closed = asyncio.Event()

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type is WSMsgType.CLOSE:
                transport.disconnect()
            else:
                frame.get_payload_as_bytes()
                self.messages += 1

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            self.closed.set()

    counts = [Count() for _ in range(STREAMS)]
    for number, count in enumerate(counts):
        await ws_connect(lambda count=count: count, f"ws://127.0.0.1:{PORT}/bare/{number}")
    for count in counts:
        await count.closed.wait()
    return sum(count.messages for count in counts)


async def script() -> int:
    """The script that everyone writes first: `websockets`, json, base64, wave, one file a kind."""

    async def one(number: int) -> int:
        count = 0
        ids = {"meeting_uuid": f"u{number}", "rtms_stream_id": str(number), "signature": "0"}
        async with connect(f"ws://127.0.0.1:{PORT}/signaling/{number}", max_size=None) as signaling:
            await signaling.send(json.dumps({"msg_type": 1, "protocol_version": 1, **ids}))
            url = json.loads(await signaling.recv())["media_server"]["server_urls"]["all"]
            async with connect(url, max_size=None) as media:
                await media.send(json.dumps({"msg_type": 3, "protocol_version": 1, "media_type": 32, **ids}))
                await media.recv()

                async def control() -> None:
                    async for raw in signaling:
                        message = json.loads(raw)
                        if message["msg_type"] == 12:
                            await signaling.send(json.dumps({**message, "msg_type": 13}))
                        elif message["msg_type"] == 8:
                            await media.close()
                            return

                controlling = asyncio.create_task(control())
                await signaling.send(json.dumps({"msg_type": 7, "rtms_stream_id": str(number)}))
                with (
                    wave.open(str(FOLDER / f"{number}.wav"), "wb") as sound,
                    (FOLDER / f"{number}.video").open("wb") as video,
                ):
                    sound.setparams((1, 2, 16000, 0, "NONE", ""))
                    try:
                        async for raw in media:
                            message = json.loads(raw)
                            count += 1
                            content = message["content"]
                            if message["msg_type"] == 14:
                                sound.writeframes(base64.b64decode(content["data"]))
                            elif message["msg_type"] in (15, 16):
                                video.write(base64.b64decode(content["data"]))
                    except ConnectionClosed:
                        pass
                await controlling
        return count

    return sum(await asyncio.gather(*(one(number) for number in range(STREAMS))))


async def ours() -> int:
    """The whole product: capture, timeline, WAV, manifest, and a dashboard's look twice a second."""
    writer = Writer()
    with (FOLDER / "log").open("w") as log:
        station = Station(
            make_recorder=recorder_in(FOLDER),
            request=MediaRequest(),
            sign=lambda _: Signature("0" * 64),
            dial=Dialer(HostPolicy()),
            writer=writer,
            observers=[JsonLines(log)],
        )

        async def look() -> None:
            while True:
                station.snapshots()
                await asyncio.sleep(0.5)

        looking = asyncio.create_task(look())
        streams = [
            Stream(Product.MEETING, f"u{number}", str(number), f"ws://127.0.0.1:{PORT}/signaling/{number}")
            for number in range(STREAMS)
        ]
        outcomes = await asyncio.gather(*(station.record(stream) for stream in streams))
        looking.cancel()
        await writer.close()
    assert all(outcome.snapshot.losses == 0 and outcome.finish.status == "complete" for outcome in outcomes)
    return sum(
        count for outcome in outcomes for name, count in outcome.snapshot.counts.items() if name.startswith("MEDIA_")
    )


def sdk() -> int:
    """Zoom's own SDK, polled without a pause, writing WAV files."""
    import rtms

    loop = rtms.EventLoop(0.0)
    counts, left = [0] * STREAMS, []
    clients = []

    def leave(reason: int) -> None:
        left.append(reason)
        if len(left) == STREAMS:
            loop.stop()

    for number in range(STREAMS):
        sound = wave.open(str(FOLDER / f"{number}.wav"), "wb")
        sound.setparams((1, 2, 16000, 0, "NONE", ""))

        def take(
            data: bytes, size: int, timestamp: int, metadata: object, number: int = number, sound: Any = sound
        ) -> None:
            counts[number] += 1
            sound.writeframes(data)

        client = rtms.Client()
        client.set_audio_params(rtms.AudioParams(2, 1, 1, 1, 1, 20, 320))
        client.on_audio_data(take)
        client.on_leave(leave)
        loop.add(client)
        url = f"ws://127.0.0.1:{PORT}/signaling/{number}"
        client.join(meeting_uuid=f"u{number}", rtms_stream_id=str(number), server_urls=url, client="c", secret="s")
        clients.append(client)
    loop.run()
    return sum(counts)


def main() -> None:
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    if NAME == "sdk":
        (FOLDER / "logs").mkdir()
        os.chdir(FOLDER)
        count = sdk()
    else:
        work = {"floor": floor, "picows": picows_floor, "script": script, "ours": ours}[NAME]
        count = run_loop(work()) if NAME in ("ours", "picows") else asyncio.run(work())
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = {
        "messages": count,
        "cpu_s": cpu_s,
        "wall_s": time.monotonic() - started,
        "peak_mb": after.ru_maxrss / 1024,
    }
    os.write(1, b"\n" + json.dumps(result).encode() + b"\n")
    os._exit(0)  # the SDK's threads do not always end


if __name__ == "__main__":
    main()
