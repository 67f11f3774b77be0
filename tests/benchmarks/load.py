"""A neutral load source: WebSocket frames that were made before anyone connects, so that the server costs nothing.

    python load.py SHAPE COUNT STREAMS

It does the upgrade and the handshakes by hand, with nothing of ours, then sends `COUNT` messages of a shape on each
of `STREAMS` media sockets: `audio`, `mixed` or `share` as fast as they are taken, `realtime` one audio packet every
20 ms, and so does `stamped`, whose packets begin with the time at which they are sent. It prints its port; in real time
a line when all streams send and one when the first ends; and at the end how many keep-alives were answered, the slowest
answer, and in `took` each answer with the time at which it came.
"""

import asyncio
import base64
import hashlib
import json
import os
import struct
import sys
import time
from collections import defaultdict

import uvloop

SHAPE, COUNT, STREAMS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
IS_PACED = SHAPE in ("realtime", "stamped")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
START_MS = 1_738_394_112_345
PARAMS = {
    "audio": {"content_type": 2, "sample_rate": 1, "channel": 1, "codec": 1, "data_opt": 1, "send_rate": 20},
    "video": {"content_type": 3, "codec": 7, "resolution": 2, "fps": 25},
    "share": {"content_type": 3, "codec": 5, "resolution": 3, "fps": 1},
}

HEAD = {"protocol_version": 1, "sequence": 1, "status_code": 0, "reason": ""}


def frame(body: object, opcode: int = 1) -> bytes:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = len(payload)
    head = (
        struct.pack("!BB", 0x80 | opcode, size)
        if size < 126
        else struct.pack("!BBH", 0x80 | opcode, 126, size)
        if size < 65536
        else struct.pack("!BBQ", 0x80 | opcode, 127, size)
    )
    return head + payload


def media(msg_type: int, payload: bytes | str, at_ms: int) -> bytes:
    data = payload if isinstance(payload, str) else base64.b64encode(payload).decode()
    content = {"user_id": 0, "user_name": "", "data": data, "length": len(payload), "timestamp": START_MS + at_ms}
    return frame({"msg_type": msg_type, "content": content})


def made() -> list[bytes]:
    """All frames of one stream; the clock of `mixed` and `share` goes by 20 ms a message as well."""
    if SHAPE in ("audio", "realtime", "stamped"):
        return [media(14, os.urandom(640), 20 * number) for number in range(COUNT)]
    if SHAPE == "share":
        pictures = [b"\xff\xd8" + os.urandom(1_000_000) + b"\xff\xd9" for _ in range(4)]
        return [media(16, pictures[number % 4], 1000 * number) for number in range(COUNT)]
    frames = []
    for number in range(COUNT):  # 25 access units a second of 7.5 kB are 1.5 Mbit/s
        if number % 300 == 0:
            frames.append(media(17, "As you can see, it goes up and to the right.", 20 * number))
        elif number % 3 == 2:
            frames.append(media(15, b"\0\0\0\1\x41" + os.urandom(7_495), 20 * number))
        else:
            frames.append(media(14, os.urandom(640), 20 * number))
    return frames


def stamped(number: int) -> bytes:
    """A packet that says when it is sent, by the clock that all processes of the machine have."""
    return media(14, struct.pack("<d", time.monotonic()) + bytes(632), 20 * number)


FRAMES = made()
BLOBS = [b"".join(FRAMES[first : first + 500]) for first in range(0, len(FRAMES), 500)]
asked: dict[tuple[object, int], float] = {}
answers: list[tuple[float, float]] = []
"""How long each took, and when it came, by the clock that all processes of the machine have."""
finished = asyncio.Event()
signaling: dict[str, asyncio.StreamWriter] = {}
media_sockets: dict[str, asyncio.StreamWriter] = {}
done = 0
ready = 0
all_ready = asyncio.Event()
all_sent = asyncio.Event()
PHASES = 40
RAMP = 250
"""Packets (5 s) over which real-time streams begin, and later end: hundreds of them never begin in the same moment."""
paced: defaultdict[int, list[tuple[int, str, asyncio.StreamWriter]]] = defaultdict(list)


