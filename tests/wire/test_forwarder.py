"""Webhooks passed on to an app: byte for byte, in order, and never at the cost of Zoom's answer."""

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from processes import running

from rtms_cli.wire.forwarder import Forwarder
from rtms_cli.wire.notices import MOST

BODY = b'{"event":  "meeting.other", "payload": {"text": "gr\xc3\xbc\xc3\x9f"}}\n'


class App:
    """An HTTP server by hand that answers when it may."""

    def __init__(self, status: int = 200) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.status = status
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.came = asyncio.Semaphore(0)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/app"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        headers = {name.lower(): value for name, value in headers.items()}
        self.heard.append((headers, await reader.readexactly(int(headers["content-length"]))))
        self.came.release()
        await self.may_answer.wait()
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % self.status)
        await writer.drain()
        writer.close()


def signed(body: bytes, token: str = "a token") -> dict[str, str]:
    timestamp = str(int(time.time()))
    digest = hmac.new(token.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/json; charset=utf-8",
        "x-zm-request-timestamp": timestamp,
        "x-zm-signature": "v0=" + digest,
        "x-zm-request-id": "ABC-1",
        "cookie": "not for the app",
    }


async def test_listen_passes_on_what_is_verified_as_it_came(tmp_path: Path) -> None:
    app = App()
    settings = {"ZOOM_SECRET_TOKEN": "a token"}
    async with app.listening() as url:
        arguments = ("listen", "--port", "0", "--plain", "--forward-to", url)
        async with running(*arguments, cwd=tmp_path, settings=settings) as listen:
            hook = (await listen.line_with("listening on")).split("listening on ")[1].strip()
            challenge = b'{"event": "endpoint.url_validation", "payload": {"plainToken": "p"}}'
            async with httpx.AsyncClient(trust_env=False, timeout=None) as zoom:
                headers = signed(BODY)
                forged = signed(BODY, "another")
                assert (await zoom.post(hook, content=BODY, headers=forged)).status_code == 401
                app.may_answer.clear()
                for _ in range(3):  # the app is stuck with the first, and Zoom has its answers anyway
                    assert (await zoom.post(hook, content=BODY, headers=headers)).status_code == 200
                answered = (await zoom.post(hook, content=challenge, headers=signed(challenge))).json()
                assert answered["plainToken"] == "p"
                app.may_answer.set()
                for _ in range(3):
                    line = await listen.line_with("forwarded meeting.other")
                    assert re.search(r"forwarded meeting\.other → 200 in \d+ ms", line)
                await listen.line_with("forwarded endpoint.url_validation → 200")
                app.status = 500
                await zoom.post(hook, content=BODY, headers=headers)
                await listen.line_with("WARNING: forwarded meeting.other → 500")
            listen.process.terminate()
            assert await listen.exit_code() == 0
    assert [body for _, body in app.heard] == [BODY] * 3 + [challenge, BODY]
    got = app.heard[0][0]
    assert {name: got.get(name) for name in headers} == {**headers, "cookie": None}


async def test_a_webhook_that_comes_back_does_not_go_around(tmp_path: Path, unused_tcp_port: int) -> None:
    hook = f"http://127.0.0.1:{unused_tcp_port}/webhook"
    arguments = ("listen", "--port", str(unused_tcp_port), "--json", "--forward-to", hook)
    async with running(*arguments, cwd=tmp_path) as listen:
        await listen.line_with("listening on")
        async with httpx.AsyncClient(trust_env=False, timeout=None) as zoom:
            await zoom.post(hook, content=BODY)
            await listen.line_with("forwarded meeting.other")
            await zoom.post(hook, content=BODY.replace(b"other", b"last"))
            await listen.line_with("forwarded meeting.last")
        listen.process.terminate()
        assert await listen.exit_code() == 0
    assert sum("forwarded" in line for line in listen.lines) == 2


async def test_the_queue_is_bounded_and_failures_are_warnings(unused_tcp_port: int) -> None:
    app, said = App(), list[str]()
    app.may_answer.clear()
    bodies = [json.dumps({"event": f"e{number}"}).encode() for number in range(6)]
    async with app.listening() as url:
        async with Forwarder(url, said.append, most_waiting=3) as forwarder:
            forwarder.put(bodies[0], [])
            await app.came.acquire()
            for body in bodies[1:]:
                forwarder.put(body, [])
            assert said == [
                "WARNING: e4 was not forwarded: 3 are already waiting for the app",
                "WARNING: e5 was not forwarded: 3 are already waiting for the app",
            ]
            app.may_answer.set()
        assert [body for _, body in app.heard] == bodies[:4]
        app.may_answer.clear()
        async with Forwarder(url, said.append, patience_s=0.2) as forwarder:
            forwarder.put(b"no json", [(b"x-zm-odd", b"\xff\xfe")])
        app.may_answer.set()
    assert said[-1] == "WARNING: a webhook was not forwarded: no answer within 0.2 s"
    async with Forwarder(f"http://127.0.0.1:{unused_tcp_port}/", said.append) as forwarder:
        forwarder.put(bodies[0], [])
    assert said[-1].startswith("WARNING: e0 was not forwarded: ")


async def test_a_flood_for_which_there_is_no_room_is_a_few_lines(unused_tcp_port: int) -> None:
    said = list[str]()
    async with Forwarder(f"http://127.0.0.1:{unused_tcp_port}/", said.append, most_waiting=3) as forwarder:
        for _ in range(100):
            forwarder.put(BODY, [])
    assert len(said) == MOST + 1
    assert said[-1] == f"{100 - MOST} more webhooks that were not forwarded in the last 60 s"


async def test_a_flood_that_is_passed_on_is_a_few_lines_and_hides_no_other() -> None:
    app, said = App(), list[str]()
    async with app.listening() as url, Forwarder(url, said.append) as forwarder:
        for _ in range(50):
            forwarder.put(BODY, [])
        forwarder.put(BODY.replace(b"other", b"last"), [])
    assert len(app.heard) == 51
    assert len(said) == MOST + 2
    assert "forwarded meeting.last" in said[-2]
    assert said[-1] == f"{50 - MOST} more forwarded webhooks in the last 60 s"
