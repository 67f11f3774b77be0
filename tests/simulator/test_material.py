"""The user's own sound, film and transcript, as the simulator sends them."""

import json
import wave
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from simulator.test_codecs_sent import cues, decode, payloads, read_number, see

from rtms_cli.errors import Problem
from rtms_cli.protocol.media import AudioParams, MediaParams, VideoParams
from rtms_cli.protocol.messages import Audio, EventUpdate, Transcript, Video
from rtms_cli.protocol.numbers import Language, MediaType, MeetingEvent
from rtms_cli.simulator import media
from rtms_cli.simulator.cues import make_cues
from rtms_cli.simulator.decoding import Sound, load_film, load_sound
from rtms_cli.simulator.material import Material
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.schedule import Event, EventKind
from rtms_cli.simulator.subtitles import Line, load_transcript


def write_tone(path: Path, hz: float, seconds: float, rate: int, channels: int = 1, begin_s: float = 0) -> Path:
    """A sine of level 8000 on the first channel, half as loud on the second."""
    t = np.arange(round(seconds * rate)) / rate
    tone = 8_000 * np.sin(2 * np.pi * hz * t) * (t >= begin_s)
    samples = np.stack([tone / (1 + channel) for channel in range(channels)], axis=1).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def test_sound_of_every_participant_in_the_right_place(tmp_path: Path) -> None:
    one = load_sound(write_tone(tmp_path / "one.wav", 440, 3, 44_100))
    two = load_sound(write_tone(tmp_path / "two.wav", 1000, 4, 8_000, begin_s=2))
    assert (one.duration_ms, one.loud, two.duration_ms, two.loud) == (3000, ((0, 3000),), 4000, ((2000, 4000),))
    scenario = Scenario(5).with_material(Material((one, two)))
    assert [person.name for person in scenario.people] == ["John Smith", "Zoë Müller"]
    params = MediaParams(audio=AudioParams(2, 1, 1, 1, 2, 20))
    shown = cues(scenario, params, MediaType.AUDIO)
    spans = {}
    for person in scenario.people:
        own = [cue for cue in shown if isinstance(cue.message, Audio) and cue.message.user_id == person.user_id]
        spans[person.name] = (own[0].at_ms, own[-1].at_ms)
        heard = decode(1, 16_000, 1, payloads(own))[:, 0]
        hz, begin = (440, 0) if person.name == "John Smith" else (1000, 2)
        t = np.arange(len(heard)) / 16_000
        meant = 8_000 / 32_768 * np.sin(2 * np.pi * hz * t) * (t >= begin)
        quiet = np.abs(t - begin) < 0.01  # resampling rings where a tone begins
        quiet |= t > t[-1] - 0.01
        assert np.abs(heard - meant)[~quiet].max() < 0.005
    assert spans == {"John Smith": (0, 2980), "Zoë Müller": (0, 3980)}
    mixed = cues(scenario, MediaParams(audio=AudioParams(2, 1, 1, 1, 1, 100)), MediaType.AUDIO)
    heard = decode(1, 16_000, 1, payloads(mixed))[:, 0]
    assert len(heard) == 80_000
    assert not heard[4 * 16_000 + 200 :].any()
    levels = np.abs(np.fft.rfft(heard[2 * 16_000 : 3 * 16_000]))
    assert sorted(np.argsort(levels)[-2:].tolist()) == [440, 1000]
    events = [cue.message for cue in make_cues(scenario, params, 0, None)]
    speakers = [
        (event.timestamp, event.fields["user_name"])
        for event in events
        if isinstance(event, EventUpdate) and event.event_type == MeetingEvent.ACTIVE_SPEAKER_CHANGE
    ]
    assert speakers == [(0, "John Smith"), (2000, "Zoë Müller")]


def test_stereo_stays_stereo_and_mute_leaves_packets_out(tmp_path: Path) -> None:
    sound = load_sound(write_tone(tmp_path / "stereo.wav", 500, 2, 48_000, 2))
    events = (Event(500, EventKind.MUTE), Event(1000, EventKind.UNMUTE))
    scenario = Scenario(2, events=events).with_material(Material((sound,)))
    shown = cues(scenario, MediaParams(audio=AudioParams(2, 3, 2, 1, 2, 20)), MediaType.AUDIO)
    assert [cue.at_ms for cue in shown] == [*range(0, 500, 20), *range(1000, 2000, 20)]
    heard = decode(1, 48_000, 2, payloads(shown)) * 32_768
    with wave.open(str(sound.path)) as file:
        whole = np.frombuffer(file.readframes(96_000), "<i2").reshape(-1, 2)
    assert np.array_equal(heard, np.concatenate((whole[:24_000], whole[48_000:])))


def test_samples_are_the_same_however_they_are_asked_for(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "tone.wav", 333, 1.5, 22_050)
    whole = Sound(path, 16_000, 1).take(0, 32_000)
    pieces, sound = [], Sound(path, 16_000, 1)
    for start in range(0, 32_000, 320):
        pieces.append(sound.take(start, 320))
    assert np.array_equal(np.concatenate(pieces), whole)
    assert np.array_equal(Sound(path, 16_000, 1).take(9_000, 2_000), whole[9_000:11_000])


