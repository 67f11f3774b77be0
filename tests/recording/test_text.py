"""What transcript.jsonl, chat.jsonl and events.jsonl say, and when they say that it was."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from frames import HEADER, ZERO_MS, audio, granted, media, said, state, tree
from msgspec import structs

from rtms_cli.machine import Frame, State
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import Recorder

S = 1_000_000


def record(folder: Path, frames: Sequence[Frame], batch: int = 1) -> dict[str, list[dict[str, Any]]]:
    """The lines of every text file, by its kind."""
    folder.mkdir()
    recorder = Recorder(folder, HEADER)
    for start in range(0, len(frames), batch):
        recorder.fold(frames[start : start + batch])
    recorder.close()
    return {
        kind: [json.loads(line) for line in path.read_text().splitlines()]
        for kind in ("transcript", "chat", "events")
        if (path := folder / f"{kind}.jsonl").exists()
    }


def test_every_operation_of_a_chat_is_a_line(tmp_path: Path) -> None:
    sender = {"user_id": 7, "user_name": "Anna"}
    given: list[tuple[str, dict[str, Any]]] = [
        ("hi", {"operation_type": 1, "message_id": "m1", "chat_session": {"type": 1}, "files": [{"file_id": "f"}]}),
        ("ho", {"operation_type": 3, "message_id": "m1", "delete_file_id_list": ["f"], "colour": "red"}),
        ("👍", {"operation_type": 4, "message_id": "m1", "parent_message_id": ""}),
        ("👍", {"operation_type": 5, "message_id": "m1"}),
        ("re", {"operation_type": 1, "message_id": "m2", "parent_message_id": "m1", "receiver": {"user_id": 8}}),
        ("", {"operation_type": 2, "message_id": "m9"}),
        ("?", {"operation_type": 77, "message_id": "m1"}),
    ]
    frames = [
        media(18, text, ZERO_MS + n, user_id=None, sender=sender, **fields) for n, (text, fields) in enumerate(given)
    ]
    chat = record(tmp_path / "x", frames)["chat"]
    for line in chat:
        del line["t"], line["timestamp"]
    who = {"user_id": 7, "user_name": "Anna"}
    assert chat == [
        {**who, "text": "hi", "operation": "new", "message_id": "m1", "chat_session": {"type": "everyone"},
         "files": [{"file_id": "f"}]},
        {**who, "text": "ho", "operation": "update", "message_id": "m1", "delete_file_id_list": ["f"],
         "extra": {"colour": "red"}},
        {**who, "text": "👍", "operation": "emoji_add", "message_id": "m1"},
        {**who, "text": "👍", "operation": "emoji_remove", "message_id": "m1"},
        {**who, "text": "re", "operation": "new", "message_id": "m2", "parent_message_id": "m1",
         "receiver": {"user_id": 8}},
        {**who, "text": "", "operation": "delete", "message_id": "m9"},
        {**who, "text": "?", "operation": 77, "message_id": "m1"},
    ]  # fmt: skip


def line(text: str, timestamp: object, at_us: int) -> Frame:
    return media(17, text, timestamp, user_id=7, at_us=at_us)


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_a_line_without_a_timestamp_is_at_its_arrival(tmp_path: Path, batch: int) -> None:
    frames = [
        line("before any media", None, 1 * S),
        media(18, "chat too", None, at_us=1 * S + S // 2),
        audio(bytes(640), ZERO_MS, at_us=3 * S),
        line("none", None, 4 * S),
        line("zero", 0, 5 * S),
        line("no number", "soon", 5 * S),
        audio(bytes(640), ZERO_MS - 2000, at_us=6 * S),  # moves the zero
        line("of another clock", ZERO_MS - 10**10, 7 * S),
        line("in its place", ZERO_MS + 1234, 8 * S),
        said({"msg_type": 6, "event": {"event_type": 2, "user_id": 7}}, 8 * S, "signaling"),
        state(State.MARK, 9 * S, "signaling", reason="now"),
        audio(bytes(640), ZERO_MS - 3000, at_us=9 * S),  # and again
    ]
    found = record(tmp_path / "x", frames, batch)
    lines = {one["text"]: (one["t"], one["timestamp"], one.get("t_from")) for one in found["transcript"]}
    assert lines == {
        "before any media": (1.0, None, "arrival"),
        "none": (4.0, None, "arrival"),
        "zero": (5.0, 0, "arrival"),
        "no number": (5.0, None, "arrival"),
        "of another clock": (7.0, ZERO_MS - 10**10, "arrival"),
        "in its place": (4.234, ZERO_MS + 1234, None),
    }
    assert [(one["t"], one["t_from"]) for one in found["chat"]] == [(1.5, "arrival")]
    # The last timestamp was 1234 ms behind the first packet's, 8 s after the beginning.
    assert [(one["t"], one.get("t_from")) for one in found["events"]] == [(4.234, "arrival"), (5.234, None)]
    assert tree(tmp_path / "x") == tree_of(tmp_path / "y", frames)


def tree_of(folder: Path, frames: Sequence[Frame]) -> dict[str, bytes]:
    record(folder, frames)
    return tree(folder)


def test_where_nothing_has_a_timestamp_the_capture_begins_at_zero(tmp_path: Path) -> None:
    frames = [line("one", None, 2 * S), line("two", None, 3 * S + 500), media(18, "hi", None, at_us=4 * S)]
    found = record(tmp_path / "x", frames)
    assert [(one["t"], one["t_from"]) for one in found["transcript"] + found["chat"]] == [
        (2.0, "arrival"), (3.0, "arrival"), (4.0, "arrival"),
    ]  # fmt: skip


@pytest.mark.parametrize("unit", [1 / 1000, 1, 1000, 1_000_000])
def test_timestamps_in_any_unit_have_their_place(tmp_path: Path, unit: float) -> None:
    frames = [line(str(at), (ZERO_MS // 1000 + at) * 1000 * unit, at * S) for at in (0, 2, 5)]
    found = record(tmp_path / "x", frames)["transcript"]
    assert [(one["t"], "t_from" in one) for one in found] == [(0.0, False), (2.0, False), (5.0, False)]


@pytest.mark.parametrize("is_chat", [True, False])
@pytest.mark.parametrize("age_s", [600, 3_000, 7_200, 86_400])
def test_history_is_not_the_beginning_of_the_sound(age_s: int, is_chat: bool, tmp_path: Path) -> None:
    old_ms = ZERO_MS - age_s * 1000
    old = [media(18 if is_chat else 17, text, old_ms + at, user_id=8, at_us=0) for at, text in ((0, "a"), (5_000, "b"))]
    new = [audio(b"\1\0" * 320, ZERO_MS + 20 * n, user_id=7, at_us=S + 20_000 * n) for n in range(50)]
    late = media(17, "now", ZERO_MS + 2_000, user_id=8, at_us=3 * S)
    found = record(tmp_path / "x", [granted(), *old, *new, late])
    manifest = Manifest.read(tmp_path / "x")
    [track] = [one for one in manifest.tracks if one.kind == "audio"]
    assert (track.offset, track.duration, manifest.origin_ms) == (0.0, 2.0, ZERO_MS - 1_000)
    lines = found["chat" if is_chat else "transcript"]
    assert [line["t"] for line in lines[:2]] == [1.0 - age_s, 6.0 - age_s]
    assert found["transcript"][-1]["t"] == 3.0


def test_history_that_comes_later_does_not_move_the_zero(tmp_path: Path) -> None:
    sound = [audio(b"\1\0" * 320, ZERO_MS + 20 * n, user_id=7, at_us=20_000 * n) for n in range(50)]
    found = record(tmp_path / "x", [granted(), *sound[:5], media(18, "a", ZERO_MS - 600_000, at_us=S), *sound[5:]])
    assert Manifest.read(tmp_path / "x").origin_ms == ZERO_MS
    assert found["chat"][0]["t"] == -600.0


def test_a_text_that_was_buffered_with_the_sound_is_the_beginning(tmp_path: Path) -> None:
    record(
        tmp_path / "x", [granted(), media(17, "a", ZERO_MS - 30_000), audio(bytes(640), ZERO_MS, user_id=7, at_us=S)]
    )
    assert Manifest.read(tmp_path / "x").origin_ms == ZERO_MS - 30_000


@pytest.mark.parametrize("product", ["meeting", "contact_center", "phone"])
def test_an_event_by_its_name_is_that_event_in_every_product(product: str, tmp_path: Path) -> None:
    names = ["USER_HOLD", "chat_group_create", "participant_join", "Participant_Video_On", "NEWS"]
    folder = tmp_path / product
    folder.mkdir()
    recorder = Recorder(folder, structs.replace(HEADER, product=product))
    recorder.fold([said({"msg_type": 6, "event": {"event_type": name, "timestamp": ZERO_MS}}) for name in names])
    recorder.close()
    lines = (folder / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == [*(name.upper() for name in names)]


def test_fields_of_an_event_that_are_called_as_ours_are_kept(tmp_path: Path) -> None:
    odd = {"t": 5, "timestamp": "noon", "event": ["x"], "extra": 1}
    [line] = record(tmp_path / "x", [said({"msg_type": 6, "event_type": 2, "user_id": 7, **odd})])["events"]
    assert line["extra"] == odd
    assert (line["event"], line["user_id"]) == ("ACTIVE_SPEAKER_CHANGE", 7)
