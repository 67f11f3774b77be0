"""Ctrl-C, SIGTERM, SIGHUP: once finishes every recording, twice ends at once; files are whole either way.

A terminal that closes sends SIGHUP, often twice, and takes the output away: that ends nothing in the middle.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from harness import read_wav
from processes import CREDENTIALS, RTMS, Running, environment, running, until
from websockets.asyncio.server import ServerConnection, serve

from rtms_cli.capture import Capture
from rtms_cli.commands.replay import play_at_once
from rtms_cli.machine import Item, frames_of
from rtms_cli.recording.recorder import Recorder
from rtms_cli.session.rehearsal import Rehearsal
from rtms_cli.station.replaying import Aside, Replay

STREAMS = 20
SAID_BY = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}


@pytest.mark.parametrize("asked", SAID_BY)
async def test_once_finishes_twenty_recordings(asked: signal.Signals, tmp_path: Path) -> None:
    async with running("listen", "--port", "0", "--json", cwd=tmp_path, settings=CREDENTIALS) as listen:
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        arguments = ["--webhook", url, "--streams", str(STREAMS), "--seconds", "60"]
        async with running("simulate", *arguments, "--json", cwd=tmp_path, settings=CREDENTIALS) as simulate:
            for _ in range(STREAMS):
                await listen.line_with("CLIENT_READY_ACK")
            listen.process.send_signal(asked)
            async with asyncio.timeout(20):
                assert await listen.exit_code() == 0
            assert sum('"event":"finished"' in line for line in listen.lines) == STREAMS
            # The stopped webhooks come too late for a listener that is gone; the sockets were closed as they should be.
            await simulate.exit_code()
    folders = list((tmp_path / "recordings").iterdir())
    assert len(folders) == STREAMS
    for folder in folders:
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["status"] == "complete"
        assert manifest["stop"]["said_by"] == SAID_BY[asked]
        assert manifest["losses"] == []
        if (folder / "audio").exists():
            assert read_wav(folder / "audio/mixed.wav")[0] == 16_000


@asynccontextmanager
async def joined_to_a_deaf_server(folder: Path) -> AsyncIterator[tuple[Running, asyncio.Event]]:
    """An `rtms join` that is ready, and when its server was asked to close the stream, which it never does."""
    asked_to_close = asyncio.Event()

    async def deaf(socket: ServerConnection) -> None:
        async for message in socket:
            match json.loads(message)["msg_type"]:
                case 1:
                    urls = {"server_urls": {"all": url}}
                    await socket.send(json.dumps({"msg_type": 2, "status_code": 0, "media_server": urls}))
                case 3:
                    await socket.send(json.dumps({"msg_type": 4, "status_code": 0}))
                case 21:
                    asked_to_close.set()

    async with serve(deaf, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        payload = folder / "payload.json"
        payload.write_text(
            json.dumps({"meeting_uuid": "u", "rtms_stream_id": "s", "server_urls": url, "signature": "0" * 64})
        )
        async with running("join", payload, "--json", cwd=folder) as join:
            await join.line_with("CLIENT_READY_ACK")
            yield join, asked_to_close


def manifest_in(folder: Path) -> dict[str, object]:
    """The manifest of the only recording that was made here."""
    (recording,) = (folder / "recordings").iterdir()
    manifest: dict[str, object] = json.loads((recording / "manifest.json").read_text())
    return manifest


async def test_twice_ends_at_once(tmp_path: Path) -> None:
    async with joined_to_a_deaf_server(tmp_path) as (join, asked_to_close):
        join.process.send_signal(signal.SIGINT)
        await asked_to_close.wait()
        await until(lambda: list(tmp_path.glob("recordings/*/manifest.json")))
        join.process.send_signal(signal.SIGINT)
        assert await join.exit_code() == 130
    assert manifest_in(tmp_path)["status"] == "recording"


@pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGTERM])
async def test_a_hang_up_never_hurries_the_end(first: signal.Signals, tmp_path: Path) -> None:
    """A closing terminal sends it twice, systemd right after SIGTERM."""
    async with joined_to_a_deaf_server(tmp_path) as (join, asked_to_close):
        join.process.send_signal(first)
        await asked_to_close.wait()
        join.process.send_signal(signal.SIGHUP)
        join.process.send_signal(signal.SIGHUP)
        assert await join.exit_code() == 0
    manifest = manifest_in(tmp_path)
    assert (manifest["status"], manifest["losses"]) == ("complete", [])


async def test_after_a_hang_up_the_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    async with joined_to_a_deaf_server(tmp_path) as (join, asked_to_close):
        join.process.send_signal(signal.SIGHUP)
        await asked_to_close.wait()
        await until(lambda: list(tmp_path.glob("recordings/*/manifest.json")))
        join.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)  # two at once would arrive as one
        join.process.send_signal(signal.SIGTERM)
        assert await join.exit_code() == 130


class Terminal:
    """A program in a terminal of its own, whose window can be closed. Nothing it writes is looked at."""

    def __init__(self, arguments: list[str], cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env=environment({"TERM": "xterm-256color"}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._is_open = True

    def take_output(self) -> None:
        """Read what the program wrote, so that it can write more."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._ours, 65_536):
                pass

    def close_window(self) -> None:
        """Close the terminal: the system sends SIGHUP, and every write fails from now on."""
        self._is_open = False
        os.close(self._ours)

    def end(self) -> int:
        """Wait for the program's end."""
        return self.process.wait()

    def close(self) -> None:
        """Let go of it."""
        if self._is_open:
            self.close_window()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def in_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts programs in terminals."""
    started: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        started.append(Terminal(list(arguments), tmp_path))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


def has_sound(folder: Path) -> bool:
    return any(path.stat().st_size > 44 for path in folder.glob("recordings/*/audio/mixed.wav"))


@pytest.mark.parametrize("view", [[], ["--plain"], ["--json"]], ids=["dashboard", "plain", "json"])
async def test_a_terminal_that_is_closed(view: list[str], in_terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    terminal = in_terminal(*RTMS, "demo", "--seconds", "600", *view)

    def is_recording() -> bool:
        terminal.take_output()
        return has_sound(tmp_path)

    await until(is_recording)
    terminal.close_window()
    assert await asyncio.to_thread(terminal.end) == 0
    manifest = manifest_in(tmp_path)
    assert (manifest["status"], manifest["losses"]) == ("complete", [])
    assert manifest["stop"]["said_by"] == "SIGHUP"  # type: ignore[index]


@pytest.mark.parametrize("view", [[], ["--plain"]], ids=["dashboard", "plain"])
async def test_where_hang_ups_are_ignored_it_goes_on_without_its_terminal(
    view: list[str], in_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    """As under `trap '' HUP`; the view loses its terminal, not the recording."""
    program = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *RTMS, "demo", "--seconds", "4", *view]
    terminal = in_terminal(*program)

    def is_recording() -> bool:
        terminal.take_output()
        return has_sound(tmp_path)

    await until(is_recording)
    terminal.close_window()
    assert await asyncio.to_thread(terminal.end) == 0
    manifest = manifest_in(tmp_path)
    assert (manifest["status"], manifest["losses"]) == ("complete", [])
    assert manifest["stop"]["reason"] == 6  # type: ignore[index]


async def test_under_nohup_it_goes_on(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *("nohup", *RTMS, "demo", "--seconds", "3", "--json"),
        cwd=tmp_path,
        env=environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await until(lambda: has_sound(tmp_path))
    process.send_signal(signal.SIGHUP)
    assert await process.wait() == 0
    manifest = manifest_in(tmp_path)
    assert manifest["status"] == "complete"
    assert manifest["stop"]["reason"] == 6  # type: ignore[index]


async def test_a_stand_in_that_is_hung_up_still_reports(in_terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    """Nobody reads the report, but the exit code is that of a simulator without findings."""
    terminal = in_terminal(*RTMS, "simulate", "--seconds", "600", "--payload-out", "payload.json")
    await until((tmp_path / "payload.json").exists)
    terminal.close_window()
    assert await asyncio.to_thread(terminal.end) == 0


@pytest.mark.parametrize("asked", SAID_BY)
async def test_a_replay_that_is_stopped_leaves_no_half_recording(asked: signal.Signals, tmp_path: Path) -> None:
    lines = [{"rtms_capture": 1, "created": "2026-11-22T22:15:00Z", "generator": "x"}]
    packet = {"msg_type": 14, "content": {"user_id": 0, "data": "AAAAAAAA", "timestamp": 5000}}
    lines += [{"at": at, "ch": "media", "dir": "in", "data": packet} for at in (0, 600)]
    (tmp_path / "capture.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with running("replay", "capture.jsonl", "--speed", "1", "--out", "again", cwd=tmp_path) as replay:
        await until(lambda: list(tmp_path.glob("again/.*/audio/mixed.wav")))
        replay.process.send_signal(asked)
        async with asyncio.timeout(20):
            assert await replay.exit_code() == 128 + asked
    assert replay.lines == ["The replay was stopped before its end, so no recording was made."]
    assert not list((tmp_path / "again").iterdir())


class SignalledCapture(Capture):
    """A capture in whose middle a signal comes."""

    signal_number = signal.SIGTERM

    def items(self) -> Iterator[Item]:
        count = 0
        for item in super().items():
            before, count = count, count + sum(1 for _ in frames_of(item))
            if before < 1_500 <= count:
                signal.raise_signal(self.signal_number)
            yield item


@pytest.mark.parametrize("asked", SAID_BY)
def test_a_replay_at_full_speed_is_stopped_by_a_signal(asked: signal.Signals, tmp_path: Path) -> None:
    lines: list[object] = [{"rtms_capture": 1, "created": "2026-11-22T22:15:00Z", "generator": "x"}]
    for number in range(2_000):
        content = {"user_id": 0, "data": "AAAA", "timestamp": 5000 + 20 * number}
        lines.append({"at": number / 50, "ch": "media", "dir": "in", "data": {"msg_type": 14, "content": content}})
    (tmp_path / "capture.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = SignalledCapture(tmp_path / "capture.jsonl")
    source.signal_number = asked
    aside = Aside(tmp_path / "again", source.header)
    recorder = Recorder(aside.folder, source.header)
    replay = Replay(source, recorder, Rehearsal(source, source.header.product, source.header.rtms_stream_id), aside)
    # A process in a shell's background ignores SIGINT.
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SAID_BY}
    try:
        assert play_at_once(replay) == asked
        assert signal.getsignal(asked) is signal.SIG_DFL  # a second one ends at once
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    manifest = replay.manifest()
    assert (replay.is_complete, manifest.status, manifest.process) == (False, "interrupted", None)
    assert 1_000 <= manifest.messages["received"]["MEDIA_DATA_AUDIO"].count < 2_000
    assert not list((tmp_path / "again").iterdir())


INTERRUPTED_IMPORT = """
import runpy, sys
class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
runpy.run_module("rtms_cli", run_name="__main__")
"""


def test_an_interrupt_while_it_is_imported_is_no_traceback(tmp_path: Path) -> None:
    program = [sys.executable, "-c", INTERRUPTED_IMPORT]
    done = subprocess.run(program, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


async def test_a_demo_that_is_stopped_while_it_begins(tmp_path: Path) -> None:
    """The simulator does not wait for a client that will not come back."""
    async with running("demo", "--plain", "--seconds", "60", "--out", "recordings", cwd=tmp_path) as demo:
        await demo.line_with("webhooks go to http")
        demo.process.terminate()
        async with asyncio.timeout(20):
            assert await demo.exit_code() in (0, 4)


async def test_a_stand_in_does_not_wait_for_who_answers_no_webhook(tmp_path: Path) -> None:
    """Without that, it ends with the complaint that nobody has answered in time."""
    was_posted, may_go = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        was_posted.set()
        await may_go.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhook"
    async with running("simulate", "--webhook", url, cwd=tmp_path, settings=CREDENTIALS) as simulate:
        await was_posted.wait()
        simulate.process.send_signal(signal.SIGTERM)
        assert await simulate.exit_code() == 0
    assert not any("could not be posted" in line for line in simulate.lines)
    may_go.set()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
async def test_a_listener_says_a_url_that_leads_to_it(host: str, shown: str, tmp_path: Path) -> None:
    async with running("listen", "--host", host, "--port", "0", cwd=tmp_path, settings=CREDENTIALS) as listen:
        url = (await listen.line_with("listening on")).split("listening on ")[1].strip()
        assert url.startswith(f"http://{shown}:")
        async with running(
            "trigger", "url_validation", "--webhook", url, cwd=tmp_path, settings=CREDENTIALS
        ) as trigger:
            assert await trigger.exit_code() == 0
