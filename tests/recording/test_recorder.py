"""Frames in, a folder out: what RECORDING promises about the files."""

import errno
import itertools
import json
import wave
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from frames import HEADER, ZERO_MS, audio, granted, media, said, state, tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from rtms_cli.capture import Capture, Header
from rtms_cli.machine import Direction, Frame, State, frame_of
from rtms_cli.recording.files import Files
from rtms_cli.recording.recorder import Recorder

HOUR_MS = 3_600_000
H264_KEY = b"\0\0\0\1\x09\x10\0\0\0\1\x67abc\0\0\1\x68d\0\0\1\x65efg"
H264_DELTA = b"\0\0\0\1\x09\x10\0\0\1\x41hij"
JPG = b"\xff\xd8\xff\xe0picture\xff\xd9"


def tone(slot: int, samples: int = 320) -> bytes:
    """PCM that tells which packet and which sample it is."""
    return (np.arange(samples) + slot * 331 + 1).astype("<i2").tobytes()


def record(folder: Path, batches: Sequence[Sequence[Frame]], header: Header = HEADER) -> dict[str, Any]:
    """Fold all batches; the manifest."""
    folder.mkdir(exist_ok=True)
    recorder = Recorder(folder, header)
    for batch in batches:
        recorder.fold(batch)
    recorder.close()
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return manifest


def samples_of(path: Path) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """A WAV as two independent readers see it, who must agree."""
    data, _ = soundfile.read(path, dtype="int16")
    with wave.open(str(path)) as reader:
        frames = np.frombuffer(reader.readframes(reader.getnframes()), "<i2")
        assert np.array_equal(frames, np.asarray(data).reshape(-1))
    return np.asarray(frames, np.int16)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def test_what_comes_because_everything_had_to_be_asked_for_is_left_aside(tmp_path: Path) -> None:
    """A server that takes no sum of bits sends every kind; the parameters name those that were wanted."""
    asked: dict[str, object] = {"msg_type": 3, "media_type": 32}
    asked["media_params"] = {"audio": {"codec": 1}, "chat": {"content_type": 5}}
    frames = [
        said(asked, way=Direction.OUT),
        granted(),
        audio(tone(0), ZERO_MS),
        media(15, JPG, ZERO_MS - 1000),
        media(15, JPG, ZERO_MS),
        media(17, "left aside", ZERO_MS - 500),
        media(18, "kept", ZERO_MS),
    ]
    manifest = record(tmp_path / "r", [frames])
    assert sorted(track["kind"] for track in manifest["tracks"]) == ["audio", "chat"]
    assert manifest["origin_ms"] == ZERO_MS
    assert {(each["text"], each["count"]) for each in manifest["warnings"]} == {
        ("media: video that was not asked for is left aside", 2),
        ("media: transcript that was not asked for is left aside", 1),
    }
    assert manifest["losses"] == []
    assert len(lines(tmp_path / "r" / "capture.jsonl")) == 1 + len(frames)


