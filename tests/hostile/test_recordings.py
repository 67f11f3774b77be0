"""Recordings from someone else: damaged, or made to lead out of their folder. Each ends with a line for people."""

import gzip
import json
import os
import re
import shutil
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from frames import ZERO_MS
from fuzz.material import LEVEL, build
from processes import rtms

from rtms_cli.recording.files import Files
from rtms_cli.simulator.subtitles import load_transcript


@pytest.fixture
def meeting(tmp_path: Path) -> Path:
    """A recording, and beside it `private`, which nothing may touch."""
    build(tmp_path)
    return tmp_path / "meeting"


def changed(folder: Path, **changes: Any) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes()) | changes
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return manifest


def told(code: int, *arguments: str | Path) -> str:
    """What a command says that ends with this code."""
    done = rtms(*arguments, cwd=Path(arguments[1]).parent if arguments[0] != "config" else Path(arguments[1]))
    assert done.returncode == code, done.stderr
    assert "defect" not in done.stderr
    assert all(char.isprintable() for char in (done.stdout + done.stderr).replace("\n", ""))
    return done.stdout + done.stderr


def test_lines_that_cannot_be_read_are_counted_and_the_others_exported(meeting: Path) -> None:
    lines = meeting / "transcript.jsonl"
    good = lines.read_bytes()
    lines.write_bytes(good + b'{"t": 1, "text": \n[]\nnull\n' + b"[" * 3000 + b"\n\xff\n")
    text = told(0, "export", meeting, "--to", "txt")
    assert "note: 5 lines of transcript.jsonl could not be read" in text
    assert "manifest" not in text
    assert "Good morning." in (meeting / "export/meeting.txt").read_text()


@pytest.mark.parametrize(
    "odd",
    [{"t": 1e308}, {"t": "1"}, {"start_time": 1e308}, {"user_id": []}, {"user_name": 5}, {"text": 5}, {"t": -1e300}],
)
def test_values_of_any_type_in_lines(meeting: Path, odd: dict[str, object]) -> None:
    line = {"t": 0.5, "start_time": ZERO_MS + 500, "user_id": 1, "user_name": "Ann", "text": "odd"} | odd
    with (meeting / "transcript.jsonl").open("a") as lines:
        lines.write(json.dumps(line) + "\n")
    told(0, "export", meeting, "--to", "srt,vtt,json,mkv")


@pytest.mark.parametrize("path", ["../private/private.wav", "audio/../../private/private.wav", "/absolute"])
def test_a_track_outside_of_the_folder_is_left_out(meeting: Path, path: str) -> None:
    path = str(meeting.parent / "private/private.wav") if path == "/absolute" else path
    tracks = changed(meeting)["tracks"]
    changed(meeting, tracks=[*tracks, {"kind": "audio", "path": path, "user_id": 5, "codec": "L16"}])
    assert f"{path} is left out: it lies outside of the folder" in told(0, "export", meeting, "--to", "wav")
    with wave.open(str(meeting / "export/meeting.wav")) as sound:
        assert LEVEL.to_bytes(2, "little") * 20 not in sound.readframes(sound.getnframes())
    assert "outside" in told(0, "inspect", meeting, "--json")


@pytest.mark.parametrize("place", ["audio/16778240_ann.wav", "audio"])
def test_links_in_the_folder_are_not_followed(meeting: Path, place: str) -> None:
    (meeting / place).rename(meeting / "moved")
    (meeting / place).symlink_to(meeting.parent / "private" / ("private.wav" if "/" in place else ""))
    assert "symbolic link" in told(0 if "/" in place else 2, "export", meeting, "--to", "wav")


PLACES = [
    *("capture.jsonl", "capture.2.jsonl", "manifest.json", "manifest.json.part", "transcript.jsonl", "events.jsonl"),
    *("audio", "audio/16778240_ann.wav", "video", "export", ".lock", ".repair", "something else"),
]


