"""Targets that are a process, a file, a pipe, or our own standard output."""

import asyncio
import errno
import os
import queue
import signal
import stat
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from rtms_cli.errors import reason_of
from rtms_cli.live.pieces import AUDIO, GAP, Beginning, Piece, TargetGoneError
from rtms_cli.live.programs import child_environment, groups, signal_group
from rtms_cli.live.sound import sound_header
from rtms_cli.recording.files import write_all

T = TypeVar("T")

END_S = 10.0
"""How long a process may run after its input is closed, and again after SIGTERM."""
REST_S = 1.0
"""How long to wait for the rest of a process's output."""
MOST_FILES = 10_000
"""How many started files are remembered: many more than there are sessions."""
PIPE_NBYTES = 1 << 16
"""How much may wait for a pipe, as much as the pipe holds. Each wait takes an iteration of the event loop."""
MOST_LINES_A_SECOND, LONGEST_LINE = 20, 500
"""How many lines of a command's output are shown among our own."""
MOST_BYTES_A_SECOND = 1 << 18
"""How many bytes of it are read. Scanning more would block the event loop."""


def told_environment(beginning: Beginning) -> dict[str, str]:
    """Return the `RTMS_…` variables that describe the stream to a command."""
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


def _header(beginning: Beginning) -> bytes:
    return b"" if beginning.sound is None or AUDIO not in beginning.media else sound_header(beginning.sound)


class _ByteTarget(ABC):
    """A target for bytes of a single kind. It is not informed of dropped data."""

    async def send(self, pieces: Sequence[Piece]) -> int:
        """See `Target.send`."""
        data = b"".join(piece.data for piece in pieces if piece.kind != GAP)
        await self._write(data)
        return len(data)

    @abstractmethod
    async def _write(self, data: bytes) -> None:
        """Write all of it.

        :raises TargetGoneError: if that is no longer possible.
        """


class ExecTarget(_ByteTarget):
    """A process that reads from its standard input, in its own process group and without a shell.

    :param output: a descriptor for its standard output; `None` is our own.
    :param show: called with its output lines if they are not written directly. Excess lines are dropped and counted.
    """

    def __init__(
        self, argv: Sequence[str], output: int | None = None, show: Callable[[str], None] | None = None
    ) -> None:
        self._argv = argv
        self._output = output
        self._show = show
        self._reading: asyncio.Task[None] | None = None
        self._pipe: asyncio.ReadTransport | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def open(self, beginning: Beginning) -> None:
        """See `Target.open`."""
        output = self._output
        if self._show is not None:
            output = await self._listen(self._show)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output if self._show is not None else None,
                env=child_environment(told_environment(beginning)),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise TargetGoneError(f"it cannot be started: {reason_of(error)}") from None
        finally:
            if self._show is not None and output is not None:
                os.close(output)
        groups.add(self._process.pid)
        assert self._process.stdin is not None
        self._process.stdin.transport.set_write_buffer_limits(high=PIPE_NBYTES)
        if header := _header(beginning):
            await self._write(header)

    async def _listen(self, show: Callable[[str], None]) -> int:
        """Show what arrives on a pipe, and return its other end. asyncio's own pipe would also delay the process's
        end."""
        reading, writing = os.pipe()
        reader = asyncio.StreamReader()
        self._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
        )
        self._reading = asyncio.create_task(_show_lines(reader, show), name="a tap's output")
        return writing

    async def close(self, *, hurry: bool = False) -> int | None:
        """Close its input and wait. If it does not end, terminate and then kill its process group."""
        process, self._process = self._process, None
        try:
            return None if process is None else await self._end(process, hurry=hurry)
        finally:
            await self._stop_listening()

    async def _stop_listening(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None and self._pipe is not None:
            await asyncio.wait([reading], timeout=REST_S)  # another process may keep its output open
            reading.cancel()
            await asyncio.wait([reading])
            self._pipe.close()

    async def _end(self, process: asyncio.subprocess.Process, *, hurry: bool) -> int:
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
            signal_group(process.pid, signal.SIGKILL)  # including processes that it left behind
            groups.discard(process.pid)
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
    """Show what a process writes, at a readable rate."""
    loop, shown, left_out, rest = asyncio.get_running_loop(), deque[float](maxlen=MOST_LINES_A_SECOND), 0, b""
    free_at = loop.time()
    try:
        while chunk := await output.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:LONGEST_LINE]
            for line in lines:
                if len(shown) == shown.maxlen and loop.time() - shown[0] < 1:
                    left_out += 1
                    continue
                shown.append(loop.time())
                show(line[:LONGEST_LINE].decode(errors="replace"))
            free_at = max(free_at, loop.time()) + len(chunk) / MOST_BYTES_A_SECOND
            await asyncio.sleep(free_at - loop.time() - 1)  # a flood stays in the pipe and slows its writer down
    finally:  # even if we do not wait for the end of a flood
        if rest:
            show(rest.decode(errors="replace"))
        if left_out:
            show(f"({left_out} lines more)")