@pytest.mark.parametrize("params", [None, {}])
def test_everything_without_parameters_is_everything(tmp_path: Path, params: object) -> None:
    asked = {"msg_type": 3, "media_type": 32, "media_params": params}
    frames = [said(asked, way=Direction.OUT), granted(), media(15, JPG, ZERO_MS)]
    assert [track["kind"] for track in record(tmp_path / "r", [frames])["tracks"]] == ["video"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    slots=st.lists(st.integers(0, 40), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_each_sample_where_its_timestamp_says_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, slots: list[int], cuts: list[int]
) -> None:
    """Any order, gaps, duplicates and bursts, cut into any batches; the origin moves as often as it must."""
    slots = [20, *slots]
    frames = [granted()] + [audio(tone(slot), ZERO_MS + slot * 20) for slot in slots]
    lows = sum(slot < min(slots[:number]) for number, slot in enumerate(slots) if number)
    if lows > 16:
        return
    edges = sorted({0, *cuts, len(frames)})
    folder = tmp_path_factory.mktemp("r") / "r"
    manifest = record(folder, [frames[a:b] for a, b in pairwise(edges)])
    first = min(slots)
    expected = np.zeros((max(slots) - first + 1) * 320, np.int16)
    for slot in slots:
        expected[(slot - first) * 320 : (slot - first + 1) * 320] = np.frombuffer(tone(slot), "<i2")
    assert np.array_equal(samples_of(folder / "audio/mixed.wav"), expected)
    assert manifest["origin_ms"] == ZERO_MS + first * 20
    assert manifest["losses"] == []
    (track,) = manifest["tracks"]
    assert track["duplicates"] == len(slots) - len(set(slots))
    missing = (max(slots) - first + 1) - len(set(slots))
    assert round(sum(end - start for start, end in track["gaps"]) * 50) == missing


def a_session() -> list[Frame]:
    """A bit of everything, with the origin moving after text was written."""
    frames = [
        state(State.OPENING, 10, "signaling", url="ws://zoom/x?secret=1"),
        state(State.OPEN, 20, "signaling"),
        said({"msg_type": 6, "event": {"event_type": 3, "timestamp": ZERO_MS - 500, "participants": [
            {"user_id": 7, "user_name": "Ann \ud83d\ude00"}, {"user_id": 8, "user_name": "\ud800 lone"}]}},
            30, "signaling"),
        state(State.OPENING, 40, url="ws://zoom/m"),
        state(State.OPEN, 50),
        granted(at_us=60),
        media(17, "hello", ZERO_MS + 900, user_id=7, user_name="Ann", start_time=1, end_time=2, language=9, at_us=70),
    ]  # fmt: skip
    for slot in range(50):
        at_us = 100_000 + slot * 20_000
        frames.append(audio(tone(slot), ZERO_MS + 1000 + slot * 20, user_id=7, user_name="Ann", at_us=at_us))
        if slot % 10 == 0:
            picture = H264_KEY if slot % 20 == 0 else H264_DELTA
            frames.append(media(15, picture, ZERO_MS + 1000 + slot * 20, user_id=8, at_us=at_us + 1))
            frames.append(media(16, JPG, ZERO_MS + 1000 + slot * 20, user_id=8, at_us=at_us + 2))
    frames += [audio(tone(n), ZERO_MS + n * 20, user_id=7, user_name="Ann", at_us=1_200_000 + n) for n in range(50)]
    frames += [
        media(18, "a line\n\u2028 with \"everything\"", ZERO_MS + 1500, user_id=8, emoji="x", at_us=1_300_000),
        media(18, "lone \ud800", ZERO_MS + 1600, user_id=8, at_us=1_300_001),
        media(17, "", ZERO_MS + 1700, user_id=7, at_us=1_300_002),
        said({"msg_type": 12, "timestamp": 5}, 1_400_000),
        said({"msg_type": 13, "timestamp": 5}, 1_403_500, way=Direction.OUT),
        said({"msg_type": 99, "what": 1}, 1_400_100),
        frame_of(1_400_200, "media", Direction.IN, b"not json"),
        audio("***", ZERO_MS + 2100, user_id=7, at_us=1_400_300),  # type: ignore[arg-type]
        audio(tone(100) + b"x", ZERO_MS + 2000, user_id=7, user_name="Ann", at_us=1_400_400),
        said({"msg_type": 8, "state": 4, "reason": 6, "timestamp": 1}, 1_500_000, "signaling"),
        state(State.CLOSED, 1_600_000, code=1000, ours=True),
        state(State.FINISHED, 1_700_000, "signaling", status="complete", code=6, reason="signaling"),
    ]  # fmt: skip
    return frames


@pytest.fixture(scope="module")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session") / "r"
    record(folder, [a_session()])
    return folder


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 100])
def test_batches_change_nothing(session_folder: Path, tmp_path: Path, size: int) -> None:
    frames = a_session()
    record(tmp_path / "r", [frames[at : at + size] for at in range(0, len(frames), size)])
    assert tree(tmp_path / "r") == tree(session_folder)


def test_a_replay_gives_the_same_files(session_folder: Path, tmp_path: Path) -> None:
    capture = Capture(session_folder)
    record(tmp_path / "r", [list(capture)], capture.header)
    assert not capture.problems
    assert tree(tmp_path / "r") == tree(session_folder)


