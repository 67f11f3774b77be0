"""Who takes part: names over time, channels, and bounds."""

import json
import tracemalloc
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, granted, media, said
from msgspec import structs

from rtms_cli.machine import Frame
from rtms_cli.protocol.messages import EventUpdate, read
from rtms_cli.recording.manifest import Manifest, Named, Participant
from rtms_cli.recording.people import MOST_NAMES, MOST_PARTICIPANTS, People
from rtms_cli.recording.recorder import Recorder

PCM = bytes(640)


def joined(user: object, name: str | None, at_s: float) -> Frame:
    people = [{"user_id": user, "user_name": name}]
    return said({"msg_type": 6, "event": {"event_type": 3, "participants": people}}, round(at_s * 1e6), "signaling")


def heard(user: object, name: str, at_s: float, **fields: object) -> Frame:
    at_ms = round(at_s * 1000)
    return audio(PCM, ZERO_MS + at_ms, user_id=user, user_name=name, at_us=at_ms * 1000, **fields)


def event(**fields: object) -> EventUpdate:
    message = read(json.dumps({"msg_type": 6, "event": {"event_type": 3, **fields}}).encode())
    assert isinstance(message, EventUpdate)
    return message


def recorded(folder: Path, frames: list[Frame], product: str = "meeting") -> Recorder:
    recorder = Recorder(folder, structs.replace(HEADER, product=product))
    recorder.fold(frames)
    return recorder


@pytest.mark.parametrize("product", ["meeting", "phone"])
def test_who_has_no_name_is_a_participant_too(tmp_path: Path, product: str) -> None:
    frames = [granted(), *(audio(PCM, ZERO_MS + at, user_id=1 + at // 20, at_us=at * 1000) for at in (0, 20, 40))]
    recorder = recorded(tmp_path, frames, product)
    recorder.close()
    assert [one.user_id for one in Manifest.read(tmp_path).participants] == [1, 2, 3]


def test_a_name_from_before_the_channel_was_known_is_the_channels(tmp_path: Path) -> None:
    frames = [granted(), media(17, "Hi.", ZERO_MS, user_id=700, user_name="Ann")]
    for channel, user in ((0, 700), (1, 800)):
        frames.append(audio(PCM, ZERO_MS + 20, user_id=user, channel_id=channel, at_us=20_000))
    frames.append(audio(PCM, ZERO_MS + 40, user_id=1, channel_id=2, at_us=40_000))  # an id that a channel has too
    recorder = recorded(tmp_path, frames, "contact_center")
    assert recorder.snapshot().participants == {700: "Ann", 0: "Ann"}
    recorder.close()


def test_the_file_keeps_the_first_name_and_the_manifest_has_all(tmp_path: Path) -> None:
    frames = [
        granted(),
        joined(7, "Ann", 0),
        *(heard(7, "Ann", at / 50) for at in range(10)),
        joined(7, "Ann Smith", 1),
        *(heard(7, "Ann", 1 + at / 50) for at in range(10)),  # what has not changed says nothing
        *(heard(7, "Dr. Ann", 2 + at / 50) for at in range(10)),
        said(
            {"msg_type": 18, "content": {"user_id": 8, "user_name": "Bo", "data": "x", "timestamp": ZERO_MS}}, 3_000_000
        ),
    ]
    recorder = recorded(tmp_path, frames)
    assert recorder.snapshot().participants == {7: "Dr. Ann", 8: "Bo"}
    recorder.close()
    manifest = Manifest.read(tmp_path)
    assert [(one.path, one.user_name) for one in manifest.tracks if one.kind == "audio"] == [("audio/7_ann.wav", "Ann")]
    names = [Named("Ann", 0.0), Named("Ann Smith", 1.0), Named("Dr. Ann", 2.0)]
    assert manifest.participants == [
        Participant(7, "Dr. Ann", 0.0, None, names),
        Participant(8, "Bo", None, None, [Named("Bo", 3.0)]),
    ]


def test_a_track_without_a_name_gets_that_which_comes_later(tmp_path: Path) -> None:
    recorded(tmp_path, [granted(), heard(7, "", 0), joined(7, "Ann", 1)]).close()
    assert [(one.path, one.user_name) for one in Manifest.read(tmp_path).tracks if one.kind == "audio"] == [
        ("audio/7.wav", "Ann")
    ]


@pytest.mark.parametrize("product", ["contact_center", "phone"])
def test_a_channel_and_a_user_with_one_id_are_two(product: str, tmp_path: Path) -> None:
    frames = [
        granted(),
        heard(None, "", 0, channel_id=1),
        heard(1, "", 0),
        heard(0, "", 0),
        heard(None, "", 0, channel_id=0),
    ]
    recorded(tmp_path, frames, product).close()
    manifest = Manifest.read(tmp_path)
    assert [(one.path, one.channel_id, one.packets) for one in manifest.tracks] == [
        ("audio/1.wav", 1, 1),
        ("audio/1_2.wav", None, 1),
        ("audio/mixed.wav", None, 1),
        ("audio/0.wav", 0, 1),
    ]
    assert [manifest.party(track) for track in manifest.tracks] == [1, 1, None, 0]
    assert not manifest.losses


def test_pictures_go_by_channel_too(tmp_path: Path) -> None:
    frames = [
        granted(),
        *(media(15, b"\xff\xd8\xff" + bytes([one]), ZERO_MS, user_id=None, channel_id=one) for one in (0, 1)),
    ]
    recorded(tmp_path, frames, "contact_center").close()
    assert [track.path for track in Manifest.read(tmp_path).tracks] == ["video/0.mjpeg", "video/1.mjpeg"]


def test_any_number_of_participants_and_names_is_bounded_and_told() -> None:
    warned: list[str] = []
    people = People("meeting", warned.append)
    tracemalloc.start()
    for number in range(3 * MOST_PARTICIPANTS):
        people.take(event(user_id=number + 1, user_name=f"{number} {'x' * 1000}"), number)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 20_000_000
    assert len(people.names()) == MOST_PARTICIPANTS
    assert len(warned) == 2 * MOST_PARTICIPANTS
    for number in range(3 * MOST_NAMES):
        people.take(event(user_id=1, user_name=f"Ann {number}"), number)
    assert len(people.participants[1].names) == MOST_NAMES
    assert people.name(1) == people.participants[1].names[-1].name == f"Ann {3 * MOST_NAMES - 1}"
    assert "not all of their names" in warned[-1]


def test_one_channel_with_ever_new_user_ids_is_one_file(tmp_path: Path) -> None:
    frames = [granted(), *(heard(7 + at, "", at / 50, channel_id=0) for at in range(6000))]
    recorded(tmp_path, frames, "phone").close()
    (track,) = Manifest.read(tmp_path).tracks
    assert (track.packets, track.path) == (6000, "audio/0.wav")
