"""What a line of a log is about: set by whoever works for a stream, and inherited by the tasks that it starts."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from msgspec import Struct


class About(Struct, frozen=True):
    """What a line is about; empty if there is none."""

    stream: str = ""
    meeting: str = ""
    """The id of the meeting, webinar, session, engagement or call."""
    epoch: int | None = None


NOTHING = About()
about: ContextVar[About] = ContextVar("about", default=NOTHING)
"""The stream that this task works for."""
worker: ContextVar[str] = ContextVar("worker", default="")
"""The name of the worker that this task belongs to."""


@contextmanager
def of_worker(name: str) -> Iterator[None]:
    """Have what is said meanwhile be a worker's."""
    token = worker.set(name)
    try:
        yield
    finally:
        worker.reset(token)
