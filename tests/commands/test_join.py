"""`rtms join` as its users see it: payloads that are pasted, and payloads that are old."""

import json
import os
import shlex
import shutil
import signal
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import CREDENTIALS, RTMS, running
from terminals import Terminal

PAYLOAD = {"meeting_uuid": "uuid==", "rtms_stream_id": "stream1", "server_urls": "ws://127.0.0.1:1/nowhere"}
LONG = json.dumps({"event": "meeting.rtms_started", "event_ts": 1, "payload": PAYLOAD, "more": "x" * 10_000})


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in CREDENTIALS.items()))
    (tmp_path / ".env").chmod(0o600)
    terminal = Terminal([*RTMS, "join", "--plain"], tmp_path)
    terminal.shows("press Enter:")
    yield terminal
    terminal.close()


def gathers(terminal: Terminal) -> bool:
    """Whether the terminal gathers lines before it hands them on."""
    return bool(terminal.modes_now()[3] & termios.ICANON)


def paste(terminal: Terminal, text: str) -> None:
    """Paste a line, as fast as the terminal takes it."""
    rest = text + "\n"
    while rest:
        terminal.type(rest[:1000])
        rest = rest[1000:]
        terminal.read(0.2)  # it is echoed


def test_a_long_line_can_be_pasted(terminal: Terminal) -> None:
    """A terminal that gathers lines has room for 4,095 bytes, and takes no Enter for a longer one."""
    paste(terminal, LONG)
    terminal.shows("was announced", "cannot connect to")
    assert '"}\n' in terminal.text  # the paste is shown, and its Enter ends a line
    assert terminal.modes_now() == terminal.modes
    terminal.type("\x03")
    assert terminal.end() == 4


def test_typing_can_be_corrected_and_given_up(terminal: Terminal) -> None:
    terminal.type("nonsense\x15\x1b]0;a title\x07\x7f{]\x7f}\n\x04")
    assert terminal.end() == 2
    assert b"\x1b]0" not in terminal.output
    assert "The payload does not announce a stream: no id in the payload" in terminal.text.replace("\n", " ")
    assert terminal.modes_now() == terminal.modes


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_the_terminal_is_given_back_whatever_happens(sent: signal.Signals, terminal: Terminal) -> None:
    assert not gathers(terminal)
    terminal.process.send_signal(sent)
    assert terminal.end() != 0
    assert terminal.modes_now() == terminal.modes


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell with job control")
def test_a_stopped_paste_gives_the_terminal_to_the_shell_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in CREDENTIALS.items()))
    (tmp_path / ".env").chmod(0o600)
    program = f"set -m; {shlex.join(RTMS)} join --plain; stty -a; fg"
    terminal = Terminal(["bash", "--norc", "-c", program], tmp_path)
    try:
        terminal.shows("press Enter:")
        terminal.type("\x1a")
        terminal.shows("isig icanon")
        terminal.until(lambda _: not gathers(terminal))
        paste(terminal, LONG)
        terminal.shows("was announced")
        terminal.type("\x03")
        assert terminal.end() == 4
    finally:
        terminal.close()


async def test_the_age_of_a_payload_is_told_before_anything_is_tried(tmp_path: Path) -> None:
    (tmp_path / "bare.json").write_text(json.dumps(PAYLOAD))
    os.utime(tmp_path / "bare.json", (time.time() - 7200, time.time() - 7200))
    body = {"event": "meeting.rtms_started", "event_ts": round(time.time() * 1000) - 7_200_000, "payload": PAYLOAD}
    (tmp_path / "whole.json").write_text(json.dumps(body))
    for name in ("bare.json", "whole.json"):
        async with running("join", name, "--plain", cwd=tmp_path, settings=CREDENTIALS) as join:
            line = await join.line_with("but Zoom's URLs are valid for 60 s")
            assert "2:00:0" in line
            assert not any("connecting" in before for before in join.lines)
            join.process.send_signal(signal.SIGINT)
            await join.exit_code()
