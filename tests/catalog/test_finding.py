"""Which recording a person means."""

import os
from pathlib import Path

import pytest
from catalog.shelf import put

from rtms_cli.catalog.finding import find_folder
from rtms_cli.errors import Problem


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "recordings", "20261127T090000Z_meeting_abc", rtms_stream_id="abc", id="Room 1")
    put(tmp_path / "recordings", "20261128T090000Z_meeting_abd", rtms_stream_id="abd", id="Room 2", title="Weekly sync")
    for at, folder in enumerate(sorted((tmp_path / "recordings").iterdir())):
        os.utime(folder / "capture.jsonl", (1_000_000 + at, 1_000_000 + at))
    return Path("recordings")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("latest", "20261128T090000Z_meeting_abd"),
        ("20261127", "20261127T090000Z_meeting_abc"),
        ("20261127T090000Z_meeting_abc", "20261127T090000Z_meeting_abc"),
        ("abc", "20261127T090000Z_meeting_abc"),
        ("room 2", "20261128T090000Z_meeting_abd"),
        ("Weekly", "20261128T090000Z_meeting_abd"),
    ],
)
def test_a_name_an_id_or_a_title_may_be_cut_short(place: Path, text: str, wanted: str) -> None:
    assert find_folder(text, place) == place / wanted


def test_a_replay_beside_its_recording_is_not_the_latest(place: Path) -> None:
    for name in ("20261127T090000Z_meeting_abc_2", "20261128T090000Z_meeting_abd_2", ".x.replaying"):
        put(place, name)  # written after all others
    assert find_folder("latest", place) == place / "20261128T090000Z_meeting_abd"


def test_a_path_that_exists_wins(place: Path) -> None:
    Path("latest").mkdir()
    assert find_folder("latest", place) == Path("latest")


@pytest.mark.parametrize("text", ["2026", "ab", "Room"])
def test_several_are_named(place: Path, text: str) -> None:
    with pytest.raises(Problem, match=r"beginning of 2 recordings: 20261127.*, 20261128"):
        find_folder(text, place)


@pytest.mark.parametrize("text", ["", "nosuch", "latst", "../recordings/x", "2027"])
def test_one_that_is_not_there_is_told(place: Path, text: str) -> None:
    with pytest.raises(Problem, match=r"There is no recording") as told:
        find_folder(text, place)
    assert "rtms ls" in told.value.remedy
    assert ("latest" in told.value.remedy) == (text == "latst")


def test_without_recordings_the_demo_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem) as told:
        find_folder("latest", tmp_path / "recordings")
    assert "rtms demo" in told.value.remedy


def test_what_is_deleted_meanwhile_is_not_the_latest(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = place / "20261129T090000Z_meeting_abe"
    gone.mkdir()
    (gone / "capture.jsonl").symlink_to("gone")
    monkeypatch.setattr("rtms_cli.catalog.finding.is_file", lambda path: True)
    assert find_folder("latest", place) == place / "20261128T090000Z_meeting_abd"


def test_a_time_that_no_date_can_be_is_not_the_latest(place: Path) -> None:
    os.utime(put(place, "other") / "capture.jsonl", (10**13, 10**13))
    if (place / "other" / "capture.jsonl").stat().st_mtime < 10**12:
        pytest.skip("this file system has no such times")
    assert find_folder("latest", place) == place / "20261128T090000Z_meeting_abd"
