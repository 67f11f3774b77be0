"""The pages of `listen --web` as a process of their own, which cannot slow the recorder down or take it along.

The recorder has the listening socket and the secrets. It hands both over a socket pair, so that neither is in a command
line or an environment; when its end closes, the pages end.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from time import monotonic

import msgspec

from rtms_cli.children import environment, program
from rtms_cli.errors import Problem, reason_of
from rtms_cli.web.site import Site, serve_site

END_S = 5.0
"""How long the pages may take to end."""
LAST_WORDS_S = 1.0
"""How long to wait for what it has said before."""
FIRST_S, LONGEST_S = 0.5, 30.0
"""Between two starts of a process that dies."""
MOST_TOLD = 200
"""Lines that one process says for people."""
LONGEST = 1_000
READY = b"ready\n"
READY_S = 60.0

_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode = msgspec.json.Decoder(Site).decode


class PageProcess:
    """Runs the process while it is entered, and starts it again when it dies.

    :param listening: stays open here, so that the address never changes.
    :param notice: tells people what happens to it.
    """

    def __init__(self, site: Site, listening: socket.socket, notice: Callable[[str], None]) -> None:
        self._site, self._listening, self._notice = site, listening, notice
        self._process: asyncio.subprocess.Process | None = None
        self._line: socket.socket | None = None
        self._running: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()
        """Whether the pages are served."""

    @property
    def pid(self) -> int | None:
        """The process's number, if it runs."""
        return None if self._process is None else self._process.pid

    async def __aenter__(self) -> "PageProcess":
        self._running = asyncio.create_task(self._run(), name="process of the pages")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._end()
        await self._hear_out()
        self._listening.close()

    async def _run(self) -> None:
        delay_s = FIRST_S
        while True:
            began = monotonic()
            try:
                code = await self._once()
                why = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            except OSError as error:
                why = reason_of(error)
            self.ready.clear()
            if monotonic() - began > LONGEST_S:
                delay_s = FIRST_S
            self._notice(f"WARNING: the pages have ended ({why}); they start again in {delay_s:g} s")
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_S)

    async def _once(self) -> int:
        """Run the process to its end, and return its exit code."""
        self._close_line()
        ours, its = socket.socketpair()
        self._line = ours
        try:
            self._process = await asyncio.create_subprocess_exec(
                *program("rtms_cli.web.process"), str(its.fileno()), str(self._listening.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(its.fileno(), self._listening.fileno()),
                env=environment(),
                start_new_session=True,  # Ctrl-C is for the recorder, which sees to this one
            )  # fmt: skip
        finally:
            its.close()
        assert self._process.stderr is not None
        self._telling = asyncio.create_task(self._tell(self._process.stderr), name="what the pages tell")
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TimeoutError):
            await loop.sock_sendall(ours, _encode(self._site) + b"\n")
            async with asyncio.timeout(READY_S):
                if await loop.sock_recv(ours, len(READY)) == READY:
                    self.ready.set()
        code = await self._process.wait()
        await self._hear_out()
        return code

    async def _tell(self, said: asyncio.StreamReader) -> None:
        """Pass on what the process says for people."""
        rest, left, is_open = b"", MOST_TOLD, True
        while is_open:
            chunk = await said.read(1 << 13)
            is_open = bool(chunk)
            *lines, rest = (rest + (chunk or b"\n")).split(b"\n")
            rest = rest[:LONGEST]
            for line in filter(None, lines):
                if left > 0:
                    self._notice(f"WARNING: the pages: {line[:LONGEST].decode(errors='replace')}")
                elif left == 0:
                    self._notice("WARNING: the pages: further lines of this process are left out")
                left -= 1

    async def _hear_out(self) -> None:
        """Wait for what the process has said before its end."""
        if self._telling is not None:
            await asyncio.wait((self._telling,), timeout=LAST_WORDS_S)
            self._telling.cancel()
            self._telling = None

    async def _end(self) -> None:
        self._close_line()
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _close_line(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


async def _serve(line: socket.socket, listening: socket.socket) -> None:
    """What the process does: take its task, serve, and end with the line."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    reader, writer = await asyncio.open_connection(sock=line, limit=1 << 20)
    site = _decode(await reader.readline())
    writer.write(READY)

    async def wait_for_end() -> None:
        while await reader.read(1024):
            pass
        stop.set()

    waiting = asyncio.create_task(wait_for_end(), name="end of the recorder")
    try:
        await serve_site(site, listening, stop)
    finally:
        waiting.cancel()
        writer.close()


def main() -> int:
    """Run it; returns the exit code."""
    line, listening = (socket.socket(fileno=int(given)) for given in sys.argv[1:3])
    for one in (line, listening):
        os.set_inheritable(one.fileno(), False)
    try:
        asyncio.run(_serve(line, listening))
    except Problem as problem:
        print(problem, file=sys.stderr)  # noqa: T201  # to the recorder
        return int(problem.exit_code)
    except msgspec.MsgspecError:
        return 1  # the recorder has ended before it said what to do
    return 0


if __name__ == "__main__":
    sys.exit(main())
