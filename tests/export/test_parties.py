"""Contact Center and Phone in exports: each party by its channel, under its name."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from frames import HEADER, ZERO_MS, audio, granted, said
from msgspec import structs
from processes import rtms

from rtms_cli.machine import Frame
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import Recorder

RATE = 16_000
PHONE_NUMBER = "+15550001234"


def tone(hertz: int, start_ms: int, level: float = 0.3) -> bytes:
    time = np.arange(start_ms * RATE // 1000, (start_ms + 20) * RATE // 1000) / RATE
    return (level * 32_767 * np.sin(2 * np.pi * hertz * time)).astype("<i2").tobytes()


def has(samples: np.ndarray, hertz: int) -> bool:
    time = np.arange(len(samples)) / RATE
    return 2 * abs(complex(np.mean(samples * np.exp(-2j * np.pi * hertz * time)))) > 0.1


def named(channel: int, name: str, key: str = "participant_info") -> Frame:
    info = {"channel_id": channel, "display_name": name, "phone_number": PHONE_NUMBER}
    return said({"msg_type": 6, "event": {"event_type": 8, "event_ts": ZERO_MS, key: info}}, channel="signaling")


def sentence(text: str, at_ms: int, channel: int) -> Frame:
    times = {"start_time": ZERO_MS + at_ms, "end_time": ZERO_MS + at_ms + 900, "timestamp": ZERO_MS + at_ms + 900}
    return said({"msg_type": 17, "content": {"channel_id": channel, "data": text, **times}})


def sound(channel: int, hertz: int, at_ms: int) -> Frame:
    body = {"channel_id": channel, "user_id": None}
    return audio(tone(hertz, at_ms), ZERO_MS + at_ms, at_us=at_ms * 1000, **body)


@pytest.fixture(params=["contact_center", "phone"])
def call(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two seconds of channels 0 and 1, who begin to say something at the same moment."""
    frames = [granted(), named(0, "Ann"), named(1, "Bo", "paticipant_info")]
    for at_ms in range(0, 2000, 20):
        frames += [sound(0, 440, at_ms), sound(1, 880, at_ms)]
    frames += [
        sentence("Hello.", 0, 0),
        sentence("Hi.", 0, 1),
        sentence("Bye.", 1000, 0),
        sentence("See you.", 1100, 1),
    ]
    return recorded(tmp_path / "call", frames, request.param)


def recorded(folder: Path, frames: list[Frame], product: str) -> Path:
    folder.mkdir()
    recorder = Recorder(folder, structs.replace(HEADER, product=product))
    recorder.fold(frames)
    recorder.close()
    return folder


def exported(recording: Path, *arguments: str | Path) -> list[Path]:
    done = rtms("export", recording, *arguments, "--json", cwd=recording.parent)
    assert done.returncode == 0, done.stderr
    return [Path(path) for path in json.loads(done.stdout)["files"]]


def test_both_parties_are_heard(call: Path) -> None:
    [path] = exported(call, "--to", "wav")
    samples, _ = soundfile.read(path)
    assert len(samples) == 2 * RATE
    assert has(samples, 440)
    assert has(samples, 880)
    [path] = exported(call, "--to", "wav", "--multichannel")
    channels, _ = soundfile.read(path)
    assert [[has(channels[:, at], hertz) for hertz in (440, 880)] for at in (0, 1)] == [[True, False], [False, True]]
    ann, bo = exported(call, "--to", "wav", "--per-speaker")
    assert (ann.name, bo.name) == ("call.0_ann.wav", "call.1_bo.wav")
    assert has(soundfile.read(ann)[0], 440)
    assert has(soundfile.read(bo)[0], 880)


