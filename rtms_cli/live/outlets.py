"""Targets that are a process, a file, a pipe, or our own standard output."""

import asyncio
import errno
import os
import queue
import signal
import stat
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from rtms_cli.live.pieces import AUDIO, GAP, Beginning, Piece, TargetGoneError
from rtms_cli.live.programs import child_environment, groups, signal_group
from rtms_cli.live.sound import sound_header

END_S = 10.0
"""How long a process may go on once its input is closed, and again once it was asked to end."""
MOST_FILES = 10_000
"""Files that are known to have been begun: many more than there are sessions that may go on."""
PIPE_NBYTES = 1 << 16
"""What may wait in front of a pipe, as much as the pipe itself holds: each wait costs a turn of the event loop."""
MOST_LINES_A_SECOND, LONGEST_LINE = 20, 500
"""Of a command's output, where it is shown among our own lines."""


def told_environment(beginning: Beginning) -> dict[str, str]:
    """What a command is told of its stream, in `RTMS_…` variables."""
    told = {
        "RTMS_PRODUCT": beginning.product,
        "RTMS_ID": beginning.id,
        "RTMS_STREAM_ID": beginning.stream_id,
        "RTMS_FOLDER": beginning.folder,
        "RTMS_USER_ID": beginning.user_id,
        "RTMS_USER_NAME": beginning.user_name,
    }
    if beginning.sound is not None:
        told |= {
            "RTMS_RATE": beginning.sound.rate_hz,
            "RTMS_CHANNELS": beginning.sound.channels,
            "RTMS_FORMAT": beginning.sound.encoding,
        }
    return {name: str(value) for name, value in told.items() if value is not None}


def joined(pieces: Sequence[Piece]) -> bytes:
    """The bytes of pieces, for who cannot tell kinds apart; what was dropped is not told."""
    return b"".join(piece.data for piece in pieces if piece.kind != GAP)


def _header(beginning: Beginning) -> bytes:
    return b"" if beginning.sound is None or AUDIO not in beginning.media else sound_header(beginning.sound)


class ExecTarget:
    """A process that reads from its standard input. It has a process group of its own, and no shell.

    :param output: a descriptor for what it writes to its standard output; `None` is our own.
    :param show: takes the lines that it writes, if they do not go to where ours go; too many are left out, and counted.
    """

    def __init__(
        self, argv: Sequence[str], output: int | None = None, show: Callable[[str], None] | None = None
    ) -> None:
        self._argv = argv
        self._output = output
        self._show = show
        self._reading: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def open(self, beginning: Beginning) -> None:
        """See `Target.open`."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if self._show is not None else self._output,
                stderr=asyncio.subprocess.STDOUT if self._show is not None else None,
                env=child_environment(told_environment(beginning)),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise TargetGoneError(f"it cannot be started: {error}") from None
        groups.add(self._process.pid)
        assert self._process.stdin is not None
        self._process.stdin.transport.set_write_buffer_limits(high=PIPE_NBYTES)
        if self._show is not None and self._process.stdout is not None:
            self._reading = asyncio.create_task(_show_lines(self._process.stdout, self._show), name="a tap's output")
        if header := _header(beginning):
            await self._write(header)

    async def send(self, pieces: Sequence[Piece]) -> int:
        """See `Target.send`."""
        data = joined(pieces)
        await self._write(data)
        return len(data)

    async def close(self, *, hurry: bool = False) -> int | None:
        """Close its input and wait; one that does not end is asked to, and then killed, with its whole group."""
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None
        if not process.stdin.is_closing():
            if hurry:
                process.stdin.transport.abort()
            else:
                process.stdin.close()
        ended = asyncio.ensure_future(process.wait())
        try:
            for number in () if hurry and process.returncode is not None else (0, signal.SIGTERM, signal.SIGKILL):
                if number:
                    signal_group(process.pid, number)
                if (await asyncio.wait([ended], timeout=END_S))[0]:
                    break
        finally:
            signal_group(process.pid, signal.SIGKILL)  # what it has left behind, too
            groups.discard(process.pid)
        if self._reading is not None:
            await asyncio.wait([self._reading])
            self._reading = None
        return await ended

    async def _write(self, data: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except OSError:
            code = await self._how_it_ended()
            why = f"it has ended with exit code {code}" if code is not None else "it has closed its input"
            raise TargetGoneError(why, exit_code=code, final=code == 0) from None

    async def _how_it_ended(self) -> int | None:
        assert self._process is not None
        try:
            return await asyncio.wait_for(self._process.wait(), 1)
        except TimeoutError:
            return None


async def _show_lines(output: asyncio.StreamReader, show: Callable[[str], None]) -> None:
    """Show what a process writes, as far as a person can read it."""
    loop, shown, left_out, rest = asyncio.get_running_loop(), deque[float](maxlen=MOST_LINES_A_SECOND), 0, b""
    while chunk := await output.read(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[:LONGEST_LINE]
        for line in lines:
            if len(shown) == shown.maxlen and loop.time() - shown[0] < 1:
                left_out += 1
                continue
            shown.append(loop.time())
            show(line[:LONGEST_LINE].decode(errors="replace"))
    if rest:
        show(rest.decode(errors="replace"))
    if left_out:
        show(f"({left_out} lines more)")


class FileTarget:
    """A file, or a pipe with a name.

    :param path: a file is made anew by the first session, and goes on in later ones; a pipe is opened once somebody
        reads from it.
    """

    _begun: ClassVar[OrderedDict[Path, None]] = OrderedDict()
    """Of the whole process: a session that goes on appends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._pipe: tuple[asyncio.WriteTransport, _PipeProtocol] | None = None
        self._header = b""
        self._beginning: Beginning | None = None
        self._nbytes = 0

    async def open(self, beginning: Beginning) -> None:
        """See `Target.open`."""
        try:
            self._descriptor = await asyncio.to_thread(self._open)
            is_pipe = stat.S_ISFIFO(os.fstat(self._descriptor).st_mode)
        except OSError as error:
            why = "nobody reads from the pipe" if error.errno == errno.ENXIO else error.strerror or repr(error)
            raise TargetGoneError(f"it cannot be opened: {why}") from None
        if is_pipe:
            loop = asyncio.get_running_loop()
            pipe = os.fdopen(self._descriptor, "wb", buffering=0)
            self._descriptor = -1
            transport, protocol = await loop.connect_write_pipe(_PipeProtocol, pipe)
            transport.set_write_buffer_limits(high=0)
            self._pipe = transport, protocol
        self._beginning, self._nbytes = beginning, 0
        if (header := _header(beginning)) and (is_pipe or os.fstat(self._descriptor).st_size == 0):
            await self._write(header)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        if self._path.is_fifo():
            flags &= ~(os.O_CREAT | os.O_APPEND)
        elif self._path not in self._begun:
            flags |= os.O_TRUNC
            self._begun[self._path] = None
            if len(self._begun) > MOST_FILES:
                self._begun.popitem(last=False)
        return os.open(self._path, flags, 0o600)

    async def send(self, pieces: Sequence[Piece]) -> int:
        """See `Target.send`."""
        data = joined(pieces)
        await self._write(data)
        self._nbytes += len(data)
        return len(data)

    async def _write(self, data: bytes) -> None:
        try:
            if self._pipe is not None:
                transport, protocol = self._pipe
                if protocol.is_lost:
                    raise BrokenPipeError(errno.EPIPE, "nobody reads from the pipe any more")
                transport.write(data)
                await protocol.drain()
            else:
                await asyncio.to_thread(_write_all, self._descriptor, data)
        except OSError as error:
            raise TargetGoneError(error.strerror or repr(error)) from None

    async def close(self, *, hurry: bool = False) -> int | None:
        """See `Target.close`."""
        if self._pipe is not None:
            transport, _ = self._pipe
            self._pipe = None
            if hurry:
                transport.abort()
            elif transport.get_write_buffer_size():
                transport.abort()  # nobody reads: it would wait for ever
            else:
                transport.close()
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            await asyncio.to_thread(self._finish, descriptor)
        return None

    def _finish(self, descriptor: int) -> None:
        """Say in a WAV file's header how long it has become."""
        try:
            beginning = self._beginning
            if beginning is not None and beginning.sound is not None and beginning.sound.encoding == "wav":
                size = os.fstat(descriptor).st_size
                with self._path.open("r+b") as file:
                    file.write(sound_header(beginning.sound, size - len(sound_header(beginning.sound))))
        except OSError:
            pass  # the file is gone, or no file: players take the length from its size
        finally:
            os.close(descriptor)


