"""One clock for a whole fleet: what happens in the world, and an event loop for each process, which can be frozen."""

import asyncio
import heapq
import itertools
from asyncio import events as asyncio_events
from collections.abc import Callable, Coroutine
from typing import Any

UNIX_MS = 1_764_000_000_000
"""When every world begins."""
_ROUNDS = 20


class Clock:
    """What happens when; seconds since the world began."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._loops: list[ProcessLoop] = []

    @property
    def now_ms(self) -> int:
        """Unix time."""
        return UNIX_MS + int(self.now * 1000)

    @property
    def pending(self) -> int:
        """How much is to come, but for what processes do by themselves."""
        return len(self._due)

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._due, (self.now + max(0.0, seconds), next(self._number), do))

    def at(self, moment: float, do: Callable[[], None]) -> None:
        """Do something at a moment."""
        self.after(moment - self.now, do)

    def add(self, loop: "ProcessLoop") -> None:
        """Let a process run."""
        self._loops.append(loop)

    def run(self, until: float) -> None:
        """Let everything happen up to a moment."""
        while True:
            for loop in self._loops:
                loop.pump()
            moment = min((loop.next_s() for loop in self._loops), default=until)
            if self._due:
                moment = min(moment, self._due[0][0])
            if moment > until:
                self.now = until
                return
            self.now = max(self.now, moment)
            while self._due and self._due[0][0] <= self.now:
                heapq.heappop(self._due)[2]()

    def forget(self, loop: "ProcessLoop") -> None:
        """Let a process run no more."""
        self._loops.remove(loop)


class ProcessLoop(asyncio.BaseEventLoop):
    """The event loop of one process: does nothing while it is frozen, and everything that is late at once after it."""

    def __init__(self, clock: Clock, on_fault: Callable[[str], None]) -> None:
        super().__init__()
        self._selector = self  # asyncio's loop waits with `self._selector.select(timeout)`
        self._clock = clock
        self.is_frozen = False
        self.set_exception_handler(lambda _, context: on_fault(f"{context['message']}: {context.get('exception')!r}"))
        clock.add(self)

    def time(self) -> float:
        """See `Clock.now`."""
        return self._clock.now

    def select(self, timeout: float | None) -> tuple[()]:
        """Wait for nothing: the clock says when to go on."""
        return ()

    def next_s(self) -> float:
        """When there is something to do."""
        if self.is_frozen:
            return float("inf")
        if self._ready:  # type: ignore[attr-defined]
            return self._clock.now
        scheduled = self._scheduled  # type: ignore[attr-defined]
        return scheduled[0]._when if scheduled else float("inf")

    def pump(self) -> None:
        """Do everything that is due."""
        while self.next_s() <= self._clock.now:
            self._step()

    def destroy(self) -> None:
        """Be killed: nothing of it does anything from now on that the world could notice."""
        self._clock.forget(self)
        for _ in range(_ROUNDS):
            tasks = asyncio.all_tasks(self)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            while self._ready:  # type: ignore[attr-defined]
                self._step()
        self.close()

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run a coroutine in it."""
        return self.create_task(coroutine)

    def _step(self) -> None:
        asyncio_events._set_running_loop(self)
        try:
            self._run_once()  # type: ignore[attr-defined]
        finally:
            asyncio_events._set_running_loop(None)

    def _process_events(self, events: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass
