"""The dashboard in a real pseudo-terminal: what a person would see, keys, resizing, and the terminal given back."""

import contextlib
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import RTMS, rtms
from terminals import ALTERNATE_OFF, ALTERNATE_ON, LONGEST_S, Terminal

CRASHING = """
import asyncio, pathlib
from rtms_cli.view.screen import Screen

async def main():
    screen = Screen("crash", lambda: [], lambda _: None, lambda _: None, pathlib.Path("."))
    async with screen:
        await asyncio.sleep(0.2)
        raise RuntimeError("a defect")

asyncio.run(main())
"""


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Terminal]:
    """`rtms demo` in a terminal."""
    terminal = Terminal([*RTMS, "demo", "--seconds", "600"], tmp_path)  # longer than a slow machine needs
    yield terminal
    terminal.close()


def test_what_a_person_sees_does_and_gets_back(demo: Terminal, tmp_path: Path) -> None:
    demo.shows("✓ ready", "Good morning", "rtms  demo", "● up", "everyone (mixed)", "audio", "? help", "% ")
    demo.type("?")
    demo.shows("this list", "finish all recordings and quit")
    demo.type(" ")
    demo.until(lambda text: "this list" not in text)
    demo.type("r")
    demo.shows("messages, without media", "CLIENT_READY_ACK")
    demo.type("rp")
    in_two_columns = r"\n.*socket.* level.*\n"
    demo.until(lambda text: "PAUSED" in text and re.search(in_two_columns, text) is not None)
    demo.resize(80, 24)
    demo.until(
        lambda text: (
            all(part in text for part in ("\n who ", "? help", "PAUSED")) and not re.search(in_two_columns, text)
        )
    )
    demo.type("pm")
    demo.shows("marked: a line in events.jsonl")
    demo.type("q")
    demo.shows("End the recording and quit?")
    demo.type("y")
    assert demo.end() == 0
    assert demo.is_restored()
    assert "Next: rtms show latest" in demo.text
    assert "complete, stopped by the q key" in demo.text
    assert "3 people, nothing lost" in demo.text  # the summary stands where one goes on typing
    [events] = tmp_path.glob("recordings/*/events.jsonl")
    assert events.read_text().count('"event":"MARK"') == 1


def test_what_became_of_a_hook_stands_below_the_summary(tmp_path: Path) -> None:
    """The dashboard is gone by the time that someone reads."""
    hooks = ["--on", "finished=sh -c 'exit 3'", "--on", "started=true"]
    terminal = Terminal([*RTMS, "demo", "--seconds", "1", *hooks], tmp_path)
    try:
        assert terminal.end() == 0
        assert terminal.is_restored()
        _, _, stays = terminal.output.rpartition(ALTERNATE_OFF)
        assert b"3 people, nothing lost" in stays
        assert b"WARNING: hook finished sh: exit code 3 after" in stays
        assert b"hook started" not in stays
    finally:
        terminal.close()


def test_what_a_receiver_has_not_taken_stands_below_the_summary(tmp_path: Path) -> None:
    with socket.socket() as nobody:  # refuses: it does not listen
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        terminal = Terminal([*RTMS, "demo", "--seconds", "1", "--notify", url], tmp_path)
        try:
            assert terminal.end() == 0
            _, _, stays = terminal.output.rpartition(ALTERNATE_OFF)
            assert b"notifications are left in recordings/.rtms-outbox.sqlite3; the next run sends them" in stays
        finally:
            terminal.close()


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 0)])
def test_signals_give_the_terminal_back(demo: Terminal, sent: signal.Signals, status: int) -> None:
    demo.shows("✓ ready")
    demo.process.send_signal(sent)
    assert demo.end() == status
    assert demo.is_restored()


def test_two_interrupts_give_the_terminal_back_too(tmp_path: Path) -> None:
    terminal = Terminal([*RTMS, "listen", "--port", "0"], tmp_path)
    try:
        terminal.shows("listening on")
        terminal.type("\x03")
        terminal.type("\x03")
        assert terminal.end() in (0, 130)
        assert terminal.is_restored()
    finally:
        terminal.close()


@pytest.mark.parametrize("options", [[], ["--plain"]], ids=["dashboard", "plain"])
def test_who_listens_is_told_how_webhooks_get_there(options: list[str], tmp_path: Path) -> None:
    terminal = Terminal([*RTMS, "listen", "--port", "0", *options], tmp_path)
    try:
        terminal.shows("the webhook URL https://YOUR-HOST/webhook", "Try it without Zoom: rtms simulate --webhook")
        [port] = set(re.findall(r"http://127\.0\.0\.1:([1-9]\d+)/webhook", terminal.text))
        assert int(port) > 1023
        terminal.type("\x03")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_a_crash_gives_the_terminal_back(tmp_path: Path) -> None:
    terminal = Terminal([sys.executable, "-c", CRASHING], tmp_path)
    try:
        assert terminal.end() == 1
        assert terminal.is_restored()
        assert "RuntimeError: a defect" in terminal.text
    finally:
        terminal.close()


