"""What is fuzzed: each target spoils one kind of input by a seed, and has it read by whatever reads it."""

import asyncio
import gzip
import json
import os
import random
import shutil
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path

import zstandard
from frames import HEADER, tree
from fuzz.material import LEVEL, STARTED, build
from fuzz.mutate import extreme, in_place, mutated_bytes, mutated_json, mutated_lines, mutated_text, written
from fuzz.watch import Watch

import rtms_cli
from rtms_cli.capture import Capture
from rtms_cli.machine import ChannelState, Command, Direction, Finish, Frame, Open, Send, State, frame_of, state_frame
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import KeepAliveRequest, Signature
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.signatures import signed_headers
from rtms_cli.protocol.webhooks import Stream, read_payload, read_webhook
from rtms_cli.recording.recorder import Recorder
from rtms_cli.session.session import Session
from rtms_cli.simulator.recorded import Recorded, Recording
from rtms_cli.simulator.scenario_file import load
from rtms_cli.simulator.subtitles import load_transcript
from rtms_cli.simulator.zoom import Zoom
from rtms_cli.view.gist import frame_line
from rtms_cli.wire.listener import Listener

INSPECTING = (
    "inspect", "inspect --json", "inspect --messages", "inspect --messages --raw", "inspect --messages --json",
    "inspect --messages --grep a --user Ann", "inspect --lint", "inspect --lint --json", "inspect --timeline",
    "inspect --timeline --json", "inspect --html out/page.html",
)  # fmt: skip
EXPORTING = tuple(
    f"export --out out {what}"
    for what in (
        "--to wav", "--to wav --per-speaker", "--to wav --multichannel", "--to flac --only-speech", "--to opus",
        "--to mp3 --trim 0 0.2", "--to txt,srt,vtt,md", "--to json --json", "--to csv", "--to parquet", "--to mp4,srt",
        "--to mkv", "--to mkv --layout side", "--to mp4 --blank --user Ann", "--to frames", "--to slides",
        "--to mp4 --layout share", "--force", "--to frames --every 0.1 --layout share", "--to txt --plot out/plot.png",
    )
)  # fmt: skip
OTHERS = ("repair", "repair --json", "replay --out out", "replay --out out --json --keep-encoded")
READERS = INSPECTING + EXPORTING + OTHERS
OF_CAPTURES = (*INSPECTING, *OTHERS, "export --out out --to csv", "export --out out --to parquet", "replay --out out")


