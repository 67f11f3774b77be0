"""A log for machines: one line for each notice, event, start and end, and for each record of Python's `logging`.

A JSON line has `time` (ISO 8601, UTC), `level`, `event` (`notice`, `started`, `finished`, `log`, or an event's name as
`--json` has it), `stream`, `meeting`, `worker`, `epoch`, `logger`, `message`; all of them on every line, empty where
there is none. A text line has the same, for people. Nothing that comes from outside can begin a line of its own, and
known secrets are hidden. Logging never waits: a thread writes, and what it cannot keep up with is dropped and counted.
"""

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

from msgspec import Struct

from rtms_cli.errors import Problem, reason_of
from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.secrets import Secrets, redact_text, redact_url
from rtms_cli.protocol.times import iso_time
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.station.log_context import About, about, worker
from rtms_cli.view.text import escape, json_line

MOST_WAITING = 10_000
"""Lines that may wait for the disk; later ones are dropped and counted."""
MOST_MESSAGE = 20_000
"""Characters of a message; a traceback has some thousands."""
CLOSE_TIMEOUT_S = 2.0
MOST_STREAMS = 10_000
"""Streams whose meeting and epoch are remembered for their next line."""
_WARNING = "WARNING: "
_OURS = "rtms_cli"
_SECRET_NAMES = ("SECRET", "TOKEN", "PASSWORD", "_KEY")


class Line(Struct, frozen=True):
    """A line of the log; see the module."""

    time: str
    level: str
    event: str
    stream: str
    meeting: str
    worker: str
    epoch: int | None
    logger: str
    message: str

    def json(self) -> str:
        """As a JSON object on one line."""
        return json_line({name: "" if value is None else value for name, value in _fields(self)})

    def text(self) -> str:
        """As a line for people."""
        told = [f"{name}={value}" for name, value in _fields(self) if name in _TOLD and value not in ("", None)]
        return escape(" ".join([self.time, self.level.upper(), *told, self.message]), MOST_MESSAGE)


_TOLD = ("stream", "meeting", "worker", "epoch")


def _fields(line: Line) -> list[tuple[str, object]]:
    return [(name, getattr(line, name)) for name in line.__struct_fields__]


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """The values of variables whose names say that they are secret."""
    return [value for name, value in environment.items() if name.upper().endswith(_SECRET_NAMES)]


