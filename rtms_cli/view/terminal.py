"""A terminal that is shared with a shell: whose it is at the moment, its keys, and how it is given back.

A process in the background touches no terminal: it would be stopped for it, or garble what someone else draws there.
So whoever draws asks `is_ours` before each picture, and takes the terminal when it is.
"""

import codecs
import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from types import FrameType
from typing import Self

from rtms_cli.view.text import escape

_NEVER_STOPS = (signal.SIGTTOU, signal.SIGTTIN)
"""What stops a process in the background that touches its terminal; ignored, the touch is an error or goes through."""


def never_be_stopped() -> None:
    """Go on recording in the background, whatever is written."""
    for number in _NEVER_STOPS:
        signal.signal(number, signal.SIG_IGN)


def is_ours() -> bool:
    """Whether this process may draw: it is in the foreground of its terminal, or there is no job control."""
    try:
        group = os.tcgetpgrp(sys.__stdout__.fileno()) if sys.__stdout__ is not None else 0
    except (OSError, ValueError):  # not the terminal that controls us, or one that was closed
        return True
    return group in (0, os.getpgrp())  # 0: one in another container


class Keys:
    """The keys of a terminal, one by one, from when they are taken to when they are given back.

    Nothing here waits for what was written to be shown: a terminal that is held (Ctrl-S) shows nothing.
    """

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor, termios.TCSANOW)

    @property
    def descriptor(self) -> int:
        """Readable when a key was pressed."""
        return self._descriptor

    def read(self) -> str:
        """What was pressed; nothing where the terminal was closed, or is not ours."""
        try:
            return os.read(self._descriptor, 64).decode(errors="replace")
        except OSError:
            return ""

    def give_back(self) -> None:
        """Put the terminal's modes back."""
        with contextlib.suppress(termios.error):  # it was closed
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)


class PastedLines:
    """The lines that a person types or pastes, however long; enter it for as long as they are read.

    A terminal gathers a line before it hands it on, and has room for 4,095 bytes: of a longer one it takes nothing any
    more, not even the Enter. So the gathering is switched off, and with it the terminal's own echo. Its modes come back
    whatever happens, also where a signal stops or ends the process.
    """

    _ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before = termios.tcgetattr(descriptor)
        self._echo = ""
        self._handlers = {number: signal.getsignal(number) for number in self._ENDING}

    def __enter__(self) -> Self:
        for number, handler in self._handlers.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        self._woken, self._waking = os.pipe()
        os.set_blocking(self._waking, False)
        signal.set_wakeup_fd(self._waking)
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()
        signal.set_wakeup_fd(-1)
        os.close(self._woken)
        os.close(self._waking)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def __iter__(self) -> Iterator[bytes]:
        """The lines, each with its end, until the terminal is closed or Ctrl-D is pressed."""
        end, erase, kill = (self._before[6][special][0] for special in (termios.VEOF, termios.VERASE, termios.VKILL))
        line, decoder = bytearray(), codecs.getincrementaldecoder("utf-8")("replace")
        while chunk := self._read():
            for byte in chunk:
                if byte == end:
                    yield bytes(line)
                    return
                if byte == erase:
                    shorter = line.decode(errors="surrogateescape")[:-1].encode(errors="surrogateescape")
                    self._show("\b \b" if line else "")
                    line = bytearray(shorter)
                elif byte == kill:
                    self._show("\n")
                    line.clear()
                else:
                    self._echo += escape(decoder.decode(bytes([byte]))) if byte != ord("\n") else "\n"
                    line.append(byte)
                if byte == ord("\n"):
                    self._show("")
                    yield bytes(line)
                    line.clear()
            self._show("")
        yield bytes(line)

    def _show(self, text: str) -> None:
        """Show what was typed, and then a text: nothing that was pasted has the terminal obey it."""
        with contextlib.suppress(OSError):  # it was closed, or is only for reading
            os.write(self._descriptor, (self._echo + text).encode(errors="replace"))
        self._echo = ""

    def _read(self) -> bytes:
        """What was typed; a signal that comes just before it is waited for is not left waiting, too."""
        while True:
            ready, _, _ = select.select([self._descriptor, self._woken], [], [])
            if self._woken in ready:
                os.read(self._woken, 64)  # the handler runs now
                continue
            try:
                return os.read(self._descriptor, 1 << 16)
            except OSError:  # the terminal was closed
                return b""

    def _take(self) -> None:
        modes = termios.tcgetattr(self._descriptor)
        modes[3] &= ~(termios.ICANON | termios.ECHO)
        modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._descriptor, termios.TCSANOW, modes)

    def _give_back(self) -> None:
        with contextlib.suppress(termios.error):  # it was closed
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # It was SIGTSTP, and the shell has put us into the foreground again.
        signal.signal(number, self._on_signal)
        self._take()
