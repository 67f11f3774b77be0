"""The pages of recordings, made by processes of their own and kept for a while."""

import asyncio
import math
import tempfile
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from rtms_cli.children import environment, program
from rtms_cli.errors import Problem

PATIENCE_S = 1.5
"""How long an answer waits for a page; then a small one says that it is being made."""
MOST_S = 300.0
"""How long making a page may take."""
RETURN_S = 15.0
"""Who was told that a page is being made gets that page, if they ask again within this time."""
AT_ONCE = 2
MOST_KEPT_NBYTES = 256 << 20
"""Of pages, on the disk."""
_MOST_SAID = 2_000


class Made(Struct, frozen=True):
    """A page, or why there is none."""

    stamp: object
    path: Path | None
    nbytes: int = 0
    problem: str = ""


class Pages:
    """Makes pages; close it after use.

    :param place: the folder or URL that the recordings are in.
    :param endpoint: of a store that is compatible with S3.
    """

    def __init__(self, place: str, endpoint: str | None = None) -> None:
        self._place, self._endpoint = place, endpoint
        self._folder = tempfile.TemporaryDirectory(prefix="rtms-pages-")
        self._kept: OrderedDict[str, Made] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[Made]] = {}
        self._may_make = asyncio.Semaphore(AT_ONCE)
        self._count = 0
        self._told: dict[str, float] = {}
        """When someone was last told that a page is being made."""

    async def close(self) -> None:
        """Stop what is being made, and delete what was."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await asyncio.to_thread(self._folder.cleanup)

    async def page(self, name: str, stamp: object) -> Made | None:
        """The page of a recording, or `None` while it is being made.

        :param stamp: changes when the recording does; another one than that of a page that is kept makes a new one.
        """
        kept, told = self._kept.get(name), self._told.pop(name, -math.inf)
        is_awaited = time.monotonic() - told < RETURN_S  # that of a meeting that goes on is old when it is made
        if kept is not None and name not in self._tasks and (is_awaited or (kept.path and kept.stamp == stamp)):
            self._kept.move_to_end(name)
            return kept
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = asyncio.create_task(self._make(name, stamp), name=f"page of {name}")
            task.add_done_callback(lambda _: self._tasks.pop(name, None))
        await asyncio.wait((task,), timeout=PATIENCE_S)
        if task.done() and not task.cancelled():
            return task.result()
        self._told[name] = time.monotonic()
        return None

    async def _make(self, name: str, stamp: object) -> Made:
        async with self._may_make:
            self._count += 1
            target = Path(self._folder.name) / f"{self._count}.html"
            try:
                await self._run(name, target)
                nbytes = (await asyncio.to_thread(target.stat)).st_size
                made = Made(stamp, target, nbytes)
            except Problem as problem:
                target.unlink(missing_ok=True)
                made = Made(stamp, None, 0, str(problem))
        self._keep(name, made)
        return made

    async def _run(self, name: str, target: Path) -> None:
        command = [*program("rtms_cli.web.making"), self._place, name]
        with target.open("wb") as out:  # a temporary file
            process = await asyncio.create_subprocess_exec(
                *command,
                *([self._endpoint] if self._endpoint else []),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=asyncio.subprocess.PIPE,
                env=environment(),
            )
        try:
            async with asyncio.timeout(MOST_S):
                _, said = await process.communicate()
        except TimeoutError:
            raise Problem(f"The page was not made within {MOST_S:.0f} s.", "Use `rtms inspect --html`.") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            lines = said[-_MOST_SAID:].decode("utf-8", "replace").strip().splitlines()
            raise Problem(lines[-1] if lines else "The page could not be made.")

    def _keep(self, name: str, made: Made) -> None:
        former = self._kept.pop(name, None)
        if former is not None and former.path is not None:
            former.path.unlink(missing_ok=True)
        self._kept[name] = made
        while sum(one.nbytes for one in self._kept.values()) > MOST_KEPT_NBYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            if oldest.path is not None:
                oldest.path.unlink(missing_ok=True)
