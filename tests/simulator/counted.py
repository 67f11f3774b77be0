"""Counts what exports of recordings hold against what the Zoom simulator sent.

Parties, sentences, pictures and packets are counted:

    PYTHONPATH=tests python -m simulator.counted --products all --chaos 7 --seconds 30

`rtms listen` records and `rtms export` exports, as processes. The truth is taken where the simulator writes to its
sockets. What it wrote in the last moments of a connection that then broke may be missing, and nothing else: not what
came before a connection was closed as it should be.
"""

import argparse
import asyncio
import csv
import json
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
from processes import CREDENTIALS, rtms, running

from rtms_cli.machine import BROKEN, Close, Command, Send
from rtms_cli.protocol.messages import Media, Transcript
from rtms_cli.protocol.numbers import Product
from rtms_cli.simulator.calls import cast
from rtms_cli.simulator.chaos import chaos
from rtms_cli.simulator.client import Client, ClientSocket
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, LiveStream, Simulator

_TEXTS = ("srt", "vtt", "txt", "json")
LAST_MOMENTS_S = 0.5
Fact = tuple[str, object, str]
"""A kind of media, whose it is, and the text, where there is one."""


class Truth:
    """What one stream sent."""

    def __init__(self, stream: LiveStream) -> None:
        self.product = stream.product
        self.stream_id = stream.stream_id
        self.names = {
            (one.user_id if one.channel_id is None else one.channel_id): one.name
            for one in cast(stream.scenario, stream.product).people
        }
        self.sent: Counter[Fact] = Counter()
        self.doubtful: Counter[Fact] = Counter()
        """What may not have arrived."""
        self._last: list[tuple[float, str, Fact]] = []
        self._watch(stream.zoom.client)

    def _watch(self, client: Client) -> None:
        take, forget = client.take_commands, client.forget
        forgotten: set[str] = set()

        def take_commands() -> Sequence[Command]:
            commands = take()
            forgotten.difference_update(command.channel for command in commands if isinstance(command, Close))
            for command in commands:
                if isinstance(command, Send) and (fact := _fact(command)) is not None:
                    self.sent[fact] += 1
                    self._last.append((time.monotonic(), command.channel, fact))
                elif isinstance(command, Close) and command.code == BROKEN:
                    self._doubt({command.channel})
            self._doubt(forgotten)
            forgotten.clear()
            return commands

        def forget_socket(socket: ClientSocket) -> None:
            forgotten.add(socket.name)
            forget(socket)

        client.take_commands = take_commands  # type: ignore[method-assign]
        client.forget = forget_socket  # type: ignore[method-assign]

    def _doubt(self, names: set[str]) -> None:
        """What went last to sockets that broke, or that nobody listens to, may not have arrived."""
        since = time.monotonic() - LAST_MOMENTS_S
        self._last = [one for one in self._last if one[0] > since]
        self.doubtful.update(fact for _, name, fact in self._last if name in names)
        self._last = [one for one in self._last if one[1] not in names]

    def of(self, kind: str) -> Counter[Fact]:
        """What was sent of a kind."""
        return Counter({fact: count for fact, count in self.sent.items() if fact[0] == kind})

    def check(self, what: str, found: Counter[Fact], sent: Counter[Fact]) -> Iterator[str]:
        """What is missing, but for what is doubtful, and what was never sent."""
        missing = sent - found - self.doubtful
        for fact, count in [*missing.items()][:3]:
            yield f"{what} lacks {count} × {fact}, of {sent[fact]}"
        for fact, count in [*(found - sent).items()][:3]:
            yield f"{what} has {count} × {fact} more than the {sent[fact]} that were sent"


def _fact(command: Send) -> Fact | None:
    message = command.message
    if isinstance(message, Transcript):
        return "transcript", message.user_id if message.channel_id is None else message.channel_id, message.text or ""
    if isinstance(message, Media):
        whose = message.user_id if message.channel_id is None else message.channel_id
        return type(message).__name__.lower(), whose, ""
    return None


def count(truth: Truth, folder: Path) -> list[str]:
    """Export a recording, and say what is wrong."""
    needs = {"mp4": "video", "wav": "audio", "csv": "", **dict.fromkeys(_TEXTS, "transcript")}
    sure = truth.sent - truth.doubtful
    wanted = [form for form, kind in needs.items() if not kind or any(fact[0] == kind for fact in sure)]
    done = rtms("export", folder, "--to", ",".join(wanted), "--merge-gap", "0", "--json", cwd=folder.parent)
    if done.returncode:
        return [f"export: {done.stderr.strip()}"]
    told = json.loads(done.stdout)
    files = {path.suffix[1:]: path for path in map(Path, told["files"]) if ".chat." not in path.name}
    wrong = [f"there is no {form}" for form in wanted if form not in files]
    return wrong or [*_wrong(truth, files), *_voices(truth, folder)]