def test_every_sentence_has_its_speaker(call: Path) -> None:
    [txt, srt, as_json, table] = exported(call, "--to", "txt,srt,json,csv", "--merge-gap", "0")
    assert re.findall(r"\] (.*)", txt.read_text()) == ["Ann: Hello.", "Bo: Hi.", "Ann: Bye.", "Bo: See you."]
    assert [line for line in srt.read_text().splitlines() if ":" in line and "-->" not in line] == [
        "Ann: Hello.", "Bo: Hi.", "Ann: Bye.", "Bo: See you."
    ]  # fmt: skip
    said = json.loads(as_json.read_text())
    assert {(one["user_id"], one["name"]) for one in said["sentences"]} == {(0, "Ann"), (1, "Bo")}
    with table.open(newline="") as source:
        rows = list(csv.DictReader(source))
    assert {(row["user_id"], row["user_name"]) for row in rows} == {("0", "Ann"), ("1", "Bo")}
    assert len(rows) == 204


def test_both_parties_are_in_the_manifest_and_the_inspection(call: Path) -> None:
    manifest = Manifest.read(call)
    assert [
        (one.path, one.user_id, one.channel_id, one.user_name) for one in manifest.tracks if one.kind == "audio"
    ] == [
        ("audio/0_ann.wav", 0, 0, "Ann"),
        ("audio/1_bo.wav", 1, 1, "Bo"),
    ]
    assert not manifest.losses
    summary = json.loads(rtms("inspect", call, "--json", cwd=call).stdout)
    assert [(one["user_id"], one["user_name"]) for one in summary["participants"]] == [(0, "Ann"), (1, "Bo")]
    assert [one["channel_id"] for one in summary["tracks"] if one["kind"] == "transcript"] == [0, 1]
    shown = rtms("inspect", call, cwd=call).stdout + rtms("inspect", call, "--timeline", cwd=call).stdout
    assert "everyone" not in shown
    assert shown.count("Ann") >= 4


def test_a_line_with_the_agents_user_id_only_is_the_agents(tmp_path: Path) -> None:
    info = {"channel_id": 1, "user_id": "agent-7", "display_name": "Bo"}
    frames = [
        granted(),
        said({"msg_type": 6, "event": {"event_type": 10, "event_ts": ZERO_MS, "participant_info": info}}),
        sound(0, 440, 0),
        sound(1, 880, 0),
        sentence("Hi.", 0, 0),
        said({"msg_type": 17, "content": {"user_id": "agent-7", "data": "Hello.", "timestamp": ZERO_MS + 500}}),
    ]
    frames += [audio(tone(550, at), ZERO_MS + at, at_us=at * 1000, user_id="agent-7") for at in (0, 20)]
    call = recorded(tmp_path / "call", frames, "contact_center")
    manifest = Manifest.read(call)
    assert [(one.user_id, one.user_name) for one in manifest.participants] == [(1, "Bo"), (0, None)]
    assert [(one.path, one.packets) for one in manifest.tracks if one.kind == "audio"] == [
        ("audio/0.wav", 1), ("audio/1_bo.wav", 1), ("audio/agent-7_bo.wav", 2),
    ]  # fmt: skip
    [txt, as_json, table] = exported(call, "--to", "txt,json,csv", "--merge-gap", "0")
    assert re.findall(r"\] (.*)", txt.read_text()) == ["channel 0: Hi.", "Bo: Hello."]
    assert [one["user_id"] for one in json.loads(as_json.read_text())["sentences"]] == [0, 1]
    with table.open(newline="") as source:
        rows = [(row["kind"], row["user_id"], row["user_name"]) for row in csv.DictReader(source)]
    assert rows[-3:] == [("transcript", "1", "Bo"), *[("audio", "agent-7", "Bo")] * 2]
    shown = rtms("inspect", call, "--messages", "--type", "transcript", "--user", "bo", cwd=call).stdout
    assert "Hello." in shown
    summary = json.loads(rtms("inspect", call, "--json", cwd=call).stdout)
    assert [one["channel_id"] for one in summary["tracks"] if one["kind"] == "transcript"] == [0, 1]
    page = call / "page.html"
    assert rtms("inspect", call, "--html", page, cwd=call).returncode == 0
    assert '"who":"Bo","text":"Hello."' in page.read_text()