@pytest.mark.parametrize("place", PLACES)
def test_links_that_the_system_refuses_to_look_at(place: str, meeting: Path) -> None:
    """As those into folders of other users."""
    if (meeting / place).is_dir():
        shutil.rmtree(meeting / place)
    (meeting / place).unlink(missing_ok=True)
    (meeting / place).symlink_to("x" * 300)
    for command in ("inspect", "export --to wav,csv,srt --force", "repair", "replay --out again"):
        name, *arguments = command.split()
        done = rtms(name, meeting, *arguments, cwd=meeting.parent)
        assert (done.returncode in (0, 1, 2, 5), "defect" in done.stderr) == (True, False), (command, done.stderr)


@pytest.mark.parametrize("command", ["inspect", "export", "repair", "replay"])
def test_names_that_the_system_refuses(command: str, tmp_path: Path) -> None:
    refused = rtms(command, "x" * 300, cwd=tmp_path)
    assert refused.returncode == 2
    assert "File name too long" in refused.stderr or "There is no recording xxx" in refused.stderr


def test_a_pipe_in_place_of_a_file_holds_nothing_up(meeting: Path) -> None:
    for name in ("audio/16778240_ann.wav", "events.jsonl"):
        (meeting / name).unlink()
        os.mkfifo(meeting / name)
    assert "is not a file" in told(0, "export", meeting, "--to", "mkv")
    told(0, "inspect", meeting)
    (meeting / "capture.jsonl").unlink()
    os.mkfifo(meeting / "capture.jsonl")
    assert "is not a file" in told(2, "inspect", meeting)
    assert "is not a file" in told(2, "repair", meeting)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"x" * 1000])
def test_a_damaged_sound_is_named(meeting: Path, content: bytes) -> None:
    (meeting / "audio/16778240_ann.wav").write_bytes(content)
    assert "16778240_ann.wav" in told(2, "export", meeting, "--to", "wav")
    assert "16778240_ann.wav" in told(2, "export", meeting, "--to", "mkv")
    assert "16778240_ann.wav" in told(0, "inspect", meeting)


@pytest.mark.parametrize("samples", [1, 7, 319, 321])
def test_a_sound_that_is_shorter_than_what_is_looked_at_for_speech(meeting: Path, samples: int) -> None:
    for path in (meeting / "audio").iterdir():
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 16_000, samples, "NONE", ""))
            sound.writeframes(b"\x00\x40" * samples)
    told(0, "export", meeting, "--to", "wav", "--only-speech")
    with wave.open(str(meeting / "export/meeting.wav")) as sound:
        assert sound.getnframes() == samples