def test_only_what_arrived_is_there(session_folder: Path) -> None:
    assert list(tree(session_folder)) == [
        "audio/7_ann.wav",
        "capture.jsonl",
        "chat.jsonl",
        "events.jsonl",
        "manifest.json",
        "share/8_lone.mjpeg",
        "share/8_lone.mjpeg.index.jsonl",
        "transcript.jsonl",
        "video/8_lone.h264",
        "video/8_lone.h264.index.jsonl",
    ]
    assert all(path.stat().st_mode & 0o077 == 0 for path in session_folder.rglob("*"))


def test_text_lines(session_folder: Path) -> None:
    assert lines(session_folder / "transcript.jsonl") == [
        {"t": 0.9, "timestamp": ZERO_MS + 900, "start_time": 1, "end_time": 2, "user_id": 7, "user_name": "Ann",
         "language": 9, "text": "hello"},
    ]  # fmt: skip
    chat = lines(session_folder / "chat.jsonl")
    assert chat[0] == {"t": 1.5, "timestamp": ZERO_MS + 1500, "user_id": 8, "user_name": None,
                       "text": 'a line\n\u2028 with "everything"', "extra": {"emoji": "x"}}  # fmt: skip
    assert chat[1]["text"] == "lone \ufffd"
    (event,) = lines(session_folder / "events.jsonl")
    assert list(event) == ["t", "timestamp", "event", "participants"]
    assert (event["t"], event["event"]) == (-0.5, "PARTICIPANT_JOIN")


def test_pictures_and_their_index(session_folder: Path) -> None:
    path = session_folder / "video/8_lone.h264"
    index = lines(Path(f"{path}.index.jsonl"))
    assert [line["key"] for line in index] == [True, False, True, False, True]
    content = path.read_bytes()
    pieces = [content[line["offset"] :][: line["length"]] for line in index]
    assert pieces == [H264_KEY, H264_DELTA] * 2 + [H264_KEY]
    assert [line["timestamp"] for line in index] == [ZERO_MS + 1000 + n * 200 for n in range(5)]
    assert (session_folder / "share/8_lone.mjpeg").read_bytes() == JPG * 5


def test_the_manifest_tells_the_story(session_folder: Path) -> None:
    manifest = json.loads((session_folder / "manifest.json").read_bytes())
    assert manifest["schema"] == 1
    assert manifest["status"] == "complete"
    assert manifest["started_at"] == "2026-11-22T22:15:00.000Z"
    assert manifest["ended_at"] == "2026-11-22T22:15:01.700Z"
    assert manifest["origin_ms"] == ZERO_MS
    assert manifest["stop"] == {"reason": 6, "name": "STOP_BC_MEETING_ENDED", "said_by": "signaling"}
    assert manifest["keep_alive"] == {"media": {"received": 1, "answered": 1, "slowest_ms": 3.5}}
    assert manifest["messages"]["received"]["MEDIA_DATA_AUDIO"]["count"] == 102
    assert manifest["messages"]["received"]["UNKNOWN 99"] == {"msg_type": 99, "count": 1, "bytes": 27}
    assert manifest["messages"]["sent"]["KEEP_ALIVE_RESP"]["count"] == 1
    assert manifest["media"]["granted"]["audio"]["sample_rate"] == 1
    assert [(c["channel"], c["url"], c["opened"], c["closed"], c["code"]) for c in manifest["connections"]] == [
        ("signaling", "ws://zoom/x", 0.00002, None, None),
        ("media", "ws://zoom/m", 0.00005, 1.6, 1000),
    ]
    assert [(person["user_id"], person["joined"]) for person in manifest["participants"]] == [
        (7, 0.00003),
        (8, 0.00003),
    ]
    assert [(loss["what"].split(";")[0], loss["where"], loss["count"]) for loss in manifest["losses"]] == [
        ("frame could not be read", "media", 1),
        ("payload is not base64", "media", 1),
        ("bytes at the end of a packet that are not a whole sample", "audio/7_ann.wav", 1),
    ]
    sound = next(track for track in manifest["tracks"] if track["kind"] == "audio")
    assert sound["path"] == "audio/7_ann.wav"
    assert (sound["codec"], sound["rate"], sound["channels"], sound["packets"]) == ("L16", 16000, 1, 101)
    assert (sound["first_timestamp"], sound["last_timestamp"]) == (ZERO_MS, ZERO_MS + 2000)
    assert (sound["duration"], sound["offset"], sound["gaps"]) == (2.02, 0.0, [])


