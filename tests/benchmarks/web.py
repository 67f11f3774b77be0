"""What it costs a recorder when somebody looks: `python tests/benchmarks/web.py [--streams 100] [--rounds 3]`.

`rtms listen --web` records audio packets of 20 ms in real time from `load.py`. In one run, nobody looks and two
browsers look, by turns: one at the overview of all streams, one at a single stream. A row has the median over the
rounds of the share of a core that the recorder and the process of its pages took, and the slowest answer to a
keep-alive (each stream asks every 5 s) of all rounds. The browsers, which would be elsewhere, run on the same machine,
but give way.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.workers import SETTINGS, cpu_s, start_all
from browser import Page, browser

HERE = Path(__file__).resolve().parent
RAMP_S = 5
ARMS = {"nobody": 24, "two browsers": 4}
"""Who looks, and how many seconds pass before it counts: the pages stay connected for 20 s behind the last browser."""


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children = [one for task in Path(f"/proc/{pid}/task").glob("*/children") for one in task.read_text().split()]
    return [pid, *(one for child in children for one in family(int(child)))]


async def look(pages: list[Page], arm: str, url: str) -> None:
    """Have the browsers look, or look away."""
    for page, path in zip(pages, ("live", "live/stream0"), strict=True):
        await page.open("about:blank" if arm == "nobody" else f"{url}{path}")
        if arm != "nobody":
            await page.until("document.body.innerText.includes('streaming')")


async def play(streams: int, rounds: int, seconds: int, folder: Path) -> None:
    """Record, look and look away, and print what that cost."""
    length_s = rounds * sum(settle_s + seconds + 5 for settle_s in ARMS.values()) + RAMP_S
    load = await asyncio.create_subprocess_exec(
        sys.executable, HERE / "load.py", "realtime", str(length_s * 50), str(streams),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=1 << 24,
    )  # fmt: skip
    command = ("listen", "--port", "0", "--web", "0", "--plain", "--media", "audio", "--max-streams", str(streams))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ZOOM_", "RTMS_"))}
    listen = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rtms_cli", *command, cwd=folder,
        env=kept | SETTINGS | {"PYTHONUNBUFFERED": "1", "RTMS_RUNTIME_DIR": str(folder)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert load.stdout is not None
    assert listen.stdout is not None
    shares: dict[str, list[tuple[float, float]]] = {arm: [] for arm in ARMS}
    spans: dict[str, list[tuple[float, float]]] = {arm: [] for arm in ARMS}
    try:
        found: dict[str, str] = {}
        while len(found) < 2:
            line = (await listen.stdout.readline()).decode()
            found |= {what: line.split()[-1] for what in ("pages are on", "listening on") if what in line}
        draining = asyncio.create_task(_drain(listen.stdout))
        server = (await load.stdout.readline()).decode().strip()
        webhooks = int(found["listening on"].split(":")[2].partition("/")[0])
        await asyncio.to_thread(start_all, webhooks, server, streams)
        assert await load.stdout.readline() == b"all send\n"
        async with AsyncExitStack() as stack:
            pages = [await stack.enter_async_context(browser(folder / f"profile{n}")) for n in range(2)]
            others = [pid for pid in family(os.getpid()) if pid not in (*family(listen.pid), *family(load.pid))]
            for pid in others:
                os.setpriority(os.PRIO_PROCESS, pid, 19)
            for number in range(rounds * len(ARMS)):
                arm = [*ARMS][number % len(ARMS)]
                await look(pages, arm, found["pages are on"])
                await asyncio.sleep(ARMS[arm])
                began, used = time.monotonic(), _used(listen.pid)
                await asyncio.sleep(seconds)
                span_s = time.monotonic() - began
                now = _used(listen.pid)
                shares[arm].append(tuple((now[n] - used[n]) / span_s for n in range(2)))  # type: ignore[arg-type]
                spans[arm].append((began, began + span_s))
        while not (line := (await load.stdout.readline()).decode()).startswith("{"):
            assert line, "the load has ended"
        answers = json.loads(line)
        listen.terminate()
        await listen.wait()
        await draining
    finally:
        for process in (load, listen):
            if process.returncode is None:
                process.kill()
                await process.wait()
    _print(shares, spans, answers, streams)
    _print_losses(folder, answers)


def _print_losses(folder: Path, answers: dict[str, object]) -> None:
    manifests = [json.loads(path.read_bytes()) for path in folder.glob("recordings/*/manifest.json")]
    losses = sum(loss["count"] for one in manifests for loss in one["losses"])
    print(f"\n{len(manifests)} recordings, {losses} losses; {answers['answered']} of {answers['asked']} answered")


async def _drain(lines: asyncio.StreamReader) -> None:
    while await lines.read(1 << 16):
        pass


def _used(listen: int) -> tuple[float, float]:
    """Seconds of CPU that the recorder and its pages have used so far."""
    own, *others = family(listen)
    return cpu_s(own), sum(cpu_s(pid) for pid in others)


def _print(
    shares: dict[str, list[tuple[float, float]]],
    spans: dict[str, list[tuple[float, float]]],
    answers: dict[str, list[tuple[float, float]]],
    streams: int,
) -> None:
    print(
        f"{streams} streams\n\n| who looks | recorder | its range | × nobody | pages | slowest keep-alive | 99 % in |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|")
    floor = median(share[0] for share in shares["nobody"])
    for arm in ARMS:
        own, pages = [share[0] for share in shares[arm]], [share[1] for share in shares[arm]]
        took = sorted(took for took, at in answers["took"] if any(start <= at <= end for start, end in spans[arm]))
        print(
            f"| {arm} | {median(own):.1%} | {min(own):.1%}–{max(own):.1%} | {median(own) / floor:.2f} | "
            f"{median(pages):.1%} | {took[-1] * 1000:.1f} ms | {took[len(took) * 99 // 100] * 1000:.1f} ms |"
        )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of each round and arm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rtms-", ignore_cleanup_errors=True) as folder:
        asyncio.run(play(options.streams, options.rounds, options.seconds, Path(folder)))


if __name__ == "__main__":
    main()