def halved(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def slowed(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace((16_000).to_bytes(4, "little"), (1_000).to_bytes(4, "little"), 1))


@pytest.mark.parametrize(
    ("name", "damage", "form", "note"),
    [
        ("audio/16778240_ann.wav", halved, "wav", "audio/16778240_ann.wav has 0.3 of 0.6 s"),
        ("audio/16778240_ann.wav", slowed, "mkv", "audio/16778240_ann.wav has 1000 Hz, and not 16000"),
        ("video/16778240_ann.h264", shortened, "mkv", "video/16778240_ann.h264 has 7 of 8 packets"),
        ("video/16778240_ann.h264.index.jsonl", halved, "mkv", "video/16778240_ann.h264 has 4 of 8 packets"),
        ("share/16779264_bob.mjpeg", halved, "frames --layout share", "share/16779264_bob.mjpeg has 1 of 3 packets"),
        ("transcript.jsonl", halved, "srt", "transcript.jsonl has 1 of 3 lines"),
    ],
)
def test_a_file_with_less_than_the_manifest_says_is_told(
    meeting: Path, name: str, damage: Callable[[Path], None], form: str, note: str
) -> None:
    assert " has " not in told(0, "export", meeting, "--force", "--to", *form.split())
    damage(meeting / name)
    assert re.search(f"note: {note}", told(0, "export", meeting, "--force", "--to", *form.split()))


def test_a_table_of_a_damaged_capture_says_so(meeting: Path) -> None:
    capture = meeting / "capture.jsonl"
    lines = capture.read_bytes().splitlines(keepends=True)
    capture.write_bytes(b"".join([*lines[:5], *[b"?\n"] * 1000, *lines[5:]]))
    said = told(0, "export", meeting, "--to", "csv")
    assert "note: capture.jsonl: line 6 is not a capture line" in said
    assert "980 more" in said
    capture.unlink()
    (meeting / "capture.jsonl.gz").write_bytes(gzip.compress(b"".join(lines))[:-500])
    assert "note: capture.jsonl.gz: the file ends early" in told(0, "export", meeting, "--to", "csv", "--force")


def test_an_index_that_has_its_pictures_thousands_of_times(meeting: Path) -> None:
    index = meeting / "share/16779264_bob.mjpeg.index.jsonl"
    index.write_bytes(index.read_bytes() * 100_000)
    told_of = told(2, "export", meeting, "--to", "frames,slides,mp4", "--layout", "share")
    assert told_of.count("16779264_bob.mjpeg.index.jsonl:4 is damaged") == 1


def test_a_damaged_index_is_named_with_its_line(meeting: Path) -> None:
    index = meeting / "video/16778240_ann.h264.index.jsonl"
    index.write_bytes(index.read_bytes() + b'{"offset": -5, "length": "x"}\n')
    assert "ann.h264.index.jsonl:9 is damaged" in told(2, "export", meeting, "--to", "mp4")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_capture_that_unpacks_to_gigabytes(meeting: Path, suffix: str) -> None:
    capture = meeting / "capture.jsonl"
    content = capture.read_bytes() + bytes(100 << 20)
    capture.unlink()
    pack = zstandard.compress if suffix == ".zst" else gzip.compress
    capture.with_name(f"capture.jsonl{suffix}").write_bytes(pack(content, 9))
    assert "unpacks to more than 500 times" in told(5, "replay", meeting, "--out", meeting.parent / "out")


@pytest.mark.parametrize("at", ["1e308", "1e400", "-1", "1e18", "NaN", '"1"', "null"])
def test_times_that_cannot_be_in_a_capture(meeting: Path, at: str) -> None:
    with (meeting / "capture.jsonl").open("a") as capture:
        capture.write(f'{{"at": {at}, "ch": "media", "dir": "in", "data": {{"msg_type": 12}}}}\n')
    for options in ((), ("--all",), ("--messages",), ("--lint",), ("--timeline",), ("--json",)):
        done = rtms("inspect", meeting, *options, cwd=meeting)
        assert done.returncode in (0, 1), done.stderr
    assert "is not a capture line" in told(5, "replay", meeting, "--out", meeting.parent / "out")


def test_a_manifest_of_a_million_tracks(meeting: Path) -> None:
    changed(meeting, tracks=[{"kind": "audio", "path": "x"}] * 300_000)
    assert "more than 200,000" in told(2, "export", meeting, "--to", "wav")


@pytest.mark.parametrize("value", ["[]", "1"])
def test_a_manifest_of_millions_of_values(meeting: Path, value: str) -> None:
    manifest = changed(meeting, media={"asked": {"x": "@"}, "granted": {}})
    values = f"[{','.join([value] * 4_000_001)}]"
    (meeting / "manifest.json").write_text(json.dumps(manifest).replace('"@"', values))
    assert "more than 4,000,000 values" in told(2, "export", meeting, "--to", "wav")


@pytest.mark.parametrize("size", [[0, 0, 0], [0, -5, 48], [0, 10**9, 10**9], [0, 64, 1 << 62]])
@pytest.mark.parametrize("layout", ["video", "side"])
def test_sizes_of_pictures_that_cannot_be(meeting: Path, size: list[int], layout: str) -> None:
    tracks = changed(meeting)["tracks"]
    changed(meeting, tracks=[track | {"sizes": [size, *track["sizes"]]} for track in tracks])
    told(0, "export", meeting, "--to", "mp4", "--layout", layout)


@pytest.mark.parametrize("plant", [os.symlink, os.link])
def test_a_planted_link_where_an_export_goes(meeting: Path, plant: Callable[[Path, Path], None]) -> None:
    target = meeting.parent / "private/bashrc"
    (meeting / "export").mkdir()
    plant(target, meeting / "export/meeting.txt")
    rtms("export", meeting, "--to", "txt", "--force", cwd=meeting)
    assert target.read_text() == "PRIVATE\n"


@pytest.mark.parametrize("place", ["export", "export/frames"])
def test_a_planted_link_in_place_of_the_export_folder(meeting: Path, place: str) -> None:
    private = meeting.parent / "private"
    before = sorted(private.rglob("*"))
    (meeting / place).parent.mkdir(exist_ok=True)
    (meeting / place).symlink_to(private / "meeting")
    told(2, "export", meeting, "--to", "frames", "--force")
    assert sorted(private.rglob("*")) == before


def test_a_lock_that_is_another_name_of_a_private_file_leaves_it_alone(meeting: Path) -> None:
    target = meeting.parent / "private/bashrc"
    os.link(target, meeting / ".lock")
    told(0, "repair", meeting)
    assert target.read_text() == "PRIVATE\n"


@pytest.mark.parametrize(
    "plant", [os.mkfifo, lambda path: path.symlink_to("../private"), Path.mkdir, Path.touch], ids=range(4)
)
def test_what_stands_where_repair_works(meeting: Path, plant: Callable[[Path], None]) -> None:
    private = meeting.parent / "private"
    before = sorted(private.rglob("*"))
    plant(meeting / ".repair")
    told(0, "repair", meeting)
    assert sorted(private.rglob("*")) == before
    assert not (meeting / ".repair").exists()


def test_a_folder_of_media_that_is_a_link_is_not_written_through(meeting: Path, tmp_path: Path) -> None:
    shutil.rmtree(meeting / "audio")
    (tmp_path / "elsewhere").mkdir()
    (meeting / "audio").symlink_to(tmp_path / "elsewhere")
    told(5, "repair", meeting)
    files = Files(meeting)
    with pytest.raises(OSError, match="symbolic link"):
        files.append("audio/new.wav", b"x")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    "line",
    [
        {"at": 2, "ch": "webhook", "dir": "out", "data": {"event": "meeting.rtms_started", "payload": {}}},
        {"at": 2, "ch": "media", "dir": "out", "data": {"msg_type": "X"}},
        {"at": 2, "ch": "media", "dir": "out", "text": "no message"},
        {"at": 2, "ch": "x", "dir": "state", "data": {"state": "finished", "status": "x"}},
    ],
)
def test_lines_that_nobody_wrote_so(meeting: Path, line: dict[str, object]) -> None:
    with (meeting / "capture.jsonl").open("a") as capture:
        capture.write(json.dumps(line) + "\n")
    done = rtms("replay", meeting, "--out", meeting.parent / "out", cwd=meeting)
    assert done.returncode in (0, 5), done.stderr


