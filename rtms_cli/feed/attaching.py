"""A recorder that is another process, as the dashboard and the lines of `rtms attach` need it."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path

from rtms_cli.feed.following import Address, Follower
from rtms_cli.feed.messages import WATCHED, Answer, Event, FromServer, Hello, Mark, Order, Picture, Stop, Watch
from rtms_cli.feed.views import Words, product_of, views_of
from rtms_cli.machine import Finish
from rtms_cli.protocol.endings import Status
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.station.observing import ConnectionStatus, StreamSnapshot
from rtms_cli.view.dashboard import Line
from rtms_cli.view.lines import MOST_ENDED, short_id
from rtms_cli.view.screen import Screen
from rtms_cli.view.text import escape

MOST_LINES, MOST_WORDS = 200, 50
"""Of a stream's messages, and of its transcript and chat, that are kept."""
MOST_STREAMS = 1_000
_NO_CONTROL = "This recorder runs without --web-control: streams cannot be stopped from here."
_STATUSES = frozenset(status.value for status in Status)


class _Tail:
    """The last events of a stream, by number: what comes again, or late, is put in its place."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._events: dict[int, Event] = {}

    def add(self, event: Event) -> None:
        """Keep one."""
        self._events[event.seq] = event
        if len(self._events) > self._most:
            del self._events[min(self._events)]

    @property
    def events(self) -> list[Event]:
        """The events, in order."""
        return [self._events[seq] for seq in sorted(self._events)]


class _Story:
    """What is kept of a stream."""

    def __init__(self) -> None:
        self.lines = _Tail(MOST_LINES)
        self.transcript, self.chat = _Tail(MOST_WORDS), _Tail(MOST_WORDS)


class Attached:
    """Follows a recorder, and knows how it stands.

    :param find: where it is, now; `None` if it is gone.
    :param watches: the streams to watch from the beginning; `*` for all.
    """

    def __init__(self, find: Callable[[], Address | None], watches: str = "") -> None:
        self.hello: Hello | None = None
        self.picture: Picture | None = None
        self.finished: deque[Event] = deque(maxlen=MOST_ENDED)
        """Streams that have ended since it began to follow."""
        self.on_message: Callable[[FromServer], None] = lambda message: None
        """Told of each message, once."""
        self.on_notice: Callable[[str], None] = lambda text: None
        """Told how orders went, and how the connection stands."""
        self.why_lost = ""
        self.greeted, self.has_ended = asyncio.Event(), asyncio.Event()
        self._find = find
        self._loop = asyncio.get_running_loop()
        self._first_seq: int | None = None
        self._lost_at, self._is_lost = "", False
        self._chosen = watches
        self._stories: dict[str, _Story] = {}
        self._general_seq = 0
        self._run = ""
        self._numbers = count(1)
        self._asked: dict[int, str] = {}
        """What to say when an order is carried out, by its number."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._follower = Follower(
            self._look_for_it, self._take, lambda: (self._run, self._general_seq), self._on_state,
            all_events=watches == "*",
        )  # fmt: skip

    async def follow(self) -> None:
        """Follow until it is cancelled.

        :raises Problem: if there is no connection at first, or it is refused for good.
        """
        await self._follower.run(is_patient=False)

    def is_past(self, event: Event) -> bool:
        """Whether an event happened before this process began to follow."""
        return self._first_seq is not None and event.seq <= self._first_seq

    # What a screen asks.

    @property
    def title(self) -> str:
        """What runs, for people."""
        return "" if self.hello is None else escape(self.hello.title, 100)

    def views(self) -> Sequence[StreamSnapshot]:
        """The streams that run."""
        return () if self.picture is None else views_of(self.picture, self._words())

    def connections(self) -> Sequence[ConnectionStatus]:
        """How the connection to the recorder stands, if it is lost, and those that the recorder has."""
        lost = [ConnectionStatus(self.lost, is_good=False)] if self.lost else []
        if self.picture is None:
            return lost
        return [*lost, *(ConnectionStatus(one.text, one.is_good) for one in self.picture.connections)]

    @property
    def lost(self) -> str:
        """Since when there is no connection, and why; empty if there is one."""
        if self.why_lost:
            return f"connection lost at {self._lost_at}, trying again: {self.why_lost.removesuffix('.')}"
        if self.picture is not None and not self.picture.is_connected:
            since = "" if self.picture.lost_at is None else f" at {clock(self.picture.lost_at)}"
            return f"the page has lost its recorder{since}; it tries again"
        return ""

    def hints(self) -> Sequence[str]:
        """What to do as long as nothing has come."""
        return () if self.picture is None else self.picture.hints

    def free(self) -> int | None:
        """The bytes that are free on the recorder's disk."""
        return None if self.picture is None else self.picture.free_nbytes

    def messages(self, stream_id: str) -> Sequence[Line]:
        """The last messages of a stream."""
        story = self._stories.get(stream_id)
        return [] if story is None else [Line(one.t or 0.0, message_text(one)) for one in story.lines.events]

    def why_not_end(self) -> str:
        """Why streams cannot be stopped from here; empty if they can."""
        return "" if self.hello is not None and self.hello.control else _NO_CONTROL

    def choose(self, stream_id: str) -> None:
        """Watch a stream instead of the one before."""
        if stream_id != self._chosen:
            self._chosen = stream_id
            self._watch()

    def mark(self, stream_id: str) -> None:
        """Have the recorder mark this moment in a stream."""
        self._order(Mark(next(self._numbers), stream_id, "marked by rtms attach"), "marked: a line in events.jsonl")

    def stop(self, stream_id: str) -> None:
        """Have the recorder stop a stream."""
        self._order(Stop(next(self._numbers), stream_id), "the recorder ends this stream")

    # What it is told.

    def _look_for_it(self) -> Address | None:
        address = self._find()
        if address is None:
            self._loop.call_soon_threadsafe(self.has_ended.set)
        return address

    def _take(self, message: FromServer) -> None:
        match message:
            case Hello():
                if not message.resumed:
                    self._stories.clear()
                    self._general_seq = 0
                    if message.run != self._run:
                        self._first_seq = message.seq if self._first_seq is None else 0
                self.hello, self._run = message, message.run
                self._asked.clear()
                self._watch()
            case Event():
                if not self._is_new(message):
                    return
            case Picture():
                self.picture = message
                running = {row.stream_id for row in message.streams}
                for gone in [one for one in self._stories if one not in running]:
                    del self._stories[gone]
                self.greeted.set()
            case Answer():
                done = self._asked.pop(message.id, "")
                self.on_notice(done if message.ok else f"WARNING: {message.why}")
        self.on_message(message)

    def _is_new(self, event: Event) -> bool:
        """Keep an event; returns whether it is one that views have not been told of."""
        is_new = event.seq > self._general_seq
        self._general_seq = max(self._general_seq, event.seq)
        if event.stream_id is not None and (event.stream_id in self._stories or len(self._stories) < MOST_STREAMS):
            story = self._stories.setdefault(event.stream_id, _Story())
            kind = {"transcript": story.transcript, "chat": story.chat}.get(event.event)
            if kind is not None:
                kind.add(event)
            story.lines.add(event)
        if is_new and event.event == "finished" and not self.is_past(event):
            self.finished.append(event)
        return is_new

    def _on_state(self, why: str) -> None:
        if why and not self.why_lost:
            self._lost_at = f"{datetime.now().astimezone():%H:%M:%S}"
        elif why and not self._is_lost and not self.has_ended.is_set():  # it did not come back at once
            self._is_lost = True
            self.on_notice(f"WARNING: connection lost at {self._lost_at}: {why}")
        elif not why and self._is_lost:
            self._is_lost = False
            self.on_notice("connected again")
        self.why_lost = why

    def _words(self) -> Mapping[str, tuple[Words, Words]]:
        return {stream_id: (_said(story.transcript), _said(story.chat)) for stream_id, story in self._stories.items()}

    def _watch(self) -> None:
        if self._chosen:
            self._in_background(Watch("*" if self._chosen == "*" else [self._chosen]), "")

    def _order(self, order: Order, done: str) -> None:
        self._asked[order.id] = done
        self._in_background(order, "not connected: the recorder has not heard of it")

    def _in_background(self, message: Watch | Order, otherwise: str) -> None:
        async def say() -> None:
            if not await self._follower.say(message) and otherwise:
                self.on_notice(otherwise)

        task = self._loop.create_task(say())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _said(tail: _Tail) -> Words:
    return [(one.user_name or "", one.text) for one in tail.events]


