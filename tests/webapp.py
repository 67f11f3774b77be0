"""A webhook app for tests, as someone else may have written it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

Verify = Callable[[dict[str, str], bytes], bool]
"""Whether a request with these headers and this body is let in."""


class App:
    """An HTTP server by hand, which answers as it is told to."""

    def __init__(self, answer: Callable[[bytes], tuple[int, str]], verify: Verify = lambda *_: True) -> None:
        self.answer, self.verify = answer, verify
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["App"]:
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
            yield self

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.heard.append((headers, body))
        status, said = self.answer(body) if self.verify(headers, body) else (401, "")
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(said.encode())}\r\n\r\n{said}".encode())
        await writer.drain()
        writer.close()
