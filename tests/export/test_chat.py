"""The chat as documents and tables: what its operations made of it."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from frames import HEADER, ZERO_MS, media, said
from processes import rtms

from rtms_cli.recording.recorder import Recorder

ANNA, BERND = {"user_id": 7, "user_name": "Anna"}, {"user_id": 8}
OPERATIONS: list[tuple[str, dict[str, Any]]] = [
    ("=1+1, helo", {"operation_type": 1, "message_id": "m1", "sender": ANNA, "chat_session": {"type": 1}}),
    ("the plan", {"operation_type": 1, "message_id": "m2", "sender": BERND, "chat_session": {"type": 2},
                  "receiver": ANNA, "parent_message_id": "m1", "files": [{"file_id": "f", "file_name": "plan.pdf"}]}),
    ("=1+1, hello", {"operation_type": 3, "message_id": "m1", "sender": ANNA}),
    ("👍", {"operation_type": 4, "message_id": "m1", "sender": {"user_id": 8, "user_name": "Bernd"}}),
    ("secret", {"operation_type": 1, "message_id": "m3", "sender": ANNA}),
    ("", {"operation_type": 2, "message_id": "m3", "sender": ANNA}),
    ("", {"operation_type": 2, "message_id": "m0", "sender": ANNA}),
    ("pin", {"operation_type": 9, "message_id": "m1", "sender": ANNA}),
]  # fmt: skip


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A chat with an edit, a reply, a reaction, deletions and something new; Bernd's name is in an event only."""
    folder = tmp_path / "talk"
    folder.mkdir()
    recorder = Recorder(folder, HEADER)
    event = {"event_type": 3, "participants": [{"user_id": 8, "user_name": "Bernd"}]}
    recorder.fold([said({"msg_type": 6, "event": event}, channel="signaling")])
    for at, (text, fields) in enumerate(OPERATIONS):
        recorder.fold([media(18, text, ZERO_MS + 1000 * at, user_id=None, at_us=1_000_000 * at, **fields)])
    recorder.close()
    return folder


def exported(recording: Path, form: str) -> Path:
    done = rtms("export", recording, "--to", form, "--force", cwd=recording.parent)
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    return Path(next(name for name in names if name.endswith(f".chat.{form}")))


def test_documents(recording: Path) -> None:
    assert exported(recording, "txt").read_text() == (
        "[0:00:00] Anna: =1+1, hello (edited) [👍 Bernd]\n"
        "[0:00:01] Bernd → Anna, in reply to Anna: the plan 📎 plan.pdf\n"
        "[0:00:04] Anna: (deleted)\n"
        "[0:00:06] ?: (deleted)\n"
        "[0:00:07] Anna: pin (operation 9 on m1)\n"
    )
    markdown = exported(recording, "md").read_text()
    assert "**Bernd → Anna, in reply to Anna** <small>0:00:01</small>" in markdown
    assert "secret" not in markdown
    messages = json.loads(exported(recording, "json").read_text())["messages"]
    assert messages[0] == {
        "t": 0.0, "user_id": 7, "name": "Anna", "to": "", "text": "=1+1, hello", "message_id": "m1",
        "parent_message_id": None, "edited": True, "deleted": False, "files": [], "reactions": {"👍": ["Bernd"]},
        "note": "",
    }  # fmt: skip
    assert messages[1]["files"] == [{"file_id": "f", "name": "plan.pdf"}]
    assert [one["deleted"] for one in messages] == [False, False, True, True, False]


def test_tables(recording: Path) -> None:
    with exported(recording, "csv").open(newline="", encoding="utf-8") as source:
        rows = list(csv.DictReader(source))
    assert [row["text"] for row in rows] == ["'=1+1, hello", "the plan", "", "", "pin"]
    assert (rows[0]["reactions"], rows[1]["files"], rows[2]["deleted"]) == ("👍 Bernd", "plan.pdf", "True")
    table: Any = pyarrow.parquet.read_table(exported(recording, "parquet"))
    assert table.column("t").to_pylist() == [0.0, 1.0, 4.0, 6.0, 7.0]
    assert table.column("edited").to_pylist() == [True, False, False, False, False]


def test_a_chat_alone_is_exported_as_text(recording: Path) -> None:
    done = rtms("export", recording, cwd=recording.parent)
    assert done.stdout.split() == [str(recording / "export/talk.chat.txt")]
    refused = rtms("export", recording, "--to", "srt", cwd=recording.parent)
    assert (refused.returncode, "has no transcript." in refused.stderr) == (2, True)


def test_lines_of_any_shape(recording: Path) -> None:
    lines = [
        {}, {"t": "soon", "text": 5, "user_id": None}, {"t": None, "operation": {}, "message_id": 1.5, "files": "a"},
        {"t": 1e9, "operation": "emoji_add", "message_id": "m1", "text": None, "user_name": 3}, {"operation": "new"},
    ]  # fmt: skip
    with (recording / "chat.jsonl").open("a") as chat:
        chat.writelines(json.dumps(line) + "\n" for line in lines)
        chat.write('{"t": 1,\n[]\n')
    done = rtms("export", recording, "--to", "txt,md,json,csv,parquet", cwd=recording.parent)
    assert done.returncode == 0
    assert "note: 2 lines of chat.jsonl could not be read" in done.stderr
    text = (recording / "export/talk.chat.txt").read_text()
    assert "[?] ?: 5\n" in text
    assert "[👍 Bernd] [? 3]" in text