def test_tracks_start_together(tmp_path: Path) -> None:
    """A video packet comes first, then audio that was buffered before it; and someone joins later."""
    record(
        tmp_path,
        [
            [granted(), media(15, JPG, ZERO_MS + 5000, user_id=1), audio(tone(300), ZERO_MS + 6000, user_id=1)],
            [audio(tone(0), ZERO_MS, user_id=2)],
            [audio(tone(301), ZERO_MS + 6020, user_id=1)],
        ],
    )
    one, two = samples_of(tmp_path / "audio/1.wav"), samples_of(tmp_path / "audio/2.wav")
    assert np.array_equal(two, np.frombuffer(tone(0), "<i2"))
    assert not one[: 6000 * 16].any()
    assert one[6000 * 16 :].tobytes() == tone(300) + tone(301)


def test_a_jump_starts_a_new_file_and_writes_no_silence(tmp_path: Path) -> None:
    frames = [granted()]
    frames += [audio(tone(n), ZERO_MS + n * 20) for n in range(3)]
    frames += [audio(tone(n), ZERO_MS + 10 * HOUR_MS + n * 20) for n in range(3)]
    frames += [audio(tone(n), ZERO_MS + n * 20) for n in range(3, 5)]
    frames += [audio(tone(9), bad) for bad in (None, 0, -5, 2**63, 2**70, "soon")]
    manifest = record(tmp_path, [frames])
    assert samples_of(tmp_path / "audio/mixed.wav").tobytes() == b"".join(map(tone, [*range(5), *[9] * 6]))
    assert samples_of(tmp_path / "audio/mixed_2.wav").tobytes() == b"".join(map(tone, range(3)))
    assert [track["offset"] for track in manifest["tracks"]] == [0.0, 36000.0]
    texts = [warned["text"] for warned in manifest["warnings"]]
    assert "the media clock has jumped by +36000 s; audio/mixed_2.wav starts there" in texts
    assert any("without a usable timestamp" in text for text in texts)


@pytest.mark.parametrize("passes", [False, True], ids=["no time passes", "time passes"])
@pytest.mark.parametrize("stamped", [True, False], ids=["stamped", "unstamped"])
@pytest.mark.parametrize("step_ms", [3_540_000, 24 * HOUR_MS, -2 * HOUR_MS])
def test_silence_is_bounded_for_the_whole_recording(passes: bool, stamped: bool, step_ms: int, tmp_path: Path) -> None:
    count, begin = 400, ZERO_MS + 10_000 * HOUR_MS
    frames = [granted()]
    for n in range(count):
        at_us = abs(step_ms) * 1000 * n if passes else 20_000 * n
        frames.append(audio(tone(n), begin + n * step_ms if stamped else None, at_us=at_us))
    manifest = record(tmp_path, [frames])
    assert sum(track["packets"] for track in manifest["tracks"]) == count
    assert manifest["losses"] == []
    sizes = [(tmp_path / track["path"]).stat().st_size for track in manifest["tracks"]]
    assert sum(sizes) <= 25 * 3600 * 32_000
    heard = set()
    for track in manifest["tracks"]:
        with wave.open(str(tmp_path / track["path"])) as reader:
            for start, end in itertools.pairwise([0.0, *(x for gap in track["gaps"] for x in gap), track["duration"]]):
                reader.setpos(round(start * 16_000))
                if any(start == gap[0] for gap in track["gaps"]):
                    continue
                pcm = reader.readframes(round((end - start) * 16_000))
                heard |= {pcm[at : at + 640] for at in range(0, len(pcm), 640)}
    assert heard == set(map(tone, range(count)))
    assert manifest["warnings"]


