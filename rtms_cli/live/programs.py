"""User programs that rtms starts: hooks, and the commands of taps.

No shell is involved. Each program gets its own process group, so that Ctrl-C on the terminal does not reach it, and its
child processes end with it. Text from Zoom or a participant is only passed as an argument or a variable, never as part
of a command line.
"""

import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from rtms_cli import children
from rtms_cli.errors import Problem, reason_of
from rtms_cli.protocol.secrets import REDACTED, SECRET_ENDINGS, redact_url

GRACE_S = 10.0
"""How long a process group may take to end after SIGTERM before it gets SIGKILL."""

DESCRIPTORS = 8
"""File descriptors that a running program may need: pipes, including those of its start, and an output file."""

_LONGEST_ARGUMENT = 4096
"""Longest external text in an argument or variable, in characters. The system's limit is 128 KiB."""
_CREDENTIALS = ("ZOOM_", "ZM_")
_CHUNK = 1 << 16
_LOOK_S = 0.25
"""How often to check whether a process has ended while another one keeps its output open."""

_ENDINGS = "|".join(map(re.escape, (*SECRET_ENDINGS, "key")))
"""Endings of option names whose values are hidden when a command is shown."""
_PAIR = re.compile(
    rf"(?P<name>[^=:\s]*(?:{_ENDINGS}))(?P<sign>\s*[=:]\s*).+",
    re.IGNORECASE | re.DOTALL,
)
_SECRET_OPTION = re.compile(rf"-.*(?:{_ENDINGS})", re.IGNORECASE)
_USER_OPTIONS = ("-u", "--user", "--proxy-user")


class Command(Struct, frozen=True):
    """A user's command, split into words."""

    name: str
    """The program's name without its folder, for display."""
    words: tuple[str, ...]
    """The program and its arguments."""


def parse_command(option: str, text: str) -> Command:
    """Split a command as a shell would, and find its program.

    :param option: the option that the command belongs to, for messages: `--on finished`.
    :raises Problem: if the command is empty, has unmatched quotation marks, or names an unknown program.
    """
    if "\0" in text:
        raise Problem(f"{option}: the command contains a NUL character.", "Remove it.")
    try:
        words = shlex.split(text)
    except ValueError as error:
        what = str(error).lower().rstrip(".")
        raise Problem(f"{option}: the command cannot be split: {what}.", "Close every quotation mark.") from None
    if not words or not words[0]:
        raise Problem(f"{option}: the command is empty.", "Give one.")
    program = _find(words[0])
    if program is None:
        raise Problem(f"{option}: program not found: {words[0]}.", "Give its path, or put its folder on PATH.")
    return Command(Path(words[0]).name, (*program, *words[1:]))


def _find(name: str) -> tuple[str, ...] | None:
    """Return what to start for a program's name. rtms itself is found even if it is not on PATH."""
    if (found := shutil.which(name)) is not None:
        return (str(Path(found).absolute()),)
    if name != "rtms":
        return None
    beside = Path(sys.executable).with_name("rtms")
    return (str(beside),) if os.access(beside, os.X_OK) else tuple(children.program("rtms_cli"))


def as_argument(text: str) -> str:
    """Make external text usable as an argument or variable: replace invalid characters and shorten it."""
    safe = text[:_LONGEST_ARGUMENT].replace("\0", "\N{REPLACEMENT CHARACTER}")
    try:
        os.fsencode(safe)
    except UnicodeEncodeError:  # lone surrogates, or characters that the locale's encoding lacks
        encoding = sys.getfilesystemencoding()
        return safe.encode(encoding, "replace").decode(encoding)
    return safe