class _PipeProtocol(asyncio.BaseProtocol):
    """Waits while a pipe is full."""

    def __init__(self) -> None:
        self.is_lost = False
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False

    def pause_writing(self) -> None:
        """The pipe is full."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """It has room again."""
        self._is_paused = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Its reader is gone."""
        self.is_lost = True
        self._wake()

    async def drain(self) -> None:
        """Wait until all is in the pipe.

        :raises BrokenPipeError: where nobody reads any more.
        """
        while self._is_paused and not self.is_lost:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.is_lost:
            raise BrokenPipeError(errno.EPIPE, "nobody reads from the pipe any more")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class StdoutTarget:
    """Our own standard output: written to by a thread, for it may be shared, and must not be made non-blocking."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._jobs: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None] | None = None

    async def open(self, beginning: Beginning) -> None:
        """See `Target.open`."""
        self._jobs = queue.SimpleQueue()
        # A daemon: who does not read must not keep the process from its end.
        threading.Thread(target=self._run, args=(self._jobs,), name="rtms-stdout", daemon=True).start()
        if header := _header(beginning):
            await self._write(header)

    async def send(self, pieces: Sequence[Piece]) -> int:
        """See `Target.send`."""
        data = joined(pieces)
        await self._write(data)
        return len(data)

    async def close(self, *, hurry: bool = False) -> int | None:
        """See `Target.close`."""
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None
        return None

    async def _write(self, data: bytes) -> None:
        assert self._jobs is not None
        done = asyncio.get_running_loop().create_future()
        self._jobs.put((data, done))
        try:
            await done
        except OSError as error:
            why = "nobody reads it any more" if isinstance(error, BrokenPipeError) else error.strerror or repr(error)
            raise TargetGoneError(why, final=True) from None

    def _run(self, jobs: "queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None]") -> None:
        while (job := jobs.get()) is not None:
            data, done = job
            failure: OSError | None = None
            try:
                _write_all(self._descriptor, data)
            except OSError as error:
                failure = error
            try:
                done.get_loop().call_soon_threadsafe(_settle, done, failure)
            except RuntimeError:
                return  # the event loop is closed


def _settle(done: "asyncio.Future[None]", failure: OSError | None) -> None:
    if done.done():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