def test_a_replay_can_be_watched(tmp_path: Path) -> None:
    assert rtms("demo", "--seconds", "2", "--out", "made", cwd=tmp_path).returncode == 0
    [folder] = (tmp_path / "made").iterdir()
    terminal = Terminal([*RTMS, "replay", str(folder), "--speed", "1", "--out", "again"], tmp_path)
    try:
        terminal.shows("replay of", "● up")
        terminal.until(lambda text: "100%" in text or "nothing lost" in text)
        assert terminal.end() == 0
        assert terminal.is_restored()
    finally:
        terminal.close()
    [again] = (tmp_path / "again").iterdir()
    for name in ("audio/mixed.wav", "transcript.jsonl", "events.jsonl", "capture.jsonl"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


PROMPT = "shell>"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Terminal]:
    """A shell with job control, as people use it."""
    has_bash = shutil.which("bash") is not None
    terminal = Terminal(["bash", "--norc", "--noprofile", "-i"] if has_bash else ["sh", "-i"], tmp_path)
    terminal.type(f"PS1='{PROMPT}'; stty tostop\n")
    terminal.shows(f"\n{PROMPT}")
    yield terminal
    terminal.type("\x03\nkill -9 %1\nexit\n")
    with contextlib.suppress(OSError):  # it is gone
        terminal.end()
    terminal.close()


def sound(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("recordings/*/audio/mixed.wav"))


def grows(shell: Terminal, folder: Path) -> None:
    """Wait until more has been recorded."""
    before = sound(folder)
    shell.until(lambda _: sound(folder) > before + 10_000)


@pytest.mark.parametrize("options", ["", "--plain >log", "--plain"], ids=["dashboard", "plain to a file", "plain"])
def test_a_recording_in_the_background_leaves_the_terminal_to_the_shell(
    options: str, shell: Terminal, tmp_path: Path
) -> None:
    """`stty tostop` stops whoever writes from the background, unless it ignores that."""
    shell.type(" ".join([*RTMS, "demo", "--seconds", "600", options]) + " &\n")
    grows(shell, tmp_path)
    shell.type("echo typed $((40 + 2)) by hand\n")
    shell.shows("typed 42 by hand")
    grows(shell, tmp_path)
    assert ALTERNATE_ON not in shell.output
    shell.type("jobs\n")
    shell.shows("Running")
    assert "Stopped" not in shell.text
    shell.type("kill %1; wait %1; echo ended with $?\n")
    shell.shows("ended with 0")


def test_a_dashboard_comes_and_goes_with_the_foreground(shell: Terminal, tmp_path: Path) -> None:
    shell.type(" ".join([*RTMS, "demo", "--seconds", "600"]) + " &\n")
    grows(shell, tmp_path)
    shell.type("fg\n")
    shell.shows("demo of 600 seconds", "John Smith")
    shell.type("\x1a")
    shell.shows("Stopped", PROMPT)
    assert shell.output.rfind(ALTERNATE_OFF) > shell.output.rfind(ALTERNATE_ON) > 0
    shell.type("bg\n")
    grows(shell, tmp_path)
    shell.type("echo typed $((40 + 2)) by hand\n")
    shell.shows("typed 42 by hand")
    drawn = shell.output.count(ALTERNATE_ON)
    grows(shell, tmp_path)
    assert shell.output.count(ALTERNATE_ON) == drawn
    shell.type("fg\n")
    shell.shows("demo of 600 seconds", "John Smith")
    shell.type("q")
    shell.shows("End the recording and quit?")
    shell.type("y")
    shell.until(lambda text: "complete" in text and text.rstrip().endswith(PROMPT.strip()))
    assert "nothing lost" in shell.text
    shell.type("stty -a | grep -o '.icanon' | tr ' ' '+'\n")
    shell.shows("\n+icanon")


@pytest.mark.parametrize("stdin", ["", "</dev/null"], ids=["with keys", "without"])
def test_a_terminal_that_shows_nothing_holds_up_neither_the_recording_nor_its_end(stdin: str, tmp_path: Path) -> None:
    """As after Ctrl-S, or when a window's other end has stopped: nothing that is written is read.

    With keys, the event loop has the terminal never block; without, a write of its own would hold it up.
    """
    terminal = Terminal(["sh", "-c", f'exec "$@" {stdin}', "sh", *RTMS, "demo", "--seconds", "600"], tmp_path)
    try:
        terminal.shows("John Smith")
        terminal.resize(500, 150)  # a picture of that size is more than a terminal holds back
        before = sound(tmp_path)
        deadline = time.monotonic() + LONGEST_S
        while sound(tmp_path) < before + 2 * 32_000:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        if not stdin:
            terminal.type("?")
            terminal.shows("─ keys ─")
            terminal.type("x")
            terminal.until(lambda text: "─ keys ─" not in text)
        terminal.type("\x13")  # Ctrl-S
        time.sleep(0.1)
        grows(terminal, tmp_path)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(LONGEST_S) == 0
    finally:
        terminal.close()
