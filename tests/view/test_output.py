"""A reader that does not read costs lines, never time; one that went away costs nothing but its lines."""

import io
import os
import threading

import pytest

from rtms_cli.view.output import MOST_WAITING, LineOutput


def test_a_reader_that_does_not_read_never_blocks_and_is_told_what_it_missed() -> None:
    reading, writing = os.pipe()
    out = os.fdopen(writing, "w")
    output = LineOutput(out)
    said = threading.Event()

    def say_a_lot() -> None:
        for number in range(3 * MOST_WAITING):
            output.say(f"line {number} {'x' * 50}")
        said.set()

    threading.Thread(target=say_a_lot, daemon=True).start()
    assert said.wait(20)
    got: list[str] = []
    with os.fdopen(reading) as source:
        reader = threading.Thread(target=lambda: got.extend(source))
        reader.start()
        output.close()
        out.close()
        reader.join()
    assert got[0].startswith("line 0 ")
    kept = sum(line.startswith("line ") for line in got)
    dropped = sum(int(line.split()[0]) for line in got if "lines were dropped" in line)
    assert MOST_WAITING <= kept < 3 * MOST_WAITING
    assert kept + dropped == 3 * MOST_WAITING


def test_a_reader_that_went_away_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    out = os.fdopen(writing, "w")
    output = LineOutput(out)
    for number in range(100):
        output.say(str(number))
    output.close()
    assert capsys.readouterr().err == ""
    out.close()


def test_output_that_finds_no_room_is_mentioned_once(capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w") as out:  # noqa: PTH123
        output = LineOutput(out)
        for number in range(100):
            output.say(str(number))
        output.close()
        assert capsys.readouterr().err.count("No space left on device") == 1


def test_everything_is_written_in_order() -> None:
    out = io.StringIO()
    output = LineOutput(out)
    for number in range(1000):
        output.say(str(number))
    output.close()
    assert out.getvalue().split() == [str(number) for number in range(1000)]
