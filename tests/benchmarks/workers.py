"""How many streams one machine records before keep-alives are answered late:

    python tests/benchmarks/workers.py [--workers 0 2] [--streams 200 400 800] [--until-late 250]

`rtms listen` runs as its users run it, by itself (`0`) or with workers, and records audio packets of 20 ms in real time
from `load.py`, which asks each stream for a keep-alive every 5 s. A row has the slowest answer and that of 99 in 100,
and which share of a core the processes took while all streams sent: listener, workers, and the load, which takes its
share of the same machine. With `--until-late` the number of streams doubles until the slowest answer passes that many
ms, and then the place is looked for between the last two.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from rtms_cli.protocol.signatures import signed_headers

HERE = Path(__file__).resolve().parent
SECONDS = 20
RAMP_S = 5
TOKEN = "a token"
SETTINGS = {"ZOOM_CLIENT_ID": "client", "ZOOM_CLIENT_SECRET": "secret", "ZOOM_SECRET_TOKEN": TOKEN}


def measure(workers: int, streams: int) -> dict[str, float]:
    """Record this many streams for `SECONDS` each."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ZOOM_", "RTMS_"))}
    with tempfile.TemporaryDirectory() as folder:
        load = subprocess.Popen(
            [sys.executable, HERE / "load.py", "realtime", str(SECONDS * 50), str(streams)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        command = ["listen", "--port", "0", "--plain", "--media", "audio", "--max-streams", str(streams)]
        command += ["--workers", str(workers)] if workers else []
        listen = subprocess.Popen(
            [sys.executable, "-m", "rtms_cli", *command],
            cwd=folder, env=environment | SETTINGS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            assert load.stdout is not None
            assert listen.stdout is not None
            server, webhooks = load.stdout.readline().strip(), port_of(listen.stdout)
            drain = subprocess.Popen(["cat"], stdin=listen.stdout, stdout=subprocess.DEVNULL)
            start_all(webhooks, server, streams)
            assert load.stdout.readline() == "all send\n"
            began, used = time.monotonic(), used_by(listen.pid, load.pid)
            assert load.stdout.readline() == "the first ends\n"
            span_s = time.monotonic() - began
            used = {name: (value - used[name]) / span_s for name, value in used_by(listen.pid, load.pid).items()}
            answers: dict[str, float] = json.loads(load.stdout.readline())
            listen.terminate()
            listen.wait(timeout=60)
            drain.wait(timeout=60)
        finally:
            for process in (load, listen):
                process.kill()
                process.wait()
        manifests = [json.loads(path.read_bytes()) for path in Path(folder).glob("recordings/*/manifest.json")]
    packets = sum(track["packets"] for one in manifests for track in one["tracks"] if track["kind"] == "audio")
    losses = sum(loss["count"] for one in manifests for loss in one["losses"])
    return answers | used | {"kept": packets, "sent": SECONDS * 50 * streams, "losses": losses}


def port_of(lines: IO[str]) -> int:
    """Where `listen` takes webhooks."""
    for line in lines:
        if found := re.search(r"listening on http://[^:]+:(\d+)", line):
            return int(found[1])
    raise RuntimeError("rtms listen has ended")


def start_all(webhooks: int, server: str, streams: int) -> None:
    """Announce all streams, some at a time: one that begins costs more than one that runs."""
    asking = http.client.HTTPConnection("127.0.0.1", webhooks)
    for number in range(streams):
        url = f"ws://127.0.0.1:{server}/signaling/{number}"
        payload = {"meeting_uuid": f"m{number}", "rtms_stream_id": f"stream{number}", "server_urls": url}
        body = json.dumps(
            {"event": "meeting.rtms_started", "event_ts": time.time_ns() // 1_000_000, "payload": payload}
        )
        headers = signed_headers(TOKEN, int(time.time()), body.encode())
        asking.request("POST", "/webhook", body, dict(headers) | {"Content-Type": "application/json"})
        answer = asking.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"a webhook was answered with {answer.status}")
        time.sleep(0.005)


def used_by(listen: int, load: int) -> dict[str, float]:
    """Seconds of CPU that the processes have used so far."""
    children = Path(f"/proc/{listen}/task/{listen}/children").read_text().split()
    return {"listen": cpu_s(listen), "workers": sum(cpu_s(int(child)) for child in children), "load": cpu_s(load)}


def cpu_s(pid: int) -> float:
    """What a process has used so far (`man 5 proc`)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def row(workers: int, streams: int) -> float:
    """Measure, and print a row.

    :returns: the slowest answer, in ms.
    """
    found = measure(workers, streams)
    shares = " | ".join(f"{found[name]:.0%}" for name in ("listen", "workers", "load"))
    kept = f"{found['kept']:,.0f} of {found['sent']:,.0f}"
    late = f"{found['p99_ms']:.0f} ms | {found['slowest_ms']:.0f} ms"
    answered = f"{found['answered']:.0f} of {found['asked']:.0f}"
    print(f"| {workers or 'none'} | {streams} | {answered} | {late} | {shares} | {kept} |", flush=True)
    if found["losses"]:
        print(f"\n{found['losses']:.0f} losses\n", file=sys.stderr)
    return found["slowest_ms"]


def look_for(workers: int, late_ms: float, first: int, step: int) -> int:
    """The most streams with which no answer was later than that, to within a step; each was measured once."""
    good, bad = 0, first
    while row(workers, bad) <= late_ms:
        good, bad = bad, 2 * bad
    while bad - good > step:
        middle = (good + bad) // 2
        if row(workers, middle) <= late_ms:
            good = middle
        else:
            bad = middle
    return good


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    options.add_argument("--streams", type=int, nargs="*", default=[200, 400, 800])
    options.add_argument("--until-late", type=float, metavar="MS")
    options.add_argument("--step", type=int, default=50)
    given = options.parse_args()
    load_1, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    print(f"{cores} cores, load {load_1:.2f} before; {SECONDS} s of audio packets of 20 ms\n")
    print("| workers | streams | keep-alives answered | 99 % in | slowest | listen | workers | load | packets kept |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    if given.until_late is None:
        for streams in given.streams:
            for workers in given.workers:
                row(workers, streams)
        return
    found = {workers: look_for(workers, given.until_late, given.streams[0], given.step) for workers in given.workers}
    for workers, streams in found.items():
        print(f"\n{workers or 'no'} workers: {streams} streams within {given.until_late:.0f} ms")


if __name__ == "__main__":
    main()
