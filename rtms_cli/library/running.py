"""`join` and `listen`: streams into a program, on whatever event loop it runs.

A station runs in a task of its own, so that it is left in order whatever cancels the one who uses it: sessions are
ended as Zoom wants it, and files are finished.
"""

import asyncio
import logging
import os
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.library.asking import Payload, announced, credentials_of, join_policy, media_request, read_payload_of
from rtms_cli.library.streams import US, Hub, Stream
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.secrets import Secret
from rtms_cli.protocol.webhooks import Stream as Announced
from rtms_cli.station.credentials import Credentials
from rtms_cli.station.running import check_out, running_station
from rtms_cli.station.station import Station
from rtms_cli.wire.descriptors import Shares, for_a_stream, in_use, share_out, soft_limit
from rtms_cli.wire.hosts import HostPolicy, in_url
from rtms_cli.wire.listener import MAX_CONNECTIONS, Listener

log = logging.getLogger(__name__)
logging.getLogger("rtms_cli").addHandler(logging.NullHandler())  # what nobody wants to see is not printed

UNVERIFIED = (
    "webhooks are not verified, anyone can send them: give secret_token, or set ZOOM_SECRET_TOKEN; connecting to "
    "*.zoom.us, *.zoomgov.com and loopback only"
)


class _Wish(Struct, frozen=True):
    """What `join` and `listen` have in common."""

    request: MediaRequest
    client_id: str | None
    client_secret: Secret | None
    secret_token: Secret | None
    record: Path | None
    buffer: float
    allow_hosts: tuple[str, ...]
    tls: ssl.SSLContext | None

    def credentials(self) -> Credentials:
        """What signs, and what verifies webhooks; reads `.env`. The folder for recordings is made as well.

        :raises Problem: if half of a pair is missing, or nothing can be written to the folder.
        """
        if self.record is not None and check_out(self.record, self.request).is_short:
            log.warning("%s has room for less than an hour of one stream", self.record)
        return credentials_of(self.client_id, self.client_secret, self.secret_token)

    def station(
        self, credentials: Credentials, policy: HostPolicy, hub: Hub, *, trusted: bool, max_streams: int = 1
    ) -> AbstractAsyncContextManager[Station]:
        """The station that does it."""
        return running_station(
            out=self.record or Path(),
            request=self.request,
            sign=credentials.sign,
            policy=policy,
            trusted=trusted,
            observers=[hub],
            listeners=[hub.open],
            is_recorded=self.record is not None,
            max_streams=max_streams,
            tls=self.tls,
        )


class _Engine(ABC):
    """A station in a task of its own."""

    def __init__(self, wish: _Wish) -> None:
        self._wish = wish
        self._hub = Hub(wish.buffer)
        self._is_stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def _work(self) -> None:
        """The station's whole life."""

    def _start(self) -> None:
        if self._task is not None:
            raise RuntimeError("this was used before: call join() or listen() again")
        self._task = asyncio.create_task(self._run(), name="rtms")

    async def _run(self) -> None:
        try:
            await self._work()
        finally:
            self._hub.station = None
            self._hub.close()

    async def _stop(self) -> None:
        """End it, and wait until everything is closed, also if the caller is cancelled meanwhile."""
        task = self._task
        assert task is not None
        self._is_stopping.set()
        if self._hub.station is not None:
            self._hub.station.request_stop(US)
        elif not task.done():
            task.cancel()  # it has not begun yet, or is at its end
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # who wants it asks again

    def _raise(self) -> None:
        """Raise what has gone wrong."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()


class _Joining(_Engine):
    """See `join`."""

    def __init__(self, wish: _Wish, payload: Payload) -> None:
        super().__init__(wish)
        self._payload = payload

    async def __aenter__(self) -> Stream:
        self._start()
        try:
            stream = await self._hub.streams.get()
        except asyncio.CancelledError:
            await self._stop()
            raise
        if stream is None:
            await self._stop()
            self._raise()
            raise Problem("The stream was not started.")  # what went wrong was raised
        return stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.forget()
        await self._stop()
        if error is None:
            self._raise()

    def _read(self) -> tuple[Announced, bytes | None, Credentials]:
        return *announced(read_payload_of(self._payload)), self._wish.credentials()

    async def _work(self) -> None:
        stream, body, credentials = await asyncio.to_thread(self._read)
        policy = join_policy(stream, self._wish.allow_hosts)
        async with self._wish.station(credentials, policy, self._hub, trusted=True) as station:
            self._hub.station = station
            await station.record(stream, body)


class Streams(_Engine):
    """The streams that Zoom announces. See `listen`."""

    def __init__(self, wish: _Wish, host: str, port: int, path: str, max_streams: int) -> None:
        super().__init__(wish)
        self._at = host, port, path
        self._max_streams = max_streams
        self._is_listening = asyncio.Event()
        self.port = port
        """Where it listens; the system's choice where 0 was asked for."""

    @property
    def url(self) -> str:
        """Where webhooks are expected, on this machine."""
        host, _, path = self._at
        return f"http://{in_url(host)}:{self.port}/{path.lstrip('/')}"

    async def __aenter__(self) -> Self:
        self._start()
        try:
            await self._is_listening.wait()
        except asyncio.CancelledError:
            await self._stop()
            raise
        self._raise()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()
        if error is None:
            self._raise()

    def __aiter__(self) -> AsyncGenerator[Stream, None]:
        return self._each() if self._task is not None else self._whole()

    async def stop(self) -> None:
        """Stop listening, and end every stream cleanly. The iteration ends."""
        await self._stop()

    async def _each(self) -> AsyncGenerator[Stream, None]:
        while (stream := await self._hub.streams.get()) is not None:
            yield stream
        self._hub.streams.put_nowait(None)  # who iterates again finds the end as well
        self._raise()

    async def _whole(self) -> AsyncGenerator[Stream, None]:
        async with self:
            async for stream in self._each():
                yield stream

    async def _run(self) -> None:
        try:
            await super()._run()
        finally:
            self._is_listening.set()

    def _prepare(self) -> tuple[Credentials, Shares]:
        """Credentials, and how many streams and connections the limit of open files allows; waits for a disk."""
        wish, most = self._wish, self._max_streams
        shares = share_out(soft_limit(), in_use(), for_a_stream(wish.request), most, MAX_CONNECTIONS)
        if shares.streams < most:
            log.warning("%s streams at once at most: raise the limit of open files (`ulimit -n`)", shares.streams)
        return wish.credentials(), shares

    async def _work(self) -> None:
        credentials, shares = await asyncio.to_thread(self._prepare)
        token = credentials.secret_token.value if credentials.secret_token else None
        policy = HostPolicy(self._wish.allow_hosts)
        async with self._wish.station(
            credentials, policy, self._hub, trusted=token is not None, max_streams=shares.streams
        ) as station:
            listener = Listener(
                *self._at,
                token,
                station.take,
                station.health,
                station.notice,
                may_repeat=station.may_repeat,
                not_now=station.not_now,
                max_connections=shares.connections,
            )
            self.port = await listener.start()
            if token is None:
                log.warning(UNVERIFIED)
            self._hub.station = station
            self._is_listening.set()
            try:
                await self._is_stopping.wait()
            finally:
                await listener.stop()
                await station.stop(US)