class RotatingFile:
    """A file that lines are appended to. When it is full it becomes `NAME.1`, that `NAME.2`, and the oldest goes.

    :param most_nbytes: of one file.
    :param keep: how many old ones there are.
    :raises Problem: if it cannot be written.
    """

    def __init__(self, path: Path, most_nbytes: int, keep: int) -> None:
        self._path = path
        self._most_nbytes = most_nbytes
        self._keep = keep
        try:
            self._open()
        except OSError as error:
            raise Problem(f"Cannot write {path}: {reason_of(error)}.", "Choose another file with --log-file.") from None

    def write(self, text: str) -> None:
        """Append lines.

        :raises OSError: if the disk does not take them.
        """
        data = text.encode("utf-8", "replace")
        if self._nbytes and self._nbytes + len(data) > self._most_nbytes:
            self._rotate()
        self._nbytes += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def reopen(self) -> None:
        """Open the file by its name again: another program has moved it.

        :raises OSError: if that cannot be done; lines go on into the old one.
        """
        former = self._descriptor
        self._open()
        os.close(former)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o640)
        self._nbytes = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        for number in range(self._keep, 0, -1):
            older = self._path if number == 1 else self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if not self._keep:
            self._path.unlink(missing_ok=True)
        self.reopen()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class StandardOutput:
    """Standard output, as a log."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def write(self, text: str) -> None:
        """Write lines."""
        self._out.write(text)
        self._out.flush()

    def reopen(self) -> None:
        """There is nothing to open."""

    def close(self) -> None:
        """It is not ours."""


class Log:
    """Writes lines, from any thread, and never waits; `close` it.

    :param now: the time, in UTC.
    :param secrets: that must not be in it, whoever says them.
    """

    def __init__(
        self,
        file: RotatingFile | StandardOutput,
        now: Callable[[], datetime],
        *,
        as_json: bool,
        secrets: Iterable[str | None] = (),
    ) -> None:
        self._file = file
        self._now = now
        self._as_json = as_json
        self._secrets = [Secrets([secret]) for secret in secrets if secret]
        self._waiting: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self._dropped = 0
        self._is_closed = self._must_reopen = False
        self._thread = threading.Thread(target=self._write, name="rtms-log", daemon=True)
        self._thread.start()

    def say(self, level: str, event: str, message: str, its: About, of_worker: str, logger: str = _OURS) -> None:
        """Write a line, some time."""
        try:
            self._waiting.put_nowait(self._line(level, event, message, its, of_worker, logger))
        except queue.Full:
            self._dropped += 1

    def _line(self, level: str, event: str, message: str, its: About, of_worker: str, logger: str) -> str:
        at = iso_time(self._now())
        said = self._harmless(message[:MOST_MESSAGE])
        line = Line(at, level, event, its.stream, its.meeting, of_worker, its.epoch, logger, said)
        return line.json() if self._as_json else line.text()

    def reopen(self) -> None:
        """Open the file by its name again, some time."""
        self._must_reopen = True

    def close(self) -> None:
        """Write what waits, and give up on a disk that does not take it."""
        self._is_closed = True
        try:
            self._waiting.put(None, timeout=CLOSE_TIMEOUT_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_TIMEOUT_S)

    def _harmless(self, message: str) -> str:
        message = redact_text(redact_url(message).encode("utf-8", "replace")).decode("utf-8", "replace")
        for secret in self._secrets:
            message = secret.hide_text(message)
        return message

    def _write(self) -> None:
        line: str | None = ""
        told = 0
        while line is not None:
            line = self._waiting.get()
            try:
                if self._must_reopen:
                    self._must_reopen = False
                    self._file.reopen()
                if line is not None:
                    self._file.write(line + "\n")
                if (dropped := self._dropped - told) > 0:
                    text = f"{dropped} lines of this log were dropped"
                    # Not by `say`: the queue may be full, or end before this line.
                    self._file.write(self._line("warning", "log", text, About(), "", _OURS) + "\n")
                    told += dropped
            except (OSError, ValueError):
                self._dropped += 1  # the disk is full, or away: the next line tries again, and tells
        self._file.close()


class LogLines(logging.Handler):
    """An observer and a handler of Python's `logging`: puts what both hear of into a log.

    :param has_file: whether it goes to a file, and what is shown stays.
    """

    def __init__(self, log: Log, *, has_file: bool = True) -> None:
        super().__init__(logging.INFO)
        self.has_file = has_file
        self._log = log
        self._streams: dict[str, About] = {}
        logging.getLogger().addHandler(self)
        self._level = logging.getLogger(_OURS).level
        logging.getLogger(_OURS).setLevel(logging.INFO)

    def close(self) -> None:
        """Take no more records, and write what waits."""
        logging.getLogger(_OURS).setLevel(self._level)
        logging.getLogger().removeHandler(self)
        super().close()
        self._log.close()

    def reopen(self) -> str:
        """Open the log by its name again; gives a line that says so."""
        self._log.reopen()
        return "the log file is opened again"

    def emit(self, record: logging.LogRecord) -> None:
        """Put a record of `logging` into the log: ours, and the warnings of libraries."""
        if record.levelno < logging.WARNING and not record.name.startswith(_OURS):
            return
        try:
            message = record.getMessage()
            if record.exc_info:
                message += "\n" + logging.Formatter().formatException(record.exc_info)
        except Exception:  # what was logged cannot be shown: that must not cost whoever logged it
            message = f"a record of {record.name} cannot be shown"
        self._log.say(record.levelname.lower(), "log", message, about.get(), worker.get(), record.name)

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """See `Observer`."""
        its = self._about(stream.stream_id, stream.id, about.get().epoch)
        self._say("info", "started", "following" if folder is None else f"recording to {folder}", its)

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """See `Observer`. A capture has them all."""

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """See `Observer`. Metrics have it."""

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """See `Observer`."""
        its = self._about(stream.stream_id, stream.id, about.get().epoch)
        del self._streams[stream.stream_id]
        losses: Sequence[object] = () if manifest is None else manifest.losses
        level = {"failed": "error", "interrupted": "warning"}.get(finish.status, "warning" if losses else "info")
        lost = f", {len(losses)} kinds of losses" if losses else ""
        self._say(level, "finished", f"{finish.status} ({finish.said_by}){lost}", its)

    def on_notice(self, text: str) -> None:
        """See `Observer`."""
        self._say("info", "notice", text, about.get())

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """See `Observer`."""
        stream_id = fields.get("stream_id")
        its = about.get()
        if isinstance(stream_id, str) and stream_id:
            epoch = fields.get("epoch")
            its = self._about(stream_id, "", epoch if isinstance(epoch, int) else None)
        of_worker = fields.get("worker")
        self._say("info", name, text, its, of_worker if isinstance(of_worker, str) else "")

    def _about(self, stream_id: str, meeting: str, epoch: int | None) -> About:
        """What is known of a stream; what is new is remembered."""
        known = self._streams.pop(stream_id, About(stream_id))
        its = About(stream_id, meeting or known.meeting, known.epoch if epoch is None else epoch)
        self._streams[stream_id] = its
        if len(self._streams) > MOST_STREAMS:
            del self._streams[next(iter(self._streams))]
        return its

    def _say(self, level: str, event: str, text: str, its: About, of_worker: str = "") -> None:
        if text.startswith(_WARNING) and level == "info":
            level, text = "warning", text.removeprefix(_WARNING)
        self._log.say(level, event, text, its, of_worker or worker.get())