class Box:
    """A folder with a fresh recording for each seed."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self._build()
        self.watch = Watch(self.root)
        self.work = self.root / "work"
        self._private = _tree(self.root / "private")

    def _build(self) -> None:
        build(self.root / "base")
        shutil.move(self.root / "base" / "private", self.root / "private")

    def play(self, target: str, seed: int) -> list[str]:
        """Play a seed.

        :returns: what was violated.
        """
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "out").mkdir(parents=True)
        os.chdir(self.work)
        self.watch.violations, self.watch.ran = [], []
        rng = random.Random(f"{target} {seed}")
        TARGETS[target](rng, self)
        self._look_at_private()
        return self.watch.violations

    def recording(self, rng: random.Random) -> Path:
        """A fresh recording."""
        name = rng.choice(("meeting", "meeting", "meeting", "calls"))
        shutil.copytree(self.root / "base" / name, self.work / name, symlinks=True)
        return Path(name)

    def read(self, rng: random.Random, path: Path, commands: Iterable[str], count: int = 3) -> None:
        """Run some of the commands on a recording or a capture."""
        for command in rng.sample(tuple(commands), count):
            name, *options = command.split()
            self.watch.run(name, path, *options, terminal=rng.random() < 0.1)
        self.read_as_program(path)

    def read_as_program(self, folder: Path) -> None:
        """Read all of a recording as `import rtms_cli` has programs do it; what cannot be read is a `Problem`."""
        recording: rtms_cli.Recording | None = self.watch.call(lambda: rtms_cli.Recording(folder))
        if recording is None:
            return
        for lines in ("transcript", "chat", "events"):
            self.watch.call(lambda lines=lines: deque(getattr(recording, lines), 0))  # type: ignore[misc]
        for track in recording.tracks:
            self.watch.call(lambda track=track: self._look_into(track))  # type: ignore[misc]

    def _look_into(self, track: rtms_cli.Track) -> None:
        if isinstance(track, rtms_cli.PictureTrack):
            deque(track, 0)
        if isinstance(track, rtms_cli.AudioTrack):
            assert track.samples.shape[0] == round(track.seconds * track.rate)
            assert abs(track.offset) < float("inf")
            inode, own = track.path.stat().st_ino, (self.root / "private").iterdir()
            if LEVEL.to_bytes(2, "little") * 50 in track.samples[:10_000_000].tobytes():
                if inode not in {path.stat().st_ino for path in own}:
                    self.watch.violation(f"something private is in {track}")

    def _look_at_private(self) -> None:
        if _tree(self.root / "private") != self._private:
            self.watch.violation("something private was changed")
            shutil.rmtree(self.root / "private")
            shutil.rmtree(self.root / "base")
            self._build()
        loud = LEVEL.to_bytes(2, "little") * 50
        own = {path.stat().st_ino for path in (self.root / "private").iterdir()}
        if any(path.lstat().st_ino in own for path in self.work.rglob("*")):
            return  # a hard link is the file itself, and who can make one can read it
        for path in self.work.glob("out/**/*"):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                if loud in content or b"PRIVATE" in content:
                    self.watch.violation(f"something private is in {path.relative_to(self.work)}")


def _tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def manifests(rng: random.Random, box: Box) -> None:
    """A manifest from someone else."""
    folder = box.recording(rng)
    path = folder / "manifest.json"
    value = json.loads(path.read_bytes())
    path.write_bytes(mutated_bytes(rng, path.read_bytes()) if rng.random() < 0.1 else written(mutated_json(rng, value)))
    if rng.random() < 0.3:
        value["tracks"] = mutated_json(rng, value["tracks"])
        path.write_bytes(written(value))
    elif rng.random() < 0.6:
        path.write_bytes(written(extreme(rng, value)))
    if rng.random() < 0.1:
        (folder / "capture.jsonl").unlink()
    box.read(rng, folder, READERS)


def captures(rng: random.Random, box: Box) -> None:
    """A capture from someone else, perhaps compressed, perhaps on its own."""
    folder = box.recording(rng)
    path = folder / "capture.jsonl"
    content = path.read_bytes()
    if rng.random() < 0.9:
        head, _, rest = content.partition(b"\n")
        content = mutated_lines(rng, content) if rng.random() < 0.2 else head + b"\n" + mutated_lines(rng, rest)
    alone = rng.random() < 0.3
    match rng.randrange(8):
        case 0 | 1:
            path.unlink()
            path = path.with_name("capture.jsonl.gz")
            content = gzip.compress(content, 1)
        case 2 | 3:
            path.unlink()
            path = path.with_name("capture.jsonl.zst")
            content = zstandard.compress(content)
        case _:
            pass
    path.write_bytes(mutated_bytes(rng, content) if rng.random() < 0.2 else content)
    if alone:
        path.rename(path.name)
        path = Path(path.name)
    box.read(rng, path if alone or rng.random() < 0.2 else folder, READERS if rng.random() < 0.2 else OF_CAPTURES)


def served(rng: random.Random, box: Box) -> None:
    """The same, for a client that has it served."""
    content = (box.root / "base/meeting/capture.jsonl").read_bytes()
    path = Path("capture.jsonl")
    path.write_bytes(mutated_lines(rng, content))
    at_once = rng.random() < 0.3
    box.watch.call(lambda: _serve(path, at_once=at_once))


def _serve(path: Path, *, at_once: bool) -> None:
    recorded = Recording(Capture(path))
    zoom = Zoom(
        product=recorded.product, identity=recorded.id, stream_id=recorded.stream_id, signature=Signature("good"),
        urls={"all": "ws://all"}, epoch_ms=recorded.zoom_ms, show=Recorded(recorded, at_once=at_once), on_demand=True,
    )  # fmt: skip
    at_us = 0

    def say(channel: str, **body: object) -> None:
        zoom.receive(frame_of(at_us, channel, Direction.IN, written(body)))

    signed = {"meeting_uuid": recorded.id, "rtms_stream_id": recorded.stream_id, "signature": "good"}
    for channel, msg_type in (("signaling", 1), ("media", 3)):
        zoom.receive(state_frame(at_us, channel, ChannelState(State.OPEN)))
        say(channel, msg_type=msg_type, protocol_version=1, media_type=32, **signed)
    say("signaling", msg_type=7, rtms_stream_id=recorded.stream_id)
    for _ in range(3_000):
        if (due_us := zoom.deadline_us) is None:
            break
        at_us = max(at_us, due_us)
        commands = list(zoom.tick(at_us))
        for command in commands:
            if isinstance(command, Send) and isinstance(command.message, KeepAliveRequest):
                say(command.channel, msg_type=13, timestamp=command.message.timestamp)
        if any(isinstance(command, Finish) for command in commands):
            break
    for finding in zoom.report().findings:
        assert isinstance(finding.what, str)


def requests(rng: random.Random, box: Box) -> None:
    """What someone sends to the webhook's port."""
    body = written(mutated_json(rng, STARTED))
    head = b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    signed = "".join(f"{name}: {value}\r\n" for name, value in signed_headers("t", 1_738_394_112, body).items())
    sent = head + signed.encode() + b"\r\n" + body
    if rng.random() < 0.8:
        sent = mutated_bytes(rng, head + signed.encode() + b"\r\n") + body * (rng.random() < 0.8)
    cuts = sorted(rng.randrange(len(sent) + 1) for _ in range(rng.choice((0, 1, 5))))
    pieces = [sent[start:end] for start, end in pairwise([0, *cuts, len(sent)])]
    box.watch.call(lambda: asyncio.run(_post(pieces, box)))


