"""A recording as an object: its tracks as arrays, its lines as values, and what is not as it should be."""

import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from frames import HEADER, ZERO_MS, audio, granted, media, said
from harness import read_wav

from rtms_cli import AudioTrack, Capture, Direction, PictureTrack, Problem, Recording
from rtms_cli.library.sound import read_form
from rtms_cli.machine import Frame
from rtms_cli.protocol.numbers import MeetingEvent
from rtms_cli.recording.audio import audio_form, wav_header
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import Recorder

ANNA, BERND = 16778240, 16779264
JPEG = b"\xff\xd8\xff\xe0 a picture"


def tone(packet: int) -> bytes:
    return np.arange(packet * 320, packet * 320 + 320).astype("<i2").tobytes()


def frames() -> list[Frame]:
    people = [(ANNA, "Anna", range(4)), (BERND, "Bernd", range(2, 5))]
    sound = [
        audio(tone(number), ZERO_MS + number * 20, user_id=user, user_name=name, at_us=number * 20_000)
        for user, name, numbers in people
        for number in numbers
    ]
    joined = {
        "event_type": MeetingEvent.PARTICIPANT_JOIN,
        "timestamp": ZERO_MS,
        "participants": [{"user_id": ANNA, "user_name": "Anna"}],
    }
    return sorted(
        [
            granted(),
            *sound,
            media(15, JPEG, ZERO_MS + 10, user_id=ANNA, user_name="Anna", at_us=90_000),
            media(15, JPEG + b"2", ZERO_MS + 50, user_id=ANNA, user_name="Anna", at_us=91_000),
            media(17, "Hello.", ZERO_MS + 30, user_id=ANNA, user_name="Anna", at_us=92_000, start_time=1, end_time=2),
            media(18, "Hi!", ZERO_MS + 40, user_id=BERND, user_name="Bernd", at_us=93_000),
            said({"msg_type": 6, "event": joined}, 94_000, "signaling"),
        ],
        key=lambda frame: frame.at_us,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recording"
    folder.mkdir()
    recorder = Recorder(folder, HEADER)
    recorder.fold(frames())
    recorder.close()
    return folder


def test_sound_is_that_of_the_file(folder: Path) -> None:
    recording = Recording(str(folder))
    assert recording.problems == []
    for user, name, start, count in ((ANNA, "Anna", 0, 4), (BERND, "Bernd", 2, 3)):
        track = recording.audio(user)
        assert recording.audio(name.upper()) is recording.audio(str(user)) is track
        assert (track.rate, track.channels, track.user_id, track.user_name) == (16000, 1, user, name)
        rate, samples = read_wav(track.path)
        assert rate == track.rate
        assert track.samples.dtype == np.int16
        assert np.array_equal(track.samples, samples)
        assert np.array_equal(track.samples[start * 320 :], np.arange(start * 320, (start + count) * 320))
        assert track.samples is track.samples
        assert track.seconds == len(samples) / 16000
        assert track.offset == 0.0
        with pytest.raises(ValueError, match="read-only"):
            track.samples[0] = 1


def test_pictures_come_by_the_index(folder: Path) -> None:
    video = Recording(folder).video()
    for _ in range(2):
        first, second = video
        assert (first.kind, first.data, first.codec, first.timestamp) == ("video", JPEG, "JPG", ZERO_MS + 10)
        assert (second.data, second.timestamp) == (JPEG + b"2", ZERO_MS + 50)
        assert first.is_key
        assert (first.user_id, first.user_name) == (ANNA, "Anna")


def test_lines_are_values(folder: Path) -> None:
    recording = Recording(folder)
    for _ in range(2):
        (said,) = recording.transcript
        assert (said.text, said.user_id, said.user_name, said.timestamp) == ("Hello.", ANNA, "Anna", ZERO_MS + 30)
        assert (said.t, said.start_time, said.end_time, said.attribute) == (0.03, 1, 2, "")
        (written,) = recording.chat
        assert (written.text, written.user_name, written.operation) == ("Hi!", "Bernd", "")
        (event,) = recording.events
        assert (event.name, event.timestamp) == ("PARTICIPANT_JOIN", ZERO_MS)
        assert event.fields["participants"] == [{"user_id": ANNA, "user_name": "Anna"}]


def test_the_rest_is_the_manifest(folder: Path) -> None:
    recording = Recording(folder)
    manifest = Manifest.read(folder)
    assert recording.manifest == manifest
    assert recording.status == manifest.status
    assert [one.user_name for one in recording.participants] == ["Anna", "Bernd"]
    kinds = [(track.kind, type(track)) for track in recording.tracks]
    assert kinds.count(("audio", AudioTrack)) == 2
    assert kinds.count(("video", PictureTrack)) == 1
    assert {kind for kind, _ in kinds} == {"audio", "video", "transcript", "chat", "events"}
    assert [track.path for track in recording.tracks] == [folder / track.path for track in manifest.tracks]


def test_who_is_not_there_is_named(folder: Path) -> None:
    recording = Recording(folder)
    with pytest.raises(Problem) as caught:
        recording.audio()
    assert caught.value.what == f"{folder} has no audio of everyone."
    assert caught.value.remedy == "There is that of Anna, Bernd."
    with pytest.raises(Problem, match="has no video of"):
        recording.video("Carla")
    with pytest.raises(Problem, match="has no share of everyone"):
        recording.share()


@pytest.mark.parametrize("what", ["nothing", "a file", "no manifest", "a broken manifest"])
def test_what_is_no_recording_is_a_problem(what: str, tmp_path: Path) -> None:
    path = tmp_path / "it"
    if what == "a file":
        path.write_bytes(b"")
    elif what != "nothing":
        path.mkdir()
    if what == "a broken manifest":
        (path / "manifest.json").write_text("{")
    with pytest.raises(Problem) as caught:
        Recording(path)
    assert str(path) in caught.value.what
    assert caught.value.remedy


def test_a_wav_file_that_was_cut_has_what_is_left(folder: Path) -> None:
    path = Recording(folder).audio(ANNA).path
    os.truncate(path, 80 + 2 * 500 + 1)
    track = Recording(folder).audio(ANNA)
    assert np.array_equal(track.samples, np.arange(500))
    os.truncate(path, 80)
    assert Recording(folder).audio(ANNA).samples.shape == (0,)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is not a WAV file"),
        (b"RIFF\0\0\0\0AVI ", "it is not a WAV file"),
        (b"RIFF\0\0\0\0WAVE", "it has no samples"),
        (b"RIFF\0\0\0\0WAVEdata\4\0\0\0\0\0\0\0", "it has no samples"),
        (b"RIFF\0\0\0\0WAVE" + b"JUNK\0\0\0\0" * 1000, "it has no samples"),
        (wav_header(audio_form(None), 4).replace(b"\x10\0data", b"\x20\0data") + b"1234", "32 bits"),
        (
            wav_header(audio_form(None), 4).replace(struct.pack("<I", 16000), bytes(4), 1) + b"1234",
            "its sampling rate is 0 Hz",
        ),
    ],
)
def test_a_file_that_is_no_wav_file_is_a_problem(content: bytes, why: str, folder: Path) -> None:
    path = Recording(folder).audio(ANNA).path
    path.write_bytes(content)
    track = Recording(folder).audio(ANNA)
    with pytest.raises(Problem, match=why) as caught:
        _ = track.samples
    assert str(path) in caught.value.what


