"""Secrets and tokens of Zoom's cloud: nowhere in what is printed, written, served, or told to other processes.

The servers are not ours, and send back what they were given wherever they can.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from event_server import EventServer
from processes import Running, running, until
from zoomcloud import Asked, Cloud, Reply, granted, zoom_cloud

from rtms_cli.protocol.numbers import Product
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator

SECRETS = {
    "ZOOM_CLIENT_SECRET": "pW1xQ8-secret-of-the-streaming-app-Zk3v",
    "ZOOM_SECRET_TOKEN": "tK7mR2-token-that-verifies-webhooks-Bn9c",
    "ZOOM_S2S_CLIENT_SECRET": "sV4yH6-secret-of-the-server-app-Lq2d",
    "ZOOM_VIDEO_SDK_API_SECRET": "aJ5uN0-secret-of-the-sdks-api-Xw8f",
    "ZOOM_ACCESS_TOKEN": "eyJ9.given/token+with=odd-characters.Gt6e",
}
IDS = {
    "ZOOM_CLIENT_ID": "app-1",
    "ZOOM_S2S_CLIENT_ID": "app-2",
    "ZOOM_VIDEO_SDK_API_KEY": "key-3",
    "ZOOM_ACCOUNT_ID": "account-4",
}
TOKENS = ["eyJh.Nf6/first+token=OfZooms.Rj8s-Wd1k", "eyJz.Pc3/second+token=Granted.Yb5q-Hm7x"]
PIECE = 14
"""Characters of a secret, in a row, that give it away."""


def pieces(secret: str) -> set[bytes]:
    """Every piece of a secret, as it is and in the forms in which it is sent."""
    forms = {secret, quote(secret, safe=""), secret.encode().hex()}
    for before in ("", "x", "xx"):  # base64 depends on where the secret begins
        forms.add(base64.b64encode(f"{before}{secret}".encode()).decode()[4:].rstrip("="))
    return {form[start : start + PIECE].lower().encode() for form in forms for start in range(len(form) - PIECE + 1)}


class Search:
    """Looks for secrets, and remembers where it has looked."""

    def __init__(self, *more: str) -> None:
        self.found: list[str] = []
        self.looked = 0
        self._pieces = {piece: secret for secret in (*SECRETS.values(), *TOKENS, *more) for piece in pieces(secret)}

    def look(self, where: object, content: bytes | str) -> None:
        raw = (content if isinstance(content, bytes) else content.encode()).lower()
        self.looked += 1
        for piece, secret in self._pieces.items():
            if (place := raw.find(piece)) >= 0:
                self.found.append(f"{where} has of {secret}: {raw[max(0, place - 60) : place + 60]!r}")
                return

    def look_at_files(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            self.look(path, str(path))
            if path.is_file():
                self.look(path, path.read_bytes())

    def look_at_processes(self, pid: int) -> int:
        """Look at a process and those below it: their command lines, and the environment of those below.

        :returns: how many there are below.
        """
        below = descendants(pid)
        for each in [pid, *below]:
            self.look(f"command line of {each}", read(each, "cmdline"))
            if each != pid:
                self.look(f"environment of {each}", read(each, "environ"))
        return len(below)


def read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:  # it has ended
        return b""


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        stat = read(int(path.parent.name), "stat")
        if stat and int(stat.rpartition(b")")[2].split()[1]) == pid:
            found += [int(path.parent.name), *descendants(int(path.parent.name))]
    return found


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with zoom_cloud() as running_cloud:
        yield running_cloud


def settings(cloud: Cloud, events: EventServer) -> dict[str, str]:
    # PYTHONUTF8 is there for a process of its own, whose command line is its own too.
    places = {"ZOOM_OAUTH_URL": f"{cloud.url}/oauth/token", "ZOOM_EVENTS_URL": events.url, "ZOOM_API_URL": cloud.url}
    return SECRETS | IDS | places | {"PYTHONUTF8": "1"}


def echoed(asked: Asked) -> object:
    """All that was given, and what is in it."""
    kind, _, given = asked.headers["authorization"].partition(" ")
    inside = base64.b64decode(given).decode() if kind == "Basic" else quote(given, safe="")
    told = f"no {given} and no {inside} ({asked.body.decode()})"
    return {"reason": told, "message": told, "error": told, "errorMessage": told, "code": 300, given: inside}


def echoed_in_html(asked: Asked) -> object:
    return f"<html>{echoed(asked)}</html>".encode()


ECHO, PAGE = Reply(400, echoed), Reply(200, echoed_in_html)


def test_the_search_finds_every_secret_in_every_form() -> None:
    for secret in (*SECRETS.values(), *TOKENS):
        basic = base64.b64encode(f"the-app:{secret}".encode()).decode()
        for form in (secret, secret[5:-5], quote(secret, safe=""), basic, secret.upper(), secret.encode().hex()):
            search = Search()
            search.look("here", f"…{form}…")
            assert search.found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc")
@pytest.mark.parametrize("output", ["--json", "--plain"])
async def test_a_listener_keeps_them_to_itself(output: str, cloud: Cloud, tmp_path: Path) -> None:
    cloud.tokens = [granted(TOKENS[0]), ECHO, granted(TOKENS[1])]
    app = App(IDS["ZOOM_CLIENT_ID"], SECRETS["ZOOM_CLIENT_SECRET"], SECRETS["ZOOM_SECRET_TOKEN"])
    search = Search()
    hook = "started=sh -c 'cat /proc/self/environ /proc/self/cmdline > hook.txt'"
    tap = "audio:exec:sh -c 'cat /proc/self/environ /proc/self/cmdline > tap.txt; exec cat > /dev/null'"
    async with EventServer("sub").listening() as events, Simulator(app) as streams:
        events.extra = [{"module": f"echo {TOKENS[0]}", "content": f"of {quote(TOKENS[0], safe='')}"}]
        command = ("--debug", "listen", "--events", "sub", "--port", "0", output, "--on", hook, "--tap", tap)
        async with running(*command, cwd=tmp_path, settings=settings(cloud, events)) as listen:
            url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
            await events.until_connected(1)
            stream = streams.announce(Product.MEETING, Scenario(40))
            await events.deliver(json.loads(stream.webhook("started")))
            await until(lambda: (tmp_path / "hook.txt").exists() and (tmp_path / "tap.txt").exists())
            await events.close(4000, f"token {TOKENS[0]} of another")
            await events.until_connected(2)
            assert search.look_at_processes(listen.process.pid) >= 1  # the tap
            async with httpx.AsyncClient() as client:
                for path in ("/healthz", "/metrics"):
                    answer = await client.get(url.replace("/webhook", path))
                    assert answer.status_code == 200
                    search.look(path, answer.text)
            listen.process.terminate()
            assert await listen.exit_code() == 0, listen.lines
    for number, line in enumerate(listen.lines):
        search.look(f"line {number}", line)
    assert any("echo" in line for line in listen.lines)
    search.look_at_files(tmp_path)
    assert search.looked > 30
    assert search.found == []
    assert events.connected == TOKENS[:2]


async def ended(*command: str, cwd: Path, settings: dict[str, str]) -> Running:
    """Run a command to its end; tell it by its lines."""
    async with running(*command, cwd=cwd, settings=settings) as process:
        await process.exit_code()
    return process


@pytest.mark.parametrize(
    ("tokens", "rest"),
    [
        ([granted(TOKENS[0])], [Reply(204)]),
        ([granted(TOKENS[0])], [ECHO]),
        ([granted(TOKENS[0])], [Reply(200, echoed)]),
        ([granted(TOKENS[0])], [PAGE]),
        ([ECHO], [Reply(204)]),
        ([PAGE], [Reply(204)]),
    ],
)
@pytest.mark.parametrize(("product", "options"), [("meeting", ("--json",)), ("session", ())])
async def test_rest_calls_keep_them_to_themselves(
    product: str, tokens: list[Reply], rest: list[Reply], options: tuple[str, ...], cloud: Cloud, tmp_path: Path
) -> None:
    cloud.tokens, cloud.rest = tokens, rest
    given = settings(cloud, EventServer("sub")) | {"ZOOM_EVENTS_URL": ""}
    command = ("start", "85512345678" if product == "meeting" else "a/session==", "--product", product, "--wait", "0")
    done = await ended(*command, *options, cwd=tmp_path, settings=given)
    jwts = [asked.headers.get("authorization", "").removeprefix("Bearer ") for asked in cloud.calls]
    search = Search(*(jwt for jwt in jwts if jwt))
    assert done.lines
    search.look("output", "\n".join(done.lines))
    search.look_at_files(tmp_path)
    assert search.found == []


async def test_a_start_that_records_keeps_them_to_itself(cloud: Cloud, tmp_path: Path) -> None:
    cloud.tokens, cloud.rest = [granted(TOKENS[0]), granted(TOKENS[1])], [Reply(202, lambda asked: [echoed(asked)])]
    app = App(IDS["ZOOM_CLIENT_ID"], SECRETS["ZOOM_CLIENT_SECRET"], SECRETS["ZOOM_SECRET_TOKEN"])
    async with EventServer("sub").listening() as events, Simulator(app) as streams:
        events.extra = [{"module": f"echo {token}", "content": quote(token, safe="")} for token in TOKENS[:1]]
        command = ("--debug", "start", "855 1234 5678", "--record", "--events", "sub", "--media", "audio", "--json")
        async with running(*command, cwd=tmp_path, settings=settings(cloud, events)) as start:
            await events.until_connected(1)
            await until(lambda: cloud.calls)
            stream = streams.announce(Product.MEETING, Scenario(1))
            stream.fields = {"meeting_id": "85512345678"}
            await events.deliver(json.loads(stream.webhook("started")))
            await start.event("finished")
            assert await start.exit_code() == 0, start.lines
    search = Search()
    for number, line in enumerate(start.lines):
        search.look(f"line {number}", line)
    search.look_at_files(tmp_path)
    assert search.looked > 10
    assert search.found == []


@pytest.mark.parametrize("options", [(), ("--json",)])
async def test_doctor_keeps_them_to_itself(options: tuple[str, ...], cloud: Cloud, tmp_path: Path) -> None:
    cloud.tokens = [ECHO, granted(TOKENS[1], scope=f"meeting:read:meeting_audio {TOKENS[1]}")]
    async with EventServer("sub").listening() as events:
        given = settings(cloud, events)
        async with running("--debug", "doctor", "--events", "sub", *options, cwd=tmp_path, settings=given) as doctor:
            await events.until_connected(1)
            await events.close(4000, f"token {TOKENS[1]} of another")
            await doctor.exit_code()
    search = Search()
    search.look("output", "\n".join(doctor.lines))
    search.look_at_files(tmp_path)
    assert events.connected == [TOKENS[1]]
    assert search.found == []


async def test_doctor_does_not_show_what_a_refusal_sends_back(cloud: Cloud, tmp_path: Path) -> None:
    cloud.tokens = [granted(TOKENS[0])]
    async with EventServer("sub", tokens=set()).listening() as events:
        events.says = f"Invalid token {TOKENS[0]}"
        doctor = await ended("doctor", "--events", "sub", cwd=tmp_path, settings=settings(cloud, events))
    search = Search()
    search.look("output", "\n".join(doctor.lines))
    assert events.refused[0] == TOKENS[0]
    assert search.found == []


async def test_listen_does_not_show_what_a_refusal_sends_back(cloud: Cloud, tmp_path: Path) -> None:
    cloud.tokens = [granted(TOKENS[0])]
    async with EventServer("sub", tokens=set()).listening() as events:
        events.says = f"Invalid token {TOKENS[0]}"
        listen = await ended("listen", "--events", "sub", "--plain", cwd=tmp_path, settings=settings(cloud, events))
    search = Search()
    search.look("output", "\n".join(listen.lines))
    assert events.refused[0] == TOKENS[0]
    assert listen.process.returncode == 3
    assert search.found == []
