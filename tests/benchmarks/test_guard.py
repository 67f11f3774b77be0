"""The hot path stays short: how many of our functions run for a packet, which is the same on any machine and Python.

Media that come together are taken together, so that most packets cost no call at all. The bounds are several times what
is needed today: they fail where packets are taken one by one again, and not where Python counts otherwise.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import pytest
from frames import HEADER, ZERO_MS, audio, granted, packed
from script import CONNECTED, play, session

from rtms_cli.capture import Capture, capture_line
from rtms_cli.inspection.lint import lint
from rtms_cli.inspection.reading import in_pieces
from rtms_cli.inspection.summary import summarize
from rtms_cli.machine import Frame, Item, Packets
from rtms_cli.recording.recorder import Recorder
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.driver import Driver, _Intake, _Link
from rtms_cli.wire.sockets import ClientSocket

PACKETS = 2_000
TOGETHER = 100


def calls(work: Callable[[], object]) -> float:
    """How many of our functions run, for each packet."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call" and "rtms_cli" in frame.f_code.co_filename

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count / PACKETS


def packets() -> list[Frame]:
    return [audio(bytes(640), ZERO_MS + 20 * at, at_us=1_000_000 + 20_000 * at) for at in range(PACKETS + 1)]


class Kept:
    """A sink that is never full."""

    full = False

    def __init__(self) -> None:
        self.items: list[Item] = []

    def put(self, item: Item) -> None:
        self.items.append(item)

    async def room(self) -> None:
        """There is."""


def intake(sink: Kept) -> _Intake:
    """What a socket's messages go to, in a session whose media flow."""
    machine = session()
    play(machine, CONNECTED)
    machine.receive(packets()[0])
    return _Intake(Driver(machine, sink, Clock()), _Link("media"), ClientSocket())


def test_taking_packets_that_came_together() -> None:
    sink = Kept()
    taking, raws = intake(sink), [frame.raw for frame in packets()[1:]]

    def take() -> None:
        for start in range(0, PACKETS, TOGETHER):
            taking.take(raws[start : start + TOGETHER])

    assert calls(take) < 0.5
    assert [len(item.raws) for item in sink.items if isinstance(item, Packets)] == [TOGETHER] * (PACKETS // TOGETHER)


def test_taking_packets_that_come_one_by_one() -> None:
    sink = Kept()
    taking = intake(sink)
    raws = [frame.raw for frame in packets()[1:]]

    def take() -> None:
        for raw in raws:
            taking.take([raw])

    assert calls(take) < 12
    assert sum(isinstance(item, Packets) for item in sink.items) == PACKETS


@pytest.mark.parametrize("cuts", [(), range(TOGETHER)], ids=["that came together", "that came one by one"])
def test_keeping_packets(cuts: Sequence[int], tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, HEADER)
    first, *rest = packets()
    recorder.fold([granted(), first])
    runs = [packed(rest[start : start + TOGETHER], cuts) for start in range(0, PACKETS, TOGETHER)]
    assert len(runs[0]) == max(1, len(cuts))

    def keep() -> None:
        for run in runs:
            recorder.fold(run)

    assert calls(keep) < 6
    recorder.close()
    assert recorder.manifest().messages["received"]["MEDIA_DATA_AUDIO"].count == PACKETS + 1


def test_reading_packets_again(tmp_path: Path) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(HEADER.line() + b"".join(map(capture_line, [granted(), *packets()])))

    def read() -> None:
        pieces = list(in_pieces(Capture(path)))
        summarize("c", HEADER, pieces)
        assert len(list(lint(pieces))) < 10

    assert calls(read) < 6