async def hear(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, second = await reader.readexactly(2)
    size = second & 127
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    mask = await reader.readexactly(4) if second & 128 else bytes(4)
    payload = await reader.readexactly(size)
    return first & 15, bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


async def stream_out(key: str, writer: asyncio.StreamWriter) -> None:
    """Send one stream's media; where it is real time, `pace` does it."""
    global done
    if not IS_PACED:
        for blob in BLOBS:
            writer.write(blob)
            await writer.drain()
    else:
        begin, phase = divmod(int(hashlib.sha1(key.encode()).hexdigest(), 16) % (RAMP * PHASES), PHASES)
        paced[phase].append((begin, key, writer))
        await all_sent.wait()
    done += 1
    if key in signaling:
        await asyncio.sleep(0.2)
        signaling[key].write(frame({"msg_type": 8, "state": 4, "reason": 6}))
    else:
        writer.write(frame(struct.pack("!H", 1000), 8))
    if done == STREAMS:
        finished.set()


async def pace() -> None:
    """Send in real time, each stream at a phase of its own, and on signaling a keep-alive every five seconds, at a
    phase of its own too. One task does it all: with one a stream, this process is busier than those that it measures.
    """
    await all_ready.wait()
    start = time.monotonic()
    for number in range(COUNT + RAMP):
        if number in (RAMP, COUNT):
            print("all send" if number == RAMP else "the first ends", flush=True)
        for phase in range(PHASES):
            await asyncio.sleep(max(0.0, start + 0.02 * (number + phase / PHASES) - time.monotonic()))
            for begin, key, writer in paced[phase]:
                at = number - begin
                if not 0 <= at < COUNT:
                    continue
                writer.write(stamped(at) if SHAPE == "stamped" else FRAMES[at])
                if key in signaling and number % 250 == int(key) * 31 % 250:
                    asked[key, number] = time.monotonic()
                    ask = {"msg_type": 12, "timestamp": START_MS + number, "sequence": number}
                    signaling[key].write(frame(ask))
    await asyncio.sleep(0.5)
    all_sent.set()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    global ready
    head = await reader.readuntil(b"\r\n\r\n")
    path = head.split(b" ")[1].decode()
    (key,) = [
        line.split(b":", 1)[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
    ]
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept + b"\r\n\r\n"
    )  # fmt: skip
    kind, _, stream = path.strip("/").partition("/")
    if kind == "bare":  # no handshakes: for the floor
        ready += 1
        if ready == STREAMS:
            all_ready.set()
        await stream_out(f"bare {stream}", writer)
        return
    try:
        while True:
            opcode, payload = await hear(reader)
            if opcode == 8:
                break
            if opcode == 9:  # a ping, which `websockets` sends every 20 s
                writer.write(frame(payload, 10))
                continue
            message = json.loads(payload)
            match message["msg_type"]:
                case 1:
                    signaling[stream] = writer
                    url = f"ws://127.0.0.1:{port}/media/{stream}"
                    urls = {"all": url, "audio": url}  # Zoom's SDK wants a URL for each kind
                    writer.write(frame({"msg_type": 2, **HEAD, "media_server": {"server_urls": urls}}))
                case 3:
                    media_sockets[stream] = writer
                    params = {kind: PARAMS[kind] for kind in message.get("media_params") or PARAMS if kind in PARAMS}
                    writer.write(frame({"msg_type": 4, **HEAD, "payload_encrypted": False, "media_params": params}))
                case 7:
                    ready += 1
                    if ready == STREAMS:
                        all_ready.set()
                    task = asyncio.create_task(stream_out(stream, media_sockets[stream]))
                    tasks.add(task)
                case 13:
                    now = time.monotonic()
                    answers.append((now - asked[stream, message["sequence"]], now))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # a client that goes without a word
    writer.close()


tasks: set[asyncio.Task[None]] = set()
port = 0


async def main() -> None:
    global port
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    if IS_PACED:
        tasks.add(asyncio.create_task(pace()))
    await finished.wait()
    await asyncio.sleep(0.5)
    ordered = sorted(took for took, _ in answers) or [0.0]
    told = {"p99_ms": ordered[len(ordered) * 99 // 100] * 1000, "slowest_ms": ordered[-1] * 1000}
    print(json.dumps({"asked": len(asked), "answered": len(answers), **told, "took": answers}), flush=True)


uvloop.run(main())
