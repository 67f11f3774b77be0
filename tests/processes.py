"""Runs `rtms` as its users do: as a process, with nothing configured but what a test says.

A process is a fork of the zygote, unless a test sets what is decided while an interpreter starts.
"""

import asyncio
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

RTMS = [sys.executable, "-m", "rtms_cli"]
CREDENTIALS = {"ZOOM_CLIENT_ID": "an-app", "ZOOM_CLIENT_SECRET": "its secret", "ZOOM_SECRET_TOKEN": "a token"}


def pytest_of_a_client(folder: Path) -> list[str]:
    """pytest, as people run it who test their client with the fixture `rtms_zoom`.

    Its temporary files are below the folder: where all runs share one, each first deletes what others have left there,
    however long that takes.
    """
    options = ["-p", "rtms_cli.testing", "-p", "no:cacheprovider", "-W", "error", "-q", "--strict-markers"]
    options += ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
    return [sys.executable, "-m", "pytest", *options, "--basetemp", str(folder / "pytest")]


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, without anything that configures `rtms`, or tells a terminal's size."""
    ours = ("ZOOM_", "ZM_", "RTMS_")
    sizes = ("COLUMNS", "LINES")  # pytest-xdist sets them in its workers
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours) and name not in sizes}
    nobody = {"XDG_CONFIG_HOME": "/nonexistent"}  # no settings of the person who runs the tests
    return kept | {"PYTHONUNBUFFERED": "1"} | nobody | dict(settings or {})


def rtms(
    *arguments: str | Path, cwd: Path, settings: Mapping[str, str] | None = None, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run `rtms` to its end."""
    command = [*RTMS, *map(str, arguments)]
    if _decides_the_start(settings):
        kept = environment(settings)
        return subprocess.run(
            command, cwd=cwd, env=kept, input=stdin, capture_output=True, text=True, timeout=50, check=False
        )
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        with _fork(arguments, cwd, settings, [given.fileno(), out.fileno(), err.fileno()]) as news:
            with news.makefile() as told:
                _, code = told.readline(), int(told.readline())
        said = []
        for written in (out, err):
            written.seek(0)
            said.append(written.read().decode())
    return subprocess.CompletedProcess(command, code, *said)


def _decides_the_start(settings: Mapping[str, str] | None) -> bool:
    """Whether settings matter while an interpreter starts, so that a fork of one that runs would not show them."""
    return any(name.startswith(("PYTHON", "LC_", "LANG")) for name in settings or ())


_zygote: list[tuple["subprocess.Popen[bytes]", socket.socket]] = []
_asking = threading.Lock()


def _fork(
    arguments: Sequence[str | Path], cwd: Path, settings: Mapping[str, str] | None, streams: Sequence[int]
) -> socket.socket:
    """Have the zygote fork; see there.

    :returns: where the news come.
    """
    with _asking:
        if not _zygote:
            ours, theirs = socket.socketpair()
            program = [sys.executable, str(Path(__file__).with_name("zygote.py")), str(theirs.fileno())]
            process = subprocess.Popen(program, pass_fds=[theirs.fileno()], env=environment())
            theirs.close()
            _zygote.append((process, ours))
            atexit.register(ours.close)
        news, told = socket.socketpair()
        request = {"arguments": [*map(str, arguments)], "folder": str(cwd), "environment": environment(settings)}
        body = json.dumps(request).encode()
        _, requests = _zygote[0]
        socket.send_fds(requests, [b"?"], [*streams, told.fileno()])
        requests.sendall(len(body).to_bytes(4) + body)
        told.close()
    return news


class Forked:
    """What tests use of an `asyncio.subprocess.Process`, of a process that the zygote forked."""

    def __init__(self, pid: int, news: asyncio.StreamReader, stdout: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._news = news

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def communicate(self) -> tuple[bytes, None]:
        """Wait for its end; gives what it still says."""
        rest = await self.stdout.read()
        self.returncode = int(await self._news.readline())
        return rest, None


@asynccontextmanager
async def _forked(
    arguments: Sequence[str | Path], cwd: Path, settings: Mapping[str, str] | None
) -> AsyncIterator[Forked]:
    reading, writing = os.pipe()
    with open(reading, "rb", 0) as pipe, open(os.devnull) as nothing:  # noqa: ASYNC230, PTH123
        try:
            news = _fork(arguments, cwd, settings, [nothing.fileno(), writing, writing])
        finally:
            os.close(writing)
        stdout = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stdout), pipe
        )
        told, news_writer = await asyncio.open_connection(sock=news)
        try:
            yield Forked(int(await told.readline()), told, stdout)
        finally:
            transport.close()
            news_writer.close()
            await news_writer.wait_closed()


class Running:
    """An `rtms` that runs."""

    def __init__(self, process: asyncio.subprocess.Process | Forked) -> None:
        self.process = process
        self.lines: list[str] = []

    async def line_with(self, text: str) -> str:
        """Wait for a line of its output."""
        assert self.process.stdout is not None
        while line := (await self.process.stdout.readline()).decode():
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return self.lines[-1]
        raise AssertionError(f"no line has {text!r}: {self.lines}")

    async def event(self, name: str) -> dict[str, object]:
        """Wait for an event of its JSON lines."""
        event: dict[str, object] = json.loads(await self.line_with(f'"event":"{name}"'))
        return event

    async def exit_code(self) -> int:
        """Wait for its end; what it still says is kept."""
        rest, _ = await self.process.communicate()
        self.lines += rest.decode().splitlines()
        assert self.process.returncode is not None
        return self.process.returncode

    async def interrupt(self) -> int:
        """Press Ctrl-C until it ends: two signals at once arrive as one. Gives its exit code."""
        ended = asyncio.create_task(self.exit_code())
        while not ended.done():
            self.process.send_signal(signal.SIGINT)
            await asyncio.wait([ended], timeout=0.5)
        return await ended


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that nobody announces: a file that another process writes. The test's time-out bounds it."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    *arguments: str | Path, cwd: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """Start `rtms`; what still runs at the end is killed. Its standard error comes with its output."""
    async with _started(arguments, cwd, settings) as process:
        try:
            yield Running(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


@asynccontextmanager
async def _started(
    arguments: Sequence[str | Path], cwd: Path, settings: Mapping[str, str] | None
) -> AsyncIterator[asyncio.subprocess.Process | Forked]:
    if not _decides_the_start(settings):
        async with _forked(arguments, cwd, settings) as forked:
            yield forked
        return
    yield await asyncio.create_subprocess_exec(
        *RTMS,
        *map(str, arguments),
        cwd=cwd,
        env=environment(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
