"""Hooks: user commands that run when a recording begins or ends (docs/hooks.md).

Each hook runs on its own thread, a few at once; the others wait in order. A hook never delays a recording or the event
loop.
"""

import asyncio
import errno
import logging
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from rtms_cli.errors import Problem, log_defect, reason_of
from rtms_cli.live.programs import (
    GRACE_S,
    Command,
    Ended,
    Programs,
    as_argument,
    child_environment,
    parse_command,
    redacted_command,
)
from rtms_cli.live.summary import summary_of
from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.endings import Status
from rtms_cli.protocol.messages import dumps
from rtms_cli.protocol.numbers import StopReason
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.files import write_all
from rtms_cli.recording.manifest import HOOKS_LOG, Manifest
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.wire.notices import Notices

log = logging.getLogger(__name__)

STARTED, INTERRUPTED, FINISHED, FAILED = EVENTS = ("started", "interrupted", "finished", "failed")
"""When hooks run. `finished` means that the stream has ended, even if it was revoked."""

MOST_WAITING, MOST_WAITING_NBYTES = 1_000, 64 << 20
"""How many hooks may wait, and their total input. Further hooks are counted but not run."""
MOST_LOG_NBYTES = 1 << 20
"""How much one hook may write to `hooks.log`."""

_MOST_SAID, _MOST_SAID_CHARS = 3, 200
"""Without a `hooks.log`, the last lines of output that are kept, and their length."""
_LONGEST_LINE = 1 << 13
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LINE_ENDS = re.compile(rb"[\r\n]+")
_OBEYED = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters of terminals and of text direction."""


class Hook(Struct, frozen=True):
    """A command and the event that triggers it."""

    event: str
    command: Command
    """The words `{folder}`, `{stream}` and `{status}` are replaced."""

    def __str__(self) -> str:
        return f"{self.event} {_harmless(self.command.name.encode('utf-8', 'surrogateescape'))}"

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """Return the command with the placeholders replaced."""
        return [as_argument(values[word]) if word in values else word for word in self.command.words]


def parse_hook(text: str) -> Hook:
    """Read `EVENT=COMMAND`.

    :raises Problem: if the event is unknown or the command cannot be run.
    """
    event, sign, command = text.partition("=")
    event = event.strip()
    if event not in EVENTS or not sign:
        what = f"--on {text}: there is no {f'event {event}' if sign else '= in it'}."
        raise Problem(what, f"Give EVENT=COMMAND, with {', '.join(EVENTS[:-1])} or {FAILED} as the event.")
    return Hook(event, parse_command(f"--on {event}", command))


class _Job(Struct, frozen=True):
    """A hook that is running or waiting."""

    hook: Hook
    stream: Stream
    folder: Path | None
    status: str
    given: bytes
    """Its standard input."""

    @property
    def name(self) -> str:
        """For people."""
        return str(self.hook)


class _Report(Struct, frozen=True):
    """The result of a hook."""

    ended: Ended
    log: Path | None
    """The log file with its output."""
    said: tuple[str, ...]
    """The last lines of its output, if there is no log file."""


class Hooks:
    """Observes a station and runs hooks when its streams begin and end.

    :param jobs: how many hooks run at once.
    :param timeout_s: time limit of a hook.
    :param notice: called on the event loop with messages for the user, such as hooks that are not run.
    :param tell: called on the event loop for each hook that has ended; see `Observer.on_event`, and docs/hooks.md for
        the fields.
    :param mode: permissions of `hooks.log`.
    :param grace_s: see `Programs.run`.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        jobs: int,
        timeout_s: float,
        *,
        notice: Callable[[str], None],
        tell: Callable[[str, Mapping[str, object], str], None],
        mode: int = 0o600,
        grace_s: float = GRACE_S,
    ) -> None:
        self._hooks = hooks
        self._jobs = jobs
        self._timeout_s = timeout_s
        self._notice = notice
        self._tell = tell
        self._mode = mode
        self._grace_s = grace_s
        self._waiting: deque[_Job] = deque()
        self._waiting_nbytes = 0
        self._running: set[asyncio.Task[None]] = set()
        self._programs = Programs()
        self._threads = ThreadPoolExecutor(jobs, "rtms-hook")
        self._notices = Notices(notice)

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """Run the hooks for it."""
        self._put(STARTED, stream, folder, {"status": Status.RECORDING.value})

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """Ignore."""

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """Ignore."""

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """Run the hooks for the stream's end."""
        if not self._hooks:
            return
        event = {Status.INTERRUPTED: INTERRUPTED, Status.FAILED: FAILED}.get(Status(finish.status), FINISHED)
        reason = finish.stop_reason
        known = None if reason is None else StopReason.member(reason)
        self._put(
            event,
            stream,
            folder,
            {
                "status": finish.status,
                "reason": reason,
                "reason_name": getattr(known, "name", None),
                "said_by": finish.said_by,
                "summary": None if manifest is None else summary_of(manifest),
            },
        )

    def on_notice(self, text: str) -> None:
        """Ignore."""

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """Ignore."""

    async def close(self) -> None:
        """Wait until all running and waiting hooks have finished."""
        if left := len(self._running) + len(self._waiting):
            what = "a hook" if left == 1 else f"{left} hooks"
            self._notice(f"waiting for {what} to end; press Ctrl-C again to kill them")
        try:
            while self._running:
                await asyncio.wait(self._running)
        finally:
            if self._running:  # we are not to wait
                self._waiting.clear()
                self.kill()
            self._notices.close()
            self._threads.shutdown(wait=False)

    def kill(self) -> None:
        """Kill running hooks with all their child processes, and start no more."""
        self._programs.kill()

    def _put(self, event: str, stream: Stream, folder: Path | None, told: Mapping[str, object]) -> None:
        hooks = [hook for hook in self._hooks if hook.event == event]
        if not hooks:
            return
        folder = None if folder is None else folder.absolute()
        ids = {"event": event, "product": stream.product, "id": stream.id, "stream_id": stream.stream_id}
        given = dumps({**ids, "folder": None if folder is None else os.fsdecode(folder), **told}) + b"\n"
        for hook in hooks:
            if len(self._waiting) >= MOST_WAITING or self._waiting_nbytes + len(given) > MOST_WAITING_NBYTES:
                what = f"WARNING: hook {hook} is not run for stream {stream.stream_id}: "
                self._notices.tell("hooks that are not run", f"{what}{len(self._waiting)} others wait (--hook-jobs)")
                continue
            self._waiting.append(_Job(hook, stream, folder, str(told["status"]), given))
            self._waiting_nbytes += len(given)
        self._start()

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._jobs:
            job = self._waiting.popleft()
            self._waiting_nbytes -= len(job.given)
            task = asyncio.create_task(self._run(job), name=f"hook {job.name}")
            self._running.add(task)
            task.add_done_callback(self._go_on)

    def _go_on(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (defect := task.exception()) is not None:
            log_defect(log, task.get_name(), defect)
        self._start()

    async def _run(self, job: _Job) -> None:
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._threads, self._execute, job)
        except RuntimeError as error:  # the system has no more threads
            done = _Report(Ended(None, 0.0, error=reason_of(error)), None, ())
        ended = done.ended
        where = "" if ended.is_good or done.log is None else f"; see {done.log}"
        said = "".join(f"; it said: {line}" for line in done.said)
        self._tell(
            "hook",
            {
                "hook": job.hook.event,
                "stream_id": job.stream.stream_id,
                "folder": None if job.folder is None else str(job.folder),
                "command": redacted_command(job.hook.filled(_values(job))),
                "exit_code": ended.exit_code,
                "seconds": round(ended.seconds, 3),
                "timed_out": ended.timed_out,
                "log": None if done.log is None else str(done.log),
            },
            f"{'' if ended.is_good else 'WARNING: '}hook {job.name}: {ended}{where}{said}",
        )

    def _execute(self, job: _Job) -> _Report:
        """Run a hook on a thread until it ends."""
        values = _values(job)
        environment = child_environment(
            {
                "RTMS_EVENT": job.hook.event,
                "RTMS_PRODUCT": job.stream.product.value,
                "RTMS_ID": job.stream.id,
                "RTMS_STREAM_ID": job.stream.stream_id,
                "RTMS_FOLDER": values["{folder}"],
                "RTMS_STATUS": job.status,
            }
        )
        with _Log(job, self._mode) as output:
            command = job.hook.filled(values)
            ended = self._programs.run(
                command, environment, job.given, output.take, timeout_s=self._timeout_s, grace_s=self._grace_s
            )
            output.finish(ended)
        return _Report(ended, output.path, tuple(output.said))


