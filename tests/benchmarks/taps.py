"""What taps cost, and how soon they hand sound on: `python tests/benchmarks/taps.py [--streams 100] [--seconds 20]`.

One load sends real-time audio whose packets say when they were sent. In turn, nothing, a process, a named pipe and
WebSockets listen to each stream; the consumers tell how old each packet was when they read it. CPU is that of `rtms`
alone, pinned to one core, while all streams send; its children are told apart. The last row has consumers that read
nothing.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKET = 640
RAMP_S = 5
CONSUMER = (
    "import json, os, struct, sys, time\n"
    "ages, data = [], sys.stdin.buffer\n"
    "while len(packet := data.read(640)) == 640:\n"
    "    (sent,) = struct.unpack_from('<d', packet)\n"
    "    if sent:\n"
    "        ages.append(time.monotonic() - sent)\n"
    "with open(os.path.join(sys.argv[1], f'{os.getpid()}.json'), 'w') as out:\n"
    "    json.dump(ages, out)\n"
)
ROWS = ["nothing", "exec", "exec without a recording", "ws", "stalled exec"]
STALLED = "import time; time.sleep(1000)"


def targets_of(kind: str, folder: Path, port: int) -> list[str]:
    """The taps of one row."""
    if kind == "nothing":
        return []
    if kind in ("exec", "exec without a recording"):
        (folder / "consumer.py").write_text(CONSUMER)
        return [f"audio:exec:{sys.executable} -S -E {folder}/consumer.py {folder}/ages"]
    if kind == "ws":
        return [f"audio:ws://127.0.0.1:{port}/tap"]
    if kind == "stalled exec":
        return [f"audio:exec:{sys.executable} -S -E -c '{STALLED}'"]
    raise SystemExit(f"no such row: {kind}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rows", nargs="*", default=ROWS)
    parser.add_argument("--client", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        kind, port, folder = options.client
        client(kind, int(port), Path(folder), options.streams)
        return
    print(f"{options.streams} streams, {options.seconds} s of real-time audio each; ms from sending to the consumer")
    heads = f"{'tap':26} {'p50':>7} {'p99':>7} {'p99.9':>7} {'packets':>9} {'CPU %':>7} {'peak MB':>8}"
    print(f"{heads} {'keep-alive':>11} drops")
    for kind in options.rows:
        print(row(kind, options.streams, options.seconds), flush=True)


def row(kind: str, streams: int, seconds: int) -> str:
    """Measure one kind of tap."""
    count = (seconds + RAMP_S) * 50
    load = subprocess.Popen(
        [sys.executable, HERE / "load.py", "stamped", str(count), str(streams)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {0}),
    )  # fmt: skip
    assert load.stdout is not None
    port = load.stdout.readline().strip()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ages").mkdir()
        command = [sys.executable, str(Path(__file__)), "--streams", str(streams), "--client", kind, port, folder]
        running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        used = 0.0
        for _ in ("all send", "the first ends"):
            load.stdout.readline()
            used = cpu_s(running.pid) - used
        out, _ = running.communicate(timeout=300)
        told = json.loads(load.stdout.readline())
        result = json.loads(out.splitlines()[-1])
        ages = sorted(age for path in Path(folder, "ages").iterdir() for age in json.loads(path.read_text()))
    load.communicate()
    times = [f"{ages[len(ages) * part // 1000] * 1000:7.1f}" if ages else f"{'–':>7}" for part in (500, 990, 999)]
    return (
        f"{kind:26} {' '.join(times)} {len(ages):>9,} {used / seconds * 100:7.1f}"
        f" {result['peak_mb']:8.0f} {told['slowest_ms']:8.0f} ms {result['drops']}"
    )


def cpu_s(pid: int) -> float:
    """What a process has used so far, without its children (`man 5 proc`)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def client(kind: str, port: int, folder: Path, streams: int) -> None:
    """Be `rtms`: record streams, with taps, on one core; consumers may run anywhere."""
    from rtms_cli.live.opening import Output, Taps
    from rtms_cli.live.spec import read_tap
    from rtms_cli.protocol.media import MediaRequest
    from rtms_cli.protocol.messages import Signature
    from rtms_cli.protocol.numbers import Product
    from rtms_cli.protocol.webhooks import Stream
    from rtms_cli.station.running import run_loop, running_station
    from rtms_cli.wire.hosts import HostPolicy

    server = None
    if kind == "ws":
        command = [sys.executable, "-c", SERVER, str(folder / "ages")]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
    tap_port = int(server.stdout.readline()) if server is not None and server.stdout is not None else 0
    request = MediaRequest()
    os.sched_setaffinity(0, {len(os.sched_getaffinity(0)) - 1})

    async def run() -> int:
        specs = [read_tap(text) for text in targets_of(kind, folder, tap_port)]
        taps = Taps(specs, request, lambda *_: None, Output(2))
        async with running_station(
            out=folder,
            request=request,
            sign=lambda _: Signature("0" * 64),
            policy=HostPolicy(),
            trusted=True,
            listeners=taps.openers(),
            is_recorded=kind != "exec without a recording",
        ) as station:
            outcomes = await asyncio.gather(
                *(
                    station.record(
                        Stream(Product.MEETING, f"u{number}", str(number), f"ws://127.0.0.1:{port}/signaling/{number}")
                    )
                    for number in range(streams)
                )
            )
        assert all(outcome.snapshot.losses == 0 and outcome.finish.status == "complete" for outcome in outcomes)
        return sum(tap.drops for outcome in outcomes for tap in outcome.snapshot.taps)

    drops = run_loop(run())
    if server is not None:
        server.terminate()
        server.wait()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_mb": peak_mb, "drops": drops}))


SERVER = """
import asyncio, json, signal, struct, sys, time
import websockets
ages = []
async def take(socket):
    async for message in socket:
        if isinstance(message, bytes):
            now = time.monotonic()
            sound = message[len(message) % 640:]
            for place in range(0, len(sound), 640):
                (sent,) = struct.unpack_from('<d', sound, place)
                if sent:
                    ages.append(now - sent)
async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with websockets.serve(take, '127.0.0.1', 0, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await ended.wait()
    with open(sys.argv[1] + '/ages.json', 'w') as out:
        json.dump(ages, out)
asyncio.run(main())
"""


if __name__ == "__main__":
    main()