def write_film(path: Path, size: tuple[int, int], fps: int, count: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = Fraction(1, fps)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(media.yuv(number, *size, 60), format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("codec", "fps"), [(7, 10), (5, 5), (6, 2)])
def test_a_film_is_what_the_first_participants_camera_sees(codec: int, fps: int, tmp_path: Path) -> None:
    film = load_film(write_film(tmp_path / "film.mp4", (640, 360), 10, 30))
    assert film.duration_ms == 3000
    scenario = Scenario(8).with_material(Material(film=film))
    shown = cues(scenario, MediaParams(video=VideoParams(3, codec, 2, 3, fps)), MediaType.VIDEO)
    assert {cue.message.user_id for cue in shown if isinstance(cue.message, Video)} == {scenario.people[0].user_id}
    pictures = see(codec, payloads(shown))
    assert pictures[0].shape == (720, 1280)
    if codec == 7:
        numbers = [read_number(picture[::2, ::2], 60) for picture in pictures]
        assert numbers[:30] == list(range(30))
        assert max(cue.at_ms for cue in shown) < 4000


def test_a_film_of_another_shape_has_black_beside_it(tmp_path: Path) -> None:
    film = load_film(write_film(tmp_path / "square.mkv", (352, 352), 10, 10))
    scenario = Scenario(1).with_material(Material(film=film))
    shown = cues(scenario, MediaParams(video=VideoParams(3, 7, 1, 3, 10)), MediaType.VIDEO)
    for picture in see(7, payloads(shown)):
        assert picture.shape == (360, 640)
        assert np.abs(picture[:, :136].astype(int) - 16).max() <= 3
        assert np.abs(picture[:, -136:].astype(int) - 16).max() <= 3
        assert abs(float(np.median(picture[:, 145:495])) - 60) <= 3


JSONL = [
    {"start": 1.0, "end": 2.5, "user_name": "Zoë", "text": "Guten Morgen", "language": "German"},
    {"t": 5.0, "timestamp": 1_738_394_117_345, "start_time": 1_738_394_115_345, "end_time": 1_738_394_116_845,
     "user_id": 1, "user_name": "John", "language": 9, "text": "Hello"},
]  # fmt: skip


def test_transcripts(tmp_path: Path) -> None:
    path = tmp_path / "said.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in JSONL))
    lines = load_transcript(path)
    assert lines == (Line(1000, 2500, "Zoë", "Guten Morgen", 14), Line(3000, 4500, "John", "Hello", 9))
    scenario = Scenario(6).with_material(Material(lines=lines))
    assert [person.name for person in scenario.people] == ["Zoë", "John"]
    sent = [cue.message for cue in cues(scenario, MediaParams(), MediaType.TRANSCRIPT)]
    assert [
        (message.user_name, message.text, message.start_time, message.end_time, message.timestamp, message.language)
        for message in sent
        if isinstance(message, Transcript)
    ] == [
        ("Zoë", "Guten Morgen", 1_001_000, 1_002_500, 1_002_500, Language.LANGUAGE_ID_GERMAN),
        ("John", "Hello", 1_003_000, 1_004_500, 1_004_500, Language.LANGUAGE_ID_ENGLISH),
    ]
    spoken = cues(scenario, MediaParams(audio=AudioParams(2, 1, 1, 1, 2, 20)), MediaType.AUDIO)
    stamps = [cue.at_ms for cue in spoken]
    assert [(a, b) for a, b in pairwise([-20, *stamps]) if b - a != 20] == [(-20, 1000), (2480, 3000)]


def test_tags_that_are_not_utf_8(tmp_path: Path) -> None:
    sound = tmp_path / "latin.wav"
    with wave.open(str(sound), "wb") as sink:
        sink.setparams((1, 2, 16_000, 0, "NONE", ""))
        sink.writeframes(np.full(16_000, 9_000, "<i2").tobytes())
    tag = b"LIST\x10\0\0\0INFOINAM\x04\0\0\0caf\xe9"
    content = sound.read_bytes()
    sound.write_bytes(
        b"RIFF" + (len(content) - 8 + len(tag)).to_bytes(4, "little") + content[8:36] + tag + content[36:]
    )
    assert load_sound(sound).duration_ms == 1000


def test_a_sound_whose_form_changes_is_heard_to_its_end(tmp_path: Path) -> None:
    parts = []
    for rate in (44_100, 22_050):
        path = tmp_path / f"{rate}.aac"
        with av.open(str(path), "w") as sink:
            stream = sink.add_stream("aac", rate=rate, layout="stereo" if rate == 44_100 else "mono")
            frame = av.AudioFrame.from_ndarray(
                np.full((stream.layout.nb_channels, rate), 0.3, np.float32), "fltp", stream.layout.name
            )
            frame.sample_rate = rate
            sink.mux([*stream.encode(frame), *stream.encode(None)])
        parts.append(path.read_bytes())
    joined = tmp_path / "joined.aac"
    joined.write_bytes(b"".join(parts))
    assert load_sound(joined).duration_ms == pytest.approx(2_000, abs=200)


def test_a_sound_of_impossible_slowness_is_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "slow.wav"), "wb") as sink:
        sink.setparams((1, 2, 1, 0, "NONE", ""))
        sink.writeframes(bytes(20_000))
    with pytest.raises(Problem, match="sampling rate of 1 Hz"):
        load_sound(tmp_path / "slow.wav")


def test_wrong_files_are_described(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing to hear")
    for path in (tmp_path / "a.txt", tmp_path / "missing.wav"):
        with pytest.raises(Problem, match="Cannot read"):
            load_sound(path)
        with pytest.raises(Problem, match="Cannot read"):
            load_film(path)
    with pytest.raises(Problem, match="has no video track"):
        load_film(write_tone(tmp_path / "tone.wav", 440, 1, 8_000))
    with pytest.raises(Problem, match="has no audio track"):
        load_sound(write_film(tmp_path / "film.mp4", (640, 360), 10, 3))