def _values(job: _Job) -> dict[str, str]:
    folder = "" if job.folder is None else str(job.folder)
    return {"{folder}": folder, "{stream}": job.stream.stream_id, "{status}": job.status}


class _Log:
    """A hook's lines in the recording's `hooks.log`. If that is not possible, the last ones are kept in `said`.

    The file is opened once. What is written after the recording was deleted is lost with it.
    """

    def __init__(self, job: _Job, mode: int) -> None:
        self._label = job.name
        self._folder, self._mode = job.folder, mode
        self._descriptor: int | None = None
        self._written = self._left_out = 0
        self._line = b""
        self._pid: int | None = None
        self.path: Path | None = None
        self.said: deque[str] = deque(maxlen=_MOST_SAID)

    def __enter__(self) -> "_Log":
        if self._folder is not None:
            with suppress(OSError, ValueError):
                self._descriptor = _open_log(self._folder, self._mode)
                self.path = self._folder / HOOKS_LOG
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def take(self, pid: int, data: bytes) -> None:
        """Write a hook's output, line by line."""
        self._pid = pid
        if self._descriptor is None:
            self._line = (self._line + data)[-_LONGEST_LINE:]  # for its last lines
            return
        if self._left_out:  # a flood of output must stay cheap
            self._left_out += len(data)
            return
        *lines, self._line = _LINE_ENDS.split(self._line + data)
        while len(self._line) > _LONGEST_LINE:
            lines.append(self._line[:_LONGEST_LINE])
            self._line = self._line[_LONGEST_LINE:]
        self._put([line for line in lines if line])

    def finish(self, ended: Ended) -> None:
        """Write the last line, what was left out, and the hook's result."""
        self._pid = ended.pid
        rest = [line for line in _LINE_ENDS.split(self._line) if line]
        if self._descriptor is None:
            self.said += [_harmless(line)[:_MOST_SAID_CHARS] for line in rest]
            return
        self._put(rest)
        told = [f"some {self._left_out:,} more bytes were left out"] if self._left_out else []
        self._write([f"({line})" for line in (*told, str(ended))])

    def _put(self, lines: Sequence[bytes]) -> None:
        prefix_nbytes = len(self._prefix().encode())
        kept: list[str] = []
        for raw in lines:
            if not self._left_out:
                line = _harmless(raw)
                self._written += prefix_nbytes + len(line.encode()) + 1
                if self._written <= MOST_LOG_NBYTES:
                    kept.append(line)
                    continue
            self._left_out += len(raw) + 1
        self._write(kept)

    def _prefix(self) -> str:
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return f"{at} {self._label}{'' if self._pid is None else f'[{self._pid}]'}: "

    def _write(self, lines: Sequence[str]) -> None:
        if self._descriptor is None:
            return
        prefix = self._prefix()
        try:
            write_all(self._descriptor, "".join(f"{prefix}{line}\n" for line in lines).encode())
        except OSError as error:  # a full disk
            log.warning("%s cannot be written: %s", self.path, reason_of(error))
            self._close()
            self.path, self._line = None, b""

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _open_log(folder: Path, mode: int) -> int:
    """Open a recording's `hooks.log`.

    :raises OSError: if the folder is gone, the file cannot be created, or the recording was revoked.
    """
    descriptor = os.open(folder / HOOKS_LOG, _FLAGS, mode)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        # A revocation writes the manifest and then deletes all other files: either it sees this file, or we see it
        # here.
        if _is_deleted(folder):
            (folder / HOOKS_LOG).unlink(missing_ok=True)
            raise OSError(errno.ENOENT, "the recording was revoked")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _is_deleted(folder: Path) -> bool:
    try:
        manifest = Manifest.read(folder)
    except (OSError, ValueError):
        return False
    return manifest.status == Status.REVOKED and not manifest.tracks


def _harmless(line: bytes) -> str:
    text = line.decode("utf-8", "backslashreplace")
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
