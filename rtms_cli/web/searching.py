"""Searches what was said and written: one thread has the index, and everything that touches it."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from msgspec import Struct, to_builtins

from rtms_cli.catalog.search import MOST_HITS, SearchIndex
from rtms_cli.recording.files import SEARCH_INDEX
from rtms_cli.untrusted import is_folder
from rtms_cli.web.answers import text
from rtms_cli.web.listing import REFRESH_S, link_to

PATIENCE_S = 2.0
"""How long an answer waits for what is being indexed."""
MEANWHILE_S = 2.0
"""How long it waits for what is found meanwhile; then it says only how far the index is."""
MOST_CONTEXT = 5
MOST_PROBLEMS = 20
_NOTHING = {"hits": [], "problems": [], "is_cut": False, "reading": None}


class Query(Struct, frozen=True):
    """What is searched for; see `SearchIndex.search`."""

    words: str
    user: str = ""
    limit: int = 100
    context: int = 0
    each: int | None = None
    recording: bytes | None = None


class _Question(Struct):
    query: Query
    answer: Future[dict[str, Any]]


class Searching:
    """See the module.

    :param place: the folder with the recordings.
    :param prepare: what has to be done first, each time; it may wait for a network.
    :param every_s: how often the index is brought up to date, at most.
    :param problems: gives what `prepare` could not read.
    """

    def __init__(
        self,
        place: Path,
        prepare: Callable[[], None] = lambda: None,
        every_s: float = REFRESH_S,
        problems: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._place, self._prepare, self._every_s, self._problems = place, prepare, every_s, problems
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._index: SearchIndex | None = None
        self._mark: object = None
        self._updated = -every_s
        self._updating: asyncio.Future[None] | None = None
        self._progress = (0, 0)
        self._questions = SimpleQueue[_Question]()

    def close(self) -> None:
        """Let go of the index."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False, cancel_futures=False)

    async def search(self, query: Query) -> dict[str, Any]:
        """The hits, or how far the index is, where it takes long.

        :raises Problem: if the query has no word, or the folder cannot be read.
        """
        loop = asyncio.get_running_loop()
        if self._updating is None and time.monotonic() - self._updated >= self._every_s:
            self._updating = loop.run_in_executor(self._thread, self._update)
        if self._updating is not None:
            done, _ = await asyncio.wait((self._updating,), timeout=PATIENCE_S)
            if not done:
                return await self._search_meanwhile(query)
            updating, self._updating = self._updating, None
            if updating is not None:
                updating.result()
        return await loop.run_in_executor(self._thread, self._search, query)

    def _update(self) -> None:
        self._prepare()
        if not is_folder(self._place):
            return
        self._opened().update(self._note)
        self._updated = time.monotonic()

    async def _search_meanwhile(self, query: Query) -> dict[str, Any]:
        """What is found in the part that is indexed by now: the thread answers between two recordings."""
        question = _Question(query, Future())
        self._questions.put(question)
        self._thread.submit(self._answer)  # if it has ended just now
        found = asyncio.wrap_future(question.answer)
        await asyncio.wait((found,), timeout=MEANWHILE_S)
        reading = {"done": self._progress[0], "total": self._progress[1]}
        if found.done():
            return {**found.result(), "reading": reading}
        found.cancel()
        return {**_NOTHING, "reading": reading}

    def _note(self, done: int, total: int) -> None:
        self._progress = done, total
        self._answer()

    def _answer(self) -> None:
        """Answer those who did not want to wait."""
        while not self._questions.empty():
            question = self._questions.get()
            if not question.answer.set_running_or_notify_cancel():
                continue
            try:
                if self._index is None:
                    found = dict(_NOTHING)
                else:
                    found = self._found(self._index, question.query)
            except Exception as error:  # it is raised where the answer is awaited
                question.answer.set_exception(error)
            else:
                question.answer.set_result(found)

    def _opened(self) -> SearchIndex:
        """The index; another one where someone has deleted it, so that nothing that was deleted is found."""
        mark = _mark(self._place)
        if self._index is not None and mark != self._mark:
            self._close()
        if self._index is None:
            self._index = SearchIndex(self._place)
            self._mark = _mark(self._place)
        return self._index

    def _close(self) -> None:
        if self._index is not None:
            self._index.close()
            self._index = None

    def _search(self, query: Query) -> dict[str, Any]:
        if not is_folder(self._place):
            return dict(_NOTHING)
        if _mark(self._place) != self._mark:
            self._update()
        return self._found(self._opened(), query)

    def _found(self, index: SearchIndex, query: Query) -> dict[str, Any]:
        limit = max(1, min(query.limit, MOST_HITS - 1))
        hits = index.search(
            query.words,
            user=query.user,
            limit=limit + 1,
            context=max(0, min(query.context, MOST_CONTEXT)),
            each=None if query.each is None else max(1, min(query.each, MOST_HITS)),
            recording=query.recording,
        )
        return {
            "hits": [
                {**to_builtins(hit), "recording": text(hit.recording), "link": link_to(hit.recording)}
                for hit in hits[:limit]
            ],
            "problems": [text(problem) for problem in [*self._problems(), *index.problems][:MOST_PROBLEMS]],
            "is_cut": len(hits) > limit,
            "reading": None,
        }


def _mark(place: Path) -> object:
    try:
        return os.lstat(place / SEARCH_INDEX).st_ino
    except OSError:
        return None
