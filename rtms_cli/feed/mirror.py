"""The feed of another process, kept and served here, for pages in a browser.

Its recorder has one client, however many browsers look, and none while nobody does.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count

from msgspec import structs

from rtms_cli import __version__
from rtms_cli.errors import Problem, log_defect
from rtms_cli.feed.ear import Relay
from rtms_cli.feed.following import Address, Follower, heard_at
from rtms_cli.feed.journal import Journal
from rtms_cli.feed.messages import VERSION, Answer, Event, FromServer, Hello, Order, Picture, Watch
from rtms_cli.protocol.times import iso_time

log = logging.getLogger(__name__)

STAY_S = 20.0
"""How long it stays connected behind the last client."""
GREET_S = 3.0
"""How long a client waits for a recorder that is there."""
ANSWER_S = 10.0
TELL_S = 0.2
"""Between two times that it tells the recorder what is watched, which then draws a picture."""


class Mirror:
    """A `Source`; enter it for as long as it may follow.

    :param find: where the recorder is, now; `None` if there is none.
    :param on_another: told that events do not continue, as behind another recorder: clients have to come back.
    """

    def __init__(self, find: Callable[[], Address | None], on_another: Callable[[], None] = lambda: None) -> None:
        self.on_another = on_another
        self._journal = Journal()
        self._hello: Hello | None = None
        self._picture: Picture | None = None
        self._why = ""
        self._lost_at: str | None = None
        self._watched: frozenset[str] = frozenset()
        self._is_telling = self._must_tell = False
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._numbers = count(1)
        self._find = find
        self._follower = Follower(find, self._take, self._known, self._on_state, all_events=True)
        self._following: asyncio.Task[None] | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._greeted = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._relay = Relay(self._hear)

    async def __aenter__(self) -> "Mirror":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stay()
        await self._leave()

    @property
    def why_not(self) -> str:
        """Why it does not reach the recorder, for people; empty if it does."""
        return self._why

    async def is_there(self) -> bool:
        """Whether there is a recorder, as far as that can be told without connecting to it."""
        return self._follower.is_connected or await asyncio.to_thread(self._find) is not None

    def hello(self) -> Hello:
        """See `Source`."""
        seq, oldest = self._journal.seq, self._journal.oldest
        if self._hello is None:
            return Hello(VERSION, __version__, "", "", "", seq, oldest, False)
        return structs.replace(self._hello, seq=seq, oldest=oldest, resumed=False)

    def after(self, seq: int) -> Collection[Event]:
        """See `Source`."""
        return list(self._journal.after(seq))

    def subscribe(self, on_event: Callable[[Event], None]) -> Callable[[], None]:
        """See `Source`."""
        return self._journal.subscribe(on_event)

    async def prepare(self) -> None:
        """See `Source`: give a recorder that is there time to answer."""
        if self._following is not None and not self._greeted.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(GREET_S):
                    await self._greeted.wait()

    def picture(self, watched: Collection[str]) -> Picture:
        """See `Source`."""
        picture = self._picture
        if picture is None:
            return Picture(0, iso_time(datetime.now(UTC)), [], is_connected=False, not_ready=[self._why])
        is_connected = self._follower.is_connected
        details = [one for one in picture.watched if one.stream_id in watched or "*" in watched]
        lost_at = None if is_connected else self._lost_at
        return structs.replace(picture, watched=details, is_connected=is_connected, lost_at=lost_at)

    def look(self, watched: Collection[str] | None) -> None:
        """See `Source`."""
        if watched is None:
            if self._leaving is None and self._following is not None:
                self._leaving = asyncio.get_running_loop().call_later(STAY_S, self._in_background, self._leave)
            return
        self._stay()
        if self._following is None:
            self._greeted.clear()
            self._following = asyncio.create_task(self._follow(), name="mirror")
        if frozenset(watched) != self._watched:
            self._watched = frozenset(watched)
            self._in_background(self._watch)

    async def obey(self, order: Order) -> str:
        """See `Source`."""
        number = next(self._numbers)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            if not await self._follower.say(structs.replace(order, id=number)):
                return "The recorder cannot be reached."
            async with asyncio.timeout(ANSWER_S):
                return (await answer).why
        except TimeoutError:
            return "The recorder has not answered."
        finally:
            del self._answers[number]

    def listen(self, stream_id: str) -> AsyncIterator[bytes | str]:
        """See `Source`."""
        return self._relay.listen(stream_id)

    def _hear(self, stream_id: str) -> AsyncGenerator[bytes | str, None]:
        if (address := self._follower.address) is None:
            raise KeyError("there is no recorder")
        return heard_at(address, stream_id)

    async def _follow(self) -> None:
        while True:
            try:
                await self._follower.run()
            except Problem as problem:  # refused: it may be let in later
                self._on_state(str(problem))
            except Exception as defect:  # the pages go on, and tell that they have no recorder
                log_defect(log, "the pages have lost their recorder", defect)
                self._on_state("a defect in rtms")
            await asyncio.sleep(GREET_S)  # between two attempts

    async def _leave(self) -> None:
        self._leaving = None
        if self._following is not None:
            following, self._following = self._following, None
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def _stay(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _in_background(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self) -> None:
        self._must_tell = True
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._must_tell:
                self._must_tell = False
                streams = sorted(self._watched)
                await self._follower.say(Watch("*" if "*" in streams else streams))
                await asyncio.sleep(TELL_S)
        finally:
            self._is_telling = False

    def _known(self) -> tuple[str, int]:
        return ("", 0) if self._hello is None else (self._hello.run, self._journal.seq)

    def _on_state(self, why: str) -> None:
        if why and not self._why and self._hello is not None:
            self._lost_at = iso_time(datetime.now(UTC))
        self._why = why
        if why:
            self._greeted.set()

    def _take(self, message: FromServer) -> None:
        match message:
            case Hello():
                is_another = self._hello is not None and self._hello.run != message.run
                has_missed = self._hello is not None and not message.resumed
                if not message.resumed:
                    self._journal.forget(message.oldest - 1)
                self._hello = message
                self._in_background(self._watch)
                if is_another:
                    self._picture = None
                if has_missed:  # clients have to forget what they have, too
                    self.on_another()
            case Event():
                self._journal.take(message)
            case Picture():
                self._picture = message
                self._greeted.set()
            case Answer(id=number):
                answer = self._answers.get(number)
                if answer is not None and not answer.done():
                    answer.set_result(message)
