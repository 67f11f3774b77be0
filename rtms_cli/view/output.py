"""Lines to a file or pipe, written by a thread: whoever reads them slowly must not hold up keep-alives."""

import contextlib
import errno
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import TextIO

MOST_WAITING = 10_000
"""Lines that may wait for a reader; later ones are dropped and counted."""

CLOSE_TIMEOUT_S = 2.0

MISSED = "{} lines were dropped: whoever reads them is too slow"


def drop_dead_output() -> None:
    """Send output that nobody can receive to the null device, so that no later write fails.

    That is a terminal that was closed, or a pipe without a reader. Python would also fail to flush such an output when
    it exits, and exit with 120.
    """
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and not stream.closed and _is_dead(stream):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def _is_dead(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return True
    try:
        os.get_terminal_size(stream.fileno())
    except OSError as error:
        return error.errno == errno.EIO  # anything else is not a terminal
    return False


class LineOutput:
    """Writes lines in order, never making who says them wait.

    :param missed: makes the line that tells how many were dropped.
    """

    def __init__(self, out: TextIO, missed: Callable[[int], str] = MISSED.format) -> None:
        self._out = out
        self._missed = missed
        self._waiting: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self._dropped = 0
        self._told = 0
        self._gone = False
        self._thread = threading.Thread(target=self._write, name="rtms-lines", daemon=True)
        self._thread.start()

    def say(self, line: str) -> None:
        """Write a line, some time."""
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what waits, and give up on a reader that does not read."""
        try:
            self._waiting.put(None, timeout=CLOSE_TIMEOUT_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_TIMEOUT_S)

    def _write(self) -> None:
        line: str | None = ""
        while line is not None:
            line = self._waiting.get()
            if self._gone:
                continue
            try:
                self._put(line)
            except (OSError, ValueError):
                # The reader has closed the pipe (`| head`): what is recorded matters more than who looks on.
                self._gone = True
                drop_dead_output()
                with contextlib.suppress(OSError):  # then there is nobody to warn either
                    print("warning: nobody reads the output any more; recording goes on", file=sys.stderr)  # noqa: T201

    def _put(self, line: str | None) -> None:
        if line is not None:
            self._out.write(line + "\n")
        if (dropped := self._dropped - self._told) > 0:
            self._told += dropped
            self._out.write(self._missed(dropped) + "\n")
        if self._waiting.empty():
            self._out.flush()
