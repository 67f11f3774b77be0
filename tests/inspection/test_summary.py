"""`rtms inspect`: the summary of what the demo records, and of captures that were made to be awkward."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, granted, media, said, state
from processes import rtms

from rtms_cli.capture import Header, capture_lines
from rtms_cli.inspection.sheets import sheets
from rtms_cli.inspection.summary import MOST, MOST_WARNINGS, Summary, summarize
from rtms_cli.machine import WEBHOOK, Direction, Frame, State, frame_of
from rtms_cli.view.inspect import plain_sheets

S = 1_000_000
OUT = Direction.OUT


def test_of_what_the_demo_records(tmp_path: Path) -> None:
    assert rtms("demo", "--seconds", "3", cwd=tmp_path).returncode == 0
    (recording,) = (tmp_path / "recordings").iterdir()
    done = rtms("inspect", recording, "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    summary, manifest = json.loads(done.stdout), json.loads((recording / "manifest.json").read_text())
    for key in ("status", "product", "id", "rtms_stream_id", "generator", "origin_ms"):
        assert summary[key] == manifest[key]
    assert (summary["asked"], summary["granted"]) == (manifest["media"]["asked"], manifest["media"]["granted"])
    assert summary["stop"] == {
        "reason": 6, "name": "STOP_BC_MEETING_ENDED", "gist": "the meeting ended",
        "said_by": "8 STREAM_STATE_UPDATE on signaling",
    }  # fmt: skip
    assert [step["step"] for step in summary["steps"]] == [
        "webhook", "signaling_open", "signaling_handshake", "media_open", "media_handshake", "ready", "first_media",
        "stop", "finished",
    ]  # fmt: skip
    counts = {"received": "in", "sent": "out"}
    for way, direction in counts.items():
        listed = {one["name"]: (one["msg_type"], one["count"]) for one in summary["messages"]
                  if one["direction"] == direction and one["msg_type"] is not None}  # fmt: skip
        assert listed == {name: (one["msg_type"], one["count"]) for name, one in manifest["messages"][way].items()}
    tracks = {(one["kind"], one["user_id"]): one for one in summary["tracks"]}
    for entry in manifest["tracks"]:
        if entry["kind"] in ("audio", "video", "share"):
            track = tracks[entry["kind"], entry["user_id"]]
            for key in ("packets", "bytes", "first_timestamp", "last_timestamp", "duration", "gap_count", "duplicates"):
                assert track[key] == entry[key], (entry["path"], key)
    assert (tracks["audio", 0]["lost"], tracks["audio", 0]["step_ms"]) == (0, 20)
    assert {person["user_name"] for person in summary["participants"]} == {
        person["user_name"] for person in manifest["participants"]
    }
    text = rtms("inspect", recording, "--all", cwd=tmp_path).stdout
    assert "stop           6 STOP_BC_MEETING_ENDED: the meeting ended" in text
    assert [line for line in text.splitlines() if line and not line.startswith(" ")][1:] == [
        "lifecycle", "media", "media received", "timing", "sound", "participants", "messages", "connections"
    ]  # fmt: skip


def webhook(event: str, at_us: int, **fields: object) -> Frame:
    payload = {"meeting_uuid": "uuid==", "rtms_stream_id": "stream1", "server_urls": "ws://s", **fields}
    return said({"event": event, "event_ts": 1000, "payload": payload}, at_us, WEBHOOK)


def event(number: int, at_us: int, **fields: object) -> Frame:
    return said({"msg_type": 6, "event": {"event_type": number, **fields}}, at_us, "signaling")


def ask(at_us: int, timestamp: int) -> Frame:
    return said({"msg_type": 12, "timestamp": timestamp}, at_us, "signaling")


def answer(at_us: int, timestamp: int) -> Frame:
    return said({"msg_type": 13, "timestamp": timestamp}, at_us, "signaling", OUT)


def packets(user_id: int, numbers: Sequence[int], at_us: int, **fields: object) -> list[Frame]:
    return [
        audio(bytes(640), ZERO_MS + 20 * number, user_id=user_id, at_us=at_us + 20_000 * number, **fields)
        for number in numbers
    ]


AWKWARD: list[Frame] = [
    webhook("meeting.rtms_started", 0),
    state(State.OPENING, 0, "signaling", url="ws://s"),
    state(State.REFUSED, S, "signaling", reason="no route"),
    state(State.OPENING, 2 * S, "signaling", url="ws://s"),
    state(State.OPEN, 2 * S, "signaling"),
    said({"msg_type": 2, "status_code": 3}, 2 * S, "signaling"),
    said({"msg_type": 2, "status_code": 0}, 3 * S, "signaling"),
    state(State.OPEN, 3 * S),
    said({"msg_type": 3, "media_type": 3, "media_params": {"audio": {"send_rate": 20, "codec": 4}}}, 3 * S, way=OUT),
    granted(at_us=3 * S),
    said({"msg_type": 7}, 3 * S, "signaling", OUT),
    event(3, 3 * S, participants=[{"user_id": 7, "user_name": "Ann"}, {"user_id": 8, "user_name": "Bob"}]),
    event(2, 3 * S, user_id=8),
    *packets(7, [0, 1, 1, 5, 3], 4 * S, user_name="Ann B."),
    *packets(0, [0, 1], 4 * S),
    audio(bytes(640), None, user_id=7, at_us=5 * S),
    media(17, "Grüße", ZERO_MS, user_id=8, at_us=5 * S),
    ask(10 * S, 1),
    answer(10 * S + 5000, 1),
    ask(20 * S, 2),
    answer(20 * S + 9000, 3),
    ask(30 * S, 4),
    event(2, 33 * S, user_id=7),
    event(4, 34 * S, participants=[{"user_id": 7}]),
    state(State.CLOSED, 40 * S, "signaling", code=1006),
    state(State.OPENING, 41 * S, "signaling", url="ws://s2"),
    state(State.OPEN, 42 * S, "signaling"),
    ask(43 * S, 5),
    state(State.DROPPED, 43 * S, count=4),
    state(State.WARNING, 43 * S, reason="the disk is slow"),
    said({"msg_type": 99}, 44 * S),
    said({"msg_type": 25}, 44 * S),
    frame_of(44 * S, "media", Direction.IN, b"["),
    said({"msg_type": 8, "state": 4, "reason": 6}, 45 * S, "signaling"),
    state(State.CLOSED, 46 * S, code=1000, ours=True),
]


def test_of_an_awkward_session() -> None:
    summary = summarize("x", HEADER, [*enumerate(AWKWARD, 2), (40, "line 40 is not a capture line")])
    assert (summary.seconds, summary.lines, summary.status) == (46, len(AWKWARD) + 2, "unfinished")
    assert (summary.unreadable, summary.unknown, summary.dropped, summary.unlisted) == (2, 1, 4, 0)
    assert [(one.at, one.text) for one in summary.warnings] == [(43, "the disk is slow")]
    assert summary.stop is not None
    assert (summary.stop.reason, summary.stop.said_by) == (6, "8 STREAM_STATE_UPDATE on signaling")
    assert [(step.step, step.at) for step in summary.steps] == [
        ("webhook", 0), ("signaling_open", 2), ("signaling_handshake", 3), ("media_open", 3), ("media_handshake", 3),
        ("ready", 3), ("first_media", 4), ("stop", 45),
    ]  # fmt: skip
    assert (summary.kinds_asked, summary.origin_ms, summary.origin_at) == (["audio", "video"], ZERO_MS, 4)

    ann, mixed, text = summary.tracks
    assert (ann.kind, ann.user_id, ann.user_name, ann.packets, ann.bytes) == ("audio", 7, "Ann B.", 6, 6 * 640)
    assert (ann.duplicates, ann.out_of_order, ann.untimed, ann.lost, ann.duration) == (1, 1, 1, 2, 0.12)
    assert (ann.gap_count, ann.gap_seconds, ann.gaps) == (2, 0.04, [(0.04, 0.06), (0.08, 0.1)])
    assert (mixed.user_id, mixed.user_name, mixed.packets, mixed.duration) == (0, None, 2, 0.04)
    assert (text.kind, text.user_name, text.bytes, text.duration) == ("transcript", "Bob", 7, None)

    assert [(one.user_id, one.user_name, one.joined, one.left, one.speaking, one.speaking_from)
            for one in summary.participants] == [
        (7, "Ann B.", 3, 34, 0.1, "audio"),
        (8, "Bob", 3, None, 30, "active_speaker"),
    ]  # fmt: skip
    (kept,) = summary.keep_alive
    assert (kept.asked, kept.answered, kept.wrong, kept.unanswered) == (4, 1, 1, 2)
    assert kept.interval_ms is not None
    assert kept.answer_ms is not None
    # The pause between two connections is none between two requests.
    assert (kept.interval_ms.count, kept.interval_ms.max, kept.answer_ms.max) == (2, 10_000, 5)
    assert [(one.channel, one.url, one.opened, one.closed, one.code, one.ours, one.refused)
            for one in summary.connections] == [
        ("signaling", "ws://s", None, 1, None, False, True),
        ("signaling", "ws://s", 2, 40, 1006, False, False),
        ("media", "", 3, 46, 1000, True, False),
        ("signaling", "ws://s2", 42, None, None, False, False),
    ]  # fmt: skip
    counts = {(one.name, one.direction): one.count for one in summary.messages}
    assert counts["meeting.rtms_started", "in"] == counts["(unreadable)", "in"] == counts["(unknown)", "in"] == 1
    assert counts["MEDIA_DATA_AUDIO", "in"] == 8
    assert counts["KEEP_ALIVE_RESP", "out"] == 2
    assert counts["META_DATA_SHARE", "in"] == 1  # reserved, but known by name


def test_a_stop_is_taken_back_when_the_stream_runs_again() -> None:
    frames = [
        said({"msg_type": 9, "rtms_session_id": "a", "state": 5, "stop_reason": 12}, 0, "signaling"),
        said({"msg_type": 9, "rtms_session_id": "b", "state": 2}, S, "signaling"),
    ]
    stop = summarize("x", HEADER, enumerate(frames[:1], 2)).stop
    assert stop is not None
    assert stop.reason == 12
    assert summarize("x", HEADER, enumerate(frames, 2)).stop is None
    frames += [webhook("meeting.rtms_stopped", 2 * S, stop_reason=77)]
    stop = summarize("x", HEADER, enumerate(frames, 2)).stop
    assert stop is not None
    assert (stop.reason, stop.name, stop.said_by) == (77, "", "a stop webhook")


def test_of_next_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(Header(1, "", "").line() + b'{"at": 0.0')
    for options in ([], ["--all"], ["--json"], ["--messages"], ["--timeline"]):
        done = rtms("inspect", path, *options, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), options
    newer = b'{"rtms_capture": 2, "created": "", "generator": ""}\n'
    for name, content in (("empty", b""), ("no.jsonl", b"{}\n"), ("newer", newer)):
        (tmp_path / name).write_bytes(content)
        done = rtms("inspect", tmp_path / name, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
    assert rtms("inspect", tmp_path / "not there", cwd=tmp_path).returncode == 2


def summary_of(frames: Sequence[Frame]) -> Summary:
    return summarize("x", HEADER, enumerate(frames, 2))


def test_lists_are_bounded() -> None:
    frames = [media(15, b"x", ZERO_MS, user_id=number, at_us=number) for number in range(1, MOST + 6)]
    frames += [state(State.OPENING, 0, f"media.{number}") for number in range(MOST + 4)]
    frames += [state(State.WARNING, 0, reason="again") for _ in range(MOST_WARNINGS + 3)]
    frames += [event(3, 0, participants=[{"user_id": number} for number in range(MOST + 2)])]
    summary = summary_of(frames)
    assert (len(summary.tracks), len(summary.connections), len(summary.warnings)) == (MOST, MOST, MOST_WARNINGS)
    assert summary.unlisted == 5 + 4 + 3 + 5


HOSTILE = ["\x1b[31mred", "a\nb", "\u202eevil", "\u2028", "x" * 5000, "[bold]", "<script>", "\ud800"]


@pytest.mark.parametrize("name", HOSTILE)
def test_text_from_outside_stays_text(name: str) -> None:
    header = Header(1, name, name, name, name, name)
    frames = [
        said({"msg_type": name}),
        webhook(name, 0),
        event(3, 0, participants=[{"user_id": name, "user_name": name}]),
        *packets(7, [0], 0, user_name=name),
        state(State.OPENING, 0, "signaling", url=name.encode("utf-8", "replace").decode()),
        state(State.WARNING, 0, reason=name.encode("utf-8", "replace").decode()),
    ]
    lines = plain_sheets(sheets(summarize(name, header, enumerate(frames, 2))))
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < 4000


def test_asked_and_granted_side_by_side() -> None:
    (table,) = [sheet for sheet in sheets(summary_of(AWKWARD)) if sheet.title == "media"]
    assert [row for row in table.rows if row[1] in ("codec", "send_rate", "data_opt")] == [
        ("audio", "codec", "4 OPUS", "1 L16"),
        ("audio", "send_rate", "20", "20"),
        ("audio", "data_opt", None, "1 AUDIO_MIXED_STREAM"),
    ]
    assert ("video", None, "(defaults)", None) in table.rows


def test_frames_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(HEADER.line() + capture_lines(AWKWARD))
    read = json.loads(rtms("inspect", path, "--json", cwd=tmp_path).stdout)
    summary = summary_of(AWKWARD)
    assert read["tracks"][0]["gaps"] == [list(gap) for gap in summary.tracks[0].gaps]
    assert len(read["messages"]) == len(summary.messages)
    (kept,) = read["keep_alive"]
    assert kept["interval_ms"] == {"count": 2, "p50": 9994.24, "p95": 9994.24, "p99": 9994.24, "max": 10_000}
