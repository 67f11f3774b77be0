"""Zoom's token endpoint and REST API, played by Starlette and uvicorn with nothing of ours: it answers as a test says,
and remembers what it was asked."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

TOKEN = "eyJzdiI6IjAwMDAwMiJ9.a-token-that-nobody-may-see"
SCOPE = "meeting:update:participant_rtms_app_status:admin"


class Reply(NamedTuple):
    """What is answered: a JSON value, bytes as they are, or a function that makes one of them of what was asked."""

    status: int = 200
    body: object = b""
    headers: Mapping[str, str] = {}


class Asked(NamedTuple):
    """What came."""

    method: str
    path: str
    """As it was sent, still encoded."""
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def value(self) -> object:
        """The body as JSON."""
        return json.loads(self.body)


def granted(token: str = TOKEN, **more: object) -> Reply:
    """A token's answer as documented."""
    return Reply(200, {"access_token": token, "token_type": "bearer", "expires_in": 3600, "scope": SCOPE} | more)


class Cloud:
    """What runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.tokens: list[Reply] = [granted()]
        """What a request for a token is answered with, one after the other; the last one stays."""
        self.rest: list[Reply] = [Reply(204)]
        self.asked: list[Asked] = []

    @property
    def asked_for_tokens(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.path == "/oauth/token"]

    @property
    def calls(self) -> list[Asked]:
        """What the REST API was asked."""
        return [asked for asked in self.asked if asked.path != "/oauth/token"]

    async def answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode()
        self.asked.append(Asked(request.method, path, dict(request.headers), await request.body()))
        replies = self.tokens if path == "/oauth/token" else self.rest
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        said = reply.body(self.asked[-1]) if callable(reply.body) else reply.body
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        return Response(body, reply.status, reply.headers)


@contextlib.contextmanager
def zoom_cloud(certificate: Path | None = None) -> Iterator[Cloud]:
    """The server on a free port of this machine, on a thread of its own.

    :param certificate: a file with one for localhost and its key, for `https://`.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        at = "http://127.0.0.1" if certificate is None else "https://localhost"
        cloud = Cloud(f"{at}:{listening.getsockname()[1]}")
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        app = Starlette(routes=[Route("/{path:path}", cloud.answer, methods=methods)])
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, lifespan="off", ws="none", ssl_certfile=certificate)
        )
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()  # connections wait in the socket's queue until it serves
        try:
            yield cloud
        finally:
            server.should_exit = True
            thread.join()
