"""Which webhooks are acted on: not what is old, not what someone repeats, and not more than a server could mean."""

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct

from rtms_cli.machine import Via
from rtms_cli.protocol.strict_json import dumps
from rtms_cli.protocol.times import spoken_length
from rtms_cli.protocol.webhooks import (
    OtherWebhook,
    Stream,
    StreamInterrupted,
    StreamStart,
    StreamStop,
    Webhook,
    is_older,
)

MOST_A_MINUTE = 10
"""Webhooks of one kind about one stream: Zoom sends one, and three more within 80 minutes.

Repetitions are counted apart, so that replayed webhooks do not keep new ones out.
"""
MINUTE_S = 60.0
MOST_STREAMS = 1_000
"""Streams that are remembered after their end."""
URLS_VALID_MS = 60_000
"""How long a start's URLs can be connected to (PROTOCOL §9)."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class _Known(Struct):
    """What is remembered of a stream."""

    was_begun: bool = False
    newest_ms: int | None = None
    """The newest `event_ts` of its starts."""
    told_ms: int | None = None
    """The newest `event_ts` of what told a loss or an end of it."""
    past_ms: int | None = None
    """The same, as it was when the stream last began: what is not newer is about an earlier session."""
    was_ended: bool = True
    """Whether Zoom said that it was over; of one that was never begun, that nothing is in the way of it."""


class Admission:
    """What is known of the streams that were announced; bounded.

    :param clock: counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._streams: OrderedDict[str, _Known] = OrderedDict()
        self._ways: OrderedDict[tuple[str, int | None, bytes], Counter[str]] = OrderedDict()
        """How often each start came by which way."""
        self._times: OrderedDict[tuple[str | int | None, ...], deque[float]] = OrderedDict()

    def refusal(self, webhook: StreamStart | StreamStop | StreamInterrupted, *, may_be_old: bool) -> str | None:
        """Why a webhook about a stream is not acted on; it is counted.

        :param may_be_old: whether someone else looks at its time.
        """
        match webhook:
            case StreamStart(Stream(stream_id=stream_id, event_ts=event_ts)):
                what, known = "started", self._known(stream_id)
                is_old = is_older(event_ts, known.newest_ms)
                if is_old and not may_be_old:
                    return "it is older than the stream's last start"
                if known.was_begun and event_ts is not None and not is_old:
                    known.newest_ms = event_ts  # of a stream that runs: a failover
            case StreamStop(stream_id=stream_id, event_ts=event_ts):
                what = "stopped"
            case StreamInterrupted(stream_id=stream_id, event_ts=event_ts):
                what = "interrupted"
        if what != "started" and self._is_of_a_former_session(stream_id, event_ts):
            return "it came before, for an earlier session of the stream"
        is_again = (stream_id, what, event_ts) in self._times
        too_often = self._is_too_much(stream_id, what, event_ts)
        if too_often or (not is_again and self._is_too_much(stream_id, what)):
            return f"{MOST_A_MINUTE} {what} webhooks about this stream came within a minute"
        return None

    def came_by_another_way(self, start: StreamStart, via: str) -> str | None:
        """By which way the same start came before, in words; it is counted.

        One event may come both by HTTP and by the event WebSocket, the second time when the stream is over. Where both
        bring it, a start that comes as often as by the other way is that one; once more is a stream that starts again
        (PROTOCOL §9).
        """
        stream = start.stream
        ways = _remembered(self._ways, (stream.stream_id, stream.event_ts, dumps(stream.server_urls)), Counter())
        ways[via] += 1
        return next((Via(other).in_words for other, count in ways.items() if other != via and count >= ways[via]), None)

    def begin(self, stream: Stream) -> None:
        """A stream is begun."""
        known = self._known(stream.stream_id)
        known.was_begun, known.was_ended = True, False
        known.past_ms = known.told_ms
        if stream.event_ts is not None:
            known.newest_ms = stream.event_ts

    def note_end(self, webhook: StreamStop | StreamInterrupted) -> None:
        """A webhook told a loss or the end of a stream, whether a session of it runs or has ended already."""
        known = self._streams.get(webhook.stream_id)
        if known is not None and known.was_begun and webhook.event_ts is not None:
            known.told_ms = max(webhook.event_ts, known.told_ms or 0)

    def end(self, stream_id: str, *, by_zoom: bool) -> None:
        """A stream's session has ended.

        :param by_zoom: whether Zoom said that the stream was over.
        """
        self._known(stream_id).was_ended = by_zoom

    def may_repeat(self, stream_id: str) -> bool:
        """Whether a start whose signature came before may begin the stream again.

        A server that starts a stream again after it has said its end may send the same bytes (PROTOCOL §9). A client
        that repeats what he has overheard can do so once a session, not as often as he likes.
        """
        known = self._streams.get(stream_id)
        return known is None or known.was_ended

    def knows(self, stream_id: str) -> bool:
        """Whether a stream was begun lately."""
        known = self._streams.get(stream_id)
        return known is not None and known.was_begun

    def _is_of_a_former_session(self, stream_id: str, event_ts: int | None) -> bool:
        """Whether a loss or an end was told before the stream was begun last, perhaps by the very same announcement."""
        known = self._streams.get(stream_id)
        past_ms = None if known is None else known.past_ms
        return event_ts is not None and past_ms is not None and event_ts <= past_ms

    def _known(self, stream_id: str) -> _Known:
        return _remembered(self._streams, stream_id, _Known())

    def _is_too_much(self, *what: str | int | None) -> bool:
        now = self._clock()
        times = _remembered(self._times, what, deque(maxlen=MOST_A_MINUTE))
        if len(times) == MOST_A_MINUTE and now - times[0] < MINUTE_S:
            return True
        times.append(now)
        return False


