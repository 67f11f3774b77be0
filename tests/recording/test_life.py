"""A recording that ends and goes on: what is closed takes nothing, and a replay makes the same files."""

import fcntl
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import pytest
from encoded_audio import encoded, grant, sine
from frames import HEADER, ZERO_MS, audio, media, said, state, tree
from harness import same_files

from rtms_cli.capture import Capture
from rtms_cli.errors import Problem
from rtms_cli.machine import Direction, Frame, State
from rtms_cli.recording.audio import AudioTrack, audio_form
from rtms_cli.recording.encoded import OggTrack, PacketTrack
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.ownership import LOCK, FolderLock, is_being_recorded
from rtms_cli.recording.recorder import ClosedRecorderError, Recorder
from rtms_cli.recording.repair import repair, unfinished
from rtms_cli.recording.timeline import Segment
from rtms_cli.recording.track import ClosedTrackError, Track
from rtms_cli.recording.tracks import PictureTrack, TextTrack

SECOND_US = 1_000_000
JPG = b"\xff\xd8\xff\xe0picture\xff\xd9"

TRACKS: dict[type[Track], Callable[[], Track]] = {
    AudioTrack: lambda: AudioTrack("audio/1.wav", 1, None, audio_form(None), Segment(1, 0)),
    PictureTrack: lambda: PictureTrack("video", "video/1.mjpeg", 1, None, 5),
    TextTrack: lambda: TextTrack("chat"),
    OggTrack: lambda: OggTrack("audio/1.opus", 1, None, 1),
    PacketTrack: lambda: PacketTrack("encoded", "audio/1.alaw", 1, None, 2),
}


def every_track(base: type[Track] = Track) -> set[type[Track]]:
    return {kind for one in base.__subclasses__() for kind in {one, *every_track(one)}}


def test_what_is_closed_takes_nothing() -> None:
    assert set(TRACKS) == every_track()
    packet = encoded("opus", sine(48_000, 0.02))[0]
    for make in TRACKS.values():
        track = make()
        content: object = {"text": "x"} if isinstance(track, TextTrack) else packet
        track.add(ZERO_MS, content)
        track.close()
        track.close()
        with pytest.raises(ClosedTrackError):
            track.add(ZERO_MS + 20, content)
        assert track.packets == 1
        if track.can_reopen:
            track.reopen()
            track.add(ZERO_MS + 20, content)
            assert track.packets == 2
        else:
            with pytest.raises(ClosedTrackError):
                track.reopen()


def session(codec: str, number: int, status: str = "interrupted") -> list[Frame]:
    """A second of sound, a picture and words, and the last word of that session."""
    at_us, zero_ms = (10 * number + 1) * SECOND_US, ZERO_MS + 10_000 * number
    frames = [
        state(State.OPENING, at_us, "signaling", url="ws://zoom/s"),
        state(State.OPEN, at_us, "signaling"),
        state(State.OPEN, at_us, "media"),
        grant(codec),
        said({"msg_type": 7, "rtms_stream_id": "stream123=="}, at_us, "signaling", Direction.OUT),
    ]
    rate = {"opus": 48_000, "g711": 8_000}[codec]
    for index, packet in enumerate(encoded(codec, sine(rate, 1.0))):
        frames.append(audio(packet, zero_ms + 20 * index, at_us=at_us + 20_000 * index))
    frames += [
        media(15, JPG, zero_ms, user_id=7, at_us=at_us + SECOND_US),
        media(17, f"line {number}", zero_ms, user_id=7, at_us=at_us + SECOND_US),
        state(State.CLOSED, at_us + SECOND_US, "media", code=1000, ours=True),
        state(State.CLOSED, at_us + SECOND_US, "signaling", code=1006),
        state(State.FINISHED, at_us + SECOND_US, "signaling", code=13, reason="signaling", status=status),
    ]
    return frames


def live(folder: Path, sessions: Sequence[Sequence[Frame]]) -> Recorder:
    """Record sessions of one stream as a station does: closed after each, reopened for the next."""
    folder.mkdir()
    recorder = Recorder(folder, HEADER, keep_encoded=True, process="1@here", lock=FolderLock(folder))
    for number, frames in enumerate(sessions):
        if number:
            recorder.reopen()
        for start in range(0, len(frames), 7):
            recorder.fold(frames[start : start + 7])
        recorder.close()
        assert not recorder.is_open
    return recorder