def _wrong(truth: Truth, files: dict[str, Path]) -> Iterator[str]:
    with files["csv"].open(newline="") as source:
        rows = Counter((row["kind"], row["user_id"], "") for row in csv.DictReader(source))
    for kind in ("audio", "video", "share", "transcript"):
        sent: Counter[Fact] = Counter()
        for (_, whose, _), number in truth.of(kind).items():
            sent[kind, str(whose), ""] += number
        found = Counter({fact: number for fact, number in rows.items() if fact[0] == kind})
        yield from _about(truth, kind, found, sent)
    if "mp4" in files:
        with av.open(str(files["mp4"])) as container:
            number = sum(1 for _ in container.decode(video=0))
        found = Counter({("video", None, ""): number})
        sent = Counter({("video", None, ""): truth.of("video").total()})
        yield from _about(truth, "video", found, sent)
    if "json" not in files:
        return
    said = truth.of("transcript")
    sentences = json.loads(files["json"].read_text())["sentences"]
    yield from truth.check("json", Counter(("transcript", one["user_id"], one["text"]) for one in sentences), said)
    ids = {name: whose for whose, name in truth.names.items()}
    patterns = {"srt": r"(.*?): (.*)", "vtt": r"<v (.*?)>(.*)", "txt": r"\[.*?\] (.*?): (.*)"}
    for form, pattern in patterns.items():
        lines = [line for line in files[form].read_text().splitlines() if "-->" not in line]
        found = Counter(
            ("transcript", ids.get(match[1], match[1]), match[2])
            for line in lines
            if (match := re.fullmatch(pattern, line)) is not None
        )
        yield from truth.check(form, found, said)


def _about(truth: Truth, kind: str, found: Counter[Fact], sent: Counter[Fact]) -> Iterator[str]:
    """Numbers of packets, of which some may be missing where a connection broke."""
    missing, doubtful = (sent - found).total(), sum(n for fact, n in truth.doubtful.items() if fact[0] == kind)
    if missing > doubtful:
        yield f"{missing} of {sent.total()} {kind} are missing, and {doubtful} may be"
    if (more := (found - sent).total()) > 0:
        yield f"{more} {kind} more than the {sent.total()} that were sent"


def _voices(truth: Truth, folder: Path) -> Iterator[str]:
    """Every party's own file, where the parties have sound of their own."""
    may_be = {whose for _, whose, _ in truth.of("audio") if whose in truth.names}
    parties = {whose for kind, whose, _ in truth.sent - truth.doubtful if kind == "audio" and whose in truth.names}
    if not parties:
        return
    done = rtms("export", folder, "--to", "wav", "--per-speaker", "--force", "--json", cwd=folder.parent)
    names = [Path(path).name for path in json.loads(done.stdout)["files"]] if done.returncode == 0 else [done.stderr]
    found = {match[1] for name in names if (match := re.search(r"\.([^._]+)_[^.]*\.wav$", name))}
    if not {str(one) for one in parties} <= found <= {str(one) for one in may_be}:
        yield f"voices of {sorted(map(str, parties))}: {names}"


async def play(folder: Path, products: Sequence[Product], seconds: float, seed: int | None, *more: str) -> list[Truth]:
    """Record a stream of each product with `rtms listen` in a folder."""
    app = App(CREDENTIALS["ZOOM_CLIENT_ID"], CREDENTIALS["ZOOM_CLIENT_SECRET"], CREDENTIALS["ZOOM_SECRET_TOKEN"])
    async with running("listen", "--port", "0", "--json", *more, cwd=folder, settings=CREDENTIALS) as listen:
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        async with Simulator(app, webhook=url) as simulator:
            truths, streams = [], []
            for number, product in enumerate(products, 1):
                dice = random.Random(f"{seed} {product}")
                faults = () if seed is None else chaos(dice, round(seconds * 1000))
                stream = simulator.announce(product, Scenario(seconds, faults=faults), number)
                truths.append(Truth(stream))
                streams.append(stream)
            await asyncio.gather(*(_one(simulator, url, stream) for stream in streams))
        for _ in products:
            await listen.event("finished")
        listen.process.send_signal(signal.SIGINT)
        await listen.exit_code()
    return truths


async def _one(simulator: Simulator, url: str, stream: LiveStream) -> None:
    await simulator.invite(stream)
    reason = await stream.done()
    if not stream.end_was_told:
        await simulator.post(url, stream, "stopped", reason)


def main() -> int:
    """Play, record, export, count.

    :returns: 1 where something is wrong.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", default="all")
    parser.add_argument("--chaos", type=int)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--separate", action="store_true")
    given = parser.parse_args()
    products = [*Product] if given.products == "all" else [Product(name) for name in given.products.split(",")]
    with tempfile.TemporaryDirectory(prefix="counted-") as folder:
        more = ["--separate"] if given.separate else []
        truths = asyncio.run(play(Path(folder), products, given.seconds, given.chaos, *more))
        is_wrong = False
        for truth in truths:
            (recording,) = Path(folder, "recordings").glob(f"*_{truth.product}_{truth.stream_id}*")
            wrong = count(truth, recording)
            is_wrong |= bool(wrong)
            told = {kind: truth.of(kind).total() for kind in ("audio", "video", "share", "transcript")}
            sent = ", ".join(f"{number} {kind}" for kind, number in told.items() if number)
            print(f"{truth.product}: sent {sent}; {truth.doubtful.total()} doubtful; {wrong or 'all there'}")
    return int(is_wrong)


if __name__ == "__main__":
    sys.exit(main())
