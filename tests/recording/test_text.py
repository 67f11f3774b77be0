"""What transcript.jsonl, chat.jsonl and events.jsonl say, and when they say that it was."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frames import HEADER, ZERO_MS, media

from rtms_cli.machine import Frame
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
