"""What taps over WebSocket cost: `PYTHONPATH=tests python tests/benchmarks/tap_sockets.py [ROW…]`.

- `ws`, `twilio`, `listen`: CPU for each message of 20 ms, of 100 streams in real time, beside the clock's own.
- `flood`: how late the event loop is while a server sends tiny frames as fast as it can.
- `stalled`: memory while 100 clients of one stream of 4 Mbit/s read nothing.

The other ends are processes of their own. The targets run as in `rtms`, on uvloop.
"""

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import picows
import uvloop
from processes import until
from websockets.utils import accept_key

from rtms_cli.live.pieces import AUDIO, VIDEO, Beginning, Piece, SoundForm, Target
from rtms_cli.live.serving import TapServer
from rtms_cli.live.sockets import TwilioTarget, WebSocketTarget

STREAMS, SECONDS, CLIENTS = 100, 5, 100
FORMS = {"twilio": SoundForm(8000, 1, "mulaw")}
FRAME = b"\x82\x00"


async def sink() -> None:
    """A server that reads and forgets."""
    server = await picows.ws_create_server(lambda _: picows.WSListener(), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def forget(reader: asyncio.StreamReader) -> None:
    """Read to the end."""
    while await reader.read(1 << 16):
        pass


async def flooding() -> None:
    """A server that upgrades, and sends tiny frames for ever."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
        answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(f"{answer}Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode())
        reading = asyncio.create_task(forget(reader))
        block = FRAME * (1 << 15)
        while not reading.done():
            writer.write(block)
            await writer.drain()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def reading(url: str, count: int, reads: bool) -> None:
    """Clients of a stream."""

    class Client(picows.WSListener):
        def on_ws_connected(self, transport: picows.WSTransport) -> None:
            if not reads:
                transport.underlying_transport.pause_reading()

    clients = [await picows.ws_connect(Client, url) for _ in range(count)]
    await asyncio.gather(*(transport.wait_disconnected() for transport, _ in clients))


def other_end(*words: str) -> "subprocess.Popen[str]":
    """Run one of the above in a process."""
    return subprocess.Popen([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True)


async def port_of(process: "subprocess.Popen[str]") -> int:
    """Wait until it listens."""
    assert process.stdout is not None
    return int(await asyncio.to_thread(process.stdout.readline))


async def clocked(targets: Sequence[Target], piece: Piece | None) -> float:
    """Send a piece to each every 20 ms, or none; returns seconds of CPU."""
    loop, before = asyncio.get_running_loop(), time.thread_time()

    async def speak(target: Target, number: int) -> None:
        due = loop.time() + number * 0.0002
        for _ in range(SECONDS * 50):
            due += 0.02
            await asyncio.sleep(max(0.0, due - loop.time()))
            if piece is not None:
                await target.send([piece])

    await asyncio.gather(*(speak(target, number) for number, target in enumerate(targets)))
    return time.thread_time() - before


async def cost(kind: str) -> str:
    """CPU of one kind of target."""
    form = FORMS.get(kind, SoundForm(16000, 1, "s16le"))
    processes = []
    async with AsyncExitStack() as stack:
        if kind == "listen":
            server = await stack.enter_async_context(TapServer())
            targets: list[Target] = [server.target() for _ in range(STREAMS)]
        else:
            processes.append(other_end("sink"))
            url = f"ws://127.0.0.1:{await port_of(processes[0])}/"
            targets = [TwilioTarget(url) if kind == "twilio" else WebSocketTarget(url) for _ in range(STREAMS)]
        for number, target in enumerate(targets):
            await target.open(Beginning("meeting", "id", f"s{number}", None, (AUDIO,), form))
        if kind == "listen":
            processes += [other_end("read-all", server.url)]
            await until(lambda: server.clients == STREAMS)
        data = bytes(form.rate_hz // 50 * (1 if form.encoding == "mulaw" else 2))
        idle = await clocked(targets, None)
        used = await clocked(targets, Piece(AUDIO, data, seconds=0.02)) - idle
        for target in targets:
            await target.close(hurry=True)
        for process in processes:
            process.kill()
    each_us = used / (STREAMS * SECONDS * 50) * 1e6
    return f"{kind:8} {STREAMS} streams: {used / SECONDS:.1%} of a core, {each_us:.0f} µs a message"


async def flood() -> str:
    """How late the loop is in a flood."""
    server = other_end("flood", "server")
    target = WebSocketTarget(f"ws://127.0.0.1:{await port_of(server)}/")
    await target.open(Beginning("meeting", "id", "s", None, (AUDIO,), SoundForm(16000, 1, "s16le")))
    loop, late, cpu = asyncio.get_running_loop(), [], time.thread_time()
    end = loop.time() + SECONDS
    while (now := loop.time()) < end:
        await asyncio.sleep(0.005)
        late.append(loop.time() - now - 0.005)
        await target.send([Piece(AUDIO, bytes(640))])
    cpu = (time.thread_time() - cpu) / SECONDS
    await target.close(hurry=True)
    server.kill()
    late.sort()
    p99 = late[len(late) * 99 // 100]
    return (
        f"flood    the loop is late by {p99 * 1000:.1f} ms (p99), {late[-1] * 1000:.1f} ms (most); {cpu:.0%} of a core"
    )


async def stalled() -> str:
    """What clients cost that read nothing."""
    async with TapServer() as server:
        target = server.target()
        await target.open(Beginning("meeting", "id", "s", None, (VIDEO,)))
        process = other_end("read", f"{server.url}/s", str(CLIENTS), "stalls")
        await until(lambda: server.clients == CLIENTS)
        before, most_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
        for number in range(SECONDS * 5 * 25):
            began = time.perf_counter()
            await target.send([Piece(VIDEO, bytes(20_000), timestamp_ms=number * 40)])
            most_s = max(most_s, time.perf_counter() - began)
            await asyncio.sleep(0.04)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        said = f"{server.dropped:,} messages dropped, {server.waiting_nbytes >> 20} MiB counted"
        process.kill()
        await server.close(hurry=True)
    return f"stalled  {CLIENTS} clients: {grown} MiB grown ({said}); the longest send took {most_s * 1000:.1f} ms"


async def read_all(url: str) -> None:
    """A client for each stream."""
    await asyncio.gather(*(reading(f"{url}/s{number}", 1, True) for number in range(STREAMS)))


def main() -> None:
    """Print the rows that are asked for."""
    words = sys.argv[1:]
    match words:
        case ["sink"]:
            uvloop.run(sink())
        case ["flood", "server"]:
            uvloop.run(flooding())
        case ["read", url, count, how]:
            uvloop.run(reading(url, int(count), how == "reads"))
        case ["read-all", url]:
            uvloop.run(read_all(url))
        case _:
            for row in words or ["ws", "twilio", "listen", "flood", "stalled"]:
                work = {"flood": flood, "stalled": stalled}.get(row)
                print(uvloop.run(cost(row) if work is None else work()), flush=True)


if __name__ == "__main__":
    main()
