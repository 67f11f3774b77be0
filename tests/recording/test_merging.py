"""Parts that several owners of a stream recorded become one recording, whenever a process dies."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from frames import HEADER, ZERO_MS, media, tree
from harness import read_jsonl, read_wav, same_files
from msgspec import structs
from recorded_parts import SLOTS, connected, content, in_parts, last_word, record, whole

from rtms_cli.capture import Capture
from rtms_cli.errors import Problem
from rtms_cli.machine import Direction, frames_of
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.merging import finish, has_parts, merge
from rtms_cli.recording.ownership import FolderLock, is_being_recorded, is_locked
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.repair import repair, unfinished


@pytest.mark.parametrize("overlap", [-3, 0, 1, 20])
@pytest.mark.parametrize("cut", [10, 59, 60, 61, 120])
def test_what_two_owners_recorded_is_what_one_would_have(cut: int, overlap: int, tmp_path: Path) -> None:
    folder, one = in_parts(tmp_path / "parts", cut, overlap), whole(tmp_path / "whole")
    merge(folder)
    assert not (folder / "epochs").exists()
    for name in ("audio/mixed.wav", "audio/7_ann.wav"):
        (rate, merged), (_, expected) = read_wav(folder / name), read_wav(one / name)
        missing = slice((cut + overlap) * 320, cut * 320) if overlap < 0 else slice(0, 0)
        assert rate == 16_000
        assert merged.shape == expected.shape
        expected = expected.copy()
        expected[missing] = 0
        assert np.array_equal(merged, expected)
    wanted = [line for line in read_jsonl(one / "transcript.jsonl") if not _is_lost(line, cut, overlap)]
    assert read_jsonl(folder / "transcript.jsonl") == wanted


def _is_lost(line: dict[str, object], cut: int, overlap: int) -> bool:
    timestamp = line["timestamp"]
    assert isinstance(timestamp, int)
    return cut + overlap <= (timestamp - ZERO_MS) // 20 < cut


def test_a_replay_of_the_parts_is_the_merged_recording(tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "parts")
    for name, items in (("by frame", False), ("by item", True)):
        source = Capture(folder)
        (tmp_path / name).mkdir()
        recorder = Recorder(tmp_path / name, source.header)
        for item in source.items() if items else source:
            recorder.fold([item])
        recorder.close()
        assert source.problems == []
    done = merge(folder)
    assert (done.status, done.kept, done.problems, done.losses) == ("complete", (), (), 0)
    assert tree(folder) == tree(tmp_path / "by frame") == tree(tmp_path / "by item")
    again = Capture(folder)
    (tmp_path / "again").mkdir()
    recorder = Recorder(tmp_path / "again", again.header)
    recorder.fold(list(again.items()))
    recorder.close()
    assert tree(tmp_path / "again") == tree(folder)


def test_the_manifest_tells_of_each_owner_and_closes_what_a_dead_one_left_open(tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "parts", 60, 5)
    merge(folder)
    manifest = Manifest.read(folder)
    ended, began = 0.001 + 64 * 0.02, 0.001 + 64 * 0.02  # the second's first frames were older
    assert [(one.epoch, one.generator, one.why) for one in manifest.epochs] == [
        (1, "rtms-cli 1", "its process ended"),
        (2, "rtms-cli 2", "complete"),
    ]
    assert manifest.epochs[0].ended == pytest.approx(ended)
    assert manifest.epochs[1].started == pytest.approx(began)
    assert [one.closed for one in manifest.connections[:2]] == [pytest.approx(ended)] * 2
    assert {one.reason for one in manifest.connections[:2]} == {"its process ended"}
    assert manifest.keep_alive["media"].received == 7 + 9
    track = next(entry for entry in manifest.tracks if entry.path == "audio/mixed.wav")
    assert (track.packets, track.duplicates, track.gap_count) == (SLOTS + 5, 5, 0)
    assert Manifest.read(whole(tmp_path / "whole")).epochs == []


def test_time_does_not_go_back(tmp_path: Path) -> None:
    times = [frame.at_us for frame in Capture(in_parts(tmp_path / "parts", 60, 20))]
    assert times == sorted(times)


def test_a_line_without_a_time_of_its_own_is_kept_as_often_as_it_came(tmp_path: Path) -> None:
    line = media(17, "again", 0, user_id=7, at_us=5)
    folder = record(tmp_path / "parts", 1, [*connected(0), line, last_word(1, "interrupted")])
    record(folder / "epochs/E0002", 2, [*connected(9), line, last_word(2)])
    merge(folder)
    assert [one["text"] for one in read_jsonl(folder / "transcript.jsonl")] == ["again", "again"]
    assert Manifest.read(folder).status == "complete"


def in_three(folder: Path) -> Path:
    """Three owners; the second one's capture has a line that nobody can read, the third one's folder notes."""
    in_parts(folder)
    with (folder / "epochs/E0002/capture.jsonl").open("ab") as capture:
        capture.write(b"what is that?\n")
    record(folder / "epochs/E0003", 3, [*connected(4_000_000), *content(200, 210), last_word(210)])
    (folder / "epochs/E0003/notes.txt").write_text("mine")
    (folder / "epochs/E0003/hooks.log").write_text("third\n")
    (folder / "hooks.log").write_text("first\n")
    (folder / "mine.txt").write_text("mine, too")
    return folder


@pytest.mark.parametrize("make", [in_parts, in_three])
def test_whenever_a_merge_is_killed_all_is_there_and_the_next_one_finishes(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    expected = make(tmp_path / "expected")
    frames = [(frame.at_us, frame.raw) for frame in Capture(expected)]
    merge(expected)
    made = make(tmp_path / "made")
    for count in range(1, 200):
        folder = tmp_path / str(count)
        shutil.copytree(made, folder)
        is_whole = _merge_and_die(folder, count)
        assert [(frame.at_us, frame.raw) for item in Capture(folder).items() for frame in frames_of(item)] == frames
        is_found = folder in unfinished(tmp_path)
        assert is_found or (Manifest.read(folder).status == "complete" and not has_parts(folder))
        finish(folder)
        assert tree(folder) == tree(expected), f"killed at the {count}. step"
        assert not (folder / "epochs").exists()
        if is_whole:
            break
    assert count > 15


def _merge_and_die(folder: Path, steps: int) -> bool:
    """Merge in a process that ends at once before a step on the disk; returns whether it came to its end."""
    child = os.fork()
    if child == 0:
        left = [steps]

        def stepping(name: str) -> None:
            real = getattr(os, name)

            def step(*arguments: object, **named: object) -> object:
                left[0] -= 1
                if left[0] <= 0:
                    os._exit(9)
                return real(*arguments, **named)

            setattr(os, name, step)

        try:
            for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):
                stepping(name)
            shutil._use_fd_functions = False  # type: ignore[attr-defined]
            merge(folder)
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 0


def test_what_cannot_be_merged_surely_stays_as_it_was(tmp_path: Path) -> None:
    folder = in_three(tmp_path / "three")
    before = tree(folder)
    done = merge(folder)
    assert done.kept == ("kept/E0001", "kept/E0002", "kept/E0003")
    after = tree(folder)
    assert after["kept/E0003/notes.txt"] == b"mine"
    assert after["mine.txt"] == b"mine, too"
    assert after["hooks.log"] == b"first\nthird\n"
    assert after["kept/E0001/capture.jsonl"] == before["capture.jsonl"]
    assert after["kept/E0002/capture.jsonl"] == before["epochs/E0002/capture.jsonl"]
    assert [one.epoch for one in Manifest.read(folder).epochs] == [1, 2, 3]
    assert finish(folder).changed == ()


def test_a_part_that_comes_after_a_merge_is_merged_as_well(tmp_path: Path) -> None:
    at_once, one_by_one = tmp_path / "at once", in_parts(tmp_path / "one by one")
    third = [*connected(4_000_000), *content(200, 210), last_word(210)]
    record(in_parts(at_once) / "epochs/E0003", 3, third)
    merge(one_by_one)
    record(one_by_one / "epochs/E0003", 3, third)
    for folder in (at_once, one_by_one):
        merge(folder)
    assert tree(at_once) == tree(one_by_one)


def test_nobody_touches_a_recording_that_a_later_owner_records(tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "parts")
    live = FolderLock(folder / "epochs/E0002")
    live.acquire()
    before = tree(folder)
    assert is_being_recorded(folder)
    assert not is_locked(folder)
    assert list(unfinished(tmp_path)) == []
    for work in (finish, merge, repair):
        with pytest.raises(Problem):
            work(folder)
    assert tree(folder) == before
    live.release()


def test_losses_stay(tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "parts")
    told = json.loads((folder / "epochs/E0002/manifest.json").read_text())
    told["losses"] = [{"what": "could not be written", "where": "audio/mixed.wav", "count": 3}]
    (folder / "epochs/E0002/manifest.json").write_text(json.dumps(told))
    done = merge(folder)
    assert (done.losses, done.kept) == (1, ("kept/E0002",))
    assert [(loss.where, loss.count) for loss in Manifest.read(folder).losses] == [("audio/mixed.wav", 3)]


@pytest.mark.parametrize("epoch", [1, 2])
def test_what_zoom_has_revoked_is_deleted_in_all_parts(epoch: int, tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "parts")
    part = folder if epoch == 1 else folder / "epochs/E0002"
    told = json.loads((part / "manifest.json").read_text())
    told |= {"status": "revoked", "tracks": []}
    (part / "manifest.json").write_text(json.dumps(told))
    assert merge(folder).status == "revoked"
    assert tree(folder).keys() == {"manifest.json"}
    assert not (folder / "epochs").exists()


def test_a_part_of_another_recording_is_named_and_stays(tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "parts")
    third = folder / "epochs/E0003"
    third.mkdir()
    other = structs.replace(HEADER, epoch=3, rtms_stream_id="another")
    (third / "capture.jsonl").write_bytes(other.line())
    (folder / "epochs/E0004").symlink_to(tmp_path)
    source = Capture(folder)
    assert [frame for frame in source if frame.direction is Direction.STATE]
    assert any("belongs to another recording" in problem for problem in source.problems)
    assert merge(folder).kept == ("kept/E0001", "kept/E0002", "kept/E0003")
    assert (folder / "kept/E0003/capture.jsonl").read_bytes() == other.line()


def test_one_owner_after_another_makes_the_files_of_one(tmp_path: Path) -> None:
    """Where each owner said its last word, the files are those of a stream that was interrupted and went on."""
    first = [*connected(0), *content(0, 60), last_word(60, "interrupted")]
    second = [*connected(1_300_000), *content(60, SLOTS), last_word(SLOTS)]
    record(record(tmp_path / "parts", 1, first) / "epochs/E0002", 2, second)
    merge(tmp_path / "parts")
    record(tmp_path / "one", 1, [*first, *second])
    same_files(tmp_path / "parts", tmp_path / "one", but=("capture.jsonl", "manifest.json"))
