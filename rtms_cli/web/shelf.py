"""The recordings over HTTP: the list, search, pages, files and titles (docs/web.md)."""

import asyncio
import html
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from rtms_cli.catalog.entries import is_recording
from rtms_cli.catalog.naming import name_folder, read_title
from rtms_cli.catalog.search import MOST_HITS
from rtms_cli.catalog.stored import name_stored
from rtms_cli.errors import Problem
from rtms_cli.store.objects import NoObjectError, StoreError
from rtms_cli.store.urls import is_store_url
from rtms_cli.untrusted import is_folder
from rtms_cli.web import files
from rtms_cli.web.answers import being_made, refused
from rtms_cli.web.listing import Folder, Listing
from rtms_cli.web.pages import Pages
from rtms_cli.web.searching import Query, Searching
from rtms_cli.web.stored import REFRESH_S, Copies, Store

MOST_BODY = 10_000
"""Bytes of a request's body."""
MOST_WORDS = 1_000
_POLICY = re.compile(rb'http-equiv="Content-Security-Policy" content="([^"]*)"')


class Shelf:
    """The recordings of one place.

    :param place: a folder, or the URL of a store.
    :param endpoint: of a store that is compatible with S3.
    :param control: whether titles may be changed.
    :raises Problem: if the store cannot be opened.
    """

    def __init__(self, place: str, endpoint: str | None = None, *, control: bool = False) -> None:
        self._place, self._endpoint, self._control = place, endpoint, control
        self._pages = Pages(place, endpoint)
        self._store = Store(place, endpoint) if is_store_url(place) else None
        self._copies: Copies | None = None
        if self._store is None:
            self._listing = Listing(Folder(Path(place)))
            self._searching = Searching(Path(place))
        else:
            self._copies = Copies(self._store, endpoint)
            self._listing = Listing(self._store, REFRESH_S)
            copies = self._copies
            self._searching = Searching(copies.place, copies.refresh, REFRESH_S, lambda: copies.problems)

    def routes(self) -> list[BaseRoute]:
        """What is served of them."""
        return [
            Route("/api/recordings", self._list),
            Route("/api/search", self._search),
            Route("/api/recordings/{rest:path}", self._rename, methods=["PUT"]),
            Route("/recordings/{rest:path}", self._recording),
        ]

    async def close(self) -> None:
        """Delete what was made."""
        self._searching.close()
        await self._pages.close()
        if self._copies is not None:
            await asyncio.to_thread(self._copies.close)

    async def _list(self, request: Request) -> Response:
        try:
            body, etag = await self._listing.answer()
        except Problem as problem:
            return _told(request, problem, 503)
        headers = {"etag": etag, "cache-control": "no-cache"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    async def _search(self, request: Request) -> Response:
        given = request.query_params
        query = Query(
            given.get("q", "")[:MOST_WORDS],
            given.get("user", "")[:MOST_WORDS],
            _number(given.get("limit"), 100),
            _number(given.get("context"), 1),
            _number(given["each"], MOST_HITS) if "each" in given else None,
            unquote_to_bytes(given["recording"]) if "recording" in given else None,
        )
        try:
            found = await self._searching.search(query)
        except Problem as problem:
            return _told(request, problem, 503 if isinstance(problem, StoreError) else 400)
        return Response(json.dumps(found), media_type="application/json")

    async def _rename(self, request: Request) -> Response:
        name, rest = _parts(request, "/api/recordings/")
        try:
            if rest != "title" or not await self._has(name):
                return _missing(request)
        except StoreError as problem:
            return _told(request, problem, 503)
        if not self._control:
            return _told(request, Problem("Titles cannot be changed here.", "Start it with --web-control."), 403)
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_BODY:
                return _told(request, Problem("The request is too long."), 413)
        try:
            given = json.loads(body)
            title = given["title"] if isinstance(given, dict) else None
            if not isinstance(title, str):
                raise ValueError
        except (ValueError, KeyError, RecursionError):
            return _told(request, Problem('The request is not {"title": "…"}.'), 400)
        try:
            await asyncio.to_thread(self._name, name, read_title(title))
        except Problem as problem:
            return _told(request, problem, 409)
        if self._store is not None:
            self._store.forget(name)
        self._listing.look_again()
        return JSONResponse({"title": read_title(title)})

    def _name(self, name: str, title: str | None) -> None:
        if self._store is not None:
            name_stored(f"{self._store.url}/{name}", title, self._endpoint)
        else:
            name_folder(Path(self._place) / name, title)

    async def _recording(self, request: Request) -> Response:
        name, rest = _parts(request, "/recordings/")
        try:
            if not await self._has(name):
                return _missing(request)
            if not rest:
                return await self._page(request, name)
        except StoreError as problem:
            return _told(request, problem, 503)
        if not rest.startswith("files/"):
            return _missing(request)
        return await self._file(request, name, rest.removeprefix("files/"))

    async def _page(self, request: Request, name: str) -> Response:
        made = await self._pages.page(name, await asyncio.to_thread(self._stamp, name))
        if made is None:
            return being_made(name)
        if made.path is None:
            return refused(request, "This recording has no page.", made.problem, 422)
        try:
            content = await asyncio.to_thread(made.path.read_bytes)
        except FileNotFoundError:  # another one has just taken its place
            return being_made(name)
        policy = _POLICY.search(content, 0, 4096)
        rules = "default-src 'none'" if policy is None else html.unescape(policy[1].decode())
        return Response(
            content,
            media_type="text/html; charset=utf-8",
            headers={"content-security-policy": f"{rules}; frame-ancestors 'none'"},
        )

    def _stamp(self, name: str) -> object:
        """What changes when the page of a recording does."""
        if self._store is not None:
            return self._store.stamp(name)
        found = []
        with suppress(OSError):  # what is deleted meanwhile has another one
            for path in sorted((Path(self._place) / name).iterdir()):
                stat = path.lstat()
                found.append((path.name, stat.st_size, stat.st_mtime_ns))
        return tuple(found)

    async def _file(self, request: Request, name: str, path: str) -> Response:
        if any(part.startswith(".") or not part for part in path.split("/")):
            return _missing(request)
        try:
            file = await asyncio.to_thread(self._open, name, path)
        except (OSError, NoObjectError):
            return _missing(request)
        except StoreError as problem:
            return _told(request, problem, 503)
        return await files.answer(request, file, path)

    def _open(self, name: str, path: str) -> files.OpenFile:
        if self._store is not None:
            return files.StoredFile(self._store.objects, self._store.key(name, path))
        return files.LocalFile(Path(self._place) / name, path)

    async def _has(self, name: str) -> bool:
        """Whether it is the name of a recording here."""
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            return False
        if self._store is not None:
            return await asyncio.to_thread(self._store.stamp, name) is not None
        folder = Path(self._place) / name
        return await asyncio.to_thread(lambda: not folder.is_symlink() and is_folder(folder) and is_recording(folder))


def _missing(request: Request) -> Response:
    return refused(request, "This recording or file does not exist.", "The list of recordings is at /recordings.", 404)


def _told(request: Request, problem: Problem, status: int) -> Response:
    return refused(request, problem.what, problem.remedy, status)


def _parts(request: Request, prefix: str) -> tuple[str, str]:
    """The name of the recording in an address, and what stands behind it, each decoded once."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    name, _, rest = raw.partition(b"?")[0].removeprefix(prefix.encode()).partition(b"/")
    return os.fsdecode(unquote_to_bytes(name)), os.fsdecode(unquote_to_bytes(rest))


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 6 else otherwise