def test_packets_with_both_ids_tell_whose_the_lines_with_one_are(tmp_path: Path) -> None:
    ids = {0: "id-of-ann", 1: 800}
    frames = [granted()]
    for at_ms in range(0, 400, 20):
        for channel, hertz in ((0, 440), (1, 880)):
            both = {"user_id": ids[channel], "channel_id": channel if at_ms else None}
            frames.append(audio(tone(hertz, at_ms), ZERO_MS + at_ms, at_us=at_ms * 1000, **both))
    for user, text in ((ids[0], "Hello."), (ids[1], "Hi."), (7, "Psst.")):
        said_at = {"data": text, "start_time": ZERO_MS, "timestamp": ZERO_MS + 100}
        frames.append(said({"msg_type": 17, "content": {"user_id": user, **said_at}}, 400_000))
    call = recorded(tmp_path / "call", frames, "contact_center")
    manifest = Manifest.read(call)
    assert {one.user_id: one.user_ids for one in manifest.participants if one.user_ids} == {0: ["id-of-ann"], 1: [800]}
    [as_json, table] = exported(call, "--to", "json,csv")
    assert [one["user_id"] for one in json.loads(as_json.read_text())["sentences"]] == [0, 1, 7]
    with table.open(newline="") as source:
        assert [row["user_id"] for row in csv.DictReader(source) if row["kind"] == "transcript"] == ["0", "1", "7"]
    summary = json.loads(rtms("inspect", call, "--json", cwd=call).stdout)
    assert [one["channel_id"] for one in summary["tracks"] if one["kind"] == "transcript"] == [0, 1, None]
    assert [path.name for path in exported(call, "--to", "wav", "--per-speaker")] == ["call.0.wav", "call.1.wav"]


@pytest.mark.parametrize("product", ["meeting", "video_sdk", "unheard_of"])
def test_where_only_channels_tell_who_it_is_channel_0_is_a_party_in_every_product(tmp_path: Path, product: str) -> None:
    frames = [granted(), *(sound(channel, 440, at) for at in (0, 20) for channel in (0, 1)), sentence("Hi.", 0, 0)]
    call = recorded(tmp_path / "call", frames, product)
    assert [path.name for path in exported(call, "--to", "wav", "--per-speaker")] == ["call.0.wav", "call.1.wav"]
    summary = json.loads(rtms("inspect", call, "--json", cwd=call).stdout)
    assert [one["channel_id"] for one in summary["tracks"]] == [0, 1, 0]
    assert "everyone" not in rtms("inspect", call, "--all", cwd=call).stdout


def test_what_was_said_before_a_transfer_is_the_first_agents(tmp_path: Path) -> None:
    def answered(at_ms: int, name: str) -> Frame:
        info = {"channel_id": 1, "user_id": f"id-of-{name}", "display_name": name}
        event = {"event_type": 10, "event_ts": ZERO_MS + at_ms, "participant_info": info}
        return said({"msg_type": 6, "event": event}, at_ms * 1000, "signaling")

    frames = [granted(), answered(50, "Ann"), sound(1, 880, 0), sentence("Hi.", 0, 1), sentence("Bye.", 400, 1)]
    frames += [answered(500, "Bo"), sentence("Hello.", 600, 1)]
    call = recorded(tmp_path / "call", frames, "contact_center")
    [txt] = exported(call, "--to", "txt", "--merge-gap", "0")
    assert re.findall(r"\] (.*)", txt.read_text()) == ["Ann: Hi. Bye.", "Bo: Hello."]
    page = call / "page.html"
    assert rtms("inspect", call, "--html", page, cwd=call).returncode == 0
    assert '"who":"Ann","text":"Bye."' in page.read_text()


def test_a_phone_number_is_in_no_name_and_no_shown_line(tmp_path: Path) -> None:
    frames = [granted(), named(0, "1 (555) 000-1234"), sound(0, 440, 0), sentence("Hi.", 0, 0)]
    call = recorded(tmp_path / "call", frames, "phone")
    exported(call, "--to", "wav,txt,json,csv", "--per-speaker")
    names = [path.name for path in call.rglob("*")]
    assert "call.0_number-ending-in-34.wav" in names
    texts = [path.read_text() for path in (call / "export").iterdir() if path.suffix != ".wav"]
    texts += [rtms("inspect", call, *more, cwd=call).stdout for more in ((), ("--messages", "--raw"), ("--json",))]
    assert not [text for text in (*names, *texts) if re.search(r"555\W*000|5550001234", text)]


