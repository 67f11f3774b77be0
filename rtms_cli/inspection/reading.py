"""A capture line by line, with line numbers; also one that is still being written."""

from collections.abc import Callable, Iterator

from rtms_cli.capture import Capture, read_line
from rtms_cli.errors import Problem
from rtms_cli.inspection.runs import Run, run_of
from rtms_cli.machine import ChannelState, Frame, Packets, State
from rtms_cli.untrusted import MOST_LINE

Line = tuple[int, Frame | str]
"""A line's number (the header is 1), and its frame, or what is wrong with it."""
Piece = tuple[int, Frame | str | Run]
"""The same, or a run of lines, with the number of the first one."""


def numbered(capture: Capture) -> Iterator[Line]:
    """The capture's lines after the header. A torn last line is left out."""
    number = 1
    for frame in capture:
        # Every line gives a frame or a problem, and the problems of the lines before this frame are all there.
        for problem in _taken(capture.problems):
            number += 1
            yield number, problem
        number += 1
        yield number, frame
    for problem in _taken(capture.problems):
        number += 1
        yield number, problem


def in_pieces(capture: Capture) -> Iterator[Piece]:
    """The same lines, with media in runs, of whatever channels."""
    number, waiting, count, nbytes = 2, list[Packets](), 0, 0
    for item in capture.items():
        problems = _taken(capture.problems)
        is_frame = isinstance(item, Frame)
        if waiting and (problems or is_frame or count >= _MOST_IN_RUN or nbytes >= _MOST_NBYTES):
            yield from _pieces(number, waiting, capture.header.product)
            number, waiting, count, nbytes = number + count, [], 0, 0
        for problem in problems:
            yield number, problem
            number += 1
        if isinstance(item, Frame):
            yield number, item
            number += 1
        else:
            waiting.append(item)
            count, nbytes = count + len(item.raws), nbytes + item.nbytes
    yield from _pieces(number, waiting, capture.header.product)
    for place, problem in enumerate(_taken(capture.problems), number + count):
        yield place, problem


_MOST_IN_RUN, _MOST_NBYTES = 200, 1 << 20
"""Packets, and their bytes, to which no others are added."""


def _pieces(number: int, packets: list[Packets], product: str) -> Iterator[Piece]:
    run = run_of(number, packets, product) if packets else None
    if run is not None:
        yield number, run
    else:
        yield from enumerate((frame for each in packets for frame in each.frames()), number)


def follow(capture: Capture, wait: Callable[[], object]) -> Iterator[Line]:
    """The same for a capture that is still being written; ends with the frame that says `finished`.

    :param wait: called whenever the file has no further whole line.
    :raises Problem: if the capture is compressed: such a file does not grow.
    """
    if capture.path.suffix in (".gz", ".zst"):
        raise Problem(f"{capture.shown} is compressed: nobody is writing it.", "Leave out --follow.")
    number, line, part = 1, b"", 0
    while True:
        with capture.opened(part) as source:
            source.readline()
            while True:
                line += source.readline(MOST_LINE + 1 - len(line))
                if not line.endswith(b"\n") and len(line) <= MOST_LINE:
                    if capture.goes_on_behind(part):
                        break
                    wait()
                    continue
                number += 1
                frame = read_line(line)
                line = b""  # of one that is too long, the rest is not a capture line either
                yield number, f"line {number} is not a capture line" if frame is None else frame
                if frame and isinstance(frame.message, ChannelState) and frame.message.state is State.FINISHED:
                    return
        part, line = part + 1, b""


def _taken(problems: list[str]) -> list[str]:
    taken = problems.copy()
    problems.clear()
    return taken