def test_the_granted_form_decides_and_another_grant_starts_another_file(tmp_path: Path) -> None:
    stereo = {"content_type": 2, "sample_rate": 3, "channel": 2, "codec": 1}
    frames = [
        granted(),
        audio(tone(0), ZERO_MS),
        state(State.OPEN),
        said({"msg_type": 4, "status_code": 0, "media_params": {"audio": stereo}}),
        audio(tone(1, 1920), ZERO_MS + 20),
        state(State.OPEN),
        said({"msg_type": 4, "status_code": 0, "media_params": {"audio": stereo | {"codec": 9}}}),
        audio(b"what", ZERO_MS + 40),
        audio(b"what", ZERO_MS + 60),
    ]
    manifest = record(tmp_path, [frames])
    with wave.open(str(tmp_path / "audio/mixed_2.wav")) as reader:
        assert (reader.getframerate(), reader.getnchannels(), reader.getnframes()) == (48000, 2, 960 + 960)
    assert samples_of(tmp_path / "audio/mixed.wav").tobytes() == tone(0)
    (loss,) = manifest["losses"]
    assert (loss["what"], loss["count"]) == ("codec 9 audio is not decoded; it is in the capture", 2)


def test_media_without_a_grant_is_recorded_with_one_warning(tmp_path: Path) -> None:
    plain = {"msg_type": 14, "content": "AQACAA==", "user_id": 5, "user_name": "Eve", "timestamp": ZERO_MS}
    manifest = record(tmp_path, [[said(plain), said(plain | {"timestamp": ZERO_MS + 20})]])
    assert samples_of(tmp_path / "audio/5_eve.wav")[:2].tolist() == [1, 2]
    (warned,) = manifest["warnings"]
    assert "media without an accepted handshake" in warned["text"]
    assert manifest["status"] == "interrupted"


def test_pictures_without_a_grant_are_told_by_their_bytes(tmp_path: Path) -> None:
    record(tmp_path, [[media(15, b"?", 1), media(15, JPG, 2), media(15, b"\x89PNG...", 3), media(15, H264_KEY, 4)]])
    names = {name for name in tree(tmp_path) if name.startswith("video") and "index" not in name}
    assert names == {"video/mixed.mjpeg", "video/mixed.pngs", "video/mixed.h264", "video/mixed.bin"}


@pytest.mark.parametrize("product", ["contact_center", "phone"])
def test_contact_center_and_phone_go_by_channel(tmp_path: Path, product: str) -> None:
    frames = [granted(), audio(tone(0), ZERO_MS, channel_id=1), audio(tone(1), ZERO_MS, channel_id=2, user_name="Bo")]
    record(tmp_path, [frames], structs.replace(HEADER, product=product))
    assert {name for name in tree(tmp_path) if name.startswith("audio")} == {"audio/1.wav", "audio/2_bo.wav"}


def test_hostile_ids_stay_inside_and_apart(tmp_path: Path) -> None:
    ids = [
        "../../etc/passwd",
        "..",
        "/",
        "a/b",
        "a\\b",
        "CON",
        "con",
        "mixed",
        "x" * 4000,
        "\0",
        "😀",
        "A",
        "a",
        "\ud800",
    ]
    frames = [granted()]
    frames += [audio(tone(n), ZERO_MS, user_id=user_id, user_name="../\n😀") for n, user_id in enumerate(ids)]
    record(tmp_path / "r", [frames])
    found = [name for name in tree(tmp_path) if name.endswith(".wav")]
    assert len(found) == len(ids)
    assert all(name.startswith("r/audio/") and name.count("/") == 2 for name in found)
    heard = {samples_of(tmp_path / name).tobytes() for name in found}
    assert heard == {tone(n) for n in range(len(ids))}


