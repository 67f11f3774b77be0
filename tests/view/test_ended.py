"""Plain lines and the report at the end: what was said stays unsaid, nothing is told twice, and all of it fits."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from catalog.shelf import manifest
from frames import media, said, state
from rich.console import Console

from rtms_cli.machine import Finish, Frame, State
from rtms_cli.protocol.endings import how_it_ended
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import Loss, Manifest, Stop, TrackEntry, Warned
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.view.ended import Ended, print_ended
from rtms_cli.view.lines import PlainLines

STREAM = Stream(Product.MEETING, "uuid==", "stream123==", "ws://127.0.0.1/", 0)
NOON = datetime(2026, 11, 28, 12, 0, 7, 250_000, tzinfo=UTC)
REFUSED = "signaling handshake refused: status_code 3 STATUS_INVALID_SIGNATURE: the signature is wrong"
ASKED = Stop(None, "", "Ctrl-C")


def shown(do: Callable[[PlainLines], object], **options: Any) -> list[str]:
    """The lines that something leads to."""
    out = io.StringIO()
    lines = PlainLines(out, now=lambda: NOON, **options)
    do(lines)
    lines.close()
    return out.getvalue().splitlines()


SPOKEN = [
    media(17, "The password is swordfish", 1_738_394_112_345, user_name="John Smith"),
    media(18, "swordfish, really", 1_738_394_112_345, user_name="John Smith"),
]


@pytest.mark.parametrize("frame", SPOKEN, ids=["transcript", "chat"])
def test_what_people_say_is_shown_on_request_only(frame: Frame) -> None:
    [line] = shown(lambda lines: lines.on_frame("stream123==", frame))
    assert line.startswith("12:00:07.250 stream12 media ← ")
    assert "John Smith: 25 characters" in line or "John Smith: 17 characters" in line
    assert "swordfish" not in line
    [line] = shown(lambda lines: lines.on_frame("stream123==", frame), shows_text=True)
    assert "swordfish" in line


def test_quiet_shows_warnings_and_the_end() -> None:
    def do(lines: PlainLines) -> None:
        lines.on_notice("listening on …")
        lines.on_notice("WARNING: the disk is short")
        lines.on_event("hook", {}, "hook started true: 0.1 s")
        lines.on_event("hook", {}, "WARNING: hook failed")
        lines.on_started(STREAM, Path("recordings/one"))
        lines.on_frame(STREAM.stream_id, SPOKEN[0])
        lines.on_progress({STREAM.stream_id: RecorderSnapshot(Path(), "x", counts={"MEDIA_DATA_AUDIO": 3})})
        lines.on_finished(STREAM, Path("recordings/one"), Finish("complete", None, "Ctrl-C"), manifest(stop=ASKED))

    assert shown(do, is_quiet=True) == [
        "12:00:07.250 WARNING: the disk is short",
        "12:00:07.250 WARNING: hook failed",
        "12:00:07.250 stream12 complete, stopped by Ctrl-C",
        "  20 s, 3 people, nothing lost",
        "  recording: recordings/one",
    ]


def test_verbose_shows_keep_alives_and_files() -> None:
    def do(lines: PlainLines) -> None:
        lines.on_frame(STREAM.stream_id, said({"msg_type": 12, "timestamp": 5}))
        sound = TrackEntry("audio", "audio/mixed.wav", duration=20.0, packets=1_000, bytes=96_000)
        lines.on_finished(STREAM, Path("one"), Finish("complete", None, "Ctrl-C"), manifest(tracks=[sound]))

    assert not [line for line in shown(do) if "KEEP_ALIVE" in line or "mixed.wav" in line]
    verbose = shown(do, is_verbose=True)
    assert "12 KEEP_ALIVE_REQ" in verbose[0]
    assert verbose[-1] == "  audio/mixed.wav  0:00:20  1000 packets  96.0 kB"


def test_progress_is_told_where_there_is_some() -> None:
    def do(lines: PlainLines) -> None:
        for count in (0, 0, 3, 3, 4):
            counts = {"MEDIA_DATA_AUDIO": count} if count else {}
            lines.on_progress({"stream123==": RecorderSnapshot(Path(), "x", counts=counts)})

    assert shown(do) == [f"12:00:07.250 stream12 {count} messages, 0 B, 0 files" for count in (3, 4)]


def test_a_refusal_is_explained_once() -> None:
    def do(lines: PlainLines) -> None:
        lines.on_frame(STREAM.stream_id, state(State.WARNING, reason=REFUSED))
        lines.on_frame(STREAM.stream_id, state(State.FINISHED, reason=REFUSED, status="failed"))
        told = manifest(status="failed", tracks=[], stop=Stop(None, "", REFUSED), warnings=[Warned(REFUSED, 1, 0.0)])
        lines.on_finished(STREAM, Path("one"), Finish("failed", None, REFUSED), told)

    lines = shown(do)
    assert sum("INVALID_SIGNATURE" in line for line in lines) == 1
    assert lines[1] == "12:00:07.250 stream12 failed: signaling handshake refused"
    assert not any(line.startswith("  warning") for line in lines)


def test_a_connection_that_is_refused_is_told_once() -> None:
    def do(lines: PlainLines) -> None:
        why = "cannot connect to wss://127.0.0.1:1/: Connection refused"
        lines.on_frame(STREAM.stream_id, state(State.REFUSED, reason=why))
        lines.on_frame(STREAM.stream_id, state(State.WARNING, reason=f"no connection: {why}; next try in 3.3 s"))

    assert [line.count("Connection refused") for line in shown(do)] == [1]


def test_who_stopped_it_is_named_also_where_it_was_lost_already() -> None:
    assert how_it_ended("interrupted", None, "SIGTERM") == "interrupted, stopped by SIGTERM"
    assert how_it_ended("interrupted", None, "no connection was made") == "interrupted: no connection was made"


def report(ended: list[Ended], width: int = 80, **options: bool) -> list[str]:
    """The report on a terminal."""
    out = io.StringIO()
    print_ended(Console(file=out, width=width, force_terminal=True, no_color=True, color_system=None), ended, **options)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def ended(folder: str, told: Manifest) -> Ended:
    """A session that has ended so."""
    return Ended(Path(folder), Finish(told.status, None, ""), told)


FILES: list[TrackEntry] = [TrackEntry("audio", f"audio/{number}.wav", number, duration=9.0) for number in range(40)]


@pytest.mark.parametrize(
    ("changes", "head"),
    [
        ({"stop": ASKED}, "complete, stopped by Ctrl-C"),
        (
            {"stop": Stop(6, "STOP_BC_MEETING_ENDED", "8")},
            "complete, reason 6 STOP_BC_MEETING_ENDED: the meeting ended",
        ),
        ({"stop": None}, "complete"),
        ({"status": "failed", "stop": Stop(None, "", REFUSED), "tracks": []}, f"failed: {REFUSED}"),
        (
            {"stop": ASKED, "warnings": [Warned("w\x1b[2J", 1, 0.0)] * 9, "losses": [Loss("x", "y")] * 9},
            "complete, stop",
        ),
    ],
)
def test_a_report_of_one_has_ten_lines_and_says_who_ended_it(changes: dict[str, Any], head: str) -> None:
    lines = report([ended("recordings/one", manifest(**{"tracks": FILES} | changes))], 100)
    assert lines[0].startswith(head) or "".join(lines[:2]).startswith(head)
    assert "(none)" not in "\n".join(lines)
    assert "\x1b[2J" not in "\n".join(lines)
    assert "recording  recordings/one" in lines
    assert len(lines) <= 10
    assert not any("audio/1.wav" in line for line in lines)


def test_details_are_there_on_request() -> None:
    lines = report([ended("one", manifest(tracks=FILES))], with_details=True)
    assert sum("audio/" in line for line in lines) == 40


def test_a_report_of_many_has_a_line_each() -> None:
    told = [ended("recordings/one", manifest()), ended("recordings/two", manifest(status="interrupted"))]
    assert report(told) == [
        "complete    20 s, 3 people, nothing lost  recordings/one",
        "interrupted 20 s, 3 people, nothing lost  recordings/two",
    ]