async def _post(pieces: list[bytes], box: Box) -> None:
    notices: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: box.watch.violation(f"in the loop: {context.get('exception')!r}")
    )
    listener = Listener(
        "127.0.0.1", 0, "/webhook", "t", lambda _, webhook: None, dict, notices.append, request_timeout_s=0.05
    )
    port = await listener.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        async with asyncio.timeout(0.2):
            answer = await reader.read(100)
        if answer and not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4", b"HTTP/1.1 1")):
            box.watch.violation(f"answered with {answer[:40]!r}")
    except (ConnectionError, TimeoutError):
        pass  # it may hang up, or wait for the rest
    finally:
        writer.close()
        await listener.stop()
    for notice in notices:
        if not notice.isprintable():
            box.watch.violation(f"told as {notice!r}")


def events(rng: random.Random, box: Box) -> None:
    """The files of lines beside the capture: transcript, chat, events, indexes."""
    folder = box.recording(rng)
    found = sorted(path for path in folder.rglob("*.jsonl") if path.name != "capture.jsonl")
    for path in rng.sample(found, min(len(found), rng.choice((1, 1, 2)))):
        path.write_bytes(mutated_lines(rng, path.read_bytes()))
    box.read(rng, folder, (*EXPORTING, *EXPORTING, *OTHERS))
    if (folder / "transcript.jsonl").exists() and rng.random() < 0.3:
        box.watch.call(lambda: load_transcript(folder / "transcript.jsonl"))


def sounds(rng: random.Random, box: Box) -> None:
    """Damaged media files."""
    folder = box.recording(rng)
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".json", ".jsonl"))
    for path in rng.sample(found, min(len(found), rng.choice((1, 1, 2)))):
        content = path.read_bytes()
        if rng.random() < 0.4:  # the header, where it hurts most
            path.write_bytes(mutated_bytes(rng, content[:64]) + content[64:])
        else:
            path.write_bytes(mutated_bytes(rng, content))
    box.read(rng, folder, (*EXPORTING, "inspect", "inspect --json", "inspect --html out/page.html", "repair"))


