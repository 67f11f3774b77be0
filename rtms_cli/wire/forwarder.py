"""Forwards webhooks to an app under development, without delaying the answer to Zoom."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import msgspec

from rtms_cli.wire.dialer import tls_context
from rtms_cli.wire.notices import Notices
from rtms_cli.wire.poster import NoAnswerError, post

MOST_WAITING = 100
"""How many webhooks may wait while the app is busy. Further webhooks are not forwarded."""
PATIENCE_S = 10.0
LAST_PATIENCE_S = 3.0
"""How long the app may take for waiting webhooks at the end."""
MARK = (b"x-rtms-forwarded", b"1")
"""Prevents endless loops if a webhook is sent back to us."""

Headers = Sequence[tuple[bytes, bytes]]


class Forwarder:
    """Posts webhooks to a URL, in order. Use it with `async with`.

    :param notice: called with a line about the app's answer, or why there was none.
    :param tls: for an https:// URL; `None` uses the system's store.
    """

    def __init__(
        self,
        url: str,
        notice: Callable[[str], None],
        tls: ssl.SSLContext | None = None,
        patience_s: float = PATIENCE_S,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._url = url
        self._notice = notice
        self._notices = Notices(notice)
        if tls is None and urlsplit(url).scheme == "https":
            tls = tls_context(None)
        self._tls = tls
        self._patience_s = patience_s
        self._waiting: asyncio.Queue[tuple[bytes, Headers]] = asyncio.Queue(most_waiting)
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Forwarder":
        self._work = asyncio.create_task(self._post_all(), name="forwarder")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._work is not None
        try:
            async with asyncio.timeout(LAST_PATIENCE_S):
                await self._waiting.join()
        except TimeoutError:
            self._notice(f"WARNING: not all webhooks were forwarded: {self._url} was too slow")
        self._work.cancel()
        await asyncio.wait([self._work])
        self._notices.close()

    def put(self, body: bytes, headers: Headers) -> None:
        """Forward a webhook with Zoom's headers. Never waits."""
        if MARK in headers:
            return
        kept = [(name, value) for name, value in headers if name.startswith(b"x-zm-") or name == b"content-type"]
        try:
            self._waiting.put_nowait((body, [*kept, MARK]))
        except asyncio.QueueFull:
            self._fail(body, f"{self._waiting.qsize()} are already waiting for the app")

    def _fail(self, body: bytes, why: str) -> None:
        self._notices.tell("webhooks that were not forwarded", f"WARNING: {_event(body)} was not forwarded: {why}")

    async def _post_all(self) -> None:
        while True:
            body, headers = await self._waiting.get()
            try:
                answer = await post(self._url, body, headers, self._patience_s, self._tls)
            except NoAnswerError as error:
                self._fail(body, str(error))
            else:
                said = f"forwarded {_event(body)} → {answer.status}"
                line = f"{said} in {answer.took_s * 1000:.0f} ms"
                self._notices.tell("forwarded webhooks", line if answer.status < 300 else f"WARNING: {line}", said)
            finally:
                self._waiting.task_done()


class _Event(msgspec.Struct):
    event: str


_EVENT = msgspec.json.Decoder(_Event)


def _event(body: bytes) -> str:
    try:
        return _EVENT.decode(body).event[:100]
    except (msgspec.MsgspecError, UnicodeError):
        return "a webhook"
