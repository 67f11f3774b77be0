"""How far a long reading has come: a bar on standard error, where that is a terminal."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rtms_cli.capture import Capture
from rtms_cli.machine import Item
from rtms_cli.view.console import make_console

Line = TypeVar("Line")

WORTH_A_BAR = 32 << 20
"""Smaller files are read before anyone wonders."""
_EVERY = 32
"""How many lines, or runs of them, come between two looks at the position."""


def with_progress(lines: Iterable[Line], total: int, position: Callable[[], int], what: str) -> Iterator[Line]:
    """The same lines; draws how many bytes of all have been read, and cleans up at the end.

    :param total: the file's size in bytes.
    :param position: how many of them have been read.
    """
    if total < WORTH_A_BAR or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield from lines
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    # What is printed meanwhile goes above the bar, unless it goes elsewhere anyway.
    with Progress(
        *columns, console=make_console(sys.stderr), transient=True, redirect_stdout=sys.stdout.isatty()
    ) as progress:
        task = progress.add_task(what, total=total)
        for number, line in enumerate(lines):
            yield line
            if number % _EVERY == 0:
                progress.update(task, completed=position())


def reading(what: str) -> Callable[[Capture], Iterator[Item]]:
    """A way to read a capture's items that draws how far it has come.

    :param what: what is done with them: `replaying`.
    """

    def read(source: Capture) -> Iterator[Item]:
        return with_progress(source.items(), source.nbytes, lambda: source.position, what)

    return read


@contextmanager
def bars(*, is_quiet: bool) -> Iterator[Callable[[str], Callable[[float], None]]]:
    """Progress with the time left, where there is a terminal to draw it on.

    :returns: what begins a bar of a name, and returns what moves it: it takes how far the work is, from 0 to 1.
    """
    if is_quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _: lambda _: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:9}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=make_console(sys.stderr), transient=True) as drawn:

        def begin(name: str) -> Callable[[float], None]:
            task = drawn.add_task(name, total=1.0)
            return lambda part: drawn.update(task, completed=part)

        yield begin
