"""The process of the pages below `rtms listen`: it dies, it is started again, and it never outlives the recorder."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import pytest
from ports import free_port
from processes import CREDENTIALS, rtms, running, until
from web.knocking import Door
from web.watching import Recorder, recorder

from rtms_cli.errors import Exit
from rtms_cli.web import process
from rtms_cli.web.site import Site

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc"),
]


def child_of(pid: int) -> int | None:
    """The process of a recorder's pages, if there is one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in map(int, children):
        if b"rtms_cli.web.process" in command(child):
            return child
    return None


def command(pid: int) -> bytes:
    """What a process runs; nothing where it is gone, or dead."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def found(what: Callable[[], int | None]) -> int:
    """Wait for a number that is there at some time."""
    await until(what)
    number = what()
    assert number is not None
    return number


async def gone(pid: int) -> None:
    """Wait for a process's end."""
    await until(lambda: not command(pid))


def door_of(running: Recorder) -> Door:
    port, _, token = running.pages.rpartition(":")[2].partition("/?token=")
    return Door("127.0.0.1", int(port.strip("/")), token or None)


async def test_it_is_started_again_at_the_same_address(tmp_path: Path) -> None:
    """With the same token; whoever asks meanwhile waits, and is not refused."""
    async with recorder(tmp_path, "--web-host", "0.0.0.0") as one:
        door, pid = door_of(one), one.listener.process.pid
        child = await found(lambda: child_of(pid))
        assert (await door.knock("/api/about", door.bearer)).status == HTTPStatus.OK
        os.kill(child, signal.SIGKILL)
        await gone(child)
        assert (await door.knock("/api/about", door.bearer)).status == HTTPStatus.OK
        assert await found(lambda: child_of(pid)) != child
        await until(lambda: any("the pages have ended (signal SIGKILL)" in line for line in one.listener.lines))


async def test_what_it_says_is_told_and_a_flood_of_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    says = "import sys; print(*sys.argv[1:-2], sep='\\n', end='', file=sys.stderr)"
    words = ["first \udcff", "x" * 100_000, *map(str, range(1000))]
    monkeypatch.setattr(process, "program", lambda module: [sys.executable, "-c", says, *words])
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with process.PageProcess(Site(None), listening, told.append):
            await until(lambda: any("have ended (exit code 0)" in line for line in told))
    assert told[0].startswith("WARNING: the pages: first ")
    assert len(told[1]) <= process.LONGEST + len("WARNING: the pages: ")
    assert told[2:200] == [f"WARNING: the pages: {number}" for number in range(198)]
    assert "left out" in told[200]
    assert len(told) == 202


async def test_ctrl_c_is_for_the_recorder(tmp_path: Path) -> None:
    """A terminal sends it to all processes of a group: the pages leave the end to their recorder."""
    async with recorder(tmp_path) as one:
        door, pid = door_of(one), one.listener.process.pid
        child = await found(lambda: child_of(pid))
        assert (await door.knock()).status == HTTPStatus.OK
        assert os.getpgid(child) != os.getpgid(pid)
        os.kill(child, signal.SIGINT)
        assert (await door.knock()).status == HTTPStatus.OK
        assert child_of(pid) == child
        one.listener.process.send_signal(signal.SIGINT)
        await gone(child)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_it_does_not_outlive_the_recorder(tmp_path: Path, number: signal.Signals) -> None:
    """Even where a browser is connected, and the recorder is killed."""
    async with recorder(tmp_path) as one:
        door, pid = door_of(one), one.listener.process.pid
        child = await found(lambda: child_of(pid))
        reader, writer = await asyncio.open_connection(door.address, door.port)
        writer.write(f"GET /api/about HTTP/1.1\r\nHost: {door.host}\r\n\r\n".encode())
        assert b"200" in await reader.readline()
        one.listener.process.send_signal(number)
        await gone(child)
        writer.transport.abort()


async def test_a_dead_line_of_the_pages_costs_no_recording(tmp_path: Path) -> None:
    """The pages of a recorder that cannot start them are said to be missing, and it goes on."""
    async with recorder(tmp_path) as one:
        pid = one.listener.process.pid
        for _ in range(3):
            child = await found(lambda: child_of(pid))
            os.kill(child, signal.SIGSTOP)
            os.kill(child, signal.SIGKILL)
            await gone(child)
        one.listener.process.terminate()
        await gone(pid)


def test_it_never_shares_the_webhooks_port(tmp_path: Path) -> None:
    port = str(free_port())
    ended = rtms("listen", "--port", port, "--web", port, cwd=tmp_path, settings=CREDENTIALS)
    assert ended.returncode == Exit.USAGE
    assert "is the webhook's port" in ended.stderr


@pytest.mark.parametrize("options", [("--web-control",), ("--web-name", "rtms.example"), ("--web-host", "0.0.0.0")])
def test_options_of_the_pages_need_the_pages(tmp_path: Path, options: tuple[str, ...]) -> None:
    ended = rtms("listen", "--port", "0", *options, cwd=tmp_path, settings=CREDENTIALS)
    assert ended.returncode == Exit.USAGE
    assert "--web" in ended.stderr


async def test_a_folder_that_is_not_there_is_refused_whatever_runs(tmp_path: Path) -> None:
    """Where it is named; the usual one may be made by the recorder that runs."""
    async with recorder(tmp_path, web=False) as one:
        ended = await asyncio.to_thread(rtms, "web", "nosuch", cwd=tmp_path, settings=one.settings)
        assert ended.returncode == Exit.USAGE
        assert ended.stderr.startswith("error: There is no folder nosuch.")
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        async with running("web", "--port", "0", cwd=elsewhere, settings=one.settings) as server:
            await server.line_with("The pages are on")


async def test_a_port_that_is_taken_is_said_at_once(tmp_path: Path) -> None:
    async with recorder(tmp_path) as one:
        port = str(door_of(one).port)
        for arguments in (("listen", "--port", "0", "--web", port), ("web", "--port", port, str(tmp_path))):
            ended = await asyncio.to_thread(rtms, *arguments, cwd=tmp_path, settings=CREDENTIALS)
            assert ended.returncode == Exit.USAGE, ended
            assert f"Cannot listen on 127.0.0.1:{port}" in ended.stderr


async def test_another_option_may_follow(tmp_path: Path) -> None:
    """`--web` alone takes the usual port, or the next one that is free."""
    settings = {**CREDENTIALS, "RTMS_RUNTIME_DIR": str(tmp_path / "run")}
    options = ("--port", "0", "--web", "--plain")
    async with running("listen", *options, cwd=tmp_path, settings=settings) as listener:
        line = await listener.line_with("the pages are on http://127.0.0.1:80")
        assert 8081 <= int(line.rpartition(":")[2].strip("/")) <= 8090
