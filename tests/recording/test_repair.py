"""Repair of what a dead process leaves: of one that is killed, and of recordings spoilt in one way after another."""

import asyncio
import errno
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from frames import HEADER, ZERO_MS, audio, granted, media, state, tree
from harness import read_jsonl, read_wav, same_files
from processes import CREDENTIALS, rtms, running

from rtms_cli.capture import Capture
from rtms_cli.errors import Problem
from rtms_cli.machine import State
from rtms_cli.recording import ownership
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.ownership import LOCK, FolderLock, is_being_recorded, this_process
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.repair import repair, unfinished
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
    assert set(done.kept) >= {"audio/mixed.wav", "notes.txt"}
    assert (folder / "audio/mixed.wav").read_bytes() == sound
    assert (folder / "notes.txt").read_text() == "mine"
    warnings = [warned.text for warned in Manifest.read(folder).warnings]
    assert "audio/mixed.wav has more than the capture; it was kept" in warnings
    assert repair(folder).changed == ()


def test_a_full_disk_leaves_the_recording_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dead(tmp_path / "dead")
    before = tree(folder)

    def full(files: Files, name: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Files, "append", full)
    with pytest.raises(Problem, match="Is the disk full"):
        repair(folder)
    assert tree(folder) == before


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
