"""Runs `rtms` as its users do: as a process, with nothing configured but what a test says."""

import asyncio
import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

RTMS = [sys.executable, "-m", "rtms_cli"]
CREDENTIALS = {"ZOOM_CLIENT_ID": "an-app", "ZOOM_CLIENT_SECRET": "its secret", "ZOOM_SECRET_TOKEN": "a token"}


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, without anything that configures `rtms`, or tells a terminal's size."""
    ours = ("ZOOM_", "ZM_", "RTMS_")
    sizes = ("COLUMNS", "LINES")  # pytest-xdist sets them in its workers
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours) and name not in sizes}
    return kept | {"PYTHONUNBUFFERED": "1"} | dict(settings or {})


def rtms(
    *arguments: str | Path, cwd: Path, settings: Mapping[str, str] | None = None, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run `rtms` to its end, as a fork of the zygote where nothing depends on how an interpreter starts."""
    if not any(name.startswith(("PYTHON", "LC_", "LANG")) for name in settings or ()):
        return _forked([*map(str, arguments)], cwd, environment(settings), stdin)
    return subprocess.run(
        [*RTMS, *map(str, arguments)],
        cwd=cwd,
        env=environment(settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


_zygotes: list[tuple[subprocess.Popen[bytes], socket.socket]] = []


def _forked(
    arguments: list[str], cwd: Path, settings: dict[str, str], stdin: str
) -> "subprocess.CompletedProcess[str]":
    if not _zygotes:
        ours, theirs = socket.socketpair()
        program = [sys.executable, str(Path(__file__).with_name("zygote.py")), str(theirs.fileno())]
        _zygotes.append((subprocess.Popen(program, pass_fds=[theirs.fileno()], env=environment()), ours))
        theirs.close()
        atexit.register(ours.close)
    _, requests = _zygotes[0]
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("in", "out", "err")]
        for path in streams:
            path.write_text(stdin if path.name == "in" else "", newline="")
        request = {"arguments": arguments, "folder": str(cwd), "environment": settings, "streams": [*map(str, streams)]}
        requests.sendall(json.dumps(request).encode() + b"\n")
        code = int(requests.recv(100))
        _, out, err = (path.read_text() for path in streams)
    return subprocess.CompletedProcess([*RTMS, *arguments], code, out, err)


class Running:
    """An `rtms` that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
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


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that nobody announces: a file that another process writes. The test's time-out bounds it."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    *arguments: str | Path, cwd: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """Start `rtms`; what still runs at the end is killed. Its standard error comes with its output."""
    process = await asyncio.create_subprocess_exec(
        *RTMS,
        *map(str, arguments),
        cwd=cwd,
        env=environment(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