def folders(rng: random.Random, box: Box) -> None:
    """Links, pipes and folders where files belong, and files where folders do; where new files go, too."""
    folder = box.recording(rng)
    commands = rng.sample(READERS, 2)
    places = sorted(path for path in folder.rglob("*") if rng.random() < 0.9)
    planted = [folder / name for name in (".repair", ".lock", "manifest.json.part", "export", "audio/mixed.wav.part")]
    out = box.work / "out"
    planted += [out / f".{folder.name}.{os.getpid()}.part.{end}" for end in ("txt", "wav", "mp4", "srt", "json", "csv")]
    planted += [out / name for name in (f"{folder.name}.txt", f"{folder.name}.wav", "frames", "slides", "page.html")]
    for path in rng.sample((*places, *planted, *planted), rng.choice((1, 1, 2, 3))):
        if path.parent.is_dir() and os.path.realpath(path.parent).startswith(str(box.work)):
            in_place(path, rng, box.root / "private")
    for command in commands:
        name, *options = command.split()
        if name == "export" and rng.random() < 0.3:
            options = options[2:]  # into the recording's own folder
        box.watch.run(name, folder, *options)
    box.read_as_program(folder)


def bombs(rng: random.Random, box: Box) -> None:
    """Small files that unpack to large ones."""
    folder = box.recording(rng)
    path = folder / "capture.jsonl"
    head, _, rest = path.read_bytes().partition(b"\n")
    path.unlink()
    end, content = rng.choice(_bombs(head + b"\n" + rest))
    path = folder / f"capture.jsonl.{end}"
    path.write_bytes(content)
    box.read(rng, folder, OF_CAPTURES, 1)