def join(
    payload: Payload,
    *,
    media: str = "all",
    audio: str = "l16",
    separate: bool = False,
    video: str = "jpg",
    share: str = "jpg",
    language: str = "English",
    client_id: str | None = None,
    client_secret: str | None = None,
    record: str | os.PathLike[str] | None = None,
    buffer: float = 10.0,
    allow_hosts: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
) -> AbstractAsyncContextManager[Stream]:
    """Join one stream: `async with join(payload) as stream: async for item in stream: …`.

    Leaving the block ends the session cleanly and finishes the files, even after an exception or a cancellation.

    :param payload: the started webhook's JSON: an object, a string, or the path of a file.
    :param media: `audio`, `video`, `share`, `transcript`, `chat`, separated by commas, or `all`.
    :param audio: as in `rtms join --audio`: `l16`, `opus`, `l16:48:2:100`, …
    :param separate: audio of each participant instead of mixed audio.
    :param video: as in `rtms join --video`, as is `share`: `jpg`, `h264:fhd:25`, …
    :param language: the language of the transcript.
    :param client_id: with `client_secret`, the credentials that sign the handshakes. Default: those in the environment
        or in `.env`, as for the commands, or the payload's own signature.
    :param record: a folder to record the stream into as well, as `rtms join --out` does.
    :param buffer: how many seconds media waits for a slow program; then the oldest is dropped.
    :param allow_hosts: hosts to connect to in addition to Zoom's and the payload's.
    :param tls: how to verify servers, if not with the system's certificate authorities.
    :raises Problem: if an argument is wrong; on entering the block, if the stream cannot be started.
    """
    request = media_request(media=media, audio=audio, separate=separate, video=video, share=share, language=language)
    wish = _wish(request, (client_id, client_secret, None), record, buffer, allow_hosts, tls)
    return _Joining(wish, payload)


def listen(
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    path: str = "/webhook",
    media: str = "all",
    audio: str = "l16",
    separate: bool = False,
    video: str = "jpg",
    share: str = "jpg",
    language: str = "English",
    client_id: str | None = None,
    client_secret: str | None = None,
    secret_token: str | None = None,
    record: str | os.PathLike[str] | None = None,
    buffer: float = 10.0,
    max_streams: int = 100,
    allow_hosts: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
) -> Streams:
    """Receive every stream that Zoom's webhooks announce.

    `async with listen() as streams: async for stream in streams: …`

    Each stream is yielded when it begins; iterate it in its own task. A stream that Zoom announces again after an
    interruption is yielded again. Leaving the block ends every session cleanly. Without `async with`, the iteration
    listens for as long as it runs.

    :param host: the address to listen on, with `port` (0 takes a free one) and the webhook's `path`.
    :param secret_token: the token that verifies webhooks. Default: the one in the environment or in `.env`. Without
        one, anyone can send webhooks.
    :param max_streams: how many streams to receive at once; more are refused.
    :raises Problem: if an argument is wrong; on entering the block, if the address is not available.

    The other parameters are those of `join`.
    """
    request = media_request(media=media, audio=audio, separate=separate, video=video, share=share, language=language)
    wish = _wish(request, (client_id, client_secret, secret_token), record, buffer, allow_hosts, tls)
    return Streams(wish, host, port, path, max_streams)


def _wish(
    request: MediaRequest,
    app: tuple[str | None, str | None, str | None],
    record: str | os.PathLike[str] | None,
    buffer: float,
    allow_hosts: Sequence[str],
    tls: ssl.SSLContext | None,
) -> _Wish:
    """Check what is left to check.

    :param app: client id, client secret and secret token.
    :raises Problem: if something is wrong.
    """
    if not buffer >= 0:
        raise Problem(f"buffer: {buffer} is not a number of seconds.", "Give 10, for example.")
    if isinstance(allow_hosts, str):
        raise Problem("allow_hosts: a single text is not a list of hosts.", f"Give [{allow_hosts!r}].")
    client_id, client_secret, token = app
    folder = None if record is None else Path(record)
    return _Wish(request, client_id, _secret(client_secret), _secret(token), folder, buffer, tuple(allow_hosts), tls)


def _secret(value: str | None) -> Secret | None:
    return None if value is None else Secret(value)
