"""What disks and other people do to a recording while it grows."""

import errno
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, granted, media, state, tree
from harness import read_wav
from processes import running

from rtms_cli.capture import Capture
from rtms_cli.catalog.finding import newest
from rtms_cli.errors import Problem
from rtms_cli.inspection.reading import follow
from rtms_cli.machine import Frame, State
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.ownership import LOCK, ROOM_NBYTES, FolderLock, is_being_recorded
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.repair import repair, unfinished

JPG = b"\xff\xd8\xff\xe0picture\xff\xd9"
TRACKS = {"audio/mixed.wav", "video/1.mjpeg", "video/1.mjpeg.index.jsonl", "transcript.jsonl"}


def batch(number: int) -> list[Frame]:
    at_us, timestamp = number * 100_000, ZERO_MS + number * 100
    return [
        granted("media.audio", at_us),
        audio(bytes([number]) * 3200, timestamp, at_us=at_us),
        media(15, JPG, timestamp, user_id=1, at_us=at_us),
        media(17, f"sentence {number}", timestamp, user_id=1, at_us=at_us),
    ]


def recorder_in(folder: Path, files: Files | None = None) -> Recorder:
    folder.mkdir(exist_ok=True)
    return Recorder(folder, HEADER, files=files, lock=FolderLock(folder))


def finish(recorder: Recorder) -> Manifest:
    recorder.fold([state(State.FINISHED, 900_000, "signaling", status="complete", code=6)])
    recorder.close()
    return recorder.manifest()


def lost(manifest: Manifest) -> set[str]:
    return {loss.where for loss in manifest.losses}


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder_of_the_name(path: Path) -> None:
    (path / "full").mkdir(parents=True)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)  # the name of a socket must be short
        made.bind(path.name)


def link_elsewhere(path: Path) -> None:
    (path.parent / "elsewhere").write_text("not ours")
    path.symlink_to(path.parent / "elsewhere")


