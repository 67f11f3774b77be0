"""`rtms export` of recordings that the recorder made: real codecs in, real codecs out, an independent reader."""

import csv
import errno
import json
import os
import re
import resource
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
import pyarrow.parquet
import pytest
import soundfile
from frames import HEADER, ZERO_MS, audio, granted, media, said
from processes import RTMS, environment, rtms
from terminals import Terminal

from rtms_cli.errors import Problem
from rtms_cli.export.audio import everybody, export_audio
from rtms_cli.export.files import atomic_file as whole
from rtms_cli.export.source import open_recording
from rtms_cli.machine import Frame
from rtms_cli.recording.recorder import Recorder
from rtms_cli.simulator.media import mixed

RATE = 16_000
VIDEO: dict[str, object] = {"content_type": 3, "codec": 7, "resolution": 2, "data_opt": 3, "fps": 25}
SHARE: dict[str, object] = {"content_type": 3, "codec": 5, "resolution": 3, "fps": 1}
ANN, BOB = 7, 8


def numbered(number: int, size: tuple[int, int] = (256, 144)) -> npt.NDArray[np.uint8]:
    """A picture with a number burnt in: eight bits as black and white stripes."""
    stripes = [255 if number >> bit & 1 else 0 for bit in range(8)]
    row = np.repeat(np.array(stripes, np.uint8), size[0] // 8)
    return np.repeat(np.repeat(row[None, :, None], size[1], axis=0), 3, axis=2)


def number_of(frame: Any) -> int:
    """The number in a picture."""
    grey = frame.reformat(format="gray").to_ndarray()
    height, width = grey.shape
    return sum(int(grey[height // 2, width * (2 * bit + 1) // 16] > 128) << bit for bit in range(8))


def h264(numbers: range, size: tuple[int, int] = (256, 144), every: int = 10) -> list[bytes]:
    """Access units, with a key frame each `every`."""
    context = cast("Any", av.CodecContext.create("libx264", "w"))
    context.width, context.height, context.pix_fmt = *size, "yuv420p"
    context.time_base = Fraction(1, 25)
    context.options = {"tune": "zerolatency", "x264opts": f"keyint={every}:scenecut=0"}
    units = []
    for at, number in enumerate(numbers):
        frame = av.VideoFrame.from_ndarray(numbered(number, size), format="rgb24")
        frame.pts = at
        units += [bytes(packet) for packet in context.encode(frame)]
    return units


def with_start_codes(unit: bytes) -> list[bytes]:
    """The NAL units of an access unit as Zoom sends it (Annex B)."""
    return [part.rstrip(b"\0") for part in unit.split(b"\0\0\1")[1:]]


def with_lengths(packet: bytes) -> Iterator[bytes]:
    """The same as containers keep it."""
    while packet:
        size = int.from_bytes(packet[:4], "big")
        yield packet[4 : 4 + size].rstrip(b"\0")
        packet = packet[4 + size :]


def jpeg(number: int) -> bytes:
    context = cast("Any", av.CodecContext.create("mjpeg", "w"))
    context.width, context.height, context.pix_fmt, context.time_base = 256, 144, "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def tone(hertz: int, start_ms: int, count_ms: int = 20, level: float = 0.5) -> bytes:
    time = np.arange(start_ms * RATE // 1000, (start_ms + count_ms) * RATE // 1000) / RATE
    return (level * 32_767 * np.sin(2 * np.pi * hertz * time)).astype("<i2").tobytes()


def sentence(text: str, start_ms: int, end_ms: int, user: int | None, **fields: object) -> Frame:
    body = {"user_id": user, "data": text, "timestamp": ZERO_MS + end_ms, "start_time": ZERO_MS + start_ms, **fields}
    return said({"msg_type": 17, "content": body | {"end_time": ZERO_MS + end_ms}})


def event(kind: int, at_ms: int, user: int, name: str) -> Frame:
    person = {"user_id": user, "user_name": name}
    body = {"event_type": kind, "timestamp": ZERO_MS + at_ms, "participants": [person]}
    return said({"msg_type": 6, "event": body}, channel="signaling")


def made(folder: Path, frames: list[Frame], **params: dict[str, object]) -> Path:
    """A recording of these frames."""
    folder.mkdir()
    recorder = Recorder(folder, HEADER)
    recorder.fold([granted(**params), *frames])  # type: ignore[arg-type]  # kinds of media, no more
    recorder.close()
    return folder


def exported(recording: Path, *arguments: str | Path, code: int = 0) -> list[Path]:
    done = rtms("export", recording, *arguments, "--json", cwd=recording.parent)
    assert done.returncode == code, done.stderr
    return [Path(path) for path in json.loads(done.stdout)["files"]]


def pictures(path: Path) -> list[tuple[float, int]]:
    """When each picture of a film is to be seen, and its number."""
    with av.open(str(path)) as container:
        return [(round(float(frame.time or 0), 3), number_of(frame)) for frame in container.decode(video=0)]


@pytest.fixture
def meeting(tmp_path: Path) -> Path:
    """Four seconds: two participants' cameras one after the other, mixed sound, a share, words, events."""
    frames = [event(3, 0, ANN, "Ann"), event(3, 0, BOB, "Bob -->"), event(2, 0, ANN, "Ann")]
    frames += [audio(tone(440, 20 * at), ZERO_MS + 20 * at, at_us=20_000 * at) for at in range(200)]
    frames += [
        media(15, unit, ZERO_MS + 500 + 40 * at, user_id=ANN, at_us=500_000 + 40_000 * at)
        for at, unit in enumerate(h264(range(20)))
    ]
    # Bob's camera begins in the middle of a group of pictures: nothing can be seen before its key frame.
    frames += [
        media(15, unit, ZERO_MS + 2000 + 40 * at, user_id=BOB, at_us=2_000_000 + 40_000 * at)
        for at, unit in enumerate(h264(range(100, 120))[5:])
    ]
    frames += [media(16, jpeg(at // 2), ZERO_MS + 1000 * at, user_id=ANN, at_us=10**6 * at) for at in range(4)]
    frames += [
        sentence("Hello &", 0, 900, ANN, language=9),
        sentence("there.", 1000, 1800, ANN, language=9),
        sentence("Helo", 2000, 2900, None, language=9),
        sentence("Hello back, <b>Ann</b>", 2000, 2900, None, language=9, attribute=2),
        sentence("no", 3000, 3100, ANN, language=9),
        sentence("", 3000, 3100, ANN, attribute=3),
        event(2, 1900, BOB, "Bob -->"),
        event(5, 2500, ANN, "Ann"),
    ]
    return made(tmp_path / "meeting", frames, video=VIDEO, deskshare=SHARE)


def test_h264_is_copied_with_its_own_timestamps(meeting: Path, tmp_path: Path) -> None:
    for form in ("mp4", "mkv"):
        [film] = exported(meeting, "--to", form, "--out", tmp_path / form)
        ann = [(round(0.5 + 0.04 * at, 3), at) for at in range(20)]
        bob = [(round(2.0 + 0.04 * at, 3), 105 + at) for at in range(5, 15)]
        assert pictures(film) == ann + bob
        with av.open(str(film)) as container:
            packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
            units = h264(range(20)) + h264(range(100, 120))[10:]
            assert [list(with_lengths(packet)) for packet in packets] == [with_start_codes(unit) for unit in units]
            assert [stream.type for stream in container.streams][:3] == ["video", "audio", "subtitle"]
        with av.open(str(film)) as container:
            sound = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
            assert abs(len(sound) / container.streams.audio[0].rate - 4.0) < 0.1
        assert not list((tmp_path / form).glob(".*"))


def test_subtitles_and_chapters(meeting: Path, tmp_path: Path) -> None:
    [film] = exported(meeting, "--to", "mkv", "--out", tmp_path / "out")
    with av.open(str(film)) as container:
        texts = [(packet.pts, bytes(packet).decode()) for packet in container.demux(subtitles=0) if packet.size]
        titles = [(chapter["start"], chapter["metadata"]["title"]) for chapter in container.chapters()]
    assert [text for _, text in texts] == ["Ann: Hello &", "Ann: there.", "Bob -->: Hello back, <b>Ann</b>"]
    assert all(abs(float(pts or 0) - due) <= 40 for (pts, _), due in zip(texts, (0, 1000, 2000), strict=True))
    assert [title for _, title in titles] == ["Ann speaks", "Ann shares"]


def test_one_participant_a_share_and_both(meeting: Path, tmp_path: Path) -> None:
    [film] = exported(meeting, "--to", "mp4", "--video-user", "bob", "--out", tmp_path / "bob")
    assert [number for _, number in pictures(film)] == list(range(110, 120))
    [film] = exported(meeting, "--to", "mkv", "--layout", "share", "--out", tmp_path / "share")
    assert pictures(film) == [(0.0, 0), (1.0, 0), (2.0, 1), (3.0, 1)]
    [film] = exported(meeting, "--to", "mp4", "--layout", "share", "--out", tmp_path / "share")
    assert pictures(film) == [(0.0, 0), (1.0, 0), (2.0, 1), (3.0, 1)]
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        assert float((stream.duration or 0) * (stream.time_base or 0)) == pytest.approx(4.0, abs=0.05)  # until the end
    done = rtms("export", meeting, "--to", "mp4", "--layout", "side", "--out", tmp_path / "side", cwd=tmp_path)
    assert "note: the pictures were encoded again: side by side" in done.stderr
    with av.open(done.stdout.strip()) as container:
        frames = [(float(frame.time or 0), frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]
    assert frames[0][1].shape == (540, 1920)
    at, picture = next(frame for frame in frames if frame[0] >= 1.2)
    assert (picture[270, 60:900:120] > 128).tolist() == [False] * 7  # the share's number is 0
    assert at < 1.3
    refused = rtms("export", meeting, "--to", "mp4", "--video-user", "zoe", cwd=tmp_path).stderr
    assert "There is no participant called zoe." in refused


def test_a_camera_that_is_off_leaves_its_picture_or_black(tmp_path: Path) -> None:
    units = h264(range(1, 21))
    frames = [media(15, unit, ZERO_MS + 40 * at, user_id=ANN) for at, unit in enumerate(units[:10])]
    frames += [media(15, unit, ZERO_MS + 5000 + 40 * at, user_id=ANN) for at, unit in enumerate(units[10:])]
    recording = made(tmp_path / "off", frames, video=VIDEO)
    [film] = exported(recording, "--to", "mkv", "--out", tmp_path / "stands")
    assert pictures(film)[9:11] == [(0.36, 10), (5.0, 11)]
    [film] = exported(recording, "--to", "mkv", "--blank", "--out", tmp_path / "black")
    assert pictures(film)[9:12] == [(0.36, 10), (1.86, 0), (5.0, 11)]


def test_texts(meeting: Path, tmp_path: Path) -> None:
    files = exported(meeting, "--to", "srt,vtt,txt,md,json", "--out", tmp_path / "out")
    srt, vtt, txt, md, as_json = (path.read_text() for path in files)
    assert srt.splitlines()[:3] == ["1", "00:00:00,000 --> 00:00:00,900", "Ann: Hello &"]
    assert "Bob →: Hello back" in srt
    blocks = vtt.strip().split("\n\n")
    assert blocks[0] == "WEBVTT"
    timing = re.compile(r"\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}\n<v [^>\n]+>[^\n]+")
    assert all(timing.fullmatch(block) for block in blocks[1:])
    assert blocks[3].endswith("<v Bob →>Hello back, &lt;b&gt;Ann&lt;/b&gt;")
    # What was taken back is gone, and what was changed stands as it was changed.
    assert txt == "[0:00:00] Ann: Hello & there.\n[0:00:02] Bob →: Hello back, <b>Ann</b>\n"
    assert "**Ann**" in md
    assert "\\<b\\>" in md
    parsed = json.loads(as_json)
    assert parsed["speakers"]["Ann"] == {"words": 3, "seconds": 1.8, "turns": 1}
    assert [one["user_id"] for one in parsed["sentences"]] == [ANN, BOB]


def test_languages_get_a_file_each_and_long_sentences_are_split(tmp_path: Path) -> None:
    words = "word " * 60
    frames = [audio(tone(440, 0), ZERO_MS), sentence(words, 0, 6000, ANN, language=9)]
    frames.append(sentence("Guten Tag", 7000, 8000, BOB, language=14))
    recording = made(tmp_path / "two", frames)
    names = [path.name for path in exported(recording, "--to", "srt")]
    assert names == ["two.english.srt", "two.german.srt"]
    cues = (recording / "export/two.english.srt").read_text().strip().split("\n\n")
    assert len(cues) == 4
    assert all(len(cue.splitlines()[2]) <= 90 for cue in cues)
    assert cues[-1].splitlines()[1].endswith("00:00:06,000")


@pytest.fixture
def separate(tmp_path: Path) -> Path:
    """Two participants with tracks of their own: Ann for 2 s, Bob from 1 s to 3 s, loud enough to clip together."""
    frames = []
    for at in range(150):
        if at < 100:
            frames.append(audio(tone(440, 20 * at, level=0.8), ZERO_MS + 20 * at, user_id=ANN, user_name="Ann"))
        if at >= 50:
            frames.append(audio(tone(880, 20 * at, level=0.8), ZERO_MS + 20 * at, user_id=BOB, user_name="Bob"))
    return made(tmp_path / "separate", frames)


def loudness(samples: npt.NDArray[np.float64], hertz: int, rate: int = RATE) -> float:
    """How much of a tone is in it; 1 is full scale."""
    time = np.arange(len(samples)) / rate
    return 2 * abs(complex(np.mean(samples * np.exp(-2j * np.pi * hertz * time))))


def test_tracks_are_mixed_without_clipping(separate: Path) -> None:
    for form in ("wav", "flac", "opus", "mp3"):
        [path] = exported(separate, "--to", form)
        with av.open(str(path)) as container:
            rate = container.streams.audio[0].rate
            pieces = [frame.to_ndarray() for frame in container.decode(audio=0)]
        if form in ("wav", "flac"):
            samples, _ = soundfile.read(path)
            assert len(samples) == 3 * RATE
            assert np.abs(samples).max() <= 0.99
        else:
            samples = np.concatenate([piece.reshape(-1) for piece in pieces]).astype(float)
            assert abs(len(samples) / rate - 3.0) < 0.1
        gain = loudness(samples[: rate // 2], 440, rate) / 0.8
        assert 0.55 < gain < 0.75  # 0.98 / 1.54 is what keeps the sum from clipping
        both = samples[int(1.25 * rate) : int(1.75 * rate)]
        assert abs(loudness(both, 880, rate) / 0.8 - gain) < 0.05


def test_files_and_channels_of_participants(separate: Path, tmp_path: Path) -> None:
    ann, bob = exported(separate, "--to", "wav", "--per-speaker")
    assert (ann.name, bob.name) == ("separate.7_ann.wav", "separate.8_bob.wav")
    samples, _ = soundfile.read(bob, dtype="int16")
    assert not samples[:RATE].any()
    assert samples[RATE:].tobytes() == b"".join(tone(880, 20 * at, level=0.8) for at in range(50, 150))
    [path] = exported(separate, "--to", "flac", "--multichannel", "--out", tmp_path / "out")
    channels, _ = soundfile.read(path, dtype="int16")
    assert channels.shape == (3 * RATE, 2)
    assert np.array_equal(channels[:, 1], samples)
    assert (
        "no audio tracks of single participants"
        in rtms(
            "export", made(tmp_path / "m", [audio(tone(1, 0), ZERO_MS)]), "--to", "wav", "--per-speaker", cwd=tmp_path
        ).stderr
    )


def test_trim_and_only_speech(separate: Path, tmp_path: Path) -> None:
    [path] = exported(separate, "--to", "wav", "--trim", "0:00:00.5", "1.5")
    assert soundfile.info(path).frames == RATE
    silence = bytes(640)
    frames = [audio(tone(440, 20 * at) if at // 100 % 2 == 0 else silence, ZERO_MS + 20 * at) for at in range(500)]
    recording = made(tmp_path / "pauses", frames)
    path, cuts = exported(recording, "--to", "wav", "--only-speech")
    kept = json.loads(cuts.read_text())
    assert [(one["from"], one["to"]) for one in kept["kept"]] == [(0.0, 2.25), (3.75, 6.25), (7.75, 10.0)]
    assert abs(soundfile.info(path).duration - kept["seconds"]) < 0.001
    assert kept["kept"][1]["at"] == 2.25


def test_tracks_of_different_rates_and_forms_become_one(tmp_path: Path) -> None:
    """A grant that changed in mid-stream leaves two files; each lies where its time says."""
    eight = {"content_type": 2, "sample_rate": 0, "channel": 1, "codec": 2, "data_opt": 1, "send_rate": 20}
    context = cast("Any", av.CodecContext.create("pcm_alaw", "w"))
    context.sample_rate, context.layout, context.format = 8000, "mono", "s16"
    time = np.arange(8000) / 8000
    pcm = (12_000 * np.sin(2 * np.pi * 1000 * time)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
    frame.sample_rate = 8000
    alaw = b"".join(bytes(packet) for packet in context.encode(frame))
    frames = [audio(tone(440, 20 * at), ZERO_MS + 20 * at) for at in range(50)]
    frames.append(said({"msg_type": 4, "status_code": 0, "media_params": {"audio": eight}}))
    frames += [audio(alaw[160 * at : 160 * at + 160], ZERO_MS + 1000 + 20 * at) for at in range(50)]
    [path] = exported(made(tmp_path / "forms", frames), "--to", "wav")
    samples, rate = soundfile.read(path)
    assert (rate, len(samples)) == (RATE, 2 * RATE)
    assert abs(loudness(samples[:8000], 440) - 0.5) < 0.01
    assert abs(loudness(samples[RATE + 4000 : RATE + 12_000], 1000) - 12_000 / 32_768) < 0.02
    assert loudness(samples[RATE + 4000 :], 440) < 0.01


def test_frames_and_slides(meeting: Path, tmp_path: Path) -> None:
    names = [path.name for path in exported(meeting, "--to", "frames")]
    assert names == [
        "video-0h00m00.500s-7_ann.png", "video-0h00m00.900s-7_ann.png", "video-0h00m02.200s-8_bob.png",
    ]  # fmt: skip
    every = exported(meeting, "--to", "frames", "--every", "0.5", "--out", tmp_path / "every")
    with av.open(str(every[1])) as container:
        assert number_of(next(container.decode(video=0))) == 13
    slides = exported(meeting, "--to", "slides")
    assert [path.name for path in slides] == ["slide-001-0h00m00.000s.png", "slide-002-0h00m02.000s.png", "slides.pdf"]
    assert slides[-1].read_bytes().startswith(b"%PDF")
    assert slides[-1].read_bytes().count(b"/Type /Page\n") == 2


def test_tables(meeting: Path) -> None:
    as_csv, as_parquet = exported(meeting, "--to", "csv,parquet")
    with as_csv.open(newline="") as source:
        rows = list(csv.DictReader(source))
    table = pyarrow.parquet.read_table(as_parquet).to_pylist()
    assert len(rows) == len(table) == 200 + 20 + 15 + 4 + 6
    assert [row["kind"] for row in rows].count("audio") == 200
    packet = next(row for row in table if row["kind"] == "video" and row["t"] == 0.54)
    assert (packet["user_id"], packet["timestamp"], packet["delay_ms"]) == ("7", ZERO_MS + 540, 0.0)
    assert {row["user_name"] for row in rows if row["user_id"] == "7"} == {""}


def test_a_plot_and_the_usual(meeting: Path, tmp_path: Path) -> None:
    exported(meeting, "--plot", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    usual = exported(meeting)
    assert [path.suffix for path in usual] == [".mp4", ".vtt", ".txt"]
    assert {path.stat().st_mode & 0o777 for path in [*usual, *exported(meeting, "--to", "slides")]} == {0o600}
    again = rtms("export", meeting, cwd=tmp_path)
    assert (again.returncode, "already exists" in again.stderr) == (2, True)
    assert len(exported(meeting, "--force")) == 3


def test_a_bare_capture_and_an_unfinished_recording(meeting: Path, tmp_path: Path) -> None:
    capture = tmp_path / "bare.jsonl"
    capture.write_bytes((meeting / "capture.jsonl").read_bytes()[:-100])
    [path] = exported(capture, "--to", "wav")
    assert path == tmp_path / "export/bare.wav"
    assert soundfile.info(path).frames == 4 * RATE
    manifest = json.loads((meeting / "manifest.json").read_text())
    (meeting / "manifest.json").write_text(json.dumps(manifest | {"status": "recording"}))
    with (meeting / "transcript.jsonl").open("a") as torn:
        torn.write('{"t": 1')
    assert exported(meeting, "--to", "txt,mp4")


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_names_need_not_be_utf8(meeting: Path, tmp_path: Path) -> None:
    odd = tmp_path / "caf\udce9"
    odd.mkdir()
    recording = meeting.rename(odd / meeting.name)
    formats = "mp4,wav,flac,opus,mp3,txt,frames,csv,parquet"
    assert rtms("export", recording, "--to", formats, "--out", odd / "out", cwd=tmp_path).returncode == 0
    assert {path.suffix[1:] for path in (odd / "out").iterdir()} >= set(formats.split(",")) - {"frames"}
    assert rtms("inspect", recording, "--html", tmp_path / "page.html", cwd=tmp_path).returncode == 0
    assert "./caf%E9/" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_lines_that_an_editor_saved_again(meeting: Path, encoding: str) -> None:
    [path] = exported(meeting, "--to", "txt")
    before = path.read_text()
    transcript = meeting / "transcript.jsonl"
    transcript.write_bytes(transcript.read_text().rstrip("\n").replace("\n", "\r\n").encode(encoding))
    [path] = exported(meeting, "--to", "txt", "--force")
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "avi"], "--to avi: there is no such format."),
        (["--to", "mp4", "--layout", "top"], "--layout top is not a layout."),
        (["--to", "wav", "--trim", "2", "1"], "--trim 2 1 ends before it begins."),
        (["--to", "wav", "--trim", "x", "1"], "--trim x is not a time."),
        (
            ["--to", "wav", "--trim", "100", "200"],
            "The audio is 0.02 s long: there is nothing from 0:01:40",
        ),
        (["--to", "mp4"], "has neither pictures nor sound"),
        (["--to", "slides"], "has no shared screen"),
        (["--to", "srt"], "has no transcript"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    frames = [] if "mp4" in arguments else [audio(tone(440, 0), ZERO_MS)]
    recording = made(tmp_path / "small", frames)
    done = rtms("export", recording, *arguments, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (recording / "export").exists() or not list((recording / "export").iterdir())


def test_what_cannot_be_made_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    recording = made(tmp_path / "small", [audio(tone(440, 0), ZERO_MS)])
    picture = recording / "export/plot.png"
    done = rtms("export", recording, "--to", "srt,slides,wav,mp4,csv", "--plot", picture, "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert "has no transcript" in done.stderr
    assert "has no shared screen" in done.stderr
    names = ["plot.png", "small.mp4", "small.packets.csv", "small.wav"]
    assert sorted(path.name for path in (recording / "export").iterdir()) == names
    assert sorted(Path(name).name for name in json.loads(done.stdout)["files"]) == names


def test_what_helps_against_several_errors_is_said_once(tmp_path: Path) -> None:
    made(tmp_path / "small", [audio(tone(440, 0), ZERO_MS)])
    done = rtms("export", "small", "nosuch", "--to", "srt,slides,wav", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "small/export/small.wav\n")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        "error", "  `rtms ls` lists the recordings. A path works too.",
        "error", "error", "  `rtms inspect` shows what it has.",
    ]  # fmt: skip
    nothing = rtms("export", "small", "--to", "srt,slides", cwd=tmp_path)
    assert (nothing.returncode, nothing.stderr.count("rtms inspect")) == (2, 1)


def test_what_cannot_be_read_is_not_told_as_what_cannot_be_written(tmp_path: Path) -> None:
    target = tmp_path / "out/film.mp4"
    for source in (tmp_path / "gone.wav", target.with_name("gone.wav")):
        with pytest.raises(Problem, match=rf"^Cannot read {source}: No such file"), whole(target, force=False):
            source.read_bytes()
    with pytest.raises(Problem, match=rf"^Cannot write {target}: No space left"), whole(target, force=False):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Problem, match=r"^Cannot write .*/file/film.mp4: (Not a directory|File exists)"):
        with whole(tmp_path / "file/film.mp4", force=False):
            pass


def write_sound(recording: Path, target: Path) -> None:
    with open_recording(recording) as recorded, whole(target, force=False) as passing:
        export_audio(recorded, [everybody(recorded)], passing)


@pytest.mark.parametrize("form", ["wav", "flac", "opus", "mp3"])
def test_a_disk_that_is_full_is_told(form: str, tmp_path: Path) -> None:
    frames = [audio(tone(440 + ms, ms), ZERO_MS + ms, at_us=ms * 1000) for ms in range(0, 4_000, 20)]
    recording = made(tmp_path / "long", frames)
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, kept[1]))
    try:
        with pytest.raises(Problem, match=rf"^Cannot write {tmp_path}/out/long.{form}: "):
            write_sound(recording, tmp_path / f"out/long.{form}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert not list((tmp_path / "out").iterdir())


def test_a_disk_that_fails_in_a_sound_is_not_told_as_what_cannot_be_written(
    meeting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(Problem, match=rf"^Cannot read {meeting}/audio/\S+.wav: System error"):
        write_sound(meeting, tmp_path / "out.wav")


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_export_leaves_nothing(tmp_path: Path, fault: type[BaseException]) -> None:
    target = tmp_path / "out/film.mp4"

    def interrupted() -> None:
        with whole(target, force=False) as passing:
            passing.write_bytes(b"half")
            raise fault

    with pytest.raises(fault):
        interrupted()
    assert list((tmp_path / "out").iterdir()) == []
    with whole(target, force=False) as passing:
        assert (passing.suffix, passing.parent) == (".mp4", target.parent)
        passing.write_bytes(b"whole")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["film.mp4"]


def test_a_file_name_is_a_file_for_one_format(meeting: Path, tmp_path: Path) -> None:
    texts = {"srt": "subs.srt", "md": "minutes.markdown", "txt": "existing.txt"}
    for form, name in texts.items():
        [path] = exported(meeting, "--to", form, "--out", tmp_path / name)
        assert path == tmp_path / name
        assert path.is_file()
    [by_name] = exported(meeting, "--out", tmp_path / "deep/er/talk.mp3")
    assert av.open(str(by_name)).format.name == "mp3"
    [other_name] = exported(meeting, "--to", "opus", "--out", tmp_path / "talk.ogg")
    assert av.open(str(other_name)).streams.audio[0].codec_context.name == "opus"
    again = rtms("export", meeting, "--to", "txt", "--out", "existing.txt", cwd=tmp_path)
    assert (again.returncode, again.stderr.splitlines()[0]) == (2, "error: existing.txt already exists.")
    before = (tmp_path / "existing.txt").read_text()
    (tmp_path / "existing.txt").write_text("x")
    exported(meeting, "--to", "txt", "--out", tmp_path / "existing.txt", "--force")
    assert (tmp_path / "existing.txt").read_text() == before


def test_a_file_has_all_languages_and_the_chat_lies_beside_it(tmp_path: Path) -> None:
    chat = {"type": 1, "message_id": "m", "user_id": ANN, "user_name": "Ann", "data": "in the chat"}
    frames = [audio(tone(440, 0), ZERO_MS), sentence("Hello", 0, 900, ANN, language=9)]
    frames += [sentence("Guten Tag", 1000, 1900, BOB, language=14), said({"msg_type": 18, "content": chat})]
    recording = made(tmp_path / "two", frames)
    files = exported(recording, "--to", "txt", "--out", tmp_path / "notes.txt")
    assert [path.name for path in files] == ["notes.txt", "notes.chat.txt"]
    assert [line.partition(": ")[2] for line in files[0].read_text().splitlines()] == ["Hello", "Guten Tag"]
    done = rtms("export", recording, "--to", "txt", "--out", "-", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, files[0].read_text())
    assert done.stderr == "note: the chat is not in it: name a file or a folder for that\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.chat.txt", "notes.txt", "two"]


def test_standard_output_takes_every_format_that_is_one_file(meeting: Path, tmp_path: Path) -> None:
    for form in ("mp4", "mkv", "wav", "flac", "opus", "mp3", "parquet"):
        with (tmp_path / form).open("wb") as sink:
            command = [sys.executable, "-m", "rtms_cli", "export", str(meeting), "--to", form, "--out", "-"]
            assert subprocess.run(command, cwd=tmp_path, env=environment(), stdout=sink, check=False).returncode == 0
    assert len(pictures(tmp_path / "mp4")) == len(pictures(tmp_path / "mkv")) == 30
    for form in ("wav", "flac", "opus", "mp3"):
        with av.open(str(tmp_path / form)) as container:
            assert next(container.decode(audio=0)).samples
    assert pyarrow.parquet.read_table(tmp_path / "parquet").num_rows == 245
    assert not list(meeting.glob("export"))
    plot = subprocess.run(
        [sys.executable, "-m", "rtms_cli", "export", meeting, "--plot", "-"],
        cwd=tmp_path, env=environment(), capture_output=True, check=False,
    )  # fmt: skip
    assert (plot.returncode, plot.stdout[:4]) == (0, b"\x89PNG")


def test_a_device_is_written_into_and_stays_one(meeting: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = list[bytes]()
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    done = rtms("export", meeting, "--to", "wav", "--only-speech", "--out", pipe, "--force", cwd=tmp_path)
    reader.join(30)
    assert (done.returncode, found[0][:4], pipe.is_fifo()) == (0, b"RIFF", True)
    assert "the map of the cuts is not written" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "md,srt", "--out", "x.md"], "--out x.md is one file, but this exports 2 formats."),
        (["--to", "frames", "--out", "x.png"], "this exports frames, which are several files."),
        (["--to", "slides", "--out", "-"], "this exports slides, which are several files."),
        (["--out", "-"], "this exports the usual formats."),
        (["--to", "wav", "--per-speaker", "--out", "x.wav"], "this exports a file for each participant."),
        (["--to", "md", "--out", "x.txt"], "--out x.txt is the name of a txt file, but --to is md."),
        (["--to", "txt", "--out", "-", "--json"], "Standard output is for one thing only."),
        (["--to", "txt", "--out", "-", "--plot", "p.png"], "Standard output is for one thing only."),
        (["--plot", "p.png", "--out", "x"], "--out does nothing with --plot alone."),
        (["--to", "json", "--per-speaker"], "--per-speaker does nothing with --to json."),
        (["--per-speaker"], "--per-speaker does nothing with --to mp4,vtt,txt."),
        (["--to", "srt,vtt", "--merge-gap", "1"], "--merge-gap does nothing with --to srt,vtt."),
        (["--to", "mp4,txt", "--trim", "1", "2"], "--trim does nothing with --to mp4,txt."),
        (["--to", "mp4", "--only-speech"], "--only-speech does nothing with --to mp4."),
        (["--to", "mp4", "--multichannel"], "--multichannel does nothing with --to mp4."),
        (["--to", "mp4", "--every", "2"], "--every does nothing with --to mp4."),
        (["--to", "slides", "--video-user", "Ann"], "--video-user does nothing with --to slides."),
        (["--to", "wav", "--layout", "video"], "--layout does nothing with --to wav."),
        (["--to", "frames", "--blank"], "--blank does nothing with --to frames."),
        (["--to", "frames", "--layout", "side"], "--layout side does nothing with --to frames."),
        (["--plot", "p.png", "--video-user", "Ann"], "--video-user does nothing with --plot."),
        (["--to", "wav", "--per-speaker", "--multichannel"], "cannot be combined"),
        (["--to", "txt", "--merge-gap", "nan"], "--merge-gap nan is not a time."),
        (["--to", "txt", "--merge-gap", "-1"], "--merge-gap -1 is not a time."),
        (["--to", "frames", "--every", "inf"], "--every inf is not a time."),
        (["--to", ","], "--to names no format."),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_made(
    meeting: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = rtms("export", meeting, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["meeting"]
    assert not (meeting / "export").exists()


def test_several_recordings_by_name_and_by_their_folder(meeting: Path, tmp_path: Path) -> None:
    place = tmp_path / "recordings"
    place.mkdir()
    meeting.rename(place / "20260101_meeting")
    made(place / "20260102_sound", [audio(tone(440, 20 * at), ZERO_MS + 20 * at) for at in range(50)])
    done = rtms("export", "recordings/", "--to", "wav,slides", "--out", "all", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("has no shared screen")) == (1, 1)
    assert {str(Path(path).parent / Path(path).suffix) for path in json.loads(done.stdout)["files"]} == {
        "all/.wav", "all/20260101_meeting.slides/.png", "all/20260101_meeting.slides/.pdf",
    }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "all").glob("*.wav")) == [
        "20260101_meeting.wav", "20260102_sound.wav",
    ]  # fmt: skip
    done = rtms("export", "20260101", "latest", "nosuch", "--to", "flac", cwd=tmp_path)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 2)
    assert "There is no recording nosuch" in done.stderr
    done = rtms("export", "recordings/", "--to", "flac", "--out", "one.flac", cwd=tmp_path)
    assert (done.returncode, "this exports 2 recordings" in done.stderr) == (2, True)
    done = rtms("export", "recordings/", "--plot", "one.png", cwd=tmp_path)
    assert (done.returncode, "there are 2 recordings" in done.stderr) == (2, True)
    assert rtms("export", "recordings/", "--plot", "plots/", cwd=tmp_path).returncode == 0
    assert len(list((tmp_path / "plots").glob("*.png"))) == 2


def test_pictures_are_told_on_one_line(meeting: Path, tmp_path: Path) -> None:
    done = rtms("export", meeting, "--to", "frames,slides", "--every", "0.1", "--out", "out", cwd=tmp_path)
    assert done.stdout == "out/frames\nout/slides\n"
    terminal = Terminal([*RTMS, "export", "meeting", "--to", "frames,slides,txt"], tmp_path, 80, 24)
    assert terminal.end() == 0
    shown = [line.strip() for line in terminal.text.splitlines() if line]
    terminal.close()
    assert [re.sub(r"^[\d.]+ k?B  ", "", line) for line in shown[-6:-2]] == [
        "meeting/export/",
        "frames  3 pictures", "slides  2 pictures", "meeting.txt",
    ]  # fmt: skip
    assert shown[-2:] == [
        "Next: rtms play meeting   hear it, or open its page",
        "rtms show meeting   the summary and the verdict",
    ]


def test_what_is_there_already_keeps_no_other_file_from_being_made(separate: Path) -> None:
    exported(separate, "--to", "wav", "--per-speaker")
    (separate / "export/separate.8_bob.wav").unlink()
    [path] = exported(separate, "--to", "wav", "--per-speaker", code=1)
    assert path.name == "separate.8_bob.wav"


def test_parts_of_all_participants_fit_together(separate: Path) -> None:
    ann, bob = exported(separate, "--to", "wav", "--per-speaker", "--trim", "2.5", "1m")
    assert (soundfile.info(ann).frames, soundfile.info(bob).frames) == (RATE // 2, RATE // 2)
    assert not soundfile.read(ann, dtype="int16")[0].any()


def test_a_capture_on_standard_input(meeting: Path, tmp_path: Path) -> None:
    for options in ("", " --out -"):
        shell = f"{shlex.join(RTMS)} export - --to txt{options} < meeting/capture.jsonl | cat"
        done = subprocess.run(
            shell, shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        assert done.stdout.startswith("[0:00:00] Ann: Hello & there." if options else "export/capture.txt")
    assert (tmp_path / "export/capture.txt").read_text() == done.stdout


def test_films_have_the_title(meeting: Path, tmp_path: Path) -> None:
    manifest = json.loads((meeting / "manifest.json").read_text())
    (meeting / "manifest.json").write_text(json.dumps(manifest | {"title": "Weekly sync – Zoë"}))
    for path in exported(meeting, "--to", "mp4,mkv", "--out", tmp_path / "out"):
        with av.open(str(path)) as container:
            assert container.metadata["title"] == "Weekly sync – Zoë"


def test_opus_is_smaller_than_flac(tmp_path: Path) -> None:
    """For what sounds like speech: voices with pauses, at each rate, in each container."""
    frames = [
        audio(mixed(3, 320 * at, 320, RATE).tobytes(), ZERO_MS + 20 * at, at_us=20_000 * at) for at in range(1500)
    ]
    recording = made(tmp_path / "speech", frames)
    flac, opus, mkv = exported(recording, "--to", "flac,opus,mkv")
    assert opus.stat().st_size < flac.stat().st_size
    assert mkv.stat().st_size < flac.stat().st_size
    assert 15_000 < opus.stat().st_size * 8 / 30 < 34_000


@pytest.mark.parametrize(
    ("languages", "mp4", "mkv"),
    [
        ((9, 9), "eng", "eng"),
        ((14,), "deu", "ger"),
        ((9, 14), "mul", "mul"),
        ((-1, 9), "eng", "eng"),
        ((), "", ""),
    ],
)
def test_the_language_is_that_of_the_transcript(tmp_path: Path, languages: tuple[int, ...], mp4: str, mkv: str) -> None:
    frames = [audio(tone(440, 20 * at), ZERO_MS + 20 * at) for at in range(100)]
    frames += [sentence("so", 300 * at, 300 * at + 200, ANN, language=one) for at, one in enumerate(languages)]
    frames += [media(15, unit, ZERO_MS + 40 * at, user_id=ANN) for at, unit in enumerate(h264(range(10)))]
    for path, wanted in zip(
        exported(made(tmp_path / "m", frames, video=VIDEO), "--to", "mp4,mkv"), (mp4, mkv), strict=True
    ):
        with av.open(str(path)) as container:
            told = {stream.metadata.get("language", "und") for stream in container.streams}
        assert told == {wanted or "und"}
