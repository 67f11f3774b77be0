"""`--messages`: which lines of a capture are shown, and how."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from frames import HEADER, ZERO_MS, audio, granted, media, said, state
from processes import RTMS, environment, rtms

from rtms_cli.capture import capture_lines
from rtms_cli.errors import Problem
from rtms_cli.inspection.filters import SHOWN_LETTERS, Seen, Wanted, read_types, select
from rtms_cli.machine import Direction, Frame, State, frame_of
from rtms_cli.protocol.numbers import Product
from rtms_cli.view.gist import frame_line

S = 1_000_000
FRAMES: list[Frame] = [
    state(State.OPEN, 0, "signaling"),
    said({"msg_type": 1, "signature": "secret"}, 0, "signaling", Direction.OUT),
    granted("media.audio", S),
    said(
        {"msg_type": 6, "event": {"event_type": 3, "participants": [{"user_id": 7, "user_name": "Ann\x1b[2J"}]}},
        S,
        "signaling",
    ),
    audio(bytes(640), ZERO_MS, user_id=7, at_us=S, channel="media.audio"),
    media(15, b"picture", ZERO_MS, user_id=8, at_us=2 * S, channel="media.video", user_name="Bob"),
    said({"msg_type": 12, "timestamp": 5}, 2 * S),
    said({"msg_type": 13, "timestamp": 5}, 2 * S, "media", Direction.OUT),
    media(18, "Hello, Ann!", ZERO_MS, user_id=8, at_us=3 * S),
    said({"msg_type": 99, "news": 1}, 4 * S),
    frame_of(5 * S, "media", Direction.IN, b"{"),
]
"""They stand in lines 2 to 12."""


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """The frames above, and in line 13 something that is not a line."""
    path = tmp_path / "capture.jsonl"
    path.write_bytes(HEADER.line() + capture_lines(FRAMES) + b"{}\n")
    return path


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ([], range(2, 14)),
        (["--type", "audio"], [6]),
        (["--type", "14,VIDEO"], [6, 7]),
        (["--type", "KEEP_ALIVE"], [8, 9]),
        (["--type", "keep_alive_resp", "--type", "event_update"], [5, 9]),
        (["--type", "99"], [11]),
        (["--channel", "media"], [4, 6, 7, 8, 9, 10, 11, 12]),
        (["--channel", "media.audio"], [4, 6]),
        (["--user", "7"], [5, 6]),
        (["--user", "ann"], [5, 6]),  # the packet has no name; the event gave it
        (["--user", "BOB"], [7, 10]),
        (["--from", "2", "--until", "3"], [7, 8, 9, 10]),
        (["--until", "0"], [2, 3]),
        (["--from", "4.5"], [12]),
        (["--grep", "hello"], [10]),
        (["--grep", '"news": ?1'], [11]),
        (["--grep", "not a capture line"], [13]),
        (["--limit", "3"], [2, 3, 4]),
        (["--type", "audio|video", "--limit", "1"], [6]),
    ],
)
def test_filters(options: list[str], lines: Sequence[int], capture: Path) -> None:
    done = rtms("inspect", capture, "--messages", *options, cwd=capture.parent)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert [int(line.split()[0]) for line in done.stdout.splitlines()] == list(lines)
    as_json = rtms("inspect", capture, "--messages", "--json", *options, cwd=capture.parent).stdout.splitlines()
    assert [json.loads(line)["line"] for line in as_json] == list(lines)


def test_how_lines_are_written(capture: Path) -> None:
    listed = rtms("inspect", capture, "--messages", cwd=capture.parent).stdout.splitlines()
    assert [" ".join(line.split()) for line in listed] == [
        "2 0.000 signaling · open",
        "3 0.000 signaling → 1 SIGNALING_HAND_SHAKE_REQ",
        "4 1.000 media.audio ← 4 DATA_HAND_SHAKE_RESP status_code 0 STATUS_OK",
        "5 1.000 signaling ← 6 EVENT_UPDATE PARTICIPANT_JOIN Ann\\x1b[2J",
        "6 1.000 media.audio ← 14 MEDIA_DATA_AUDIO 7 640 B",
        "7 2.000 media.video ← 15 MEDIA_DATA_VIDEO Bob 7 B",
        "8 2.000 media ← 12 KEEP_ALIVE_REQ timestamp 5",
        "9 2.000 media → 13 KEEP_ALIVE_RESP timestamp 5",
        "10 3.000 media ← 18 MEDIA_DATA_CHAT 8: Hello, Ann!",
        "11 4.000 media ← unknown message type 99",
        "12 5.000 media ← unreadable: not JSON: Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)",
        "13 line 13 is not a capture line",
    ]
    message = json.loads(rtms("inspect", capture, "--messages", "--json", "--limit", "5", cwd=capture.parent)
                         .stdout.splitlines()[-1])  # fmt: skip
    data = message["message"]["content"].pop("data")
    assert data == "A" * SHOWN_LETTERS + "… (856 letters)"
    assert message == {
        "line": 6, "at": 1.0, "channel": "media.audio", "direction": "in", "type": 14, "name": "MEDIA_DATA_AUDIO",
        "gist": "14 MEDIA_DATA_AUDIO  7  640 B",
        "message": {"msg_type": 14, "content": {"user_id": 7, "timestamp": ZERO_MS}},
    }  # fmt: skip


def test_raw_cuts_media_short_unless_it_must_not(capture: Path) -> None:
    short, full = (
        rtms("inspect", capture, "--messages", "--type", "audio", "--raw", *more, cwd=capture.parent).stdout
        for more in ([], ["--full"])
    )
    assert f"{'A' * SHOWN_LETTERS}… (856 letters)" in short
    body = json.loads(full.splitlines()[1])
    assert len(body["content"]["data"]) == 856
    assert "secret" not in rtms("inspect", capture, "--messages", "--raw", cwd=capture.parent).stdout


@pytest.mark.parametrize(
    ("names", "types"),
    [
        (["audio"], {14}),
        (["MEDIA_DATA_CHAT", "share"], {18, 16}),
        (["keep_alive,1"], {12, 13, 1}),
        (["STREAM_STATE | 77"], {19, 20, 77}),
        ([" , "], set()),
    ],
)
def test_names_of_types(names: list[str], types: set[int]) -> None:
    assert read_types(names) == types


def test_what_no_message_is_called_is_a_problem(capture: Path) -> None:
    with pytest.raises(Problem, match="no message type 'sound'"):
        read_types(["sound"])
    for options, words in (
        (["--messages", "--type", "sound"], "no message type"),
        (["--messages", "--grep", "["], "not a regular expression"),
        (["--type", "audio"], "--type goes with --messages"),
        (["--follow"], "--follow goes with --messages"),
        (["--user", "7", "--limit", "3"], "--user and --limit go with --messages"),
        (["--messages", "--full"], "--full needs --raw"),
        (["--messages", "--from", "30", "--until", "0:10"], "--from 30 --until 10 ends before it begins"),
        (["--messages", "--from", "-1"], "--from -1 is not a time"),
        (["--messages", "--lint"], "exclude each other"),
    ):
        done = rtms("inspect", capture, *options, cwd=capture.parent)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "what", "remedy"),
    [
        (["--user", "Nobody"], 2, "--user Nobody: there is no such participant.", "There are 7 Ann\\x1b[2J, 8 Bob."),
        (["--user", "Nobody", "--until", "1"], 2, "--user Nobody: there", "8 Bob."),  # who came later is listed as well
        (
            ["--channel", "med"],
            2,
            "--channel med: there is no such channel.",
            "signaling, media.audio, media.video, media.",
        ),
        (["--type", "SHARE"], 2, "--type: there is no message of type 16 MEDIA_DATA_SHARE.", "14 MEDIA_DATA_AUDIO"),
        (["--from", "0:30"], 2, "--from 0:00:30 is after the last message.", "That came at 0:00:05 (5.000 s)."),
        (["--grep", "nothing has this"], 1, "No message matches --grep.", "Change --grep."),
        (["--until", "2", "--type", "18"], 1, "No message matches --type and --until.", "Leave one of them out."),
    ],
)
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_filters_that_let_nothing_pass(
    options: list[str], code: int, what: str, remedy: str, more: list[str], capture: Path
) -> None:
    done = rtms("inspect", capture, "--messages", *options, *more, cwd=capture.parent)
    assert (done.returncode, done.stdout) == (code, "")
    assert what in done.stderr.splitlines()[0]
    assert remedy in done.stderr.splitlines()[1]


def test_stops_reading_after_the_end() -> None:
    read: list[int] = []

    def lines() -> "list[tuple[int, Frame | str]]":
        return list(enumerate(FRAMES, 2))

    def counted() -> "object":
        for line in lines():
            read.append(line[0])
            yield line

    shown = [number for number, _ in select(counted(), Wanted(end=1.0), "meeting", Seen())]  # type: ignore[arg-type]
    assert (shown, read[-1]) == ([2, 3, 4, 5, 6], 7)


def test_follows_a_capture_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "capture.jsonl"
    lines = capture_lines([*FRAMES, state(State.FINISHED, 6 * S, "signaling", status="complete")]).splitlines(True)
    path.write_bytes(HEADER.line() + lines[0] + lines[1][:7])
    with (
        path.open("ab", buffering=0) as growing,
        subprocess.Popen(
            [*RTMS, "inspect", str(path), "--messages", "--follow"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        ) as reader,
    ):
        assert reader.stdout is not None
        assert reader.stdout.readline().split()[0] == "2"
        growing.write(lines[1][7:])
        assert reader.stdout.readline().split()[0] == "3"
        for number, line in enumerate(lines[2:], 4):
            growing.write(line[:9])
            growing.write(line[9:])
            assert reader.stdout.readline().split()[0] == str(number)
        assert reader.stdout.read() == ""  # it ends with the capture
        assert reader.wait() == 0


def test_who_stops_reading_hears_no_complaint(capture: Path) -> None:
    with capture.open("ab") as grown:
        grown.write(capture_lines(FRAMES) * 2000)
    command = f"{sys.executable} -m rtms_cli inspect {capture} --messages | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment(), check=False)
    assert done.stdout.split()[0] == "2"
    assert done.stderr == ""


def test_a_compressed_capture_does_not_grow(capture: Path) -> None:
    import gzip

    packed = capture.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(capture.read_bytes()))
    assert len(rtms("inspect", packed, "--messages", cwd=capture.parent).stdout.splitlines()) == 12
    done = rtms("inspect", packed, "--messages", "--follow", cwd=capture.parent)
    assert done.returncode == 2
    assert "nobody is writing it" in done.stderr


@pytest.mark.parametrize(
    ("kind", "fields", "line"),
    [
        (18, {"operation_type": 3, "message_id": "m1"}, "18 MEDIA_DATA_CHAT  3 UPDATE  m1  8: (edited) hi"),
        (18, {"operation_type": "PIN\x1b"}, "18 MEDIA_DATA_CHAT  PIN\\x1b  8: (operation PIN\\x1b) hi"),
        (18, {"operation_type": 9}, "18 MEDIA_DATA_CHAT  9 (undocumented)  8: (operation 9) hi"),
        (17, {"attribute": 3}, "17 MEDIA_DATA_TRANSCRIPT  3 DELETE  8: hi"),
        (17, {"attribute": 1}, "17 MEDIA_DATA_TRANSCRIPT  8: hi"),
    ],
)
def test_a_line_names_the_operation(kind: int, fields: dict[str, Any], line: str) -> None:
    frame = media(kind, "hi", ZERO_MS, user_id=8, **fields)
    assert frame_line(frame, Product.MEETING) == f"media ← {line}"