class FailingFiles(Files):
    """A disk that has no room for some files. Unlike a real one it fails cleanly, before anything is written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.refused: tuple[str, ...] = ()

    def _open(self, name: str, flags: int) -> tuple[int, int]:
        if self.refused and name.removesuffix(".part").endswith(self.refused):
            raise OSError(errno.ENOSPC, "No space left on device")
        return super()._open(name, flags)


@pytest.mark.parametrize("refused", ["audio/1.wav", "capture.jsonl", "events.jsonl", "manifest.json", "1.mjpeg"])
def test_a_file_that_cannot_be_written_costs_only_itself(tmp_path: Path, refused: str) -> None:
    def batch(number: int) -> list[Frame]:
        at_us, timestamp = number * 1_000_000, ZERO_MS + number * 20
        return [
            audio(tone(number), timestamp, user_id=1, at_us=at_us),
            audio(tone(number), timestamp, user_id=2, at_us=at_us),
            media(15, JPG, timestamp, user_id=1, at_us=at_us),
            said({"msg_type": 6, "event": {"event_type": 2, "timestamp": timestamp}}, at_us),
        ]

    files = FailingFiles(tmp_path)
    recorder = Recorder(tmp_path, HEADER, files=files)
    recorder.fold([granted()])
    for number in range(6):
        files.refused = (refused,) if number in (2, 3) else ()
        recorder.fold(batch(number))
        recorder.checkpoint()
    recorder.close()
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    (loss,) = manifest["losses"]
    assert loss["what"] == "could not be written"
    assert loss["where"].endswith(refused)
    assert loss["first_error"] == "No space left on device"
    assert (loss["first_at"], loss["last_at"]) == (2.0, 3.0)
    kept = [0, 1, 4, 5]
    one = samples_of(tmp_path / "audio/1.wav").tobytes()
    if refused == "audio/1.wav":
        assert one == tone(0) + tone(1) + bytes(1280) + tone(4) + tone(5)
    else:
        assert one == b"".join(map(tone, range(6)))
    assert samples_of(tmp_path / "audio/2.wav").tobytes() == b"".join(map(tone, range(6)))
    stamps = [ZERO_MS + n * 20 for n in (kept if refused == "events.jsonl" else range(6))]
    assert [line["timestamp"] for line in lines(tmp_path / "events.jsonl")] == stamps
    index = lines(tmp_path / "video/1.mjpeg.index.jsonl")
    assert len(index) == (4 if refused == "1.mjpeg" else 6)
    assert (tmp_path / "video/1.mjpeg").read_bytes() == JPG * len(index)
    assert [line["offset"] for line in index] == [n * len(JPG) for n in range(len(index))]
    capture = Capture(tmp_path)
    assert len(list(capture)) == 1 + 4 * (4 if refused == "capture.jsonl" else 6)
    assert not capture.problems


def test_an_origin_move_that_fails_is_made_up_for(tmp_path: Path) -> None:
    files = FailingFiles(tmp_path)
    recorder = Recorder(tmp_path, HEADER, files=files)
    recorder.fold([granted(), audio(tone(5), ZERO_MS + 100)])
    files.refused = ("audio/mixed.wav",)
    recorder.fold([audio(tone(0), ZERO_MS)])
    assert samples_of(tmp_path / "audio/mixed.wav").tobytes() == tone(5)
    files.refused = ()
    recorder.fold([audio(tone(6), ZERO_MS + 120)])
    recorder.close()
    assert samples_of(tmp_path / "audio/mixed.wav").tobytes() == bytes(640 * 5) + tone(5) + tone(6)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "capture.jsonl").symlink_to(outside)
    manifest = record(folder, [[granted()]])
    assert outside.read_text() == "precious"
    assert manifest["losses"]


def test_no_frame_raises_and_all_are_kept(tmp_path: Path) -> None:
    """Every message type with fields missing, null, or of the wrong type."""
    values: list[object] = [None, "", "x", -1, 0, 2**70, 1.5, [], {}, True, {"user_id": []}]
    frames: list[Frame] = []
    for msg_type in range(1, 31):
        for value in values:
            names = ("content", "event", "state", "reason", "timestamp", "media_params", "status_code", "user_id")
            frames.append(said({"msg_type": msg_type} | dict.fromkeys(names, value), len(frames)))
            content = dict.fromkeys(("data", "user_id", "user_name", "timestamp", "length", "channel_id"), value)
            frames.append(said({"msg_type": msg_type, "content": content, "event": content}, len(frames)))
    manifest = record(tmp_path, [frames])
    assert len(list(Capture(tmp_path))) == len(frames)
    assert manifest["status"] in ("complete", "interrupted")


def test_the_snapshot_is_of_the_last_batch(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, HEADER)
    recorder.fold(a_session()[:-1])
    seen = recorder.snapshot()
    assert seen.status == "recording"
    assert seen.counts["MEDIA_DATA_AUDIO"] == 102
    assert seen.transcript == (("Ann", "hello"),)
    assert seen.chat[0][1].startswith("a line")
    assert seen.losses == 2  # a byte at the end may be the first one of the next sample
    track = next(track for track in seen.tracks if track.kind == "audio")
    assert (track.path, track.seconds, track.packets) == ("audio/7_ann.wav", 2.02, 101)
    assert 0 < track.level <= 1
    assert track.written_us == seen.at_us
    recorder.fold([said({"msg_type": 12, "timestamp": 1}, seen.at_us + 5_000_000)])
    later = recorder.snapshot()
    assert (later.at_us, *(one.written_us for one in later.tracks if one.kind == "audio")) == (
        seen.at_us + 5_000_000, seen.at_us,
    )  # fmt: skip
    recorder.close()
    assert recorder.snapshot().status == "complete"


def test_sentences_are_changed_and_taken_back(tmp_path: Path) -> None:
    """An interim result without text is nothing; a deletion without text is something (PROTOCOL §5)."""
    lines_sent = [("Helo", 1), ("", None), ("Hello", 2), ("", 3), (None, 3), ("Bye", 0), ("Bye bye", 9)]
    frames = [granted()]
    for number, (text, attribute) in enumerate(lines_sent):
        fields = {} if attribute is None else {"attribute": attribute}
        body = {"user_id": 7, "timestamp": ZERO_MS + number, "start_time": number, "channel_id": 3, **fields}
        frames.append(said({"msg_type": 17, "content": body | ({} if text is None else {"data": text})}))
    record(tmp_path, [frames])
    lines = [json.loads(line) for line in (tmp_path / "transcript.jsonl").read_text().splitlines()]
    assert [(line["text"], line.get("attribute"), line["start_time"], line["channel_id"]) for line in lines] == [
        ("Helo", None, 0, 3),
        ("Hello", "UPDATE", 2, 3),
        ("", "DELETE", 3, 3),
        (None, "DELETE", 4, 3),
        ("Bye", None, 5, 3),
        ("Bye bye", 9, 6, 3),
    ]


def test_a_mark_is_an_event_at_the_time_of_the_media(tmp_path: Path) -> None:
    frames = [
        state(State.MARK, 10, "signaling", reason="too early to have a time"),
        granted(),
        audio(tone(0), ZERO_MS, at_us=1_000_000),
        state(State.MARK, 3_500_000, "signaling", reason="the m key"),
    ]
    record(tmp_path, [frames])
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [(line["t"], line["timestamp"], line["event"], line["text"]) for line in lines] == [
        (-1.0, None, "MARK", "too early to have a time"),
        (2.5, ZERO_MS + 2500, "MARK", "the m key"),
    ]


def test_the_snapshot_knows_participants_and_speaker_by_user_id(tmp_path: Path) -> None:
    def event(number: int, **fields: object) -> Frame:
        return said({"msg_type": 6, "event": {"event_type": number, **fields}}, channel="signaling")

    recorder = Recorder(tmp_path, HEADER)
    recorder.fold([event(3, participants=[{"user_id": "7", "user_name": "Ann"}, {"user_id": 8, "user_name": "Ann"}])])
    recorder.fold([event(2, user_id=8, user_name="Ann"), media(17, "Good morning", ZERO_MS, user_id=9, user_name="Bo")])
    snapshot = recorder.snapshot()
    assert snapshot.participants == {7: "Ann", 8: "Ann", 9: "Bo"}
    assert snapshot.speaker == 8
