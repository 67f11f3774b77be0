"""The hot path stays short: calls per 20 ms audio packet are counted, not seconds; any machine says the same."""

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path

from frames import HEADER, ZERO_MS, audio, granted, packed
from script import CONNECTED, play, session

from rtms_cli.machine import Direction, Frame, frame_of
from rtms_cli.recording.recorder import Recorder

PACKETS = 2_000
MOST_READ, MOST_KEPT = 10.5, 15.0
"""Calls of Python functions, and of C functions by Python: what the code needs today (10.0 and 14.0), and a little."""


def calls(work: Callable[[], object]) -> float:
    """Calls that one packet costs."""
    profile = cProfile.Profile()
    profile.enable()
    work()
    profile.disable()
    total: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return total / PACKETS


def packets() -> list[Frame]:
    return [audio(bytes(640), ZERO_MS + 20 * at, at_us=1_000_000 + 20_000 * at) for at in range(PACKETS + 1)]


def test_reading_a_packet() -> None:
    machine = session()
    play(machine, CONNECTED)
    first, *rest = packets()
    machine.receive(first)

    def read() -> None:
        for frame in rest:
            machine.receive(frame_of(frame.at_us, "media", Direction.IN, frame.raw))

    assert calls(read) <= MOST_READ


def test_keeping_a_packet(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, HEADER)
    first, *rest = packets()
    recorder.fold([granted(), first])

    runs = [packed(rest[start : start + 100]) for start in range(0, PACKETS, 100)]

    def keep() -> None:
        for run in runs:
            recorder.fold(run)

    assert calls(keep) <= MOST_KEPT
    recorder.close()
    assert recorder.manifest().messages["received"]["MEDIA_DATA_AUDIO"].count == PACKETS + 1
