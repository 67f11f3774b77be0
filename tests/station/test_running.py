"""What a process needs of its system before it records anything."""

import asyncio
import threading

import pytest

from rtms_cli.errors import Problem
from rtms_cli.station.running import THREADS, run_loop


async def work() -> int:
    return await asyncio.to_thread(lambda: 7)


@pytest.mark.parametrize("more", [0, THREADS - 1])
def test_too_few_threads_are_told_at_the_beginning(more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later, the first that cannot be started costs a recording, or aborts the process."""
    start, given = threading.Thread.start, iter(range(more))

    def start_some(thread: threading.Thread) -> None:
        if next(given, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start_some)
        with pytest.raises(Problem, match="threads"):
            run_loop(work())
    assert run_loop(work()) == 7
