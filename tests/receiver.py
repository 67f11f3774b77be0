"""A receiver of notifications, over real sockets: it remembers what came, and answers as a test wants."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import h11


class Got(NamedTuple):
    """One request that was answered."""

    status: int
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    @property
    def type(self) -> str:
        return str(self.event["type"])


Answer = Callable[[Got], int | tuple[int, Mapping[str, str]]]


class Receiver:
    """Serves on one port, and can be killed and come back."""

    def __init__(self, answer: Answer = lambda got: 200, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.may_answer = asyncio.Event()
        """While it is not set, nothing is answered."""
        self.may_answer.set()
        self.asked = 0
        self._tls = tls
        self.got: list[Got] = []
        self.port = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook" if self._tls is None else f"https://localhost:{self.port}/hook"

    @property
    def taken(self) -> list[Got]:
        """What it answered with 2xx."""
        return [got for got in self.got if 200 <= got.status < 300]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """As the end of its process: connections are reset, the port refuses."""
        assert self._server is not None
        self._server.close()
        may_answer = self.may_answer.is_set()
        while self._serving:
            for writer in list(self._writers):
                writer.transport.abort()
            self.may_answer.set()
            await asyncio.wait(self._serving)
        if not may_answer:
            self.may_answer.clear()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            while await self._serve_one(h11.Connection(h11.SERVER), reader, writer):
                pass
        except (ConnectionError, h11.RemoteProtocolError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve_one(
        self, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head, body = None, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(1 << 16)
                if not data and head is None:
                    return False
                http.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        assert head is not None
        headers = {name.decode(): value.decode() for name, value in head.headers}
        self.asked += 1
        await self.may_answer.wait()
        got = Got(0, head.target.decode(), headers, body)
        answered = self.answer(got)
        status, more = answered if isinstance(answered, tuple) else (answered, {})
        fields = [("content-length", "2"), *more.items()]
        writer.write(http.send(h11.Response(status_code=status, headers=fields)) or b"")
        writer.write(http.send(h11.Data(data=b"ok")) or b"")
        await writer.drain()
        self.got.append(got._replace(status=status))
        return True


@asynccontextmanager
async def receiving(answer: Answer = lambda got: 200, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver, on a free port."""
    receiver = Receiver(answer, tls)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.kill()
