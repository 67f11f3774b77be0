"""How fast captures are read: `python tests/benchmarks/captures.py [--rounds 3] [--minutes 60] [--shape audio|mixed]`.

A capture is made first: 20 ms audio packets, in `mixed` H.264 of 1.5 Mbit/s and transcript lines too. The commands take
turns within a round. What counts is CPU time, start included, and its ratio to the floor: Python that reads the lines
and parses each by `json.loads`. Figures are medians.
"""

import argparse
import base64
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

START_MS = 1_738_394_112_345
FLOOR = "import json, sys\nfor line in open(sys.argv[1], 'rb'):\n    json.loads(line)"
RTMS = (sys.executable, "-m", "rtms_cli")
IDS = {"protocol_version": 1, "meeting_uuid": "uuid==", "rtms_stream_id": "stream123==", "signature": "[redacted]"}
PARAMS = {
    "audio": {"content_type": 2, "sample_rate": 1, "channel": 1, "codec": 1, "data_opt": 1, "send_rate": 20},
    "video": {"content_type": 3, "codec": 7, "resolution": 2, "fps": 25},
}


def line(at_ms: int, channel: str, way: str, data: object) -> str:
    """A line as the recorder writes it."""
    at = f"{at_ms // 1000}.{at_ms % 1000:03}000"
    return f'{{"at": {at}, "ch": "{channel}", "dir": "{way}", "data": {json.dumps(data)}}}\n'


def media(msg_type: int, at_ms: int, data: str, **more: object) -> dict[str, object]:
    """A packet, or a line of the transcript."""
    content = {"user_id": 16778240, "user_name": "John Smith", "data": data, **more, "timestamp": START_MS + at_ms}
    return {"msg_type": msg_type, "content": content}


def lines(minutes: int, shape: str) -> Iterator[str]:
    """A capture, from its header to the end."""
    head = {"rtms_capture": 1, "created": "2026-11-22T22:15:00.000Z", "generator": "benchmark", "product": "meeting"}
    yield json.dumps(head) + "\n"
    yield line(1, "signaling", "state", {"state": "opening", "url": "ws://localhost/s"})
    yield line(2, "signaling", "state", {"state": "open"})
    yield line(3, "signaling", "out", {"msg_type": 1, **IDS})
    urls = {"server_urls": {"audio": "ws://localhost/m"}}
    yield line(4, "signaling", "in", {"msg_type": 2, "status_code": 0, "media_server": urls})
    yield line(5, "media", "state", {"state": "opening", "url": "ws://localhost/m"})
    yield line(6, "media", "state", {"state": "open"})
    yield line(7, "media", "out", {"msg_type": 3, **IDS, "media_type": 11, "media_params": PARAMS})
    yield line(8, "media", "in", {"msg_type": 4, "status_code": 0, "media_params": PARAMS})
    yield line(9, "signaling", "out", {"msg_type": 7, "rtms_stream_id": "stream123=="})
    for at_ms in range(1000, 60_000 * minutes, 20):
        sound = base64.b64encode(os.urandom(640)).decode()
        yield line(at_ms, "media", "in", media(14, at_ms, sound, length=640))
        if shape == "mixed" and at_ms % 40 == 0:
            picture = b"\0\0\0\1\x41" + os.urandom(7500)
            yield line(at_ms, "media", "in", media(15, at_ms, base64.b64encode(picture).decode()))
        if shape == "mixed" and at_ms % 4000 == 0:
            yield line(at_ms, "media", "in", media(17, at_ms, "As you can see, it goes up."))
        if at_ms % 10_000 == 0:
            for channel in ("signaling", "media"):
                yield line(at_ms, channel, "in", {"msg_type": 12, "timestamp": START_MS + at_ms})
                yield line(at_ms, channel, "out", {"msg_type": 13, "timestamp": START_MS + at_ms})
    end_ms = 60_000 * minutes
    yield line(end_ms, "signaling", "in", {"msg_type": 8, "state": 4, "reason": 6, "timestamp": START_MS + end_ms})
    yield line(end_ms, "signaling", "state", {"state": "finished", "status": "complete", "code": 6})


def cpu_s(command: list[str], folder: Path) -> float:
    """What a command uses."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):  # findings of --lint are 1
        raise SystemExit(f"{command}: {done.stderr.decode()}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Make the capture, let the commands take turns, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--shape", choices=("audio", "mixed"), default="audio")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        capture = folder / "capture.jsonl"
        with capture.open("w") as file:
            file.writelines(lines(given.minutes, given.shape))
        with capture.open("rb") as file:
            count = sum(1 for _ in file)
        path, nbytes = str(capture), capture.stat().st_size
        commands = {
            "floor": [sys.executable, "-c", FLOOR, path],
            "inspect": [*RTMS, "inspect", path],
            "inspect --lint": [*RTMS, "inspect", path, "--lint"],
            "inspect --html": [*RTMS, "inspect", path, "--html", "page.html"],
            "replay": [*RTMS, "replay", path],
        }
        used: dict[str, list[float]] = {what: [] for what in commands}
        for _ in range(given.rounds):
            for what, command in commands.items():
                used[what].append(cpu_s(command, folder))
    print(f"{given.minutes} minutes of {given.shape}, {count} lines, {nbytes / 1e6:.0f} MB\n")
    print("| | CPU s | MB/s | µs a line | × floor | × real time |\n|---|--:|--:|--:|--:|--:|")
    floor = median(used["floor"])
    for what, seconds in used.items():
        took = median(seconds)
        figures = f"{took:.2f} | {nbytes / 1e6 / took:.0f} | {took / count * 1e6:.1f} | {took / floor:.2f}"
        print(f"| {what} | {figures} | {60 * given.minutes / took:,.0f} |")


if __name__ == "__main__":
    main()
