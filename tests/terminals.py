"""A pseudo-terminal with a program in it, and what it shows."""

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte
from processes import environment

ALTERNATE_ON, ALTERNATE_OFF, CURSOR_SHOWN = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"
LONGEST_S = 40


class Terminal:
    """A terminal with a program in it."""

    def __init__(self, arguments: list[str], cwd: Path, columns: int = 120, lines: int = 40) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.output = b""
        self._ours, theirs = pty.openpty()
        self._size(columns, lines)
        self.modes = termios.tcgetattr(theirs)
        # Ctrl-C throws away what was written and not read yet, and we, other than a terminal, do not read all the time.
        self.modes[3] |= termios.NOFLSH
        termios.tcsetattr(theirs, termios.TCSANOW, self.modes)
        self._theirs = theirs  # kept open, so that its modes can be read when the program has gone
        self.process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env=environment({"TERM": "xterm-256color", "COLORTERM": ""}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def _size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Change the window's size; the system signals the program."""
        self.screen.resize(lines, columns)
        self._size(columns, lines)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def read(self, wait_s: float) -> bool:
        """Take what the program wrote; false where it wrote nothing."""
        ready, _, _ = select.select([self._ours], [], [], wait_s)
        if not ready:
            return False
        data = os.read(self._ours, 65_536)
        self.output += data
        self._stream.feed(data)
        return True

    @property
    def text(self) -> str:
        """What is to be seen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, condition: Callable[[str], object]) -> None:
        """Wait until the screen shows something; where it does not, the failure says what it shows.

        A picture may be half drawn when it is looked at: what belongs together stands in one condition.
        """
        deadline = time.monotonic() + LONGEST_S
        while not condition(self.text):
            assert time.monotonic() < deadline, f"not within {LONGEST_S} s:\n{self.text}"
            self.read(0.2)
            has_more = self.process.poll() is None or self.read(0.1)
            assert has_more or condition(self.text), f"it ended:\n{self.text}"  # its last words may be the ones

    def shows(self, *parts: str) -> None:
        """Wait until all of this is to be seen at once."""
        self.until(lambda text: all(part in text for part in parts))

    def end(self) -> int:
        """Wait for the program's end, reading on."""
        while self.process.poll() is None:
            self.read(0.1)
        while self.read(0.1):
            pass
        return self.process.returncode

    def close(self) -> None:
        """Let go of it."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def modes_now(self) -> list[Any]:
        """The terminal's modes; compare them with `modes`."""
        return termios.tcgetattr(self._theirs)

    def is_restored(self) -> bool:
        """Whether the shell that comes next finds everything as it was."""
        given_back = self.output.rfind(ALTERNATE_OFF) > self.output.rfind(ALTERNATE_ON) >= 0
        return given_back and CURSOR_SHOWN in self.output and termios.tcgetattr(self._theirs) == self.modes
