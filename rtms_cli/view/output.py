"""Lines to a file or pipe, written by a thread: whoever reads them slowly must not hold up keep-alives."""

import contextlib
import errno
import io
import os
import queue
import select
import sys
import threading
from collections.abc import Callable
from typing import TextIO

MOST_WAITING = 10_000
"""Lines that may wait for a reader; later ones are dropped and counted."""

MOST_AT_ONCE = 100
"""Lines that are written together."""

CLOSE_TIMEOUT_S = 2.0

MISSED = "{} lines were dropped: whoever reads them is too slow"


class _Telling(io.TextIOWrapper):
    """Standard output, which remembers that it could not be written: nobody else knows whose error it was.

    A reader that has gone (`| head`) is not an error: from then on, output is discarded and the work continues.
    """

    error: OSError | None = None
    ends_with_reader = False
    """Whether a reader that goes is a `BrokenPipeError` anyway."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._note(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._note(error)

    def _note(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.error = error
            raise error
        if self.ends_with_reader:
            raise error
        _send_to_nowhere(self.fileno())


def end_with_reader() -> None:
    """Have a `BrokenPipeError` say that nobody reads standard output any more, where it is all that is wanted."""
    if isinstance(sys.stdout, _Telling):
        sys.stdout.ends_with_reader = True


class _Unfailing(io.TextIOWrapper):
    """Standard error: that nobody can receive it changes neither what is done nor the exit code."""

    def write(self, text: str, /) -> int:
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def open_standard_streams() -> None:
    """Have all three of them, whatever the process was started with (`<&-`, `>&-`), so that no later write can fail.

    Else the next socket or file that is opened takes the number of one that is closed. What the output's encoding lacks
    becomes a question mark.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            stream = os.fdopen(number, "w" if number else "r", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)  # which keeps it from being closed when it is replaced
    if isinstance(sys.stdout, io.TextIOWrapper):
        out = sys.stdout
        sys.stdout = _Telling(out.buffer, out.encoding, "replace", None, out.line_buffering, out.write_through)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _Unfailing(sys.stderr.buffer, sys.stderr.encoding, "replace", line_buffering=True)


def output_error() -> OSError | None:
    """Why standard output cannot be written, if it cannot."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return sys.stdout.error if isinstance(sys.stdout, _Telling) else None


def drop_dead_output() -> None:
    """Send output that nobody can receive to the null device, so that no later write fails.

    That is a terminal that was closed, or a pipe without a reader. Python would also fail to flush such an output when
    it exits, and exit with 120.
    """
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and not stream.closed and _is_dead(stream):
            _send_to_nowhere(stream.fileno())
    if isinstance(sys.stdout, _Telling):
        sys.stdout.error = None  # it was dealt with


def _send_to_nowhere(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
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
        try:
            self._descriptor: int | None = out.fileno()
            out.flush()
        except (OSError, ValueError):
            self._descriptor = None
        self._missed = missed
        self._pieces: list[str] = []
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
            except BrokenPipeError:
                # The reader has closed the pipe (`| head`) and wants no more: nobody needs to hear of it.
                self._give_up()
            except (OSError, ValueError) as error:
                self._give_up()
                why = getattr(error, "strerror", None) or error
                with contextlib.suppress(OSError):  # then there is nobody to warn either
                    print(f"warning: output cannot be written ({why}); the work goes on", file=sys.stderr)  # noqa: T201

    def _give_up(self) -> None:
        """Write nothing more: what is recorded matters more than who looks on, for the exit code as well."""
        self._gone = True
        if self._descriptor is not None:
            _send_to_nowhere(self._descriptor)

    def _put(self, line: str | None) -> None:
        if line is not None:
            self._pieces.append(line + "\n")
        if (dropped := self._dropped - self._told) > 0:
            self._told += dropped
            self._pieces.append(self._missed(dropped) + "\n")
        if self._waiting.empty() or len(self._pieces) >= MOST_AT_ONCE:
            text, self._pieces = "".join(self._pieces), []
            if self._descriptor is None:
                self._out.write(text)
                self._out.flush()
            else:  # past the stream's buffer, which is locked while a reader does not read
                _write_all(self._descriptor, text.encode(self._out.encoding, "replace"))


class Drawing(io.TextIOBase):
    """A terminal that never makes the caller wait: a thread writes whole pictures."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._pieces: list[str] = []
        self._waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._put = self._written = 0
        self._has_written = threading.Condition()
        threading.Thread(target=self._write, name="rtms-drawing", daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the terminal."""
        return self._out.encoding

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._out.isatty()

    def fileno(self) -> int:
        """The terminal's."""
        return self._out.fileno()

    def write(self, text: str, /) -> int:
        """Add to the picture."""
        self._pieces.append(text)
        return len(text)

    def flush(self) -> None:
        """Have the picture written."""
        picture, self._pieces = "".join(self._pieces), []
        if picture:
            self._put += 1
            self._waiting.put(picture.encode(self.encoding, "replace"))

    @property
    def busy(self) -> bool:
        """Whether the last picture is not written yet: the terminal does not read."""
        return self._put > self._written

    def drain(self, timeout_s: float) -> None:
        """Wait until all is written, or this long."""
        with self._has_written:
            self._has_written.wait_for(lambda: not self.busy, timeout_s)

    def _write(self) -> None:
        is_dead = False
        while True:
            picture = self._waiting.get()
            try:
                if not is_dead:
                    _write_all(self._out.fileno(), picture)
            except OSError:  # the terminal was closed
                is_dead = True
                drop_dead_output()
            with self._has_written:
                self._written += 1
                self._has_written.notify_all()


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, also where the event loop, which reads the same terminal's keys, has it never block."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select((), (descriptor,), ())
