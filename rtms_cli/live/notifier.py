"""Sends notifications while streams run. What cannot be sent yet waits in the outbox."""

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
from msgspec import Struct

from rtms_cli.errors import reason_of
from rtms_cli.live.desk import Desk, Done, Dropped, Ending, Line, Loaded, News, Revoke, Said, Seal, Sealed, Stop, Waits
from rtms_cli.live.dispatch import Dispatch, Post, Report, Verdict
from rtms_cli.live.notifications import (
    INTERRUPTED,
    STARTED,
    Endpoint,
    Subject,
    data_of_ending,
    event_of_ending,
    signed_headers,
    subject_of,
)
from rtms_cli.live.outbox import FILE, Message, Outbox
from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.endings import Status
from rtms_cli.protocol.secrets import redact_url
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import Manifest, TapEntry
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.wire.dialer import tls_context
from rtms_cli.wire.notices import Notices

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from rtms_cli.recording.audio import AudioTrack
    from rtms_cli.recording.tracks import PictureTrack, TextTrack

logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs full URLs, which may contain a secret

PATIENCE_S = 15.0
"""How long a receiver may take to answer."""
LAST_PATIENCE_S = 10.0
"""How long to keep sending waiting messages at the end."""
TELL_S = 1.0
"""After this time, the user is told what we are waiting for."""
CLOSE_S = 5.0
MOST_ANSWER = 1 << 16
"""How many bytes of an answer are read, so that its connection can be reused."""
MOST_INTERRUPTED = 1000
"""How many interrupted streams are remembered."""

Tell = Callable[[str, Mapping[str, object], str], None]
"""Reports an event: its name, its fields, and a readable text; see `Observer.on_event`."""


class Tally(Struct, frozen=True):
    """Counts of notifications by result."""

    sent: int
    failed: int
    """Attempts."""
    dropped: int
    """Messages that will not be delivered."""
    waiting: int


