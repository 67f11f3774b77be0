"""`rtms inspect` without more: a verdict, and what fits one screen."""

import json
import re
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, media, said, state
from processes import RTMS, rtms
from terminals import Terminal

from rtms_cli.capture import capture_lines
from rtms_cli.inspection.overview import _ending, overview, verdict_of
from rtms_cli.inspection.sheets import Column, Sheet
from rtms_cli.inspection.summary import Stopped, summarize
from rtms_cli.machine import Frame, State
from rtms_cli.view.inspect import plain_sheets, rich_sheets

S = 1_000_000
PEOPLE = [{"user_id": number, "user_name": f"Person {number}"} for number in range(1, 10)]
TROUBLE: list[Frame] = [
    state(State.OPEN, 0, "signaling"),
    state(State.OPEN, 0, "media"),
    said({"msg_type": 6, "event": {"event_type": 3, "participants": PEOPLE}}, S, "signaling"),
    *(audio(bytes(640), ZERO_MS + 20 * n, user_id=n % 5 + 1, at_us=S + 20_000 * n) for n in range(20)),
    *(media(15, b"picture", ZERO_MS, user_id=n, at_us=2 * S) for n in range(1, 10)),
    state(State.CLOSED, 3 * S, "media", reason="gone", code=1006),
    state(State.OPEN, 4 * S, "media"),
    *(state(State.WARNING, 5 * S, reason=f"trouble {n}") for n in range(4)),
    said({"msg_type": 99, "news": 1}, 4000 * S),
]


def shown(arguments: list[str], cwd: Path, columns: int, lines: int, code: int = 0) -> list[str]:
    terminal = Terminal([*RTMS, *arguments], cwd, columns, lines)
    assert terminal.end() == code
    text = [line.rstrip() for line in terminal.screen.display]
    terminal.close()
    return text


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40)])
def test_the_demo_fits_one_screen(columns: int, lines: int, tmp_path: Path) -> None:
    assert rtms("demo", "--seconds", "12", cwd=tmp_path).returncode == 0
    screen = shown(["inspect"], tmp_path, columns, lines)
    assert screen[0].startswith("inspecting recordings/2")
    assert re.fullmatch(r"12 s, 3 people, nothing lost; audio \d+ % silent", screen[1])
    text = "\n".join(screen)
    assert "recording  recordings/2" in text
    assert "ended      complete, reason 6 STOP_BC_MEETING_ENDED: the meeting ended" in text
    assert "audio       everyone" in text
    assert "0:00:12" in text
    assert "silent: below −60" in text
    assert "Next: rtms inspect latest --lint" in text
    assert "rtms inspect latest --all " in text
    assert "…" not in text


def test_a_capture_with_trouble(tmp_path: Path) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(HEADER.line() + capture_lines(TROUBLE) + b"{}\n")
    lines = rtms("inspect", path, cwd=tmp_path).stdout.splitlines()
    assert lines[0].startswith("unfinished: 1:06:40, 9 people, nothing lost, 1 reconnection, 4 warnings")
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "people Person 1, Person 2, Person 3, Person 4, Person 5, Person 6 and 3 more" in text
    assert "lost the media connection at 0:00:03, code 1006 (gone)" in text
    assert "warning at 0:00:05: trouble 0\nwarning at 0:00:05: trouble 1\nwarning and 2 more: --all" in text
    assert "unreadable 1 not a message" in text
    assert "unknown 1 of a type that Zoom does not document" in text
    assert "(and 4 more: --all)" in text
    assert len(lines) < 30
    everything = rtms("inspect", path, "--all", cwd=tmp_path).stdout
    assert everything.splitlines()[0] == lines[0]
    for title in ("lifecycle", "timing", "connections", "warnings"):
        assert f"\n{title}\n" in everything
    assert "jitter: in ms" in everything


def test_a_recording_that_goes_on_and_one_whose_process_died(tmp_path: Path) -> None:
    demo = Terminal([*RTMS, "demo", "--seconds", "60", "--plain"], tmp_path)
    try:
        demo.until(lambda _: any(tmp_path.glob("recordings/*/audio/*.wav")))
        running = shown(["inspect"], tmp_path, 80, 24)
        assert running[1].startswith("recording: ")
        assert "Next: rtms inspect latest --messages --follow" in "\n".join(running)
        assert not any(line.startswith("ended") for line in running)
    finally:
        demo.close()
    died = shown(["inspect"], tmp_path, 80, 24)
    assert died[1].startswith("unfinished: ")
    assert "ended      unfinished" in died
    assert "Next: rtms repair latest" in "\n".join(died)
    told = json.loads(rtms("inspect", "--json", cwd=tmp_path).stdout)
    assert told["verdict"].startswith("unfinished: ")


def test_all_goes_with_nothing_that_has_everything(tmp_path: Path) -> None:
    for option in ("--json", "--messages", "--lint", "--timeline"):
        done = rtms("inspect", tmp_path, "--all", option, cwd=tmp_path)
        assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: --all goes with the summary.")


def test_findings_lead_to_what_the_protocol_says(tmp_path: Path) -> None:
    (tmp_path / "capture.jsonl").write_bytes(HEADER.line() + capture_lines(TROUBLE))
    found = "\n".join(shown(["inspect", "capture.jsonl", "--lint"], tmp_path, 100, 90, code=1))
    assert re.search(r"Next: rtms inspect --explain [a-z-]+   what the protocol says about it", found)
    drawn = "\n".join(shown(["inspect", "capture.jsonl", "--timeline"], tmp_path, 100, 90))
    assert "█ all the time   ▓ ░ part of the time   • a message" in drawn
    assert "Next:" not in rtms("inspect", "capture.jsonl", "--lint", cwd=tmp_path).stdout


def test_the_shorter_one_says_what_the_longer_says() -> None:
    summary = summarize("x", HEADER, enumerate(TROUBLE, 2))
    assert verdict_of(summary, None).startswith("unfinished: 1:06:40, 9 people")
    lines = plain_sheets(overview(summary, None, 3))
    assert [line.split()[:2] for line in lines if line.startswith("  audio")] == [["audio", "Person"]] * 3


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_heading_is_cut(width: int) -> None:
    """What does not fit is continued below, beside the first columns again."""
    from rich.console import Console

    names = ("kind", "user", *(f"heading {number}" for number in range(9)), "reason")
    columns = tuple(Column(name, "text" if name in ("kind", "user", "reason") else "count") for name in names)
    row = ("transcript", "山田 太郎" * 5, *range(9), "because " * 10)
    console = Console(width=width, record=True, force_terminal=False)
    console.print(rich_sheets([Sheet("title", columns, [row], "legend")], width))
    text = console.export_text()
    assert all(name in text for name in names)
    assert text.count("kind") >= (1 if width > 100 else 2)
    assert "because because" in text
    assert all(len(line) <= width for line in text.splitlines())


def test_who_stopped_it_is_named_where_zoom_gave_no_reason() -> None:
    assert _ending("complete", Stopped(None, "", "", "Ctrl-C")) == "complete, stopped by Ctrl-C"
    assert _ending("complete", Stopped(None, "A_NAME", "", "Zoom")) == "complete, reason A_NAME"
    assert _ending("recording", None) == "recording"