def test_recordings_from_before_channels_were_written_still_export(call: Path) -> None:
    manifest = json.loads((call / "manifest.json").read_text())
    for track in manifest["tracks"]:
        del track["channel_id"]
    for person in manifest["participants"]:
        del person["names"]
    (call / "manifest.json").write_text(json.dumps(manifest))
    assert [path.name for path in exported(call, "--to", "wav", "--per-speaker")] == ["call.0_ann.wav", "call.1_bo.wav"]
    [path] = exported(call, "--to", "wav")
    assert has(soundfile.read(path)[0], 440)
    assert has(soundfile.read(path)[0], 880)


def test_what_is_not_in_the_mix_is_heard_beside_it(tmp_path: Path) -> None:
    frames = [granted()]
    for at_ms in range(0, 1000, 20):
        frames.append(audio(tone(440, at_ms), ZERO_MS + at_ms, at_us=at_ms * 1000))  # everyone's
        frames.append(audio(tone(660, at_ms), ZERO_MS + at_ms, at_us=at_ms * 1000, user_id=0, channel_id=1))
        frames.append(audio(tone(550, at_ms), ZERO_MS + at_ms, at_us=at_ms * 1000, user_id=7))  # is in the mix
    for at_ms in range(1000, 2000, 20):  # separate streams were granted when it came back
        frames.append(audio(tone(880, at_ms), ZERO_MS + at_ms, at_us=at_ms * 1000, user_id=8))
    [path] = exported(recorded(tmp_path / "both", frames, "meeting"), "--to", "wav")
    samples, _ = soundfile.read(path)
    assert [has(samples[:RATE], hertz) for hertz in (440, 660, 550)] == [True, True, False]
    assert has(samples[RATE:], 880)


def test_ids_that_look_alike_lose_nothing(tmp_path: Path) -> None:
    alike = [10, "1_0", " 10", "+10", "010", "１０", "a", "A"]
    frames = [granted()]
    for at_ms in range(0, 500, 20):
        frames += [audio(tone(440, at_ms), ZERO_MS + at_ms, user_id=one) for one in alike]
    recording = recorded(tmp_path / "alike", frames, "meeting")
    manifest = Manifest.read(recording)
    assert [(one.packets, one.duplicates) for one in manifest.tracks] == [(25, 0)] * len(alike)
    assert len({path.name.casefold() for path in exported(recording, "--to", "wav", "--per-speaker")}) == len(alike)


@pytest.mark.parametrize(
    "people",
    [{"user_id": 1, "user_name": 42}, [1, 2], ["Ann", "Bo"], {"1": "Ann"}, 5, "Ann", None, [[]], [None], {"x": [1]}],
)
def test_events_of_any_shape_are_exported(people: object, tmp_path: Path) -> None:
    frames = [granted(), *(audio(tone(440, at), ZERO_MS + at, at_us=at * 1000) for at in range(0, 3000, 20))]
    for kind in (2, 3, 5):
        body = {"event_type": kind, "timestamp": ZERO_MS + 2000, "participants": people}
        frames.append(said({"msg_type": 6, "event": body}, 2_000_000, "signaling"))
    frames.append(sentence("Hello.", 2500, 0))
    recording = recorded(tmp_path / "odd", frames, "meeting")
    assert len(exported(recording, "--to", "mkv,txt,json,csv")) == 4
    assert rtms("inspect", recording, cwd=recording).returncode == 0


def test_a_refusal_names_some_of_many_people(tmp_path: Path) -> None:
    people = [{"user_id": 100 + at, "user_name": "x" * 200} for at in range(1000)]
    call = recorded(tmp_path / "call", [said({"msg_type": 6, "event": {"event_type": 3, "participants": people}})], "")
    refused = rtms("export", call, "--to", "mp4", "--video-user", "zoe", cwd=call)
    assert "and 980 others" in " ".join(refused.stderr.split())
    assert len(refused.stderr) < 10_000