class Notifier:
    """Sends events to endpoints. Keep it entered while there may be events. It observes a station.

    :param secrets: secrets that sign each message.
    :param folder: folder of the outbox. With `None`, unsent messages are lost at the end.
    :param tls: how to verify https:// endpoints; `None` uses the system's store.
    :param keep_revoked: whether to forward what was said in a revoked stream.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        secrets: Sequence[bytes],
        folder: Path | None,
        tell: Tell,
        *,
        tls: ssl.SSLContext | None = None,
        keep_revoked: bool = False,
    ) -> None:
        self._endpoints = {endpoint.key: endpoint for endpoint in endpoints}
        self._secrets = secrets
        self._folder = folder
        self._tell = tell
        self._keep_revoked = keep_revoked
        self._notices = Notices(self._say)
        self._outbox = Outbox(folder)
        self._dispatch = Dispatch(self._endpoints, random.random)
        self._posters = {key: _Poster(endpoint, secrets, tls) for key, endpoint in self._endpoints.items()}
        self._posting: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._has_news = asyncio.Event()
        self._is_sealed = asyncio.Event()
        self._dropped = self._waiting = 0
        self._is_closing = False
        self._interrupted: OrderedDict[str, None] = OrderedDict()

    async def __aenter__(self) -> "Notifier":
        """Start with what an earlier run left behind.

        :raises Problem: if the outbox cannot be created.
        """
        self._loop = asyncio.get_running_loop()
        aside = await asyncio.to_thread(self._outbox.open)
        if aside is not None:
            self._say(f"WARNING: the outbox for notifications was damaged or not an outbox; moved it to {aside}")
        self._desk = Desk(self._outbox, list(self._endpoints.values()), self._hear)
        self._desk.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._send_rest()
        finally:
            self._is_closing = True
            if self._timer is not None:
                self._timer.cancel()
            for task in self._posting:
                task.cancel()
            if self._posting:
                await asyncio.wait(self._posting, timeout=CLOSE_S)
            self._desk.put(Stop())
            await asyncio.to_thread(self._desk.join, CLOSE_S)
            await asyncio.sleep(0)  # its last news
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    for poster in self._posters.values():
                        await poster.close()
            self._notices.close()
            self._tell_rest()

    @property
    def tally(self) -> Tally:
        """Return the counts of notifications so far."""
        dropped = self._dropped + self._dispatch.given_up
        return Tally(self._dispatch.sent, self._dispatch.failed, dropped, self._waiting)

    def figures(self) -> Iterator["Metric"]:
        """Yield the counts of notifications for Prometheus."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        tally = self.tally
        ended = CounterMetricFamily("rtms_notifications", "Notifications that came to an end.", labels=("result",))
        ended.add_metric(("sent",), tally.sent)
        ended.add_metric(("dropped",), tally.dropped)
        yield ended
        yield CounterMetricFamily("rtms_notification_failures", "Attempts that failed.", tally.failed)
        yield GaugeMetricFamily("rtms_notifications_waiting", "Notifications in the outbox.", tally.waiting)

    # Observer.

    def open_listener(self, stream: Stream, folder: Path | None) -> "Lines":
        """Open a listener for a session's lines; see `OpenListener`."""
        subject = subject_of(stream, folder)
        continues = self._interrupted.pop(stream.stream_id, 0) is None
        self._desk.put(Ending(STARTED, time.time(), subject, {"continues": continues}))
        return Lines(subject, self._desk)

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """See `Observer`. `open_listener` has already reported the start, before the stream's first line."""

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """See `Observer`."""

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """See `Observer`."""

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """See `Observer`."""
        if finish.status == Status.REVOKED and not self._keep_revoked:
            self._dispatch.revoke(stream.stream_id)
            self._desk.put(Revoke(stream.stream_id, self._dispatch.on_way(stream.stream_id)))
        event = event_of_ending(finish.status)
        if event == INTERRUPTED:
            self._interrupted[stream.stream_id] = None
            if len(self._interrupted) > MOST_INTERRUPTED:
                self._interrupted.popitem(last=False)
        self._desk.put(Ending(event, time.time(), subject_of(stream, folder), data_of_ending(finish, manifest)))

    def on_notice(self, text: str) -> None:
        """See `Observer`."""

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """See `Observer`."""

    # Sending.

    def _hear(self, news: Sequence[News]) -> None:
        """Pass the desk's news to the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the disk took too long
            self._loop.call_soon_threadsafe(self._take, news)

    def _take(self, news: Sequence[News]) -> None:
        for one in news:
            match one:
                case Waits():
                    self._dispatch.wait_for(one.receiver, one.stream)
                case Loaded():
                    self._dispatch.loaded(one.receiver, one.stream, one.messages, has_more=one.has_more)
                case Dropped():
                    self._dropped += one.count
                    text = f"WARNING: {_counted(one.count)} dropped: {one.why}"
                    self._notices.tell("warnings of dropped notifications", text, one.why)
                case Said():
                    self._notices.tell("warnings of the outbox", one.text, one.text)
                case Sealed():
                    self._is_sealed.set()
                case Done():
                    self._waiting = one.waiting
        self._go_on()
        self._has_news.set()

    def _go_on(self) -> None:
        """Do what is due."""
        if self._is_closing:
            return
        now = time.monotonic()
        for command in self._dispatch.next(now):
            match command:
                case Post():
                    task = asyncio.create_task(self._post(command.message), name="notification")
                    self._posting.add(task)
                    task.add_done_callback(self._posting.discard)
                case Report():
                    self._report(command)
                case _:
                    self._desk.put(command)
        if self._timer is not None:
            self._timer.cancel()
        due = self._dispatch.wake_at()
        self._timer = None if due is None else self._loop.call_later(max(0.0, due - now), self._go_on)

    async def _post(self, message: Message) -> None:
        result = await self._posters[message.receiver].post(message)
        before = self._dispatch.given_up
        self._dispatch.answered(
            message, result.verdict, result.why, time.monotonic(), time.time(), result.retry_after_s
        )
        if count := self._dispatch.given_up - before:
            label = self._endpoints[message.receiver].label
            text = f"WARNING: {_counted(count)} given up: {label} did not accept them for a day ({result.why})"
            self._notices.tell("warnings of notifications that were given up", text, label)
        self._go_on()

    def _report(self, report: Report) -> None:
        label = self._endpoints[report.receiver].label
        text = {
            "failing": f"WARNING: {label} does not accept notifications: {report.why}; they are kept for later",
            "working": f"{label} accepts notifications again",
            "gone": f"WARNING: {label} wants no more notifications (410): none are sent until rtms restarts",
        }[report.state]
        fields = {"url": label, "state": report.state, "why": report.why or None, "waiting": self._waiting}
        self._tell("notify", fields, text)

    def _say(self, text: str, state: str = "notice") -> None:
        self._tell("notify", {"url": None, "state": state, "why": None, "waiting": self._waiting}, text)

    # The end.

    async def _send_rest(self) -> None:
        """Send what is due, for a limited time."""
        self._desk.put(Seal())
        end = time.monotonic() + LAST_PATIENCE_S
        telling = self._loop.call_later(TELL_S, self._tell_of_waiting)
        try:
            async with asyncio.timeout(LAST_PATIENCE_S):
                await self._is_sealed.wait()
                while self._waiting and self._may_send_before(end):
                    self._has_news.clear()
                    await self._has_news.wait()
        except TimeoutError:
            pass
        finally:
            telling.cancel()

    def _tell_of_waiting(self) -> None:
        self._say(f"{_counted(self._waiting)} waiting: trying for {LAST_PATIENCE_S:.0f} s at most")

    def _may_send_before(self, end: float) -> bool:
        due = self._dispatch.wake_at()
        return self._dispatch.is_busy or (due is not None and due < end)

    def _tell_rest(self) -> None:
        if not self._waiting:
            return
        if self._folder is None:
            self._say(f"WARNING: {_counted(self._waiting)} not delivered and not kept", "left")
        else:
            self._say(f"{_counted(self._waiting)} left in {self._folder / FILE}; the next run sends them", "left")


class Lines:
    """Forwards a session's lines; see `StreamListener`."""

    def __init__(self, subject: Subject, desk: Desk) -> None:
        self._subject = subject
        self._desk = desk

    def on_audio(self, track: "AudioTrack", start: int, chunks: Sequence[bytes]) -> None:
        """See `Listener`."""

    def on_picture(self, track: "PictureTrack", timestamp: int | None, payload: bytes) -> None:
        """See `Listener`."""

    def on_line(self, track: "TextTrack", line: bytes) -> None:
        """See `Listener`."""
        self._desk.put(Line(track.kind, time.time(), self._subject, line))

    def on_turn(self, at_us: int) -> None:
        """See `Listener`."""

    async def close(self) -> None:
        """See `StreamListener`."""

    def entries(self) -> Sequence[TapEntry]:
        """See `StreamListener`."""
        return ()


