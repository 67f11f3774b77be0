"""Lines to a file or pipe, written by a thread: whoever reads them slowly must not hold up keep-alives."""

import queue
import sys
import threading
from typing import TextIO

MOST_WAITING = 10_000
"""Lines that may wait for a reader; later ones are dropped and counted."""

CLOSE_TIMEOUT_S = 2.0


class LineOutput:
    """Writes lines in order, never making who says them wait."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._waiting: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self._dropped = 0
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
        while (line := self._waiting.get()) is not None:
            if self._gone:
                continue
            try:
                self._out.write(line + "\n")
                if self._waiting.empty():
                    self._out.flush()
            except (OSError, ValueError):
                # The reader has closed the pipe (`| head`): what is recorded matters more than who looks on.
                self._gone = True
                print("warning: nobody reads the output any more; recording goes on", file=sys.stderr)  # noqa: T201
            dropped, self._dropped = self._dropped, 0
            if dropped:
                self.say(f"{dropped} lines were dropped: whoever reads them is too slow")
