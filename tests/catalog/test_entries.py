"""What a list says of recordings, whatever lies in the folder."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from catalog.shelf import put

from rtms_cli.catalog.entries import entry_of, folders, newest_first
from rtms_cli.catalog.naming import name_folder, read_title
from rtms_cli.commands.ls import read_since
from rtms_cli.errors import Problem
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.ownership import FolderLock
from rtms_cli.recording.pruning import delete_recording
from rtms_cli.view.catalog import local_time, short_names


def test_every_recording_is_listed_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, "b", started_at="2026-11-28T09:00:00Z")
    put(tmp_path, "a", started_at="2026-11-27T09:00:00+02:00")
    put(tmp_path, "damaged")
    (tmp_path / "damaged" / "manifest.json").write_bytes(b"\xff")
    put(tmp_path, "dead", status="recording", ended_at=None)
    (put(tmp_path, "bare") / "manifest.json").unlink()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / ".pruned-x").mkdir()
    entries = {entry.name: entry for entry in map(entry_of, folders(tmp_path))}
    assert {name: entry.status for name, entry in entries.items()} == {
        "a": "complete",
        "b": "complete",
        "damaged": "unreadable",
        "dead": "unfinished",
        "bare": "unfinished",
    }
    assert "JSON" in entries["damaged"].problem
    assert [entry.name for entry in newest_first(iter(entries.values()))][:1] == ["dead"]
    one = entries["b"]
    assert (one.seconds, one.people, one.kinds) == (20.0, ["Ada", "Grace", "3"], ["audio", "transcript"])


def test_a_recording_that_runs_is_marked(tmp_path: Path) -> None:
    folder = put(tmp_path, "a", status="recording", ended_at=None)
    lock = FolderLock(folder)
    lock.acquire()
    assert entry_of(folder).status == "recording"
    with pytest.raises(Problem, match="is being recorded"):
        name_folder(folder, "x")
    assert "being recorded" in delete_recording(folder)
    lock.release()
    assert entry_of(folder).status == "unfinished"
    assert delete_recording(folder) == ""
    assert not list(tmp_path.iterdir())


def test_a_title_changes_nothing_else(tmp_path: Path) -> None:
    folder = put(tmp_path, "a")
    (folder / "manifest.json").write_text(
        (folder / "manifest.json").read_text().replace('"schema": 1', '"schema": 1, "from the future": {"x": [1]}')
    )
    before = Manifest.read(folder)
    name_folder(folder, read_title("  Weekly\n sync 山田 "))
    assert entry_of(folder).title == "Weekly sync 山田"
    assert "from the future" in (folder / "manifest.json").read_text()
    name_folder(folder, read_title(" "))
    assert Manifest.read(folder) == before


@pytest.mark.parametrize("title", ["a\x1b[2J", "x" * 201, "a\u202eb"])
def test_what_cannot_be_a_title_is_refused(title: str) -> None:
    with pytest.raises(Problem):
        read_title(title)


def test_short_names_are_unique_beginnings() -> None:
    names = ["20261128T090000Z_meeting_abc", "20261128T090000Z_meeting_abd", "20261129T090000Z_x", "a", "ab"]
    short = short_names(names)
    assert all(name.startswith(short[name]) for name in names)
    for name in names:
        others = [other for other in names if other.startswith(short[name])]
        assert others == [name] or short[name] == name
    assert short["20261129T090000Z_x"] == "20261129T090000Z"


@pytest.mark.parametrize("edge", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_at_the_edge_of_what_a_date_can_be_is_shown_as_unknown(tmp_path: Path, edge: str) -> None:
    entry = entry_of(put(tmp_path, "a", started_at=edge))
    assert local_time(entry.began) == "?"
    assert newest_first(iter([entry])) == [entry]


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31T23:59"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_since_may_be_at_the_edge_too(monkeypatch: pytest.MonkeyPatch, text: str, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert read_since(text, datetime.now(UTC)).year == int(text[:4])
    finally:
        monkeypatch.undo()
        time.tzset()