@pytest.mark.parametrize("codec", ["opus", "g711"])
def test_an_interrupted_recording_goes_on_and_so_does_its_replay(codec: str, tmp_path: Path) -> None:
    live(tmp_path / "live", [session(codec, 0), session(codec, 1), session(codec, 2, "complete")])
    again = tmp_path / "again"
    again.mkdir()
    recorder = Recorder(again, HEADER, keep_encoded=True)
    for frame in Capture(tmp_path / "live"):
        recorder.fold([frame])
    recorder.close()
    same_files(tmp_path / "live", again)
    manifest = Manifest.read(again)
    assert (manifest.status, manifest.losses) == ("complete", [])
    sound = [(entry.path, entry.packets, entry.offset) for entry in manifest.tracks if entry.kind == "encoded"]
    if codec == "opus":
        assert sound == [("audio/mixed.opus", 50, 0), ("audio/mixed_2.opus", 50, 10), ("audio/mixed_3.opus", 50, 20)]
        for path, *_ in sound:
            with av.open(str(again / path)) as container:
                assert len([packet for packet in container.demux() if packet.size]) == 50
    else:
        assert sound == [("audio/mixed.alaw", 150, 0)]
    (wav,) = (entry for entry in manifest.tracks if entry.kind == "audio")
    assert (wav.packets, wav.duration, wav.gap_count) == (150, 21, 2)
    assert (again / "video/7.mjpeg").read_bytes() == 3 * JPG
    assert (again / "transcript.jsonl").read_text().count("\n") == 3


def test_a_closed_recorder_takes_no_frame(tmp_path: Path) -> None:
    recorder = live(tmp_path / "live", [session("g711", 0)])
    before = tree(tmp_path / "live")
    with pytest.raises(ClosedRecorderError):
        recorder.fold(session("g711", 1))
    assert tree(tmp_path / "live") == before


def test_without_a_last_word_there_is_no_going_on(tmp_path: Path) -> None:
    """The capture would not show where the session ended, and its replay could not end there."""
    recorder = live(tmp_path / "live", [session("g711", 0)[:-1]])
    with pytest.raises(Problem, match="without a last word"):
        recorder.reopen()


def test_a_recording_that_goes_on_says_so_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    recorder = live(folder, [session("g711", 0)])
    manifest = Manifest.read(folder)
    assert (manifest.status, manifest.process) == ("interrupted", None)
    assert manifest.stop is not None
    assert not (folder / LOCK).exists()
    recorder.reopen()
    assert recorder.snapshot().status == "recording"
    recorder.fold(session("g711", 1)[:3])
    recorder.checkpoint()
    manifest = Manifest.read(folder)
    assert (manifest.status, manifest.process, manifest.ended_at, manifest.stop) == ("recording", "1@here", None, None)
    assert is_being_recorded(folder)
    before = tree(folder)
    with pytest.raises(Problem, match="is being recorded by process 1@here"):
        repair(folder)
    assert tree(folder) == before
    recorder._lock.release()  # type: ignore[union-attr]  # killed here
    assert list(unfinished(tmp_path)) == [folder]
    assert repair(folder).status == "interrupted"


@pytest.mark.parametrize("what", ["locked", "gone", "repaired", "compressed"])
def test_a_recording_that_is_not_ours_any_more_does_not_go_on(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "live"
    recorder, other = live(folder, [session("g711", 0)]), FolderLock(folder)
    match what:
        case "locked":
            other.acquire()
        case "gone":
            shutil.rmtree(folder)
        case "repaired":
            (folder / "manifest.json").unlink()
            repair(folder)
        case _:
            (folder / "capture.jsonl").rename(folder / "capture.jsonl.gz")
    before = tree(tmp_path)
    with pytest.raises(Problem, match=r"cannot go on|is being recorded|cannot be recorded to"):
        recorder.reopen()
    assert tree(tmp_path) == before
    assert not recorder.is_open
    assert is_being_recorded(folder) == (what == "locked")
    other.release()


def test_who_only_looks_keeps_nobody_from_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`rtms ls` looks at the locks of all recordings, and one of them may begin at that moment."""
    descriptor = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # what a look does
    monkeypatch.setattr("time.sleep", lambda _: fcntl.flock(descriptor, fcntl.LOCK_UN))
    lock = FolderLock(tmp_path)
    lock.acquire()
    with pytest.raises(BlockingIOError):
        FolderLock(tmp_path).acquire()
    lock.release()
    os.close(descriptor)