def clock(at: str) -> str:
    """A time of day as this machine's clock shows it."""
    try:
        return f"{datetime.fromisoformat(at).astimezone():%H:%M:%S}"
    except (ValueError, OverflowError):
        return escape(at, 30)


_ARROWS = {"in": "←", "out": "→"}


def message_text(event: Event) -> str:
    """An event of a stream in one line, which is not fit for a terminal yet."""
    match event.event:
        case "connection":
            code = "" if event.code is None else f" with {event.code}"
            return f"{event.channel} · {event.state}{code}{f'  {event.reason}' if event.reason else ''}"
        case "frame":
            return f"{event.channel} {_ARROWS.get(event.direction, '·')} {event.text}"
        case "transcript":
            return f"“ {event.user_name or ''}: {event.text}"
        case "chat":
            return f"✉ {event.user_name or ''}{f' to {event.to}' if event.to else ''}: {event.text}"
        case "started":
            what = f"{product_of(event.product).title} {event.id}"
            return f"following {what}" if event.recording is None else f"recording {what} to {event.recording}"
        case "finished":
            losses = f", {event.losses} {'LOSS' if event.losses == 1 else 'LOSSES'}" if event.losses else ""
            where = "" if event.recording is None else f"  {event.recording}"
            return f"{event.status}{f': {event.reason}' if event.reason else ''}{losses}{where}"
        case "mark":
            return f"mark: {event.text}"
        case _ if event.is_warning and not event.text.startswith("WARNING"):
            return f"WARNING: {event.text}"
        case _:
            return event.text


def event_line(event: Event) -> str:
    """An event in one line of a log: the time of day, the stream and what happened."""
    whose = "" if event.stream_id is None else f"{short_id(event.stream_id)} "
    return f"{clock(event.at)} {whose}{escape(message_text(event), 1_000)}"


class ForScreen:
    """Tells a screen what a feed says.

    :param screen: an observer.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def take(self, message: FromServer) -> None:
        """Take a message."""
        if not isinstance(message, Event):
            return
        match message.event:
            case "finished":
                stream = Stream(product_of(message.product), message.id, message.stream_id or "", "")
                status = message.status if message.status in _STATUSES else Status.FAILED.value
                folder = None if message.recording is None else Path(message.recording)
                self._screen.on_finished(stream, folder, Finish(status, None, ""), None)
            case name if message.stream_id is None or name not in (*WATCHED, "started", "connection", "mark"):
                self._screen.on_notice(message_text(message))
            case _:
                pass
