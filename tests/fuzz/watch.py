"""Runs a command in this process, and sees what it must never do.

A violation is an exception that is not meant for people, a traceback or control characters in the output, a file that
is read or changed outside of the box, too much memory, or too much time.
"""

import contextlib
import io
import os
import re
import signal
import sys
import tempfile
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from rtms_cli.commands import app as program
from rtms_cli.errors import Exit, Problem

CPU_S = 8.0
WALL_S = 25.0
MOST_MB = 400
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")


class TooLongError(BaseException):
    """A command took more time than so small an input may cost."""


class Watch:
    """One process's watch; `box` is the folder that may be written to, but for `private` in it."""

    def __init__(self, box: Path) -> None:
        self.box = Path(os.path.realpath(box))
        self.private = self.box / "private"
        self.violations: list[str] = []
        self.ran: list[str] = []
        self._active = False
        sys.dont_write_bytecode = True
        tempfile.tempdir = str(self.box / "tmp")
        (self.box / "tmp").mkdir(exist_ok=True)
        os.environ["MPLCONFIGDIR"] = str(self.box / "tmp")
        self._command: Any = typer.main.get_command(program.app)
        sys.addaudithook(self._audit)

    def run(self, *arguments: object, terminal: bool = False) -> str:
        """Run `rtms` with these arguments; its standard output.

        :param terminal: whether it is to take its output for a terminal.
        """
        words = [str(one) for one in arguments]
        self.ran.append(" ".join(words) + "  # on a terminal" * terminal)
        kind = _Terminal if terminal else io.TextIOWrapper
        sinks = io.BytesIO(), io.BytesIO()
        out, err = (kind(sink, "utf-8", "replace", newline="\n") for sink in sinks)

        def command() -> int:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    return int(self._command.main(words, "rtms", standalone_mode=False) or 0)
                except Problem as problem:
                    program._complain(f"error: {problem.what}", problem.remedy)
                    return problem.exit_code

        code = self.call(command)
        out.flush()
        err.flush()
        texts = [sink.getvalue().decode() for sink in sinks]
        if code == Exit.FAULT:
            self.violation("exit 70")
        for text in texts:
            text = _STYLE.sub("", text) if terminal else text
            self._look_at(text, is_json="--json" in words)
        if code not in (None, 0, 1) and not any(texts):
            self.violation(f"exit {code} without a word")
        return texts[0]

    def call(self, what: Callable[[], Any]) -> Any:
        """Call something that may raise nothing but a `Problem`."""
        before = _memory_mb(reset=True)
        try:
            with self._limits():
                self._active = True
                try:
                    return what()
                finally:
                    self._active = False
        except Problem:
            return None
        except TooLongError:
            self.violation(f"more than {CPU_S:.0f} s: {_where(sys.exc_info()[2])}")
        except MemoryError:
            self.violation("out of memory")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            if hasattr(error, "format_message"):  # a usage error
                return 2
            self.violation(f"{type(error).__name__}: {str(error)[:120]!r} {_where(error.__traceback__)}")
            if os.environ.get("RTMS_DEBUG"):
                traceback.print_exception(error)
        finally:
            grown = _memory_mb() - before
            if grown > MOST_MB:
                self.violation(f"memory: {grown:.0f} MB")
        return None

    def violation(self, what: str) -> None:
        """Take note of one."""
        if what not in self.violations:
            self.violations.append(what)

    def _look_at(self, text: str, *, is_json: bool) -> None:
        strange = sorted({char for char in text if _is_strange(char, is_json=is_json)})
        if strange:
            line = next(line for line in text.split("\n") if any(char in line for char in strange))
            self.violation(f"control characters in the output: {strange!r} in {line[:200]!r}")
        for sign in ("Traceback", "RuntimeWarning", "Exception ignored", "defect in rtms"):
            if sign in text:
                self.violation(f"output has {sign}: {text[:300]!r}")

    @contextlib.contextmanager
    def _limits(self) -> Iterator[None]:
        def end(_: int, __: FrameType | None) -> None:
            raise TooLongError

        kept = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)}
        signal.signal(signal.SIGPROF, end)
        signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        rest_s, _ = signal.setitimer(signal.ITIMER_REAL, WALL_S)  # pytest's own time-out may be running
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, rest_s)
            for one, handler in kept.items():
                signal.signal(one, handler)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active:
            return
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            flags = arguments[2] or 0
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
            self._touched(os.fsdecode(arguments[0]), event, writes=writes, follows=not flags & os.O_NOFOLLOW)
        elif event in _CHANGES:
            for one in arguments[: 2 if event in ("os.rename", "os.link") else 1]:
                if isinstance(one, str | bytes | os.PathLike):
                    self._touched(os.fsdecode(one), event, writes=True, follows=False)

    def _touched(self, name: str, event: str, *, writes: bool, follows: bool) -> None:
        if name == os.devnull or "\0" in name:
            return
        path = os.path.realpath(name) if follows else self._parent_real(name)
        if path.startswith(f"{self.private}/") or path == str(self.private):
            self.violation(f"{event} {'changes' if writes else 'reads'} {os.path.relpath(path, self.box)}")
        elif writes and not path.startswith(f"{self.box}/"):
            self.violation(f"{event} writes {path}")

    @staticmethod
    def _parent_real(name: str) -> str:
        parent, _, last = name.rpartition("/")
        return f"{os.path.realpath(parent or ('/' if name.startswith('/') else '.'))}/{last}"


class _Terminal(io.TextIOWrapper):
    """What says that it is a terminal."""

    def isatty(self) -> bool:
        return True


_STYLE = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[12]?[KA]|\r")
"""What `rich` writes for colours, and to draw a bar again."""


def _is_strange(char: str, *, is_json: bool) -> bool:
    if char == "\n" or char.isprintable():
        return False
    category = unicodedata.category(char)
    return category == "Cc" if is_json else category != "Zs"


def _where(trace: Any) -> str:
    """The last line of ours in a traceback."""
    ours = [one for one in traceback.extract_tb(trace) if "/rtms_cli/" in one.filename]
    return f"at {ours[-1].filename.partition('/rtms_cli/')[2]}:{ours[-1].lineno} {ours[-1].name}" if ours else ""


def _memory_mb(*, reset: bool = False) -> float:
    """The most memory that this process has had since the last reset."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0  # no Linux
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
