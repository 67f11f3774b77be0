"""The token is told to whoever starts the pages, and to nobody else; and the pages' processes run only our code."""

import asyncio
import re
import sys
from http import HTTPStatus
from pathlib import Path

import pytest
from catalog.shelf import put
from processes import CREDENTIALS, until
from web.knocking import MARK, Door, opened
from web.watching import recorder
from websockets.asyncio.client import unix_connect

pytestmark = pytest.mark.timeout(120)
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


def below(pid: int) -> list[int]:
    """A process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(other for child in children for other in below(int(child)))]


def known_of(pid: int) -> list[bytes]:
    """A process's command line and environment."""
    return [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]


@needs_proc
async def test_the_token_of_a_recorder_is_in_no_log_and_no_process_list(tmp_path: Path) -> None:
    log = tmp_path / "rtms.log"
    options = ("--web-host", "0.0.0.0", "--log-file", str(log))
    async with recorder(tmp_path, *options) as running:
        found = re.search(r":(\d+)/\?token=(\S+)", running.pages)
        assert found
        door = Door("127.0.0.1", int(found[1]), found[2])
        assert (await door.knock("/api/about", door.bearer)).status == HTTPStatus.OK
        token = found[2].encode()
        pids = below(running.listener.process.pid)
        assert len(pids) > 1
        for pid in pids:
            command, environment = known_of(pid)
            assert token not in command
            assert token not in environment
            if pid != pids[0]:
                assert CREDENTIALS["ZOOM_CLIENT_SECRET"].encode() not in environment, "it needs none of Zoom's"
        assert b"pages are on" in log.read_bytes()
        assert token not in log.read_bytes()
        place = Path(running.settings["RTMS_RUNTIME_DIR"]) / f"{pids[0]}.sock"
        told: list[str] = []
        async with unix_connect(str(place), "ws://localhost/feed") as feed:
            while not told or '"type":"picture"' not in told[-1]:
                told.append(str(await feed.recv()))
        assert "pages are on" in "".join(told)
        assert found[2] not in "".join(told)


async def test_a_token_that_was_sent_is_in_no_output(tmp_path: Path) -> None:
    """Neither a right one nor one that is nearly right."""
    async with opened(tmp_path, "--host", "0.0.0.0") as (door, server):
        assert door.token
        for token in (door.token, door.token[:-1]):
            for path in ("/", "/nothing", "/api/nothing", "/%ff", "/recordings/x%00/files/y"):
                await door.knock(f"{path}?token={token}", ("Authorization", f"Bearer {token}"))
                await door.upgrade(f"{path}?token={token}", ("Authorization", f"Bearer {token}"))
        await door.say(f"NONSENSE /?token={door.token}\r\n\r\n".encode())
        server.process.terminate()
        seen = len(server.lines)
        await server.exit_code()
        assert door.token[:-1] not in "\n".join(server.lines[seen:])


async def test_a_browser_that_is_opened_gets_the_token_from_a_private_file(tmp_path: Path) -> None:
    """Its arguments are in the process list."""
    browser, given, page = tmp_path / "browser", tmp_path / "given", tmp_path / "page"
    lines = ["#!/bin/sh", 'file="${1#file://}"', f'ls -ld "$(dirname "$file")" >> {page}', f'cat "$file" >> {page}']
    script = "\n".join((*lines, f'echo "$1" > {given}', ""))
    await asyncio.to_thread(browser.write_text, script)
    await asyncio.to_thread(browser.chmod, 0o755)
    settings = {"BROWSER": f"{browser} %s"}
    async with opened(tmp_path, "--host", "0.0.0.0", "--open", settings=settings) as (door, server):
        await until(given.exists)
        await until(given.read_text)
        assert door.token
        assert door.token not in given.read_text()
        assert f"?token={door.token}" in page.read_text()
        assert page.read_text().startswith("drwx------")
        assert (await door.knock("/api/about", door.bearer)).status == HTTPStatus.OK
        server.process.terminate()
        await server.exit_code()
        left = Path(given.read_text().strip().removeprefix("file://"))
        assert not await asyncio.to_thread(left.exists)


async def test_no_code_of_the_current_folder_is_run(tmp_path: Path) -> None:
    """Recordings come from strangers, and so may a file named as one of Python's beside them."""
    ran = tmp_path / "ran"
    for name in ("msgspec", "starlette", "uvicorn", "json", "rtms_cli"):
        (tmp_path / f"{name}.py").write_text(f"open({str(ran)!r}, 'w').close()\nraise SystemExit(7)\n")
    put(tmp_path / MARK, "one")
    async with opened(tmp_path) as (door, _):
        reply = await door.knock("/recordings/one")
        while b"Reading the recording" in reply.body:
            reply = await door.knock("/recordings/one")
        assert reply.status == HTTPStatus.OK
        assert b"uuid==" in reply.body
    async with recorder(tmp_path) as running:
        door = Door("127.0.0.1", int(running.pages.rpartition(":")[2].strip("/")), None)
        assert (await door.knock()).status == HTTPStatus.OK
    assert not await asyncio.to_thread(ran.exists)
