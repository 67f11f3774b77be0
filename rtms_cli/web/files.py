"""A recording's files over HTTP, with ranges (RFC 9110, section 14), from a folder or a store."""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from rtms_cli.store.objects import Objects
from rtms_cli.untrusted import open_inside

CHUNK = 1 << 18
KINDS = {
    ".wav": "audio/wav",
    ".mp4": "video/mp4",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".webm": "video/webm",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}
"""What a browser may play or show; everything else is downloaded."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class OpenFile(Protocol):
    """A file that is open."""

    nbytes: int
    etag: str

    async def read(self, start: int, end: int) -> bytes:
        """Its bytes from `start` up to `end`; fewer where it has become shorter."""

    async def close(self) -> None:
        """Let go of it."""


class LocalFile:
    """A regular file below a folder.

    :raises OSError: if there is none, or it lies behind a link.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._file = open_inside(folder, name)
        found = os.fstat(self._file.fileno())
        self.nbytes = found.st_size
        self.etag = f'"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"'

    async def read(self, start: int, end: int) -> bytes:
        """See `OpenFile`."""
        return await asyncio.to_thread(os.pread, self._file.fileno(), end - start, start)

    async def close(self) -> None:
        """See `OpenFile`."""
        await asyncio.to_thread(self._file.close)


class StoredFile:
    """An object of a recording in a store.

    :raises StoreError: if there is none.
    """

    def __init__(self, objects: Objects, key: str) -> None:
        self._objects, self._key = objects, key
        info = objects.head_now(key)
        mark = hashlib.sha256(info.etag.encode()).hexdigest()[:32]  # it has quotes and separators of its own
        self.nbytes, self.etag = info.nbytes, f'"{mark}"'

    async def read(self, start: int, end: int) -> bytes:
        """See `OpenFile`."""
        return await asyncio.to_thread(self._objects.range_now, self._key, start, end)

    async def close(self) -> None:
        """See `OpenFile`."""


async def answer(request: Request, file: OpenFile, name: str) -> Response:
    """The answer to a request for a file; it closes the file."""
    path = PurePosixPath(name)
    kind = KINDS.get(path.suffix.lower())
    headers = {"accept-ranges": "bytes", "etag": file.etag, "cache-control": "no-cache"}
    if kind is None:
        shown = re.sub(r"[^A-Za-z0-9._-]", "_", path.name)
        headers["content-disposition"] = f'attachment; filename="{shown}"'
    headers["content-security-policy"] = "default-src 'none'; sandbox; frame-ancestors 'none'"
    if file.etag in request.headers.get("if-none-match", ""):
        await file.close()
        return Response(status_code=304, headers=headers)
    start, end, status = 0, file.nbytes, 200
    asked = request.headers.get("range")
    if asked is not None and request.headers.get("if-range", file.etag) == file.etag:
        found = read_range(asked, file.nbytes)
        if found is not None:
            start, end = found
            if start >= end:
                await file.close()
                return Response(status_code=416, headers={**headers, "content-range": f"bytes */{file.nbytes}"})
            status = 206
            headers["content-range"] = f"bytes {start}-{end - 1}/{file.nbytes}"
    headers["content-length"] = str(end - start)
    media_type = kind or "application/octet-stream"
    if request.method == "HEAD":
        await file.close()
        return Response(status_code=status, headers=headers, media_type=media_type)
    return StreamingResponse(_sent(file, start, end), status, headers, media_type)


def read_range(text: str, nbytes: int) -> tuple[int, int] | None:
    """The first byte of a range and the one behind its last; equal where nothing of it is there.

    `None` is not a single range of bytes: the whole file is the answer then.
    """
    found = _RANGE.fullmatch(text.strip().lower())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, nbytes - int(found[2])), nbytes if int(found[2]) else max(0, nbytes - int(found[2]))
    start = int(found[1])
    if found[2] and int(found[2]) < start:
        return None
    end = min(nbytes, int(found[2]) + 1) if found[2] else nbytes
    return (start, end) if start < nbytes else (nbytes, nbytes)


async def _sent(file: OpenFile, start: int, end: int) -> AsyncIterator[bytes]:
    try:
        while start < end:
            piece = await file.read(start, min(end, start + CHUNK))
            if not piece:
                return  # it has become shorter: the connection ends early, and the browser sees that
            start += len(piece)
            yield piece
    finally:
        await file.close()