def test_settings_in_somebody_elses_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rtms.toml")
    assert "not a file" in told(2, "config", tmp_path)
    (tmp_path / "rtms.toml").unlink()
    (tmp_path / "rtms.toml").write_text("a = " + "[" * 5000)
    assert "nested too deeply" in told(2, "config", tmp_path)


def test_escape_sequences_do_not_reach_the_terminal(meeting: Path) -> None:
    (meeting / "audio" / "\x1b[2J.wav").write_bytes(b"")
    (meeting / "manifest.json").unlink()  # which knew that no recorder had written the file
    with (meeting / "capture.jsonl").open("a") as capture:
        line = {"at": 2, "ch": "\x1b[31m\u202ex", "dir": "out", "data": {"msg_type": 12, "timestamp": 1}}
        capture.write(json.dumps(line) + "\n")
    assert r"\x1b[2J.wav" in told(0, "repair", meeting)
    assert r"\x1b[31m\u202ex: this version" in told(0, "replay", meeting, "--out", meeting.parent / "out")
    told(0, "inspect", meeting, "--json")
    told(0, "inspect", meeting, "--messages", "--raw")
    told(2, "inspect", meeting.parent / "\x1b[2J")


@pytest.mark.parametrize(
    "text",
    [
        "1" * 150_000,
        "<a" * 150_000,
        "00:00:01,000" + " " * 150_000,
        f"{'1' * 5000}:00:01,000 --> 00:00:02,000\nx",
    ],
    ids=range(4),
)
def test_subtitles_that_keep_a_reader_busy(text: str, tmp_path: Path) -> None:
    path = tmp_path / "own.srt"
    path.write_text("00:00:01,000 --> 00:00:02,000\nGood morning.\n\n00:00:03,000 --> 00:00:04,000\n" + text)
    assert load_transcript(path)[0].text == "Good morning."