def child_environment(told: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment for a program, without Zoom's credentials and our secrets.

    :param told: additional variables. Their values may be external text.
    """
    kept = {name: value for name, value in os.environ.items() if not _is_secret(name)}
    return kept | {name: as_argument(value) for name, value in told.items()}


def _is_secret(name: str) -> bool:
    endings = (*SECRET_ENDINGS, "_notify", "_queue")  # the URL of a receiver or a queue may contain a password
    return name.startswith(_CREDENTIALS) or (name.startswith("RTMS_") and name.lower().endswith(endings))


def redacted_command(command: Sequence[str]) -> list[str]:
    """Return a command for messages and logs, without anything that looks like a secret."""
    shown: list[str] = []
    before = ""
    for word in command:
        if _SECRET_OPTION.fullmatch(before) or (before in _USER_OPTIONS and ":" in word):
            shown.append(REDACTED)
        elif (pair := _PAIR.fullmatch(word)) is not None:
            shown.append(f"{pair['name']}{pair['sign']}{REDACTED}")
        else:
            shown.append(redact_url(word))
        before = word
    return shown


def shown_command(text: str) -> str:
    """Return a typed command without anything that looks like a secret; nothing if it cannot be split."""
    try:
        return shlex.join(redacted_command(shlex.split(text)))
    except ValueError:
        return REDACTED


class Ended(Struct, frozen=True):
    """How a program ended."""

    exit_code: int | None
    """Negative for a signal; `None` if the program could not be started or killed."""
    seconds: float
    pid: int | None = None
    timed_out: bool = False
    error: str = ""
    """Why it could not be started."""

    @property
    def is_good(self) -> bool:
        """Whether it succeeded."""
        return self.exit_code == 0 and not self.timed_out

    def __str__(self) -> str:
        if self.exit_code is None and self.error:
            return f"could not be started: {self.error}"
        if self.timed_out:
            return f"took too long and was stopped after {self.seconds:.0f} s"
        if self.exit_code is None:
            return "does not end"
        if self.exit_code < 0:
            return f"was ended by {signal_name(-self.exit_code)} after {self.seconds:.1f} s"
        return f"exit code {self.exit_code} after {self.seconds:.1f} s"


def signal_name(number: int) -> str:
    """Return a signal's name, or its number if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Programs:
    """Runs programs, each on the calling thread, and can kill all of them at once."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_over = False

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        given: bytes,
        take: Callable[[int, bytes], None],
        *,
        timeout_s: float,
        grace_s: float = GRACE_S,
    ) -> Ended:
        """Run a program until it ends. Background processes that it leaves are not touched.

        :param given: its standard input, which it need not read.
        :param take: called with its process id and its output as it arrives.
        :param timeout_s: time limit. After it, the process group gets SIGTERM, and SIGKILL `grace_s` later.
        """
        began = time.monotonic()
        try:
            process = self._start(command, environment)
        except (OSError, ValueError) as error:
            return Ended(None, 0.0, error=reason_of(error))
        timed_out = False
        try:
            with _Attendant(process, given, lambda data: take(process.pid, data)) as attendant:
                if not attendant.attend(began + timeout_s):
                    timed_out = True
                    signal_group(process.pid, signal.SIGTERM)
                    if not attendant.attend(time.monotonic() + grace_s, to_the_last=True):
                        signal_group(process.pid, signal.SIGKILL)
                        attendant.attend(time.monotonic() + grace_s)
        finally:
            with self._lock:
                self._running.discard(process)
        return Ended(process.poll(), time.monotonic() - began, process.pid, timed_out)

    def kill(self) -> None:
        """Kill every process group at once, and start no more."""
        is_held = self._lock.acquire(timeout=1)  # limited, because a program on a dead disk may block its start
        try:
            self._is_over = True
            for process in list(self._running):
                signal_group(process.pid, signal.SIGKILL)
        finally:
            if is_held:
                self._lock.release()

    def _start(self, command: Sequence[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._is_over:
                raise ValueError("rtms is shutting down")
            process = subprocess.Popen(  # noqa: S603  # the user's own command
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                bufsize=0,
                start_new_session=True,
            )
            self._running.add(process)
        return process


groups: set[int] = set()
"""Process groups of running taps."""


def kill_groups() -> None:
    """Kill all commands of taps at once, when rtms must exit without waiting."""
    for group in tuple(groups):
        signal_group(group, signal.SIGKILL)


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group if it still exists."""
    with suppress(OSError):  # it has ended or belongs to another user; on macOS, it has only zombies
        os.killpg(group, number)


class _Attendant:
    """Feeds a process, reads its output, and waits for its end."""

    def __init__(self, process: "subprocess.Popen[bytes]", given: bytes, take: Callable[[bytes], None]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._take = process, take
        self._stdin, self._stdout = process.stdin, process.stdout
        self._rest = memoryview(given)
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> "_Attendant":
        for pipe, event in ((self._stdin, selectors.EVENT_WRITE), (self._stdout, selectors.EVENT_READ)):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, event)
        return self

    def __exit__(self, *error: object) -> None:
        self._selector.close()
        self._stdin.close()
        self._stdout.close()

    def attend(self, deadline: float, *, to_the_last: bool = False) -> bool:
        """Serve the process until it has ended.

        :param deadline: on the monotonic clock.
        :param to_the_last: also wait until no child process keeps its output open.
        :returns: whether it ended before the deadline.
        """
        while (left := deadline - time.monotonic()) > 0:
            if self._stdout.closed:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(min(left, _LOOK_S))
                if self._process.returncode is not None:
                    return True
            elif self._process.poll() is not None and not to_the_last:
                self._read_the_rest()
                return True
            for key, _ in self._selector.select(0 if self._stdout.closed else min(left, _LOOK_S)):
                if key.fileobj is self._stdin:
                    self._write()
                else:
                    self._read()
        return False

    def _write(self) -> None:
        try:
            self._rest = self._rest[self._stdin.write(self._rest) or 0 :]
        except BrokenPipeError:  # it does not read its input
            self._rest = self._rest[:0]
        if not self._rest:
            self._selector.unregister(self._stdin)
            self._stdin.close()

    def _read(self) -> bool:
        """Read its output.

        :returns: whether more may be available at once.
        """
        data = self._stdout.read(_CHUNK)
        if data:
            self._take(data)
        elif data is not None:
            self._selector.unregister(self._stdout)
            self._stdout.close()
        return bool(data)

    def _read_the_rest(self) -> None:
        """Read what is left in the pipe. Other processes may keep writing to it, but are ignored."""
        for _ in range(1 + (1 << 20) // _CHUNK):
            if not self._read():
                break
