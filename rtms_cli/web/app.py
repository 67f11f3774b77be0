"""The pages as a Starlette application: the shell and its files, what runs, and what was recorded."""

import contextlib
import hashlib
import mimetypes
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files

from msgspec import Struct
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from rtms_cli import __version__
from rtms_cli.feed.messages import VERSION
from rtms_cli.feed.mirror import Mirror
from rtms_cli.feed.serving import Asked, FeedServer, GoneError
from rtms_cli.web.answers import refused
from rtms_cli.web.guard import Guard

SHELL = ("/", "/live", "/live/{stream_id:path}", "/recordings", "/search")
"""Paths that the page itself reads."""


_EVERY_S = 0.2
"""The pace of one browser's messages: all browsers together are one client of the recorder."""


class About(Struct, frozen=True):
    """What the pages are of.

    :param place: the folder or the URL of recordings, for people; `None` if there are none.
    :param control: whether titles may be changed.
    """

    place: str | None
    is_store: bool = False
    can_search: bool = True
    control: bool = False


class SocketClient:
    """A `feed.serving.Client` over Starlette's WebSocket."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def send(self, message: str | bytes) -> None:
        """See `Client`."""
        try:
            if isinstance(message, str):
                await self._socket.send_text(message)
            else:
                await self._socket.send_bytes(message)
        except (WebSocketDisconnect, RuntimeError) as error:
            raise GoneError from error

    async def receive(self) -> str | bytes:
        """See `Client`."""
        try:
            message = await self._socket.receive()
        except (WebSocketDisconnect, RuntimeError) as error:
            raise GoneError from error
        if message["type"] == "websocket.disconnect":
            raise GoneError
        text = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    async def close(self, code: int, reason: str) -> None:
        """See `Client`."""
        if self._socket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await self._socket.close(code, reason)


def make_app(
    about: About, mirror: Mirror, shelf: Sequence[BaseRoute], token: str | None, names: Sequence[str] = ()
) -> ASGIApp:
    """The application.

    :param mirror: of what runs.
    :param shelf: the routes of the recordings.
    :param token: see `Guard`.
    :param names: see `Guard`.
    """
    feed = FeedServer(mirror, every_s=_EVERY_S)
    static = _static()

    async def shell(request: Request) -> Response:
        return _file(request, static["index.html"])

    async def static_file(request: Request) -> Response:
        found = static.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        return _file(request, found)

    async def show_about(request: Request) -> Response:
        return JSONResponse(
            {
                "rtms": __version__,
                "version": VERSION,
                "place": about.place,
                "is_store": about.is_store,
                "can_search": about.can_search,
                "control": about.control,
                "has_live": await mirror.is_there(),
                "title": mirror.hello().title,
            }
        )

    async def serve_feed(socket: WebSocket) -> None:
        await socket.accept()
        await feed.serve(SocketClient(socket), Asked.read(socket.url.query))

    async def serve_sound(socket: WebSocket) -> None:
        await socket.accept()
        await feed.listen(SocketClient(socket), socket.path_params["stream_id"])

    @contextlib.asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        mirror.on_another = feed.restart_soon
        async with mirror:
            yield

    routes: list[BaseRoute] = [
        Route("/static/{name}", static_file),
        Route("/favicon.ico", lambda request: _file(request, static["icon.svg"])),
        Route("/api/about", show_about),
        WebSocketRoute("/feed", serve_feed),
        WebSocketRoute("/streams/{stream_id:path}", serve_sound),
        *shelf,
        *(Route(path, shell) for path in SHELL),
    ]
    app = Starlette(routes=routes, lifespan=living, exception_handlers={HTTPException: _on_error, 500: _on_defect})
    app.router.redirect_slashes = False
    return Guard(app, token, names)


class _Static(Struct, frozen=True):
    content: bytes
    kind: str
    etag: str


def _static() -> dict[str, _Static]:
    """The files of the page, by name."""
    found = {}
    for file in files("rtms_cli.web").joinpath("static").iterdir():
        content = file.read_bytes()
        kind = {"js": "text/javascript", "css": "text/css", "html": "text/html", "svg": "image/svg+xml"}.get(
            file.name.rpartition(".")[2], mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        )
        kind += "; charset=utf-8" if kind.startswith("text/") else ""
        found[file.name] = _Static(content, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


def _file(request: Request, file: _Static) -> Response:
    headers = {"etag": file.etag, "cache-control": "no-cache"}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.kind, headers=headers)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    what, remedy = {
        404: ("This page does not exist.", "The list of recordings is at /recordings."),
        405: ("This address cannot be used in that way.", ""),
    }.get(status, (str(error.detail), ""))
    return refused(request, what, remedy, status, error.headers)


async def _on_defect(request: Request, error: Exception) -> Response:
    return refused(request, "A defect in rtms: this page could not be made.", "The log says more.", 500)
