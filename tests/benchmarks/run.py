"""Side by side, on pinned cores, against one load: `python tests/benchmarks/run.py [--rounds 5] [--quick]`.

The clients take turns within a round, so that whatever the machine does meanwhile hits all of them; a first round is
for warming up and does not count, for a virtual machine gives out its memory slowly. Figures are medians; the spread is
the range of the ratios to the floor. `node+capture` is the Node script that keeps each message too, as `ours` does.
What is not there is left out, with a line: `node` needs `npm install --prefix tests/benchmarks`, `sdk` needs
`pip install '.[sdk]'`.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
NODE = HERE / "client.mjs"
LOADS = {
    "audio 20 ms, flood": ("audio", 150_000, 1),
    "audio + H.264 1.5 Mbit/s + transcript": ("mixed", 60_000, 1),
    "share, frames of 1 MB": ("share", 120, 1),
}
RAMP_S = 5
"""Seconds of the load over which real-time streams begin, and later end."""
CLIENTS = ("floor", "picows", "ours", "script", "node", "node+capture", "sdk")


def one_run(client: str, shape: str, count: int, streams: int) -> dict[str, float] | None:
    """Run a client against a load of its own; `None` if the client cannot run here."""
    load = subprocess.Popen(
        [sys.executable, HERE / "load.py", shape, str(count), str(streams)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {0}),
    )  # fmt: skip
    assert load.stdout is not None
    port = load.stdout.readline().strip()
    try:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(HERE / "clients.py"), client, port, str(streams), folder]
            if client.startswith("node"):
                command = ["node", str(NODE), port, str(streams), folder, client.removeprefix("node")]
            running = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {len(os.sched_getaffinity(0)) - 1}),
            )  # fmt: skip
            while_media = 0.0
            if shape == "realtime":
                for _ in ("all send", "the first ends"):
                    while not select.select([load.stdout], [], [], 1)[0] and running.poll() is None:
                        pass  # a client that cannot run ends before it connects
                    if running.poll() is None:
                        load.stdout.readline()
                    while_media = cpu_s(running.pid) - while_media
            out, errors = running.communicate(timeout=300)
            if running.returncode != 0:
                print(f"{client}: {errors.strip().splitlines()[-1:]}", file=sys.stderr)
                return None
            result: dict[str, float] = json.loads(out.splitlines()[-1])
            if shape == "realtime":
                result |= json.loads(load.stdout.readline()) | {"cpu_s": while_media}
            return result
    finally:
        load.kill()
        load.communicate()


def cpu_s(pid: int) -> float:
    """What a process has used so far (`man 5 proc`); 0 of one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(name: str, load: tuple[str, int, int], clients: list[str], rounds: int) -> None:
    """Print a table of one load."""
    runs: dict[str, list[dict[str, float]]] = {client: [] for client in clients}
    for number in range(rounds + 1):
        for client in clients:
            if client == "picows" or (client == "sdk" and load[0] != "audio"):
                continue  # the floor of real time; it wants a socket for each kind
            result = one_run(client, *load)
            if result is not None and number > 0:
                runs[client].append(result)
    print(f"\n{name}: {load[1]} messages, {rounds} rounds\n")
    print("| client | CPU µs a message | × floor | spread | × node | × node+capture | messages/s | MB peak |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    floors = [run["cpu_s"] / run["messages"] for run in runs["floor"]]
    for client, results in runs.items():
        if not results:
            continue
        costs = [run["cpu_s"] / run["messages"] for run in results]
        ratios = [cost / floor for cost, floor in zip(costs, floors, strict=False)]
        speed = median(run["messages"] / run["wall_s"] for run in results)
        peak = median(run["peak_mb"] for run in results)
        nodes = [_ratio(costs, runs.get(other, [])) for other in ("node", "node+capture")]
        print(
            f"| {client} | {median(costs) * 1e6:.1f} | {median(ratios):.2f} | {min(ratios):.2f}–{max(ratios):.2f} "
            f"| {' | '.join(nodes)} | {speed:,.0f} | {peak:.0f} |"
        )


def _ratio(costs: list[float], others: list[dict[str, float]]) -> str:
    """The median of the ratios to another client, round by round; nothing where it did not run."""
    if not others:
        return ""
    return f"{median(cost * run['messages'] / run['cpu_s'] for cost, run in zip(costs, others, strict=False)):.2f}"


def real_time(streams: int, seconds: int, clients: list[str]) -> None:
    """Print a table of many streams at once, each message a wake-up of its own; CPU is that while all of them send."""
    span_s = seconds - RAMP_S
    print(f"\n{streams} streams of 20 ms packets in real time, in one process on one core, {seconds} s\n")
    print("| client | core | µs a message | × picows | messages | keep-alives answered | 99 % in | slowest | MB peak |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    floor_s = 0.0
    for client in clients:
        run = one_run(client, "realtime", seconds * 50, streams)
        if run is not None:
            floor_s = run["cpu_s"] if client == "picows" else floor_s
            ratio = f"{run['cpu_s'] / floor_s:.2f}" if floor_s else ""
            cost_s = run["cpu_s"] / (span_s * 50 * streams)
            print(
                f"| {client} | {run['cpu_s'] / span_s:.0%} | {cost_s * 1e6:.1f} | {ratio} "
                f"| {run['messages']:,.0f} of {seconds * 50 * streams:,} | {run['answered']:.0f} of {run['asked']:.0f} "
                f"| {run['p99_ms']:.0f} ms | {run['slowest_ms']:.0f} ms | {run['peak_mb']:.0f} |"
            )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--clients", default=",".join(CLIENTS))
    options.add_argument("--streams", type=int, nargs="*", default=[400, 800, 1200])
    options.add_argument("--quick", action="store_true", help="the audio flood only")
    given = options.parse_args()
    clients = given.clients.split(",")
    for name, load in list(LOADS.items())[: 1 if given.quick else None]:
        compare(name, load, clients, given.rounds)
    for streams in () if given.quick else given.streams:
        real_time(streams, 20, [client for client in clients if client != "floor"])


if __name__ == "__main__":
    main()