THINGS = [pipe, folder_of_the_name, bound_socket, link_elsewhere]


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("name", ["capture.jsonl", "audio/mixed.wav", "video/1.mjpeg", "transcript.jsonl"])
def test_what_is_no_file_is_never_written_to_and_holds_up_nothing(
    thing: Callable[[Path], None], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "live"
    recorder = recorder_in(folder)
    recorder.fold(batch(0))
    (folder / name).unlink()
    thing(folder / name)
    recorder.fold(batch(1))
    manifest = finish(recorder)
    assert name in lost(manifest)
    assert Manifest.read(folder) == manifest
    assert not any(path.read_text() != "not ours" for path in folder.rglob("elsewhere"))
    untouched = TRACKS - {name, f"{name}.index.jsonl"}
    whole = recorder_in(tmp_path / "whole")
    whole.fold([*batch(0), *batch(1)])
    finish(whole)
    here, there = tree(folder), tree(tmp_path / "whole")
    assert {path: here[path] for path in untouched} == {path: there[path] for path in untouched}


def test_a_file_in_the_place_of_the_folder_costs_what_comes_then(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    recorder = recorder_in(folder)
    recorder.fold(batch(0))
    shutil.rmtree(folder)
    folder.write_text("not ours")
    recorder.fold(batch(1))
    assert "capture.jsonl" in lost(finish(recorder))
    assert folder.read_text() == "not ours"


@pytest.mark.parametrize("name", ["manifest.json.part", "audio/mixed.wav.part"])
def test_what_stands_under_a_passing_name_is_not_followed(name: str, tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    (tmp_path / "mine").write_text("mine")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to(tmp_path / "mine")
    recorder.fold(batch(0))
    assert finish(recorder).losses == []
    assert (tmp_path / "mine").read_text() == "mine"
    assert len(read_wav(tmp_path / "audio/mixed.wav")[1]) == 1600


HARM: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 5),
    "replaced": lambda path: path.write_bytes(b"something else"),
    "grown": lambda path: path.write_bytes(path.read_bytes() + b"a line of somebody else\n"),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_capture_that_somebody_touches_goes_on_in_another_file(harm: str, tmp_path: Path) -> None:
    folder = tmp_path / "live"
    recorder = recorder_in(folder)
    for number in range(3):
        recorder.fold(batch(number))
    HARM[harm](folder / "capture.jsonl")
    for number in range(3, 6):
        recorder.fold(batch(number))
    manifest = finish(recorder)
    assert lost(manifest) == {"capture.jsonl"}
    assert Manifest.read(folder).losses == manifest.losses

    part = Capture(folder / "capture.2.jsonl")
    assert (part.header.part, part.header.rtms_stream_id) == (2, HEADER.rtms_stream_id)
    later = [frame.raw for frame in part]
    assert [json_line.raw for number in range(3, 6) for json_line in batch(number)] == later[:-1]
    capture = Capture(folder)
    read = [frame.raw for frame in capture]
    assert read[-len(later) :] == later
    said = " ".join(capture.problems)
    match harm:
        case "deleted":
            assert said == "capture.jsonl is not there any more"
        case "emptied" | "replaced":
            assert "capture.jsonl is not a capture" in said
        case "cut":
            assert (len(read), said) == (3 * 4 - 1 + len(later), "")
        case _:
            assert said == "capture.jsonl: line 14 is not a capture line"
    assert newest(tmp_path) == folder
    before = tree(folder)
    assert repair(folder).status == "complete"
    after = tree(folder)
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: content for name, content in before.items() if name != "manifest.json"
    }
    assert "capture.jsonl" in lost(Manifest.read(folder))


def test_a_capture_that_is_touched_twice_has_three_parts_and_loses_a_part_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    recorder = recorder_in(folder)
    recorder.fold(batch(0))
    (folder / "capture.jsonl").unlink()
    recorder.fold(batch(1))
    (folder / "capture.2.jsonl").write_bytes(b"")
    recorder.fold(batch(2))
    finish(recorder)
    (folder / "capture.3.jsonl").rename(folder / "capture.3.jsonl.part")
    with pytest.raises(Problem, match="is not a capture"):
        Capture(folder)
    (folder / "capture.3.jsonl.part").rename(folder / "capture.3.jsonl")
    assert len(list(Capture(folder))) == 5
    shutil.copy(folder / "capture.3.jsonl", folder / "capture.2.jsonl")
    other = (folder / "capture.2.jsonl").read_text().replace("stream123", "stream124")
    (folder / "capture.2.jsonl").write_text(other)
    (folder / "capture.3.jsonl").rename(folder / "capture.jsonl")
    capture = Capture(folder)
    assert len(list(capture)) == 5
    assert any("another recording" in problem for problem in capture.problems)


def somebody_elses_file(path: Path) -> None:
    path.write_text("not ours")


@pytest.mark.parametrize("thing", [*THINGS, somebody_elses_file])
def test_a_new_part_of_a_capture_takes_a_name_that_nobody_has(
    thing: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "live"
    recorder = recorder_in(folder)
    recorder.fold(batch(0))
    recorder.fold(batch(1))
    thing(folder / "capture.2.jsonl")
    todo: list[Callable[[], object]] = [
        lambda: (folder / "capture.jsonl").write_bytes(HEADER.line()),
        lambda: recorder.fold(batch(2)),
        lambda: finish(recorder),
    ]
    followed = list(follow(Capture(folder / "capture.jsonl"), lambda: todo.pop(0)()))
    assert (len(followed), todo) == (3 * 4 + 1, [])
    assert lost(Manifest.read(folder)) == {"capture.jsonl"}
    assert [frame.raw for frame in Capture(folder)][:4] == [frame.raw for frame in batch(2)]
    assert repair(folder).status == "complete"


def test_who_follows_a_capture_follows_its_parts(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    recorder.fold(batch(0))
    todo: list[Callable[[], object]] = [
        lambda: recorder.fold(batch(1)),
        lambda: os.truncate(tmp_path / "capture.jsonl", 10),
        lambda: recorder.fold(batch(2)),
        lambda: finish(recorder),
    ]
    lines = list(follow(Capture(tmp_path), lambda: todo.pop(0)()))
    assert len(lines) == 3 * 4 + 1
    assert not todo


@pytest.mark.parametrize("harm", ["deleted", "emptied", "cut", "replaced", "grown"])
@pytest.mark.parametrize("name", sorted(TRACKS))
def test_a_file_that_somebody_touches_goes_on_and_is_a_loss(name: str, harm: str, tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    recorder.fold(batch(1))
    HARM[harm](tmp_path / name)
    recorder.fold(batch(2))
    manifest = finish(recorder)
    assert lost(manifest) == {name}
    capture = Capture(tmp_path)
    assert len(list(capture)) == 9
    assert capture.problems == []
    _, samples = read_wav(tmp_path / "audio/mixed.wav")
    assert len(samples) == 3200 if harm != "grown" or name != "audio/mixed.wav" else len(samples) >= 3200
    assert set(samples[1600:3200]) == {0x0202}
    assert '"sentence 2"' in (tmp_path / "transcript.jsonl").read_text().splitlines()[-1]
    last = (tmp_path / "video/1.mjpeg.index.jsonl").read_text().splitlines()[-1]
    assert (tmp_path / "video/1.mjpeg").read_bytes()[json.loads(last)["offset"] :] == JPG


def test_a_folder_of_media_that_somebody_deletes_is_made_again(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    recorder.fold(batch(1))
    shutil.rmtree(tmp_path / "audio")
    recorder.fold(batch(2))
    assert lost(finish(recorder)) == {"audio/mixed.wav"}
    assert set(read_wav(tmp_path / "audio/mixed.wav")[1][1600:]) == {0x0202}
    assert repair(tmp_path).changed[0] == "audio/mixed.wav"
    assert set(read_wav(tmp_path / "audio/mixed.wav")[1]) == {0x0101, 0x0202}


class Full(Files):
    """A disk that takes nothing more from some moment on."""

    code: int | None = None

    def _open(self, name: str, flags: int) -> tuple[int, int]:
        if self.code is not None:
            raise OSError(self.code, os.strerror(self.code))
        return super()._open(name, flags)


@pytest.mark.parametrize("people", [1, 400])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_the_last_word_takes_no_room_and_no_new_file(code: int, people: int, tmp_path: Path) -> None:
    files = Full(tmp_path)
    recorder = recorder_in(tmp_path, files)
    recorder.fold([media(17, "hello", ZERO_MS, user_id=person, user_name="x" * 80) for person in range(people)])
    recorder.fold([audio(bytes(640), ZERO_MS, user_id=person) for person in range(people)])
    recorder.checkpoint()
    kept = (tmp_path / LOCK).stat()
    assert kept.st_size >= ROOM_NBYTES
    inodes = {path.stat().st_ino for path in tmp_path.rglob("*")}
    files.code = code
    recorder.fold(batch(1))
    recorder.checkpoint()
    assert Manifest.read(tmp_path).status == "recording"
    assert finish(recorder) == Manifest.read(tmp_path)
    manifest = Manifest.read(tmp_path)
    assert (manifest.status, recorder.manifest_error) == ("complete", None)
    assert {"capture.jsonl", "manifest.json", "audio/mixed.wav"} <= lost(manifest)
    assert not (tmp_path / LOCK).exists()
    assert {path.stat().st_ino for path in tmp_path.rglob("*")} <= inodes
    assert len(manifest.encode()) < kept.st_size
    assert not is_being_recorded(tmp_path)


def test_room_for_the_last_word_is_kept_as_soon_as_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    recorder = recorder_in(tmp_path)
    recorder.fold(batch(0))
    assert (tmp_path / LOCK).stat().st_size == 0
    monkeypatch.undo()
    recorder.checkpoint()
    assert (tmp_path / LOCK).stat().st_size >= ROOM_NBYTES
    finish(recorder)


def with_its_lock(folder: Path) -> None:
    (folder / LOCK).unlink()


def with_all_of_it(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.mkdir()


@pytest.mark.parametrize("away", [with_its_lock, with_all_of_it])
def test_a_lock_that_somebody_takes_away_is_taken_again(away: Callable[[Path], None], tmp_path: Path) -> None:
    folder = tmp_path / "live"
    recorder = recorder_in(folder)
    recorder.fold(batch(0))
    away(folder)
    another = FolderLock(folder)
    another.acquire()
    recorder.fold(batch(1))
    recorder.checkpoint()
    another.release()
    assert not is_being_recorded(folder)
    recorder.checkpoint()
    with pytest.raises(Problem, match="is being recorded"):
        repair(folder)
    assert (folder / LOCK).stat().st_size >= ROOM_NBYTES
    assert finish(recorder).status == "complete"
    assert not is_being_recorded(folder)
    assert not (folder / LOCK).exists()


@pytest.mark.parametrize("thing", THINGS)
def test_what_stands_in_a_locks_place_is_no_lock(
    thing: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "left"
    recorder = recorder_in(folder)
    recorder.fold(batch(0))
    (folder / LOCK).unlink()
    thing(folder / LOCK)
    assert list(unfinished(tmp_path)) == [folder]


def test_a_last_word_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    recorder = recorder_in(folder)
    recorder.fold(batch(0))
    shutil.rmtree(folder)
    recorder.fold(batch(1))
    manifest = finish(recorder)
    assert {"capture.jsonl", "audio/mixed.wav", "transcript.jsonl", "manifest.json"} <= lost(manifest)
    assert isinstance(recorder.manifest_error, FileNotFoundError)
    assert not folder.exists()


def test_a_recording_that_goes_on_when_the_disk_is_full_says_so_with_its_next_frames(tmp_path: Path) -> None:
    files = Full(tmp_path)
    recorder = recorder_in(tmp_path, files)
    recorder.fold(batch(0))
    recorder.fold([state(State.FINISHED, 5, "signaling", status="interrupted", code=12)])
    recorder.close()
    files.code = errno.ENOSPC
    recorder.reopen()
    assert Manifest.read(tmp_path).status == "interrupted"
    files.code = None
    recorder.fold(batch(1))
    assert Manifest.read(tmp_path).status == "recording"


@pytest.mark.parametrize("view", ["--plain", "--json"])
@pytest.mark.parametrize("what", ["gone", "moved", "manifest"])
async def test_a_recording_that_somebody_takes_away_ends_with_the_truth(what: str, view: str, tmp_path: Path) -> None:
    async with running("demo", "--seconds", "2", "--media", "audio", "--out", "out", view, cwd=tmp_path) as demo:
        await demo.line_with("PARTICIPANT_JOIN")
        folder = next((tmp_path / "out").iterdir())
        match what:
            case "gone":
                shutil.rmtree(folder)
            case "moved":
                folder.rename(tmp_path / "moved")
            case _:
                (folder / "manifest.json").unlink(missing_ok=True)
                (folder / "manifest.json").mkdir()
        assert await demo.exit_code() == 5
    said = "\n".join(demo.lines)
    assert "Traceback" not in said
    assert "manifest.json does not say how this ended" in said
    assert "could not be written" in said
