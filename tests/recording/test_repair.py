"""Repair of what a dead process leaves: of one that is killed, and of recordings spoilt in one way after another."""

import asyncio
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from encoded_audio import encoded, grant, sine
from frames import HEADER, ZERO_MS, audio, granted, media, said, state, tree
from harness import read_jsonl, read_wav, same_files
from msgspec import structs
from processes import CREDENTIALS, RTMS, rtms, running
from terminals import Terminal

from rtms_cli.capture import Capture, capture_line
from rtms_cli.errors import Problem
from rtms_cli.machine import ChannelState, State
from rtms_cli.recording import ownership
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import Manifest, Stop
from rtms_cli.recording.ownership import LOCK, FolderLock, is_being_recorded, this_process
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.repair import repair, revoke, unfinished
from rtms_cli.simulator.media import mixed

SECOND_US = 1_000_000


def frames() -> list[object]:
    """Two seconds of sound, pictures and words."""
    made: list[object] = [granted(at_us=1)]
    for slot in range(100):
        pcm = mixed(1, slot * 320, 320, 16_000).tobytes()
        made.append(audio(pcm, ZERO_MS + 20 * slot, at_us=slot * 20_000 + 2))
        if slot % 20 == 0:
            made.append(
                media(15, b"\xff\xd8\xff\xe0%d\xff\xd9" % slot, ZERO_MS + 20 * slot, user_id=7, at_us=slot * 20_000 + 3)
            )
            made.append(media(17, f"line {slot}", ZERO_MS + 20 * slot, user_id=7, at_us=slot * 20_000 + 4))
    return made


def dead(folder: Path, *, process: str | None = None) -> Path:
    """A recording whose process went away after all was folded and before it was finished."""
    folder.mkdir()
    recorder = Recorder(folder, HEADER, process=process)
    recorder.fold(frames())  # type: ignore[arg-type]
    recorder.checkpoint()
    return folder


def whole(folder: Path) -> Path:
    """The same, finished as a replay finishes it."""
    folder.mkdir()
    recorder = Recorder(folder, HEADER)
    recorder.fold(frames())  # type: ignore[arg-type]
    recorder.close()
    return folder


SPOILT: dict[str, Callable[[Path], object]] = {
    "only the manifest is unfinished": lambda folder: None,
    "the sound is short": lambda folder: (folder / "audio/mixed.wav").write_bytes(
        (folder / "audio/mixed.wav").read_bytes()[:20_000]
    ),
    "the sound is not there": lambda folder: shutil.rmtree(folder / "audio"),
    "an index is torn": lambda folder: (folder / "video/7.mjpeg.index.jsonl").write_bytes(b'{"offset": 0'),
    "the transcript lacks its last line": lambda folder: (folder / "transcript.jsonl").write_bytes(
        (folder / "transcript.jsonl").read_bytes().rpartition(b'{"t"')[0]
    ),
    "there is no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "another repair was killed": lambda folder: shutil.copytree(folder / "audio", folder / ".repair/audio"),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_repair_makes_what_the_capture_knows_and_nothing_the_second_time(
    spoil: Callable[[Path], object], tmp_path: Path
) -> None:
    folder = dead(tmp_path / "dead")
    spoil(folder)
    done = repair(folder)
    assert (done.status, done.kept, done.problems, done.losses) == ("interrupted", (), (), 0)
    assert "manifest.json" in done.changed
    same_files(folder, whole(tmp_path / "whole"))
    before = tree(folder)
    assert repair(folder).changed == ()
    assert tree(folder) == before


def test_a_torn_last_line_costs_that_line_and_stays_in_the_capture(tmp_path: Path) -> None:
    folder = dead(tmp_path / "dead")
    with (folder / "capture.jsonl").open("ab") as capture:
        capture.write(b'{"at": 2.0, "ch": "media", "dir": "in", "data": {"msg_type": 14, "con')
    torn = (folder / "capture.jsonl").read_bytes()
    assert repair(folder).problems == ()
    assert (folder / "capture.jsonl").read_bytes() == torn
    same_files(folder, whole(tmp_path / "whole"), but=("capture.jsonl",))


