"""A feed that plays what a test says, over the real journal, server and socket: for shapes that no simulator has."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs
from web.watching import pages

from rtms_cli.feed.journal import Journal
from rtms_cli.feed.local import served_feed
from rtms_cli.feed.messages import VERSION, Detail, Event, Hello, KeepAlives, Mark, Order, Person, Picture, Row, Warned
from rtms_cli.protocol.times import iso_time


class Played:
    """A `Source`.

    :param run: names it; another one is another run.
    """

    def __init__(self, run: str = "a run") -> None:
        self._run = run
        self.journal = Journal()
        self.rows: list[Row] = []
        self.people: list[Person] = []
        self.warnings: list[Warned] = []
        self.orders: list[Order] = []
        self.watched: Collection[str] | None = None
        """Which streams clients look at now."""
        self.more = Picture(0, "", [])
        """What else a picture has."""

    def tell(self, name: str, stream_id: str | None = None, **fields: object) -> None:
        """Have something happen."""
        at = iso_time(datetime.now(UTC))
        self.journal.add(lambda seq: Event(seq, at, name, stream_id, **fields))  # type: ignore[arg-type]

    def say(self, stream_id: str, *numbers: int) -> None:
        """Have lines spoken: `line 1`, `line 2`, …, each a second after the other."""
        for number in numbers:
            speaker = number % 3
            self.tell(
                "transcript",
                stream_id,
                t=float(number),
                text=f"line {number}",
                user_id=speaker,
                user_name=f"P{speaker}",
            )

    def hello(self) -> Hello:
        """See `Source`."""
        journal = self.journal
        return Hello(
            VERSION,
            "0",
            self._run,
            f"played {self._run}",
            iso_time(datetime.now(UTC)),
            journal.seq,
            journal.oldest,
            True,
        )

    def after(self, seq: int) -> Collection[Event]:
        """See `Source`."""
        return list(self.journal.after(seq))

    def subscribe(self, on_event: Callable[[Event], None]) -> Callable[[], None]:
        """See `Source`."""
        return self.journal.subscribe(on_event)

    async def prepare(self) -> None:
        """See `Source`."""

    def picture(self, watched: Collection[str]) -> Picture:
        """See `Source`."""
        details = [self._detail(row) for row in self.rows if row.stream_id in watched or "*" in watched]
        at = iso_time(datetime.now(UTC))
        return structs.replace(self.more, seq=self.journal.seq, at=at, streams=list(self.rows), watched=details)

    def look(self, watched: Collection[str] | None) -> None:
        """See `Source`."""
        self.watched = watched

    async def obey(self, order: Order) -> str:
        """See `Source`."""
        self.orders.append(order)
        return "" if isinstance(order, Mark) else "It does not want to."

    def listen(self, stream_id: str) -> AsyncIterator[bytes | str]:
        """See `Source`."""
        raise KeyError(stream_id)

    def _detail(self, row: Row) -> Detail:
        steps = [("webhook", 0.0), ("ready", 0.4)]
        return Detail(
            row.stream_id, None, steps, [], self.people, [], [], row.messages, {}, self.warnings, {}, 1, 1, "", 0, 0
        )  # fmt: skip


def row(stream_id: str, state: str = "streaming", **fields: object) -> Row:
    """A stream in short."""
    plain = Row(
        stream_id, "meeting", f"id of {stream_id}", None, state, 60.0, {"audio": 3_000}, 1_000_000, 0, 0, 3, 0,
        KeepAlives(6, 6, 2.0, 3.0),
    )  # fmt: skip
    return structs.replace(plain, **fields)


@asynccontextmanager
async def played(source: Played, cwd: Path, *options: str) -> AsyncIterator[str]:
    """Serve a feed, and the pages that show it; gives their URL."""
    with tempfile.TemporaryDirectory(prefix="rtms-") as place:
        async with (
            served_feed(source, Path(place) / f"{os.getpid()}.sock"),
            pages(cwd, "--of", str(os.getpid()), *options, cwd=cwd, settings={"RTMS_RUNTIME_DIR": place}) as url,
        ):
            yield url.rstrip("/.")
