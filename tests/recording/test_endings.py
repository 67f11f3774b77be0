"""How a recording ended that nobody had a last word on: its process died, or its session did not get to it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, granted, said, state, tree
from msgspec import structs

from rtms_cli.capture import Capture, Header
from rtms_cli.machine import GIVEN_UP, WEBHOOK, Direction, Frame, State, frame_of
from rtms_cli.protocol.numbers import StopReason
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import Manifest, Stop
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.repair import repair

STREAM = "stream123=="


def terminated(reason: int | None) -> Frame:
    return said({"msg_type": 8, "state": 4, "timestamp": 1} | reasoned("reason", reason), 9, "signaling")


def session_is(what: int, name: str, reason: int | None = None) -> Frame:
    """`9`: 2 is STARTED, 5 is STOPPED."""
    body = {"msg_type": 9, "rtms_session_id": name, "state": what, "timestamp": 1}
    return said(body | reasoned("stop_reason", reason), 9, "signaling")


def stop_webhook(reason: int | None) -> Frame:
    payload = {"meeting_uuid": "uuid==", "rtms_stream_id": STREAM} | reasoned("stop_reason", reason)
    return said({"event": "meeting.rtms_stopped", "event_ts": 1, "payload": payload}, 9, WEBHOOK)


def start_webhook() -> Frame:
    payload = {"meeting_uuid": "uuid==", "rtms_stream_id": STREAM, "server_urls": "wss://signaling"}
    return said({"event": "meeting.rtms_started", "event_ts": 1, "payload": payload}, 9, WEBHOOK)


def reasoned(field: str, reason: int | None) -> dict[str, object]:
    return {} if reason is None else {field: reason}


def out(msg_type: int) -> Frame:
    return said({"msg_type": msg_type, "rtms_stream_id": STREAM}, 8, "signaling", Direction.OUT)


def finished(status: str, reason: int | None = None) -> Frame:
    return state(State.FINISHED, 10, "signaling", code=reason, reason="the session", status=status)


LOST = state(State.CLOSED, 7, code=1006)
OPENING = state(State.OPENING, 7, url="ws://media")
OPENING_OTHER = state(State.OPENING, 7, "media.video", url="ws://media")
REFUSED_OTHER = said({"msg_type": 4, "status_code": 10}, 7, "media.video")
CLOSED_OTHER = state(State.CLOSED, 7, "media.video", code=1000, ours=True)
GIVEN_UP_OTHER = state(State.WARNING, 7, "media.video", reason=f"{GIVEN_UP}no scope")
GREETING = state(State.OPEN, 1, "signaling")
HUNG_UP = state(State.CLOSED, 9, "signaling", code=1006)
ACCEPTED = said({"msg_type": 2, "status_code": 0}, 7, "signaling")
MEDIA = [granted(), audio(bytes(640), ZERO_MS, at_us=1)]
REVOKED = StopReason.STOP_BC_STREAM_REVOKED
GUEST = structs.replace(HEADER, verified=True)

ROWS: dict[str, tuple[list[Frame], str]] = {
    "no media": ([granted()], "interrupted"),
    "media": (MEDIA, "interrupted"),
    "8 without a reason": ([*MEDIA, terminated(None)], "complete"),
    **{
        f"8 with {reason.name}": (
            [*MEDIA, terminated(reason)],
            "revoked" if reason == REVOKED else "interrupted" if 10 <= reason <= 19 or reason == 24 else "complete",
        )
        for reason in StopReason
    },
    "the last session stopped": ([*MEDIA, session_is(2, "a"), session_is(5, "a", 6)], "complete"),
    "the last session stopped for a failure": ([*MEDIA, session_is(2, "a"), session_is(5, "a", 13)], "interrupted"),
    "a session stopped, another goes on": ([*MEDIA, session_is(5, "a", 6), session_is(2, "b")], "interrupted"),
    "a session was revoked, another one ended": (
        [*MEDIA, session_is(5, "a", REVOKED), session_is(2, "b"), terminated(None)],
        "complete",
    ),
    "asked, while nothing had begun": ([out(21)], "interrupted"),
    "asked, with media": ([*MEDIA, out(21)], "complete"),
    "asked, and ready for media": ([out(7), out(21)], "complete"),
    "asked, while a media connection was missing": ([*MEDIA, LOST, out(21)], "interrupted"),
    "asked, while it was being rebuilt": ([*MEDIA, LOST, OPENING, out(21)], "interrupted"),
    "asked, while it was being rebuilt and the server repeated itself": (
        [GREETING, ACCEPTED, *MEDIA, LOST, ACCEPTED, out(21)],
        "interrupted",
    ),
    "a session was revoked, and the same webhook came when signaling was gone": (
        [start_webhook(), GREETING, *MEDIA, session_is(5, "a", REVOKED), HUNG_UP, start_webhook()],
        "interrupted",
    ),
    "a session was revoked, and the same webhook came once more": (
        [start_webhook(), GREETING, *MEDIA, session_is(5, "a", REVOKED), start_webhook()],
        "revoked",
    ),
    "asked, while a kind was refused for good": (
        [GREETING, ACCEPTED, OPENING_OTHER, *MEDIA, out(7), REFUSED_OTHER, CLOSED_OTHER, GIVEN_UP_OTHER, out(21)],
        "complete",
    ),
    "asked, when it was back": ([*MEDIA, LOST, OPENING, granted(), out(21)], "complete"),
    "asked, when it was back without a word": ([*MEDIA, LOST, OPENING, MEDIA[-1], out(21)], "complete"),
    "asked, while signaling has just been rebuilt": ([*MEDIA, LOST, ACCEPTED, OPENING, out(21)], "interrupted"),
    "asked, when a kind is not asked for any more": ([*MEDIA, LOST, ACCEPTED, out(21)], "complete"),
    "an unverified webhook": ([*MEDIA, stop_webhook(REVOKED)], "complete"),
    "a last word wins": ([*MEDIA, terminated(13), finished("complete", 13)], "complete"),
    "asked behind the last word": (
        [*MEDIA, terminated(6), finished("complete", 6), state(State.STOPPING, 11, "signaling", reason="SIGTERM")],
        "complete",
    ),
    "a last word that nobody knows": ([*MEDIA, terminated(13), finished("splendid")], "interrupted"),
    "going on after a last word": ([*MEDIA, out(7), out(21), finished("complete"), *MEDIA], "interrupted"),
    "revoked, then going on": ([*MEDIA, terminated(REVOKED), finished("interrupted", 8), *MEDIA], "interrupted"),
}


@pytest.mark.parametrize(("frames", "status"), ROWS.values(), ids=ROWS.keys())
def test_the_ending_is_the_same_when_closed_and_when_repaired(frames: list[Frame], status: str, tmp_path: Path) -> None:
    closed, killed = tmp_path / "closed", tmp_path / "killed"
    for folder in (closed, killed):
        folder.mkdir()
        recorder = Recorder(folder, HEADER)
        recorder.fold(frames)
        if folder == closed:
            recorder.close()
    done = repair(killed)
    assert (Manifest.read(closed).status, done.status) == (status, status)
    assert tree(closed) == tree(killed)
    if status == "revoked":
        assert set(tree(closed)) == {"manifest.json"}


@pytest.mark.parametrize(("header", "status"), [(GUEST, "revoked"), (HEADER, "complete")])
def test_a_capture_says_whether_webhooks_were_verified(header: Header, status: str, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, header)
    recorder.fold([*MEDIA, stop_webhook(REVOKED)])
    assert Capture(tmp_path).header == header
    assert (b"verified" in (tmp_path / "capture.jsonl").read_bytes()) == header.verified
    assert repair(tmp_path).status == status


def test_a_deletion_that_was_cut_short_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any moment of it; only what was asked to be kept stays."""
    for moment in range(4):
        folder = tmp_path / str(moment)
        folder.mkdir()
        recorder = Recorder(folder, HEADER)
        recorder.fold([*MEDIA, terminated(REVOKED), finished("revoked", 8)])
        left = iter(range(moment))

        def killed(files: Files, name: str, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            (files.folder / name).unlink()

        monkeypatch.setattr(Files, "remove", killed)
        try:
            recorder.close()
        except KeyboardInterrupt:
            assert set(tree(folder)) > {"manifest.json"}
        monkeypatch.undo()
        assert repair(folder).status == "revoked"
        assert set(tree(folder)) == {"manifest.json"}
        assert repair(folder).changed == ()


def test_a_webhook_behind_the_last_word_changes_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, HEADER)
    recorder.fold([state(State.FINISHED, 5, "signaling", status="interrupted", reason="SIGTERM")])
    body = {"event": "meeting.rtms_stopped", "payload": {"meeting_uuid": "u", "rtms_stream_id": "s", "stop_reason": 6}}
    recorder.fold([frame_of(6, WEBHOOK, Direction.IN, json.dumps(body).encode())])
    recorder.close()
    manifest = Manifest.read(tmp_path)
    assert (manifest.status, manifest.stop and manifest.stop.said_by) == ("interrupted", "SIGTERM")
    recorder.reopen()
    assert Manifest.read(tmp_path).status == "recording"


@pytest.mark.parametrize("ends", [True, False], ids=["with a last word", "without"])
def test_a_reason_of_an_unknown_name_is_in_the_manifest(tmp_path: Path, ends: bool) -> None:
    body = {"msg_type": 8, "state": 4, "reason": "STOP_BC_OF_THE_FUTURE"}
    how = "8 STREAM_STATE_UPDATE on signaling (STOP_BC_OF_THE_FUTURE)"
    frames = [*MEDIA, said(body, 9, "signaling")]
    if ends:
        frames.append(state(State.FINISHED, 10, "signaling", reason=how, status="complete"))
    recorder = Recorder(tmp_path / "r", HEADER)
    (tmp_path / "r").mkdir()
    recorder.fold(frames)
    recorder.close()
    manifest = Manifest.read(tmp_path / "r")
    assert (manifest.status, manifest.stop) == ("complete", Stop(None, "STOP_BC_OF_THE_FUTURE", how))
