"""A terminal that is shared with a shell: whose it is at the moment, its keys, and how it is given back.

A process in the background touches no terminal: it would be stopped for it, or garble what somebody else draws there.
So whoever draws asks `is_ours` before each picture, and takes the terminal when it is.
"""

import contextlib
import os
import signal
import sys
import termios
import tty

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