def test_a_file_of_more_than_4_gb(tmp_path: Path) -> None:
    nbytes = 5 << 30
    with (tmp_path / "long.wav").open("wb+") as file:
        file.write(wav_header(audio_form(None), nbytes))
        file.truncate(80 + nbytes)
        file.seek(0)
        form = read_form(file)
    assert (form.rate, form.channels, form.start, form.nbytes) == (16000, 1, 80, nbytes)


def test_stereo_has_two_columns(folder: Path) -> None:
    path = Recording(folder).audio(ANNA).path
    header = (
        wav_header(audio_form(None), 8)
        .replace(b"\1\0\1\0\x80\x3e", b"\1\0\2\0\x80\x3e")
        .replace(b"\2\0\x10\0data", b"\4\0\x10\0data")
    )
    path.write_bytes(header + np.array([1, -1, 2, -2], "<i2").tobytes())
    track = Recording(folder).audio(ANNA)
    assert track.channels == 2
    assert track.samples.tolist() == [[1, -1], [2, -2]]


def test_a_file_outside_is_left_out(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    shutil.copy(Recording(folder).audio(ANNA).path, secret)
    path = Recording(folder).audio(ANNA).path
    path.unlink()
    path.symlink_to(secret)
    recording = Recording(folder)
    assert [track.user_id for track in recording.tracks if track.kind == "audio"] == [BERND]
    assert any("symbolic link" in problem for problem in recording.problems)


def test_a_link_that_takes_a_track_s_place_later_is_not_followed(folder: Path, tmp_path: Path) -> None:
    track = Recording(folder).audio(ANNA)
    shutil.copy(track.path, tmp_path / "secret.wav")
    track.path.unlink()
    track.path.symlink_to(tmp_path / "secret.wav")
    with pytest.raises(Problem, match="symbolic link"):
        _ = track.samples


def test_lines_that_are_not_as_they_should_be(folder: Path) -> None:
    odd = b'{"t":"x","timestamp":[],"text":[1],"language":3,"start_time":1.5}\nnonsense\n'
    (folder / "transcript.jsonl").write_bytes(odd)
    recording = Recording(folder)
    (line,) = recording.transcript
    assert (line.t, line.timestamp, line.text, line.language) == (None, None, "", None)
    assert line.start_time is None
    assert any("1 line of transcript.jsonl could not be read" in problem for problem in recording.problems)


def test_a_damaged_index_is_a_problem_behind_what_is_good(folder: Path) -> None:
    video = Recording(folder).video()
    index = Path(f"{video.path}.index.jsonl")
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(lines[0] + b"nonsense\n" + lines[1])
    pictures = iter(video)
    assert next(pictures).data == JPEG
    with pytest.raises(Problem, match="is damaged"):
        next(pictures)


def test_a_capture_gives_its_frames(folder: Path) -> None:
    capture = Capture(str(folder / "capture.jsonl"))
    found = [(frame.at_us, frame.channel, frame.direction, frame.raw) for frame in capture]
    assert found == [(frame.at_us, frame.channel, Direction.IN, frame.raw) for frame in frames()]
    assert capture.header == HEADER
    with pytest.raises(Problem, match="Cannot read"):
        Capture(folder / "no such file")