@cache
def _bombs(capture: bytes) -> list[tuple[str, bytes]]:
    long = 600_000_000
    head = capture.partition(b"\n")[0] + b"\n"
    found = []
    for start, filling, last in (
        (b"", b"x" * 1_000_000, b""),
        (head, b"x" * 1_000_000, b""),
        (head + b'{"at": 1.0, "ch": "media", "dir": "in", "data": "', b" " * 1_000_000, b'"}\n'),
        (capture + b'{"at": 1.0, "ch": "media", "dir": "in", "data": [', b"[" * 1_000_000, b"]}\n"),
    ):
        whole = zstandard.ZstdCompressor(1).compressobj()
        packed = whole.compress(start) + b"".join(whole.compress(filling) for _ in range(long // len(filling)))
        found.append(("zst", packed + whole.compress(last) + whole.flush()))
    return found


def frames(rng: random.Random, box: Box) -> None:
    """What a server sends: a session and a recorder take it as a driver has them take it."""
    known = [frame for frame in Capture(box.root / "base" / "meeting") if frame.direction is Direction.IN]
    folder = box.work / "live"
    folder.mkdir()
    box.watch.call(lambda: _live(rng, folder, known))
    again = box.work / "again"
    again.mkdir()
    if not (folder / "capture.jsonl").exists() and b'"revoked"' in (folder / "manifest.json").read_bytes():
        return  # all that Zoom wants deleted is
    box.watch.call(lambda: _again(folder, again))
    if tree(folder) != tree(again):
        box.watch.violation("the replay differs from the live recording")
    box.read(rng, folder.relative_to(box.work), READERS, 1)


def _live(rng: random.Random, folder: Path, known: list[Frame]) -> None:
    session = Session(
        Stream(Product.MEETING, "uuid==", "stream123==", "ws://127.0.0.1/s", 1), Signature("0" * 64), MediaRequest()
    )
    recorder = Recorder(folder, HEADER)
    taken: list[Frame] = []
    at_us = 0

    def obey(commands: Iterable[Command]) -> bool:
        nonlocal at_us
        going = True
        for command in commands:
            if isinstance(command, Open) and at_us < 10_000_000:
                at_us += 1
                opened = state_frame(at_us, command.channel, ChannelState(State.OPEN))
                taken.append(opened)
                going = obey(session.receive(opened)) and going
            going = going and not isinstance(command, Finish)
        return going

    going = obey(session.tick(0))
    for frame in known:
        if rng.random() < 0.1:
            frame = rng.choice(known)
        raw = frame.raw
        if rng.random() < 0.3:
            raw = mutated_bytes(rng, raw) if rng.random() < 0.2 else written(mutated_json(rng, json.loads(raw)))
        at_us += rng.choice((1, 1_000, 1_000, 100_000))
        channel = frame.channel if rng.random() < 0.95 else rng.choice(("webhook", "signaling", "media"))
        made = frame_of(at_us, channel, Direction.IN, raw)
        taken.append(made)
        line = frame_line(made, Product.MEETING)
        assert line.isprintable(), line
        if going and not obey(session.receive(made)):
            going = False
            if rng.random() < 0.5:
                break
    recorder.fold(taken)
    recorder.close()


def _again(folder: Path, again: Path) -> None:
    capture = Capture(folder)
    recorder = Recorder(again, capture.header)
    recorder.fold(list(capture))
    recorder.close()
    assert not capture.problems, capture.problems


def webhooks(rng: random.Random, box: Box) -> None:
    """Bodies that someone posts, or keeps in a file."""
    value: object = STARTED | {
        "event": rng.choice(("meeting.rtms_started", "meeting.rtms_stopped", "x", "phone.rtms_started"))
    }
    if rng.random() < 0.3:
        value = {"event": "endpoint.url_validation", "event_ts": 1, "payload": {"plainToken": "abc"}}
    raw = written(mutated_json(rng, value)) if rng.random() < 0.8 else mutated_bytes(rng, written(value))
    box.watch.call(lambda: read_webhook(raw))
    shown = box.watch.call(lambda: frame_line(frame_of(1, "webhook", Direction.IN, raw), Product.MEETING))
    if shown is not None and not shown.isprintable():
        box.watch.violation(f"shown as {shown!r}")

    def payload() -> None:
        try:
            read_payload(raw)
        except ValueError:
            pass  # which it documents

    box.watch.call(payload)
    Path("payload.json").write_bytes(raw)
    command = rng.choice(
        (
            "sign payload.json",
            "sign payload.json --json --verify 00",
            "sign webhook payload.json --timestamp 1738394112 --verify v0=00",
        )
    )
    secrets = ("--secret-token", "t") if "webhook" in command else ("--client-id", "i", "--client-secret", "s")
    box.watch.run(*command.split(), *secrets)


def scenarios(rng: random.Random, box: Box) -> None:
    """A scenario that someone wrote."""
    folder = resources.files("rtms_cli.simulator") / "scenarios"
    every = sorted((one for one in folder.iterdir() if one.name.endswith(".toml")), key=lambda one: one.name)
    content = mutated_text(rng, rng.choice(every).read_bytes())
    Path("own.toml").write_bytes(content)
    box.watch.call(lambda: [one.schedule() for one in load("own.toml").scenarios])


def subtitles(rng: random.Random, box: Box) -> None:
    """A transcript that someone brings."""
    name, content = rng.choice(_SUBTITLES)
    content = mutated_lines(rng, content) if name.endswith("jsonl") else mutated_text(rng, content)
    Path(name).write_bytes(content)
    box.watch.call(lambda: load_transcript(Path(name)))


_SUBTITLES = (
    ("own.srt", b"".join(
        b"%d\n00:00:0%d,000 --> 00:00:0%d,500\nAnn: Good morning.\n\n" % (3 * (number,))
        for number in range(1, 9)
    )),
    ("own.vtt", b"WEBVTT\n\n" + b"".join(
        b"00:0%d.000 --> 00:0%d.500\n<v Ann>Good <b>morning</b>.\n\n" % (number, number) for number in range(1, 9)
    )),
    ("own.jsonl", b"".join(
        written({"start": number, "end": number + 0.5, "user_name": "Ann", "text": "Hi", "language": 9}) + b"\n"
        for number in range(8)
    )),
)  # fmt: skip


def settings(rng: random.Random, box: Box) -> None:
    """Files with settings and credentials."""
    Path("rtms.toml").write_bytes(
        mutated_text(rng, b'out = "out"\nport = 8080\n[listen]\nmax-streams = 3\nmedia = "audio"\n')
    )
    if rng.random() < 0.5:
        env = b'ZOOM_CLIENT_ID=abc\nZOOM_CLIENT_SECRET="s"\nZOOM_SECRET_TOKEN=t # x\n'
        Path(".env").write_bytes(mutated_text(rng, env))
    box.watch.run("config", *rng.choice(((), ("--json",), ("--all",), ("listen",))))


TARGETS: dict[str, Callable[[random.Random, Box], None]] = {
    each.__name__: each
    for each in (
        frames, webhooks, requests, captures, served, manifests, events, sounds, folders, bombs, scenarios, subtitles,
        settings,
    )
}  # fmt: skip
