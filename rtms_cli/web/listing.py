"""The list of recordings, kept in memory: each manifest is read once, and again when it has changed."""

import asyncio
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from msgspec import to_builtins

from rtms_cli.catalog.entries import Entry, entry_of, folders, newest_first
from rtms_cli.errors import Problem, log_defect
from rtms_cli.protocol.endings import Status
from rtms_cli.recording.manifest import MANIFEST
from rtms_cli.untrusted import is_folder
from rtms_cli.web.answers import text

log = logging.getLogger(__name__)

REFRESH_S = 2.0
"""How often it looks again, at most."""
PATIENCE_S = 1.0
"""How long an answer waits for what is being read."""


class Recordings(Protocol):
    """Where recordings are. It may wait for a disk or a network."""

    def stamps(self) -> dict[str, object]:
        """All recordings by name, each with something that changes when its entry may have changed.

        :raises Problem: if they cannot be listed.
        """

    def entry(self, name: str) -> Entry:
        """What a list says of one."""


class Folder:
    """The recordings in a folder, which may not exist yet."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def stamps(self) -> dict[str, object]:
        """See `Recordings`."""
        return {path.name: _stamp(path) for path in folders(self.place)} if is_folder(self.place) else {}

    def entry(self, name: str) -> Entry:
        """See `Recordings`."""
        return entry_of(self.place / name)


def _stamp(folder: Path) -> object:
    found: list[tuple[int, int, int] | None] = []
    for path in (folder, folder / MANIFEST):
        try:
            stat = path.lstat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


class Listing:
    """See the module.

    :param every_s: how often it looks again, at most.
    """

    def __init__(
        self, source: Recordings, every_s: float = REFRESH_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._every_s = every_s
        self._clock = clock
        self._known: dict[str, tuple[object, Entry]] = {}
        self._looked = -every_s
        self._task: asyncio.Task[None] | None = None
        self._progress: tuple[int, int] | None = (0, 0)
        """How many of how many were read; `None` behind the first look."""
        self._body: tuple[bytes, str] | None = None
        self._is_stale = False
        self._problem: Problem | None = None
        """Why the last look failed."""

    async def answer(self) -> tuple[bytes, str]:
        """The list as JSON, and its mark, which changes when it does.

        :raises Problem: if there is none.
        """
        if self._task is None and self._clock() - self._looked >= self._every_s:
            self._task = asyncio.create_task(self._refresh(), name="list of recordings")
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=PATIENCE_S)
        if self._problem is not None and not self._known:
            raise self._problem
        if self._body is None or self._progress is not None:
            entries = [entry for _, entry in tuple(self._known.values())]
            self._body = await asyncio.to_thread(_encoded, entries, self._progress, self._problem)
        return self._body

    def look_again(self) -> None:
        """Have the next answer look, whenever the last one did: something was changed here."""
        self._looked = -math.inf
        self._is_stale = self._task is not None

    async def _refresh(self) -> None:
        problem = None
        try:
            await asyncio.to_thread(self._look)
        except Problem as found:
            problem = found
        except Exception as defect:  # the list that there is stays, and says so
            log_defect(log, "the recordings could not be listed", defect)
            problem = Problem("A defect in rtms.", "The log says more.")
        finally:
            if str(problem) != str(self._problem):
                self._problem, self._body = problem, None
            self._looked = -math.inf if self._is_stale else self._clock()
            self._is_stale = False
            self._progress = self._task = None

    def _look(self) -> None:
        stamps = self._source.stamps()
        known = self._known
        changed = [
            name
            for name, stamp in stamps.items()
            if name not in known or known[name][0] != stamp or known[name][1].status == Status.RECORDING
        ]
        is_new = False
        for done, name in enumerate(changed):
            if self._progress is not None:
                self._progress = done, len(changed)
            entry = self._source.entry(name)
            is_new |= name not in known or known[name][1] != entry
            known[name] = stamps[name], entry
        gone = [name for name in known if name not in stamps]
        for name in gone:
            del known[name]
        if is_new or gone or self._body is None or self._progress is not None:
            self._body = _encoded([entry for _, entry in known.values()], None, None)


def link_to(name: str) -> str:
    """The URL of a recording's page, whatever its name is made of."""
    return f"/recordings/{quote(os.fsencode(name), safe='')}"


def _encoded(entries: Iterable[Entry], progress: tuple[int, int] | None, problem: Problem | None) -> tuple[bytes, str]:
    listed = []
    for entry in newest_first(iter(entries)):
        shown = to_builtins(entry)
        del shown["path"]
        listed.append({**shown, "name": text(entry.name), "link": link_to(entry.name)})
    reading = None if progress is None else {"done": progress[0], "total": progress[1]}
    why = None if problem is None else text(problem)
    body = json.dumps({"recordings": listed, "reading": reading, "problem": why}, separators=(",", ":")).encode()
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