def test_what_has_more_than_the_capture_is_kept_and_named(tmp_path: Path) -> None:
    folder = dead(tmp_path / "dead")
    lines = (folder / "capture.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "capture.jsonl").write_bytes(b"".join(lines[: len(lines) // 2]))
    (folder / "notes.txt").write_text("mine")
    sound = (folder / "audio/mixed.wav").read_bytes()
    done = repair(folder)
    assert "audio/mixed.wav" in done.kept
    assert (folder / "audio/mixed.wav").read_bytes() == sound
    assert (folder / "notes.txt").read_text() == "mine"
    warnings = [warned.text for warned in Manifest.read(folder).warnings]
    assert "audio/mixed.wav has more than the capture; it was kept" in warnings
    assert repair(folder).changed == ()


def put_beside(folder: Path) -> None:
    """What people put beside a recording: exports, a page, notes."""
    for name in ("export/dead.mp4", "export/dead.opus", "export/slides/slides.pdf", "page.html", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")


def test_what_people_put_beside_a_recording_is_not_of_it(tmp_path: Path) -> None:
    complete, interrupted = whole(tmp_path / "complete"), dead(tmp_path / "interrupted")
    without_manifest = dead(tmp_path / "without")
    (without_manifest / "manifest.json").unlink()
    for folder in (complete, interrupted, without_manifest):
        put_beside(folder)
    before = tree(complete)
    assert (repair(complete).changed, repair(complete).kept) == ((), ())
    assert tree(complete) == before
    for folder in (interrupted, without_manifest):
        assert repair(folder).kept == ()
        assert Manifest.read(folder).warnings == []
        assert (folder / "notes.txt").read_text() == "mine"
        assert repair(folder).changed == ()


def test_an_export_in_opus_is_not_taken_for_kept_packets(tmp_path: Path) -> None:
    folder = tmp_path / "opus"
    folder.mkdir()
    packets = encoded("opus", sine(48_000, 1.0))
    recorder = Recorder(folder, HEADER)
    recorder.fold([grant("opus"), *(audio(one, ZERO_MS + 20 * at) for at, one in enumerate(packets))])
    recorder.close()
    put_beside(folder)
    assert repair(folder).changed == ()


def test_several_recordings_are_repaired_by_name_or_by_the_folder_that_they_are_in(tmp_path: Path) -> None:
    place = tmp_path / "recordings"
    place.mkdir()
    one, other = dead(place / "20260101_one"), whole(place / "20260102_other")
    running_one = dead(place / "20260103_running")
    lock = FolderLock(running_one)
    lock.acquire()
    try:
        done = rtms("repair", "recordings/", cwd=tmp_path)
    finally:
        lock.release()
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(": ")[2] for line in done.stdout.splitlines() if "/2026" in line] == [
        "interrupted, 1 file repaired", "interrupted, nothing to repair", "being recorded, left alone",
    ]  # fmt: skip
    again = rtms("repair", "20260101", "latest", place, cwd=tmp_path)
    assert (again.returncode, again.stdout.count("20260101_one: interrupted, nothing to repair")) == (0, 1)
    assert again.stdout.count("20260103_running: interrupted, ") == 1
    assert (Manifest.read(one).status, Manifest.read(other).status) == ("interrupted", "interrupted")
    wrong = rtms("repair", "20260101", "2026", "nosuch", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "nothing to repair" in wrong.stdout
    assert "2026 is the beginning of 3 recordings" in wrong.stderr


def test_a_capture_stands_for_its_recording(tmp_path: Path) -> None:
    folder = dead(tmp_path / "r")
    done = rtms("repair", folder / "capture.jsonl", cwd=tmp_path)
    assert (done.returncode, Manifest.read(folder).status) == (0, "interrupted")
    (tmp_path / "notes.txt").write_text("mine")
    refused = rtms("repair", "notes.txt", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.splitlines()[0]) == (2, "error: notes.txt is not a recording's folder.")


def test_a_terminal_shows_short_names_and_what_to_do_next(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    dead(tmp_path / "recordings/20260101T000000Z_meeting_1234567890123456789012345678901234567890")
    terminal = Terminal([*RTMS, "repair", "latest"], tmp_path, 80, 24)
    assert terminal.end() == 0
    shown = [line for line in terminal.text.splitlines() if line]
    terminal.close()
    assert shown[-4:] == [
        "20260101T000000Z: interrupted, 1 file repaired",
        "  manifest.json",
        "Next: rtms show 20260101T000000Z     the summary and the verdict",
        "      rtms export 20260101T000000Z   files to play and read",
    ]


def test_a_full_disk_leaves_the_recording_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dead(tmp_path / "dead")
    before = tree(folder)

    def full(files: Files, name: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Files, "append", full)
    with pytest.raises(Problem, match="Is the disk full"):
        repair(folder)
    assert tree(folder) == before


def test_a_lock_that_may_not_be_read_is_anothers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may read recordings (`--mode 640`) may not read their locks; root, which tests may be, may."""

    def refused(path: Path, *_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("rtms_cli.recording.ownership.os.open", refused)
    assert is_being_recorded(tmp_path)


def test_what_is_being_recorded_is_left_alone(tmp_path: Path) -> None:
    """The lock tells, not who the manifest says: in a container every recorder is process 1 of some host."""
    live, folders = FolderLock(tmp_path / "0"), []
    for number, process in enumerate((this_process(), "1@another-host", this_process(), None)):
        folders.append(dead(tmp_path / str(number), process=process))
    live.acquire()
    (folders[1] / LOCK).touch()  # its process was killed
    (tmp_path / "4").mkdir()
    (tmp_path / "4/manifest.json").write_text("{}")
    assert [is_being_recorded(folder) for folder in folders] == [True, False, False, False]
    assert list(unfinished(tmp_path)) == folders[1:]
    before = tree(folders[0])
    with pytest.raises(Problem, match=f"is being recorded by process {this_process()}"):
        repair(folders[0])
    assert tree(folders[0]) == before
    live.release()
    assert not (folders[0] / LOCK).exists()
    for folder in folders:
        assert repair(folder).status == "interrupted"
        assert not (folder / LOCK).exists()
    assert list(unfinished(tmp_path)) == []


def test_a_manifest_that_nobody_can_read_is_no_crash(tmp_path: Path) -> None:
    """`listen` looks at all of them when it starts."""
    folder = dead(tmp_path / "dead")
    content = (folder / "manifest.json").read_text()
    deep = content.replace('"asked": {', '"asked": {"x": {"y": ' + "[" * 100_000 + "]" * 100_000 + "}, ", 1)
    for text in (deep, deep.replace("}, ", "", 1), "", "[]", "\0", content[:200]):
        (folder / "manifest.json").write_text(text)
        assert list(unfinished(tmp_path)) == []
        with pytest.raises(Problem, match=r"manifest.json cannot be read.*Move it away"):
            repair(folder)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
@pytest.mark.parametrize("is_revoked", [False, True], ids=["", "revoked"])
def test_what_is_made_anew_is_as_private_as_what_was_there(mode: int, is_revoked: bool, tmp_path: Path) -> None:
    (folder := tmp_path / "r").mkdir()
    recorder = Recorder(folder, HEADER, files=Files(folder, mode))
    recorder.fold(frames())  # type: ignore[arg-type]
    if is_revoked:
        recorder.fold([state(State.FINISHED, 3 * SECOND_US, "signaling", code=8, reason="8", status="revoked")])
    recorder.checkpoint()
    before = {path: path.stat().st_mode for path in folder.rglob("*")}
    shutil.rmtree(folder / "audio")
    (folder / "transcript.jsonl").unlink()
    (folder / "capture.jsonl").chmod(mode & 0o444)
    repair(folder)
    if not is_revoked:
        (folder / "capture.jsonl").chmod(mode)
    after = {path: path.stat().st_mode for path in folder.rglob("*")}
    assert after == {path: mode for path, mode in before.items() if not is_revoked or path.name == "manifest.json"}


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, time\n"
        "from rtms_cli.recording.ownership import FolderLock\n"
        "lock = FolderLock(pathlib.Path(sys.argv[1]))\n"
        "lock.acquire()\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_being_recorded(tmp_path)
        with pytest.raises(BlockingIOError):
            FolderLock(tmp_path).acquire()
        process.kill()
    assert not is_being_recorded(tmp_path)
    FolderLock(tmp_path).acquire()


def test_a_lock_on_a_file_that_was_removed_in_between_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one held the lock when we opened its file, and released it before we asked."""
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    asked: list[int] = []
    first.acquire()
    real = ownership._lock

    def late(descriptor: int) -> None:
        if not asked:
            first.release()
        asked.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(ownership, "_lock", late)
    second.acquire()
    assert len(asked) == 2
    monkeypatch.undo()
    assert is_being_recorded(tmp_path)
    with pytest.raises(BlockingIOError):
        first.acquire()
    second.release()


def test_of_repairs_at_once_each_is_done_or_says_that_another_one_is(tmp_path: Path) -> None:
    folder = dead(tmp_path / "dead")

    def outcome(_: int) -> str:
        try:
            return repair(folder).status
        except Problem as problem:
            return str(problem)

    with ThreadPoolExecutor(8) as several:
        outcomes = Counter(several.map(outcome, range(24)))
    assert outcomes.pop("interrupted") >= 1
    assert all("repaired by another one" in said for said in outcomes)
    assert repair(folder).changed == ()


@pytest.mark.parametrize("has_flock", [True, False])
def test_a_file_system_without_locks_takes_force(
    has_flock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if has_flock:
        monkeypatch.setattr("fcntl.flock", refuse)
    else:
        monkeypatch.setattr(ownership, "_HAS_LOCKS", False)
    (tmp_path / "live").mkdir()
    recorder = Recorder(tmp_path / "live", HEADER, lock=FolderLock(tmp_path / "live"))
    recorder.fold(frames())  # type: ignore[arg-type]
    assert list(unfinished(tmp_path)) == [tmp_path / "live"]
    with pytest.raises(Problem, match=r"without locks.*rtms repair --force"):
        repair(tmp_path / "live")
    recorder.close()
    assert repair(dead(tmp_path / "dead"), force=True).status == "interrupted"
    assert not list(tmp_path.rglob(LOCK))


@pytest.mark.parametrize("keep", [False, True])
def test_a_revoked_stream_leaves_only_a_manifest_unless_it_may_be_kept(keep: bool, tmp_path: Path) -> None:
    folder = tmp_path / "revoked"
    folder.mkdir()
    recorder = Recorder(folder, HEADER, keep_revoked=keep)
    recorder.fold(frames())  # type: ignore[arg-type]
    recorder.fold([state(State.FINISHED, 3 * SECOND_US, "signaling", code=8, reason="webhook", status="revoked")])
    assert len(tree(folder)) > 4
    before = set(tree(folder))
    recorder.close()
    manifest = Manifest.read(folder)
    assert manifest.status == "revoked"
    assert manifest.stop is not None
    assert manifest.stop.name == "STOP_BC_STREAM_REVOKED"
    if keep:
        assert set(tree(folder)) == before
        assert manifest.tracks
    else:
        assert set(tree(folder)) == {"manifest.json"}
        assert [path.name for path in folder.iterdir()] == ["manifest.json"]
        assert not manifest.tracks
        assert not manifest.participants
        assert "line 0" not in (folder / "manifest.json").read_text()
    assert repair(folder).changed == ()


def test_a_deletion_that_was_killed_is_made_up_for(tmp_path: Path) -> None:
    folder = dead(tmp_path / "dead")
    recorder = Recorder(tmp_path, HEADER)
    last = state(State.FINISHED, 3 * SECOND_US, "signaling", code=8, reason="webhook", status="revoked")
    recorder.fold([last])
    with (folder / "capture.jsonl").open("ab") as capture:
        capture.write((tmp_path / "capture.jsonl").read_bytes().splitlines(keepends=True)[1])
    assert repair(folder).status == "revoked"
    assert set(tree(folder)) == {"manifest.json"}


def test_a_deletion_is_not_finished_where_what_is_left_may_be_kept(tmp_path: Path) -> None:
    folder = dead(tmp_path / "r")
    manifest = Manifest.read(folder)
    manifest.status, manifest.tracks = "revoked", []
    (folder / "manifest.json").write_bytes(manifest.encode())
    before = tree(folder)
    assert repair(folder, keep_revoked=True).changed == ()
    assert tree(folder) == before
    assert "capture.jsonl" in repair(folder).changed
    assert set(tree(folder)) == {"manifest.json"}


def test_what_a_manifest_knew_and_the_capture_lacks_stays_in_it(tmp_path: Path) -> None:
    """The disk was full for the capture, and had room for the manifest."""
    (folder := tmp_path / "r").mkdir()
    files = FullDisk(folder)
    recorder = Recorder(folder, HEADER, files=files)
    recorder.fold([state(State.OPENING, 1, url="wss://a"), state(State.OPEN, 1), *frames()])  # type: ignore[list-item]
    files.refused = {"capture.jsonl"}
    joined = {"msg_type": 6, "event": {"event_type": 3, "participants": [{"user_id": 7, "user_name": "Ann"}]}}
    late = [said(joined, 9, "signaling"), said({"msg_type": 12, "timestamp": 1}, 9), state(State.CLOSED, 9, code=1006)]
    recorder.fold([*late, state(State.OPENING, 9, url="wss://a"), state(State.OPEN, 9)])
    recorder.checkpoint()
    before = Manifest.read(folder)
    assert [person.user_name for person in before.participants] == ["Ann"]
    repair(folder)
    after = Manifest.read(folder)
    assert (after.participants, after.messages, after.keep_alive) == (
        before.participants,
        before.messages,
        before.keep_alive,
    )
    assert (after.connections, after.connection_count) == (before.connections, 2)
    assert repair(folder).changed == ()


class FullDisk(Files):
    """A disk that refuses some files now and then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.refused: set[str] = set()

    def _open(self, name: str, flags: int) -> tuple[int, int]:
        if name.removesuffix(".part") in self.refused:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super()._open(name, flags)


def spoilt(folder: Path, refuse: Callable[[int], set[str]], *, close: bool = True) -> Path:
    """A recording that a disk refused something, batch by batch."""
    folder.mkdir()
    files = FullDisk(folder)
    recorder = Recorder(folder, HEADER, files=files)
    told = [*frames(), state(State.FINISHED, 3 * SECOND_US, "signaling", code=6, reason="8", status="complete")]
    for number, start in enumerate(range(0, len(told), 10)):
        files.refused = refuse(number)
        recorder.fold(told[start : start + 10])  # type: ignore[arg-type]
    files.refused = set()
    recorder.checkpoint()
    if close:
        recorder.close()
    return folder


@pytest.mark.parametrize("lost", [range(4, 7), range(1), range(3), range(8, 20), range(1, 20)], ids=str)
def test_a_finished_recording_stays_as_it_is_where_its_capture_has_losses(lost: range, tmp_path: Path) -> None:
    """A full disk often hits the capture first: it grows the fastest."""
    folder = spoilt(tmp_path / "r", lambda number: {"capture.jsonl"} if number in lost else set())
    before, manifest = tree(folder), Manifest.read(folder)
    assert (manifest.status, [loss.where for loss in manifest.losses]) == ("complete", ["capture.jsonl"])
    done = repair(folder)
    assert (done.status, done.changed, done.losses) == ("complete", (), 1)
    assert "audio/mixed.wav" in done.kept
    assert tree(folder) == before


def test_what_the_capture_has_and_a_file_lacks_is_filled_in_and_the_loss_stays(tmp_path: Path) -> None:
    names = {"audio/mixed.wav", "transcript.jsonl"}
    folder = spoilt(tmp_path / "r", lambda number: names if number in (2, 3, 4) else set())
    losses = Manifest.read(folder).losses
    assert {loss.where for loss in losses} == names
    done = repair(folder)
    assert set(done.changed) == names
    assert Manifest.read(folder).losses == losses
    (tmp_path / "good").mkdir()
    recorder = Recorder(tmp_path / "good", HEADER)
    recorder.fold(list(Capture(folder)))
    recorder.close()
    same_files(folder, tmp_path / "good", but=["manifest.json"])


@pytest.mark.parametrize("sound", [b"\0", b"\1"], ids=["nothing else", "at the end"])
def test_silence_that_was_sent_is_no_less_than_sound(sound: bytes, tmp_path: Path) -> None:
    (folder := tmp_path / "r").mkdir()
    recorder = Recorder(folder, HEADER)
    pcm = [(sound if slot < 20 else b"\0") * 640 for slot in range(100)]
    recorder.fold([granted(at_us=1), *(audio(one, ZERO_MS + 20 * at, at_us=at * 20_000) for at, one in enumerate(pcm))])
    recorder.fold([state(State.FINISHED, 3 * SECOND_US, "signaling", code=6, reason="8", status="complete")])
    recorder.close()
    lines = (folder / "capture.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "capture.jsonl").write_bytes(b"".join([*lines[:50], lines[-1]]))
    before = tree(folder)
    done = repair(folder)
    assert (done.changed, done.kept) == ((), ("audio/mixed.wav",))
    assert tree(folder) == before


def _link(path: Path, aside: Path, *, is_dangling: bool = False) -> None:
    if is_dangling:
        path.unlink()
    else:
        path.replace(aside)
    path.symlink_to(aside)


def _folder(path: Path, aside: Path) -> None:
    path.unlink()
    path.mkdir()


def _file(path: Path, aside: Path) -> None:
    path.replace(aside)
    path.write_text("mine")


LINKS: dict[str, Callable[[Path, Path], None]] = {
    "a link to the sound": _link,
    "a link to nothing": lambda sound, aside: _link(sound, aside, is_dangling=True),
    "a link to its folder": lambda sound, aside: _link(sound.parent, aside),
    "a folder": _folder,
    "a file for its folder": lambda sound, aside: _file(sound.parent, aside),
}


@pytest.mark.parametrize("move", LINKS.values(), ids=LINKS.keys())
def test_what_stands_in_a_files_place_is_left_alone_and_so_is_where_it_leads(
    move: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    folder, aside = dead(tmp_path / "r"), tmp_path / "aside"
    move(folder / "audio/mixed.wav", aside)
    (folder / "transcript.jsonl").unlink()
    for path in tmp_path.rglob("mixed.wav"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:20_000])
    before = tree(tmp_path)
    done = repair(folder)
    assert set(done.changed) == {"transcript.jsonl", "manifest.json"}
    assert "audio/mixed.wav" in done.kept
    after = tree(tmp_path)
    assert {name: after[name] for name in before if name != "r/manifest.json"} == {
        name: content for name, content in before.items() if name != "r/manifest.json"
    }
    assert repair(folder).changed == ()


def test_what_a_kill_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    folder = dead(tmp_path / "r")
    (folder / "manifest.json.part").write_bytes(b"{")
    (folder / "audio/mixed.wav.part").write_bytes(b"RIFF")
    (folder / "notes.part").write_text("mine")
    assert repair(folder).kept == ()
    assert (folder / "notes.part").read_text() == "mine"
    assert not list(folder.rglob("*.*.part"))


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_repair_that_was_killed_is_made_up_for(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"audio/mixed.wav", "transcript.jsonl"}
    refuse = lambda number: names if number in (2, 3, 4) else set()  # noqa: E731
    folder, other = spoilt(tmp_path / "r", refuse), spoilt(tmp_path / "other", refuse)
    for each in (folder, other):
        manifest = Manifest.read(each)
        for entry in manifest.tracks:
            entry.packets, entry.duration = entry.packets // 2, 0.5
        (each / "manifest.json").write_bytes(manifest.encode())
    repair(other)
    real, calls = Path.replace, []

    def replace(path: Path, target: Path) -> Path:
        calls.append(target)
        if len([call for call in calls if ".repair" not in str(call)]) > after:
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    try:
        repair(folder)
    except KeyboardInterrupt:
        pass
    monkeypatch.undo()
    repair(folder)
    same_files(folder, other)
    assert Manifest.read(folder).tracks == Manifest.read(other).tracks


@pytest.mark.parametrize("earlier_ms", [5, 10, 60, 700])
def test_a_zero_that_moved_is_no_reason_to_keep_what_lacks_its_end(earlier_ms: int, tmp_path: Path) -> None:
    """Two people speak, and the second one's first packet is from before the first one's."""
    told = [granted(at_us=1)]
    for at in range(50):
        for user, ms in ((7, 20 * at), (8, 20 * at - earlier_ms)):
            pcm = mixed(user, at * 320, 320, 16_000).tobytes()
            told.append(audio(pcm, ZERO_MS + ms, user_id=user, at_us=at * 20_000 + 2))
    for name in ("dead", "whole"):
        (tmp_path / name).mkdir()
        recorder = Recorder(tmp_path / name, HEADER)
        recorder.fold(told)
        recorder.checkpoint()
        if name == "whole":
            recorder.close()
    sound = tmp_path / "dead/audio/7.wav"
    sound.write_bytes(sound.read_bytes()[:20_000])
    assert repair(tmp_path / "dead").kept == ()
    same_files(tmp_path / "dead", tmp_path / "whole")


@pytest.mark.parametrize("lost", [range(2, 4), range(1), range(8, 10), range(2, 8)], ids=str)
def test_pictures_that_a_disk_refused_in_the_middle_are_put_back(lost: range, tmp_path: Path) -> None:
    folder = spoilt(tmp_path / "r", lambda number: {"video/7.mjpeg"} if number in lost else set(), close=False)
    good = spoilt(tmp_path / "good", lambda number: set())
    done = repair(folder)
    assert (done.kept, len(done.changed)) == ((), 3)
    same_files(folder, good, but=["manifest.json"])
    assert repair(folder).changed == ()


def _refused(by_batch: dict[int, set[str]], number: int) -> set[str]:
    return by_batch.get(number, set())


def test_pictures_stay_where_the_capture_lacks_one_or_the_index_is_not_to_be_trusted(tmp_path: Path) -> None:
    refused: tuple[dict[int, set[str]], ...] = ({4: {"capture.jsonl"}, 8: {"video/7.mjpeg"}}, {8: {"video/7.mjpeg"}})
    for number, refuse in enumerate(refused):
        folder = spoilt(tmp_path / str(number), partial(_refused, refuse), close=False)
        if number == 1:
            index = folder / "video/7.mjpeg.index.jsonl"
            index.write_bytes(index.read_bytes().replace(b'"offset":0', b'"offset":-1', 1))
        before = (folder / "video/7.mjpeg").read_bytes()
        assert "video/7.mjpeg" in repair(folder).kept
        assert (folder / "video/7.mjpeg").read_bytes() == before


@pytest.mark.parametrize("lost", [1, 60], ids=["what was granted", "all sound"])
def test_a_file_that_was_kept_is_described_as_it_is(lost: int, tmp_path: Path) -> None:
    (folder := tmp_path / "r").mkdir()
    packets = encoded("opus", sine(48_000, 1.0))
    recorder = Recorder(folder, HEADER)
    recorder.fold([grant("opus"), *(audio(one, ZERO_MS + 20 * at) for at, one in enumerate(packets[:20]))])
    recorder.checkpoint()
    before = Manifest.read(folder)
    recorder.fold([audio(one, ZERO_MS + 20 * at) for at, one in enumerate(packets) if at >= 20])
    lines = (folder / "capture.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "capture.jsonl").write_bytes(b"".join([lines[0], *lines[1 + lost :]]))
    done, after = repair(folder), Manifest.read(folder)
    if lost == 1:  # the packets tell what they are
        assert done.kept == ()
        [track] = after.tracks
        assert (track.codec, track.rate, track.assumed is not None) == ("OPUS", 48_000, True)
    else:
        assert "audio/mixed.wav" in done.kept
        assert (after.origin_ms, after.media, after.tracks) == (before.origin_ms, before.media, before.tracks)
    assert repair(folder).changed == ()


def test_a_tone_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    """The sound was cut, and the capture lacks just what is left of it; the same sound comes again later."""
    (folder := tmp_path / "r").mkdir()
    recorder = Recorder(folder, HEADER)
    pcm = b"\1\2" * 320
    recorder.fold([granted(at_us=1), *(audio(pcm, ZERO_MS + 20 * at, at_us=at * 20_000 + 2) for at in range(50))])
    recorder.fold([media(17, "said", ZERO_MS), state(State.FINISHED, SECOND_US, "signaling", status="complete")])
    recorder.close()
    lines = (folder / "capture.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "capture.jsonl").write_bytes(b"".join([*lines[:2], *lines[7:]]))
    sound = folder / "audio/mixed.wav"
    sound.write_bytes(sound.read_bytes()[: 80 + 5 * 640])
    before = heard(folder)
    assert "audio/mixed.wav" in repair(folder).kept
    assert heard(folder) == before


def heard(folder: Path) -> dict[int, int]:
    """Every sample of the mixed sound that is not zero, by its place on Zoom's clock."""
    (entry,) = (entry for entry in Manifest.read(folder).tracks if entry.kind == "audio")
    origin = Manifest.read(folder).origin_ms
    assert origin is not None
    assert entry.offset is not None
    _, samples = read_wav(folder / entry.path)
    start = round((origin + entry.offset * 1000) * 16)
    return {start + int(at): int(samples[at]) for at in np.flatnonzero(samples)}


def lines(folder: Path, name: str) -> set[str]:
    found = read_jsonl(folder / name) if (folder / name).exists() else []
    return {json.dumps({key: value for key, value in line.items() if key != "t"}) for line in found}


@pytest.mark.parametrize("close", [True, False], ids=["finished", "killed"])
@pytest.mark.parametrize("seed", range(12))
def test_repair_only_adds_whatever_a_disk_refused(seed: int, close: bool, tmp_path: Path) -> None:
    chance = random.Random(seed)
    names = ["audio/mixed.wav", "capture.jsonl", "transcript.jsonl", "video/7.mjpeg", "video/7.mjpeg.index.jsonl"]
    folder = spoilt(tmp_path / "r", lambda number: set(chance.sample(names, chance.choice((0, 0, 1, 2)))), close=close)
    manifest, sound, said = Manifest.read(folder), heard(folder), lines(folder, "transcript.jsonl")
    pictures = lines(folder, "video/7.mjpeg.index.jsonl")
    done = repair(folder)
    after, sound_after = Manifest.read(folder), heard(folder)
    assert sound.items() <= sound_after.items()
    assert said <= lines(folder, "transcript.jsonl")
    assert len(pictures) <= len(lines(folder, "video/7.mjpeg.index.jsonl"))
    assert {(loss.what, loss.where) for loss in manifest.losses} <= {(loss.what, loss.where) for loss in after.losses}
    *_, last = Capture(folder)
    is_known = (
        close
        or manifest.stop is not None
        or (isinstance(last.message, ChannelState) and last.message.state is State.FINISHED)
    )
    assert (done.status, after.status) == (("complete", "complete") if is_known else ("interrupted", "interrupted"))
    again = tree(folder)
    assert repair(folder).changed == ()
    assert tree(folder) == again


def test_what_began_earlier_than_the_capture_knows_keeps_its_zero(tmp_path: Path) -> None:
    """The capture lacks the beginning, the sound its middle: what is made again still begins where it began."""
    folder = spoilt(tmp_path / "r", lambda number: {0: {"capture.jsonl"}, 5: {"transcript.jsonl"}}.get(number, set()))
    (folder / "transcript.jsonl").unlink()
    repair(folder)
    t = {line["text"]: line["t"] for line in read_jsonl(folder / "transcript.jsonl")}
    assert t["line 40"] == 0.8


def test_a_manifest_that_ended_before_the_capture_did_is_renewed(tmp_path: Path) -> None:
    """Version 0.1.0 left it as it was when an interrupted recording went on."""
    folder = spoilt(tmp_path / "r", lambda number: set())
    manifest = Manifest.read(folder)
    manifest.status, manifest.ended_at, manifest.tracks = "interrupted", "2026-11-22T22:15:01.000Z", []
    (folder / "manifest.json").write_bytes(manifest.encode())
    assert repair(folder).changed == ("manifest.json",)
    again = Manifest.read(folder)
    assert (again.status, again.ended_at) == ("complete", "2026-11-22T22:15:03.000Z")
    assert [entry.path for entry in again.tracks] == ["audio/mixed.wav", "video/7.mjpeg", "transcript.jsonl"]


def test_a_zero_that_moved_in_the_last_moment_moves_all_files(tmp_path: Path) -> None:
    """The capture got a packet from before all others, and the process died before the files did."""
    folder = dead(tmp_path / "r")
    early = audio(mixed(1, 9_000, 320, 16_000).tobytes(), ZERO_MS - 500, at_us=3 * SECOND_US)
    before = heard(folder)
    with (folder / "capture.jsonl").open("ab") as capture:
        capture.write(capture_line(early))
    done = repair(folder)
    assert set(done.changed) == {"audio/mixed.wav", "transcript.jsonl", "manifest.json"}
    assert done.kept == ()
    assert before.items() < heard(folder).items()
    assert Manifest.read(folder).origin_ms == ZERO_MS - 500
    assert read_jsonl(folder / "transcript.jsonl")[0]["t"] == 0.5


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "not there"])
def test_a_repair_makes_the_encoded_packets_too(cut: bool, tmp_path: Path) -> None:
    packets = encoded("g711", sine(8_000, 1.0))
    told = [grant("g711"), *(audio(one, ZERO_MS + 20 * at, at_us=at * 20_000) for at, one in enumerate(packets))]
    for name in ("dead", "whole"):
        (tmp_path / name).mkdir()
        recorder = Recorder(tmp_path / name, HEADER, keep_encoded=True)
        recorder.fold(told)
        recorder.checkpoint()
        if name == "whole":
            recorder.close()
    if cut:
        (tmp_path / "dead/audio/mixed.alaw").write_bytes(b"".join(packets[:20]))
    else:
        shutil.rmtree(tmp_path / "dead/audio")
    assert repair(tmp_path / "dead").kept == ()
    same_files(tmp_path / "dead", tmp_path / "whole")


def test_a_recording_that_cannot_be_repaired_does_not_hold_up_the_others(tmp_path: Path) -> None:
    folders = [dead(tmp_path / name) for name in "abc"]
    for name in ("capture.jsonl", "manifest.json"):
        (folders[0] / name).unlink()
    empty = tmp_path / "empty"
    empty.mkdir()
    done = rtms("repair", empty, *folders, cwd=tmp_path)
    assert [Manifest.read(folder).status for folder in folders[1:]] == ["interrupted"] * 2
    assert done.returncode == 2
    assert done.stderr.count("error: Cannot read") == 1
    assert f"error: {empty} is empty: there is nothing to repair. Remove it." in done.stderr


@pytest.mark.parametrize("harm", ["missing", "empty", "torn"])
@pytest.mark.parametrize("reason", [None, 6, 13, 8])
def test_without_its_capture_a_recording_ends_as_its_manifest_knows(
    reason: int | None, harm: str, tmp_path: Path
) -> None:
    folder = dead(tmp_path / "dead")
    manifest = Manifest.read(folder)
    manifest.stop = None if reason is None else Stop(reason, "so", "a stop webhook")
    (folder / "manifest.json").write_bytes(manifest.encode())
    before = set(tree(folder))
    match harm:
        case "missing":
            (folder / "capture.jsonl").unlink()
        case "empty":
            (folder / "capture.jsonl").write_bytes(b"")
        case _:
            os.truncate(folder / "capture.jsonl", 10)
    assert list(unfinished(tmp_path)) == [folder]
    done = repair(folder)
    expected = {None: "interrupted", 6: "complete", 13: "interrupted", 8: "revoked"}[reason]
    manifest = Manifest.read(folder)
    assert (done.status, manifest.status, manifest.process) == (expected, expected, None)
    assert done.problems
    assert list(unfinished(tmp_path)) == []
    if reason == 8:
        assert set(tree(folder)) == {"manifest.json"}
    else:
        assert set(tree(folder)) == before - ({"capture.jsonl"} if harm == "missing" else set())
        assert [loss.where for loss in manifest.losses] == ["capture.jsonl"]
        assert manifest.ended_at is not None
        assert manifest.tracks


def test_a_folder_of_recordings_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "manifest.json").write_text("{}")
    with pytest.raises(Problem, match="has recordings in it"):
        repair(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_recording_that_has_begun_and_got_nothing_can_be_repaired(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    recorder = Recorder(tmp_path / "r", HEADER)
    recorder.begin()
    assert set(tree(tmp_path / "r")) == {"capture.jsonl", "manifest.json"}
    assert repair(tmp_path / "r").status == "interrupted"
    assert repair(tmp_path / "r").changed == ()


STOPPED = {
    "8 state": [said({"msg_type": 8, "state": 4, "reason": 8, "timestamp": ZERO_MS}, 3 * SECOND_US, "signaling")],
    "stop webhook": [
        said(
            {"event": "meeting.rtms_stopped", "payload": {"rtms_stream_id": "stream123==", "stop_reason": 8}},
            3 * SECOND_US,
            "webhook",
        )
    ],
}


@pytest.mark.parametrize("lost", [False, True], ids=["in the capture", "in the manifest only"])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("how", STOPPED)
def test_what_was_revoked_and_not_yet_deleted_is_deleted_by_repair(
    how: str, keep: bool, lost: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "dead"
    folder.mkdir()
    recorder = Recorder(folder, structs.replace(HEADER, verified=True))
    recorder.fold(frames())  # type: ignore[arg-type]
    size = (folder / "capture.jsonl").stat().st_size
    recorder.fold(STOPPED[how])
    recorder.checkpoint()
    if lost:
        os.truncate(folder / "capture.jsonl", size)
    done = repair(folder, keep_revoked=keep)
    manifest = Manifest.read(folder)
    assert (done.status, manifest.status) == ("revoked", "revoked")
    assert manifest.stop is not None
    assert manifest.stop.reason == 8
    assert set(tree(folder)) == {"manifest.json"} or keep
    assert bool(manifest.tracks) == keep
    assert repair(folder, keep_revoked=keep).changed == ()


def test_a_stop_that_only_the_manifest_knows_of_is_not_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "dead"
    folder.mkdir()
    recorder = Recorder(folder, HEADER)
    recorder.fold(frames())  # type: ignore[arg-type]
    size = (folder / "capture.jsonl").stat().st_size
    recorder.fold([said({"msg_type": 8, "state": 4, "reason": 6, "timestamp": ZERO_MS}, 3 * SECOND_US, "signaling")])
    recorder.checkpoint()
    os.truncate(folder / "capture.jsonl", size)
    assert repair(folder).status == "complete"
    stop = Manifest.read(folder).stop
    assert stop is not None
    assert stop.name == "STOP_BC_MEETING_ENDED"


def test_a_stream_that_is_revoked_after_its_end_is_deleted_wherever_it_was_recorded(tmp_path: Path) -> None:
    stop = Stop(8, "STOP_BC_STREAM_REVOKED", "a stop webhook")
    later = structs.replace(HEADER, created="2026-11-22T23:15:00.000Z")
    other = structs.replace(HEADER, rtms_stream_id="another")
    headers = {"one": HEADER, "two": HEADER, "later": later, "other": other, "live": HEADER}
    for name, header in headers.items():
        (tmp_path / name).mkdir()
        recorder = Recorder(tmp_path / name, header, lock=FolderLock(tmp_path / name))
        recorder.fold(frames())  # type: ignore[arg-type]
        if name != "live":
            recorder.close()
    (tmp_path / "no recording").mkdir()
    (tmp_path / "no recording/manifest.json").mkdir()
    (tmp_path / "two/audio/mixed.wav").unlink()
    event_ts = round(datetime.fromisoformat("2026-11-22T22:45:00Z").timestamp() * 1000)
    assert revoke(tmp_path, HEADER.rtms_stream_id, event_ts, stop) == [tmp_path / "one", tmp_path / "two"]
    for name in ("one", "two"):
        assert set(tree(tmp_path / name)) == {"manifest.json"}
        text = (tmp_path / name / "manifest.json").read_text()
        assert Manifest.read(tmp_path / name).status == "revoked"
        assert "line 0" not in text
    assert all((tmp_path / name / "audio/mixed.wav").exists() for name in ("later", "other", "live"))
    assert revoke(tmp_path, HEADER.rtms_stream_id, event_ts, stop) == []


def test_a_deletion_that_nobody_finished_is_named_to_whoever_listens_next(tmp_path: Path) -> None:
    folder = dead(tmp_path / "r")
    manifest = Manifest.read(folder)
    manifest.status, manifest.tracks = "revoked", []
    (folder / "manifest.json").write_bytes(manifest.encode())
    assert list(unfinished(tmp_path)) == [folder]
    repair(folder)
    assert list(unfinished(tmp_path)) == []


async def test_kill_9_costs_at_most_the_last_second_and_listen_offers_the_repair(tmp_path: Path) -> None:
    async with running("listen", "--port", "0", "--json", cwd=tmp_path, settings=CREDENTIALS) as listen:
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        arguments = ["--webhook", url, "--seconds", "60"]
        async with running("simulate", *arguments, cwd=tmp_path, settings=CREDENTIALS):
            await listen.line_with("CLIENT_READY_ACK")
            await listen.line_with("MEDIA_DATA_TRANSCRIPT")
            told = await listen.line_with("MEDIA_DATA_TRANSCRIPT")
            listen.process.send_signal(signal.SIGKILL)
            await listen.exit_code()
    (folder,) = (tmp_path / "recordings").iterdir()
    seen_s = json.loads(told)["at"]
    *_, last = Capture(folder)
    assert last.at_us / SECOND_US > seen_s - 1
    _, samples = read_wav(folder / "audio/mixed.wav")
    assert len(samples) / 16_000 > seen_s - 1
    assert np.array_equal(samples, mixed(3, 0, len(samples), 16_000))
    assert read_jsonl(folder / "transcript.jsonl")

    async with running("listen", "--port", "0", "--plain", cwd=tmp_path, settings=CREDENTIALS) as again:
        assert folder.name in await again.line_with("unfinished: rtms repair recordings/")
    done = await asyncio.to_thread(rtms, "repair", folder, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "interrupted" in done.stdout
    replayed = await asyncio.to_thread(rtms, "replay", folder, "--out", tmp_path / "again", cwd=tmp_path)
    assert replayed.returncode == 0
    (other,) = (tmp_path / "again").iterdir()
    same_files(folder, other, but=("capture.jsonl",))