class _Result(Struct, frozen=True):
    """The result of one request."""

    verdict: Verdict
    why: str = ""
    retry_after_s: float | None = None


class _Poster:
    """Posts to one endpoint over persistent connections. Does not follow redirects."""

    def __init__(self, endpoint: Endpoint, secrets: Sequence[bytes], tls: ssl.SSLContext | None) -> None:
        self._endpoint = endpoint
        self._secrets = secrets
        is_secure = urlsplit(endpoint.url).scheme == "https"
        self._client = httpx.AsyncClient(
            timeout=None,  # noqa: S113  # one time-out holds for all of a request
            trust_env=not endpoint.is_local,
            verify=(tls or tls_context(None)) if is_secure else False,
        )

    async def post(self, message: Message) -> _Result:
        """Make one attempt. Never raises."""
        headers = signed_headers(message.id, int(time.time()), message.body, self._secrets)
        result: _Result | None = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                async with self._client.stream(
                    "POST", self._endpoint.url, content=message.body, headers=headers
                ) as answer:
                    result = _judged(answer)
                    nbytes = 0
                    async for chunk in answer.aiter_raw():
                        nbytes += len(chunk)
                        if nbytes > MOST_ANSWER:
                            break
        except TimeoutError:
            result = result or _Result(Verdict.FAILED, f"no answer within {PATIENCE_S:g} s")
        except Exception as error:  # a receiver or proxy may make the client raise anything, and the lane must go on
            result = result or _Result(Verdict.FAILED, self._said(error))
        self._client.cookies.clear()
        return result

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    def _said(self, error: Exception) -> str:
        text = reason_of(error).replace(self._endpoint.url, self._endpoint.label)
        return redact_url(text)[:200]


def _judged(answer: httpx.Response) -> _Result:
    """Interpret an answer by its status."""
    status = answer.status_code
    if 200 <= status < 300:
        return _Result(Verdict.DELIVERED)
    if status == httpx.codes.GONE:
        return _Result(Verdict.GONE, "it answered 410")
    why = f"it answered {status}"
    if 300 <= status < 400:
        why += ", and redirects are not followed"
    return _Result(Verdict.FAILED, why, _retry_after(answer.headers.get("retry-after")))


def _retry_after(text: str | None) -> float | None:
    """Return the seconds to wait from a Retry-After header, which is a number or a date."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:10])
    try:
        return max(0.0, parsedate_to_datetime(text[:100]).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _counted(count: int) -> str:
    return "1 notification is" if count == 1 else f"{count} notifications are"