def _remembered(memory: OrderedDict[_K, _V], key: _K, new: _V) -> _V:
    """What is remembered under a key, from now on as the last; the first is forgotten where there are too many."""
    found = memory.setdefault(key, new)
    memory.move_to_end(key)
    while len(memory) > MOST_STREAMS:
        memory.popitem(last=False)
    return found


def stream_id_of(webhook: Webhook) -> str | None:
    """The stream that a webhook is about."""
    match webhook:
        case StreamStart(stream):
            return stream.stream_id
        case StreamStop(stream_id=stream_id) | StreamInterrupted(stream_id=stream_id) | OtherWebhook(_, stream_id):
            return stream_id
        case _:
            return None


def server_of(webhook: Webhook) -> str | None:
    """The server that a webhook would have us connect to."""
    match webhook:
        case StreamStart(Stream(server_url=url)) | StreamInterrupted(server_url=url):
            return url
        case _:
            return None


def described(webhook: Webhook) -> str:
    """A webhook in a few words."""
    match webhook:
        case StreamStart(Stream(product=product)):
            what = f"{product} rtms_started"
        case StreamStop(product=product):
            what = f"{product} rtms_stopped"
        case StreamInterrupted(product=product):
            what = f"{product} rtms_interrupted"
        case OtherWebhook(event, _, says):
            what = f"{event[:100]}  {says}" if says else event[:100]
        case _:
            what = "a webhook"
    stream_id = stream_id_of(webhook)
    return f"{what} of stream {stream_id[:100]}" if stream_id else what


def how_late(stream: Stream) -> str | None:
    """A line where a start is too old for its URLs, by our clock; it may be wrong, so they are tried anyway."""
    if stream.event_ts is None:
        return None
    return too_late("it was announced", stream.event_ts)


def too_late(what: str, since_ms: float) -> str | None:
    """A line where something is too old for its URLs.

    :param what: the line's beginning: "it was announced".
    :param since_ms: the moment, in milliseconds since 1970.
    """
    late_ms = time.time() * 1000 - since_ms
    if late_ms <= URLS_VALID_MS:
        return None
    age = spoken_length(late_ms / 1000)
    return f"{what} {age} ago, but Zoom's URLs are valid for 60 s: it will probably be refused (or this clock is wrong)"
