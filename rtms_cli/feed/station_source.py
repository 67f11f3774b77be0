"""The feed of this process's station."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rtms_cli import __version__
from rtms_cli.feed.journal import Journal
from rtms_cli.feed.messages import (
    VERSION,
    Connection,
    Event,
    Hello,
    Ignored,
    Mark,
    Order,
    Picture,
    Stop,
    Worker,
)
from rtms_cli.feed.pictures import detail_of, row_of
from rtms_cli.feed.telling import cut
from rtms_cli.protocol.secrets import redact_url
from rtms_cli.protocol.times import iso_time
from rtms_cli.recording.files import free_space
from rtms_cli.station.hearing import Hearer

MOST_MARK = 1_000
"""Characters of a mark."""
SPACE_S = 5.0
"""How often the disk is asked for its space, at most."""
PAGES = "Watch in a browser: "
"""The beginning of a hint that is of no use to those who look already."""
Listen = Callable[[str], AsyncIterator[bytes | str]]


class StationSource:
    """A `Source` over what records here.

    :param title: what runs, for people.
    :param hearer: the station, or what stands for several.
    :param journal: what the station's events are put into; see `telling.Telling`.
    :param out: the folder for recordings.
    :param control: whether clients may stop streams.
    :param worker_of: the number of the worker that records a stream, where there are several.
    :param workers: gives the workers, where there are some.
    :param watch: told whether anyone looks.
    :param listen: gives a stream's audio; see `Source.listen`.
    """

    def __init__(
        self,
        title: str,
        hearer: Hearer,
        journal: Journal,
        out: Path,
        *,
        control: bool = False,
        worker_of: Callable[[str], int | None] = lambda stream_id: None,
        workers: Callable[[], Sequence[Worker]] = tuple,
        watch: Callable[[bool], None] = lambda is_watched: None,
        listen: Listen | None = None,
    ) -> None:
        self._title, self._hearer, self._journal, self._out = title, hearer, journal, out
        self._control = control
        self._worker_of, self._workers, self._watch = worker_of, workers, watch
        self._listen = listen
        self._run = secrets.token_hex(8)
        self._since = iso_time(datetime.now(UTC))
        self._is_watched = False
        self._free: tuple[float, int | None] = (-SPACE_S, None)

    def hello(self) -> Hello:
        """See `Source`."""
        journal = self._journal
        return Hello(
            VERSION, __version__, self._run, self._title, self._since, journal.seq, journal.oldest, self._control
        )

    def after(self, seq: int) -> Collection[Event]:
        """See `Source`."""
        return list(self._journal.after(seq))

    def subscribe(self, on_event: Callable[[Event], None]) -> Callable[[], None]:
        """See `Source`."""
        return self._journal.subscribe(on_event)

    def look(self, watched: Collection[str] | None) -> None:
        """See `Source`."""
        if (watched is not None) != self._is_watched:
            self._is_watched = watched is not None
            self._watch(self._is_watched)

    async def prepare(self) -> None:
        """See `Source`: ask the disk, on another thread."""
        asked, _ = self._free
        if time.monotonic() - asked >= SPACE_S:
            self._free = time.monotonic(), self._free[1]
            self._free = time.monotonic(), await asyncio.to_thread(free_space, self._out)

    def picture(self, watched: Collection[str]) -> Picture:
        """See `Source`."""
        hearer = self._hearer
        views = hearer.snapshots()
        everything = "*" in watched
        return Picture(
            self._journal.seq,
            iso_time(datetime.now(UTC)),
            [row_of(view, self._worker_of(view.session.stream.stream_id)) for view in views],
            [detail_of(view) for view in views if everything or view.session.stream.stream_id in watched],
            [Connection(cut(one.text), one.is_good) for one in (look() for look in hearer.statuses)],
            [cut(redact_url(hint)) for hint in hearer.hints if not hint.startswith(PAGES)],
            [Ignored(one.at, cut(one.what), cut(one.why)) for one in hearer.ignored.last],
            hearer.ignored.count,
            list(self._workers()),
            self._free[1],
            [cut(why) for why in hearer.not_ready()],
            hearer.is_stopping,
        )

    async def obey(self, order: Order) -> str:
        """See `Source`."""
        running = {view.session.stream.stream_id for view in self._hearer.snapshots()}
        if order.stream_id not in running:
            return "This stream does not run here any more."
        match order:
            case Mark(text=text):
                text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
                if len(text) > MOST_MARK:
                    return f"A mark has {MOST_MARK} characters at most."
                self._hearer.mark(order.stream_id, text or "marked")
                return ""
            case Stop():
                if not self._control:
                    return "This recorder was started without --web-control: streams cannot be stopped from here."
                self._hearer.end(order.stream_id, "a page or rtms attach")
                return ""

    def listen(self, stream_id: str) -> AsyncIterator[bytes | str]:
        """See `Source`."""
        if self._listen is None:
            raise KeyError("this recorder cannot be listened to")
        return self._listen(stream_id)