class FileTarget(_ByteTarget):
    """A file or a named pipe.

    :param path: the first session overwrites a file, and later ones append to it. A pipe is opened once it has a
        reader.
    """

    _begun: ClassVar[OrderedDict[Path, None]] = OrderedDict()
    """Files of the whole process. A resumed session appends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._worker: _Worker | None = None
        self._descriptor = -1
        self._pipe: tuple[asyncio.WriteTransport, _PipeProtocol] | None = None
        self._beginning: Beginning | None = None

    async def open(self, beginning: Beginning) -> None:
        """See `Target.open`."""
        self._beginning = beginning
        self._worker = _Worker("rtms-file")
        try:
            self._descriptor, is_pipe, size = await self._worker.do(self._open)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise TargetGoneError("nobody reads from the pipe", absent=True) from None
            raise TargetGoneError(f"it cannot be opened: {reason_of(error)}") from None
        if is_pipe:
            loop = asyncio.get_running_loop()
            pipe = os.fdopen(self._descriptor, "wb", buffering=0)
            self._descriptor = -1
            transport, protocol = await loop.connect_write_pipe(_PipeProtocol, pipe)
            transport.set_write_buffer_limits(high=0)
            self._pipe = transport, protocol
        if (header := _header(beginning)) and (is_pipe or size == 0):
            await self._write(header)

    def _open(self) -> tuple[int, bool, int]:
        """Open it, and return the descriptor, whether it is a pipe, and its size."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        if self._path.is_fifo():
            flags &= ~(os.O_CREAT | os.O_APPEND)
        elif self._path not in self._begun:
            flags |= os.O_TRUNC
            self._begun[self._path] = None
            if len(self._begun) > MOST_FILES:
                self._begun.popitem(last=False)
        descriptor = os.open(self._path, flags, 0o600)
        found = os.fstat(descriptor)
        return descriptor, stat.S_ISFIFO(found.st_mode), found.st_size

    async def _write(self, data: bytes) -> None:
        try:
            if self._pipe is not None:
                transport, protocol = self._pipe
                if protocol.is_lost:
                    raise BrokenPipeError(errno.EPIPE, "nobody reads from the pipe now")
                transport.write(data)
                await protocol.drain()
            else:
                assert self._worker is not None
                await self._worker.do(partial(write_all, self._descriptor, data))
        except OSError as error:
            raise TargetGoneError(reason_of(error)) from None

    async def close(self, *, hurry: bool = False) -> int | None:
        """See `Target.close`. Does not wait for a disk that does not respond."""
        if self._pipe is not None:
            transport, _ = self._pipe
            self._pipe = None
            if hurry or transport.get_write_buffer_size():
                transport.abort()  # otherwise we would wait for ever for a reader
            else:
                transport.close()
        worker, self._worker = self._worker, None
        if worker is None:
            return None
        if self._descriptor >= 0:
            finishing = asyncio.ensure_future(worker.do(partial(self._finish, self._descriptor)))
            self._descriptor = -1
            await asyncio.wait([finishing], timeout=END_S)
            finishing.cancel()
        worker.end()
        return None

    def _finish(self, descriptor: int) -> None:
        """Write the final length into a WAV file's header."""
        beginning = self._beginning
        try:
            if beginning is not None and beginning.sound is not None and beginning.sound.encoding == "wav":
                size = os.fstat(descriptor).st_size
                with self._path.open("r+b") as file:
                    file.write(sound_header(beginning.sound, size - len(sound_header(beginning.sound))))
        except OSError:
            pass  # the file is gone or not a regular file: players use its size
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
        """The reader is gone."""
        self.is_lost = True
        self._wake()

    async def drain(self) -> None:
        """Wait until everything is in the pipe.

        :raises BrokenPipeError: if the reader is gone.
        """
        while self._is_paused and not self.is_lost:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.is_lost:
            raise BrokenPipeError(errno.EPIPE, "nobody reads from the pipe now")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class StdoutTarget(_ByteTarget):
    """Our own standard output. Other processes may share it, so it must not be made non-blocking."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._worker: _Worker | None = None

    async def open(self, beginning: Beginning) -> None:
        """See `Target.open`."""
        self._worker = _Worker("rtms-stdout")
        if header := _header(beginning):
            await self._write(header)

    async def close(self, *, hurry: bool = False) -> int | None:
        """See `Target.close`."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None
        return None

    async def _write(self, data: bytes) -> None:
        assert self._worker is not None
        try:
            await self._worker.do(partial(write_all, self._descriptor, data))
        except OSError as error:
            why = "nobody reads it now" if isinstance(error, BrokenPipeError) else reason_of(error)
            raise TargetGoneError(why, final=True) from None


class _Worker:
    """A thread for operations that may block for ever: a file on a dead disk, an output without a reader.

    Each target has its own, because the shared threads serve the recordings. It is a daemon thread, so that it does not
    keep the process alive.
    """

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def do(self, work: Callable[[], T]) -> T:
        """Run a function on the thread, and return its result or raise its exception."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((work, done))
        return await done

    def end(self) -> None:
        """Stop the thread."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            result: Any = None
            failure: Exception | None = None
            try:
                result = work()
            except Exception as error:  # `do` raises it
                failure = error
            try:
                done.get_loop().call_soon_threadsafe(_settle, done, result, failure)
            except RuntimeError:
                return  # the event loop is closed


def _settle(done: "asyncio.Future[Any]", result: Any, failure: Exception | None) -> None:
    if done.done():
        return  # the caller no longer waits
    if failure is None:
        done.set_result(result)
    else:
        done.set_exception(failure)
