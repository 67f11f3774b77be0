"""docs/live-websocket.md: its examples run, and its tables say what is sent."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from live.bots import Bot, serving
from processes import until
from websockets.asyncio.client import connect

from rtms_cli.live.framing import HEADER, KINDS, Framing, gap
from rtms_cli.live.pieces import AUDIO, TRANSCRIPT, Beginning, Piece, SoundForm
from rtms_cli.live.serving import TapServer
from rtms_cli.live.sockets import TwilioTarget, WebSocketTarget

PAGE = (Path(__file__).parents[2] / "docs/live-websocket.md").read_text()
SECTIONS = dict(re.findall(r"^###? (.+)\n((?:(?!##).*\n?)*)", PAGE, re.MULTILINE))
CLIENT, SERVER = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(NODE_CLIENT,) = re.findall(r"^```js\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
BEGINNING = Beginning(
    "meeting", "uuid==", "s/t+r==", None, (AUDIO, TRANSCRIPT), SoundForm(16000, 1, "s16le"), participants=((7, "Ada"),)
)
SOUND = bytes(range(256)) * 100
PIECES = [
    *(Piece(AUDIO, SOUND[at : at + 640], 7, "Ada", 1_000 + at // 32, 0.02) for at in range(0, len(SOUND), 640)),
    Piece(TRANSCRIPT, '{"text":"Grüße"}\n'.encode(), 7, "Ada", 1_500),
]
PYTHON = [sys.executable]


def node() -> list[str]:
    """How Node runs a program that has WebSockets."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no Node")
    for options in ([], ["--experimental-websocket"]):
        asked = [found, *options, "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"]
        if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            return [found, *options]
    pytest.skip("this Node has no WebSocket")


def fields(section: str, column: str = "field") -> set[str]:
    """Those that a table of a section has in the column with a heading."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in SECTIONS[section].splitlines()]
    found: set[str] = set()
    is_wanted = False
    for row in rows:
        if len(row) < 2:
            is_wanted = False
        elif row[0] == column:
            is_wanted = True
        elif is_wanted:
            found |= set(re.findall(r"`(\w+)`", row[0]))
    return found


@pytest.mark.parametrize(("program", "name"), [(CLIENT, "client.py"), (NODE_CLIENT, "client.mjs")])
async def test_a_client_of_15_lines_gets_all(program: str, name: str, tmp_path: Path) -> None:
    assert len([line for line in program.splitlines() if line]) <= 15
    (tmp_path / name).write_text(program)
    runner = PYTHON if name.endswith(".py") else node()
    async with TapServer() as server:
        process = await asyncio.create_subprocess_exec(
            *runner,
            *(str(tmp_path / name), f"{server.url}/next", str(tmp_path / "sound")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await until(lambda: server.clients == 1 or process.returncode is not None)
        target = server.target()
        await target.open(BEGINNING)
        await target.send(PIECES)
        await target.close()
        said, failed = await process.communicate()
    assert process.returncode == 0, failed
    assert (tmp_path / "sound").read_bytes() == SOUND
    assert "Grüße" in said.decode()
    assert len(said.splitlines()) == 4  # start, user, transcript, stop


async def test_a_server_in_python_gets_all(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    async with serving(Bot()) as bot:
        port = bot.url.split(":")[-1].split("/")[0]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(tmp_path / "server.py"), port, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None

    async def is_there() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(port))
        except OSError:
            return False
        writer.close()
        return True

    while not await is_there():
        assert process.returncode is None
        await asyncio.sleep(0.02)
    target = WebSocketTarget(f"ws://127.0.0.1:{port}")
    await target.open(BEGINNING)
    await target.send(PIECES)
    await target.close()
    assert await process.stdout.readline() == b"%d bytes of sound\n" % len(SOUND)
    process.kill()
    await process.communicate()


def test_the_tables_have_the_fields_of_messages() -> None:
    framing = Framing(BEGINNING)
    start: dict[str, Any] = json.loads(framing.start())
    assert fields("`start`") == set(start)
    assert fields("`start`", "field of `format`") == set(start["format"])
    user, _ = framing.messages(Piece(AUDIO, b"", 8, "Bob"), BEGINNING)
    told = json.loads(user.raw)
    assert fields("`user`") == set(told)
    assert set(start["participants"][0]) == set(told) - {"type"}
    (line,) = framing.messages(PIECES[-1], BEGINNING)
    assert fields("`transcript`, `chat`, `events`") == set(json.loads(line.raw))
    assert fields("`gap`") == set(json.loads(gap(AUDIO, 0, 1, 2, "", 3)))


def test_the_header_is_as_the_table_has_it() -> None:
    rows = re.findall(r"^\| ([\d–]+) \| u(\d+) \|", SECTIONS["Media"], re.MULTILINE)
    codes = {"8": "B", "16": "H", "32": "I", "64": "Q"}
    assert HEADER.format == "!" + "".join(codes[bits] for _, bits in rows)
    first = 0
    for place, bits in rows:
        last = first + int(bits) // 8 - 1
        assert place == (str(first) if first == last else f"{first}–{last}")
        first = last + 1
    assert first == HEADER.size
    assert dict(re.findall(r"(\d) `(\w+)`", SECTIONS["Media"])) == {str(number): kind for kind, number in KINDS.items()}


async def test_the_list_of_streams_is_as_the_table_has_it() -> None:
    async with TapServer() as server, connect(server.url) as watcher:
        target = server.target()
        await target.open(BEGINNING)
        await target.close()
        told = [json.loads(await watcher.recv()) for _ in range(3)]
    section = SECTIONS["`listen:PORT`"]
    assert fields("`listen:PORT`") == {key for one in told for key in one}
    described = section.partition("A stream is an object with")[2].partition("It is listed")[0]
    assert set(re.findall(r"`(\w+)`", described)) - {"start"} == set(told[1]["stream"])


async def test_twilios_messages_are_as_the_table_has_them() -> None:
    async with serving(Bot()) as bot:
        target = TwilioTarget(bot.url)
        await target.open(Beginning("phone", "", "", None, (AUDIO,), SoundForm(8000, 1, "mulaw")))
        await target.send([Piece(AUDIO, bytes(160))])
        await target.close()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", SECTIONS["Twilio's messages"], re.MULTILINE))
    for text in bot.texts:
        event = text.pop("event")
        inner = text[event] if event in text else text
        for key in inner:
            assert f"`{key}`" in rows[event]
    assert [*rows] == ["connected", "start", "media", "mark", "stop"]
