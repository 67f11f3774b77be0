"""An event loop whose clock jumps to the next event: minutes of a session cost what happens in them, and no more."""

import asyncio
from collections.abc import Callable
from typing import Any

from rtms_cli.wire.clock import Clock


class StuckError(Exception):
    """Nothing will ever happen again, and someone still waits."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs coroutines on a clock of its own, without sockets and threads: what an executor would do is done now."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self  # asyncio's loop waits with `self._selector.select(timeout)`
        self._time = 0.0
        self.faults: list[str] = []
        """Exceptions that nobody caught."""
        self.set_exception_handler(self._note_fault)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._time

    def select(self, timeout: float | None) -> tuple[()]:
        """Jump to the next event.

        :raises StuckError: if there is none.
        """
        if timeout is None:
            raise StuckError
        if timeout > 0:
            self._time = self._scheduled[0]._when  # type: ignore[attr-defined]
        return ()

    def run_in_executor(  # type: ignore[override]  # the supertype has type variables that Python 3.11 cannot write
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Do the work now."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _process_events(self, events: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _note_fault(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.faults.append(f"{context['message']}: {error!r}" if error is not None else context["message"])


class VirtualClock(Clock):
    """A session's clock on a virtual loop."""

    __slots__ = ("_loop", "_start_us")

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._start_us = round(self._loop.time() * 1_000_000)

    def now_us(self) -> int:
        """See `Clock.now_us`."""
        return round(self._loop.time() * 1_000_000) - self._start_us

    def seconds_until(self, at_us: int) -> float:
        """See `Clock.seconds_until`."""
        return max(0.0, (at_us - self.now_us()) / 1_000_000)
