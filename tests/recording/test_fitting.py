"""Audio that is not as granted is kept whole, with what was assumed; audio that is stays as it was, bit for bit."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from encoded_audio import RATES as ENCODED_HZ
from encoded_audio import encoded, rtp, sine
from encoded_audio import grant as encoded_grant
from frames import HEADER, ZERO_MS, media, tree
from frames import said as message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtms_cli.capture import Capture
from rtms_cli.machine import Frame
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.sniffing import is_stereo

RATES = {8_000: 0, 16_000: 1, 32_000: 2, 48_000: 3}
COUNT = 60


def grant(rate: int = 16_000, channels: int = 1, send_rate: int = 20) -> Frame:
    params = {
        "content_type": 2, "sample_rate": RATES[rate], "channel": channels, "codec": 1, "data_opt": 1,
        "send_rate": send_rate,
    }  # fmt: skip
    return message({"msg_type": 4, "status_code": 0, "media_params": {"audio": params}})


def voice(rate: int, channels: int, count: int = COUNT, each_ms: int = 20, begin: int = 0) -> list[bytes]:
    """Packets of something like speech: no two are alike."""
    samples = rate * each_ms // 1000 * count
    time = (np.arange(samples) + begin * rate * each_ms // 1000) / rate
    sides = [
        9_000 * np.sin(2 * np.pi * (211 + 37 * side) * time + side)
        + 2_000 * np.sin(2 * np.pi * 997 * time * (1 + time / 9))
        for side in range(channels)
    ]
    pcm = np.stack(sides, axis=1).astype("<i2").tobytes()
    size = len(pcm) // count
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]


def packets(payloads: list[bytes], stamps: Callable[[int], object], user: int = 7, from_: int = 0) -> list[Frame]:
    return [
        media(14, payload, stamps(from_ + n), user_id=user, at_us=20_000 * (from_ + n))
        for n, payload in enumerate(payloads)
    ]


def recorded(folder: Path, frames: list[Frame], cuts: list[int] | None = None) -> Manifest:
    folder.mkdir(exist_ok=True)
    recorder = Recorder(folder, HEADER)
    edges = sorted({0, len(frames), *(min(cut, len(frames)) for cut in cuts or [])})
    for a, b in pairwise(edges):
        recorder.fold(frames[a:b])
    recorder.close()
    return Manifest.read(folder)


def sound(folder: Path, path: str = "audio/7.wav") -> tuple[bytes, int, int]:
    data, rate = soundfile.read(folder / path, dtype="int16", always_2d=True)
    return data.tobytes(), rate, data.shape[1]


def replays_alike(folder: Path) -> None:
    capture = Capture(folder)
    again = folder.parent / f"{folder.name}-again"
    recorded(again, list(capture))
    assert tree(again) == tree(folder)


FORMS = [(rate, channels) for rate in RATES for channels in (1, 2)]


@pytest.mark.parametrize(
    ("given_", "came"),
    [(a, b) for a in FORMS for b in FORMS if a == b or a[0] * a[1] != b[0] * b[1]],  # else nothing is unusual
    ids=str,
)
def test_another_form_than_granted(given_: tuple[int, int], came: tuple[int, int], tmp_path: Path) -> None:
    payloads = voice(*came)
    manifest = recorded(tmp_path / "r", [grant(*given_), *packets(payloads, lambda n: ZERO_MS + 20 * n)])
    assert sound(tmp_path / "r") == (b"".join(payloads), *came)
    [track] = manifest.tracks
    assert (track.rate, track.channels) == came
    assert track.packets == COUNT
    assert (track.overlap, track.duplicates, track.gaps, manifest.losses) == (0, 0, [], [])
    assert bool(track.assumed) == (given_ != came)
    assert [warned.text for warned in manifest.warnings] == ([f"audio/7.wav: {track.assumed}"] if track.assumed else [])
    replays_alike(tmp_path / "r")


@pytest.mark.parametrize("send_rate", [40, 100, 500, 1000])
def test_packets_of_another_length_in_time_are_as_granted(send_rate: int, tmp_path: Path) -> None:
    payloads = voice(16_000, 1, 12, send_rate)
    manifest = recorded(tmp_path / "r", [grant(), *packets(payloads, lambda n: ZERO_MS + send_rate * n)])
    assert sound(tmp_path / "r") == (b"".join(payloads), 16_000, 1)
    assert manifest.warnings == []


@pytest.mark.parametrize("came", [(48_000, 1), (8_000, 1), (32_000, 2)], ids=str)
def test_a_form_that_changes_goes_on_in_a_file_of_its_own(came: tuple[int, int], tmp_path: Path) -> None:
    before, during, after = voice(16_000, 1), voice(*came, begin=COUNT), voice(16_000, 1, begin=2 * COUNT)
    frames = [grant()]
    for n, payloads in enumerate((before, during, after)):
        frames += packets(payloads, lambda n: ZERO_MS + 20 * n, from_=n * COUNT)
    manifest = recorded(tmp_path / "r", frames)
    mine, other = manifest.tracks
    gap = bytes(COUNT * 640)
    assert sound(tmp_path / "r") == (b"".join(before) + gap + b"".join(after), 16_000, 1)
    silence = bytes(COUNT * 20 * came[0] // 1000 * 2 * came[1])
    assert sound(tmp_path / "r", "audio/7_2.wav") == (silence + b"".join(during), *came)
    assert (mine.packets, other.packets, other.offset) == (2 * COUNT, COUNT, 0.0)
    assert manifest.losses == []
    replays_alike(tmp_path / "r")


def cut(pcm: bytes, *sizes: int) -> list[bytes]:
    """Pieces of these sizes in turn."""
    found: list[bytes] = []
    at = 0
    while at < len(pcm):
        found.append(pcm[at : at + sizes[len(found) % len(sizes)]])
        at += len(found[-1])
    return found


@pytest.mark.parametrize(
    ("channels", "sizes", "step_ms"),
    [
        (1, (641, 639), 20),
        (1, (639, 641), 20),
        (1, (641,), 20),
        (1, (321, 319), 10),
        (2, (1282, 1278), 20),
        (2, (1281, 1279), 20),
        (2, (1283, 1277), 20),
    ],
)
@pytest.mark.parametrize("is_silent", [False, True])
def test_a_sample_may_be_in_two_packets(
    channels: int, sizes: tuple[int, ...], step_ms: int, is_silent: bool, tmp_path: Path
) -> None:
    pcm = b"".join(voice(16_000, channels))
    pcm = bytes(len(pcm)) if is_silent else pcm
    frames = [grant(16_000, channels), *packets(cut(pcm, *sizes), lambda n: ZERO_MS + step_ms * n)]
    manifest = recorded(tmp_path / "r", frames)
    if is_silent and sizes == (641,):
        return  # zeros tell nothing
    assert sound(tmp_path / "r") == (pcm, 16_000, channels)
    [warning] = manifest.warnings
    assert ("within a sample" in warning.text, manifest.losses) == (True, [])
    replays_alike(tmp_path / "r")


@pytest.mark.parametrize("every", [1, 7])
def test_a_byte_too_much_costs_only_itself(every: int, tmp_path: Path) -> None:
    payloads = voice(16_000, 1)
    sent = [one + b"\x55" if n % every == 0 else one for n, one in enumerate(payloads)]
    manifest = recorded(tmp_path / "r", [grant(), *packets(sent, lambda n: ZERO_MS + 20 * n)])
    assert sound(tmp_path / "r") == (b"".join(payloads), 16_000, 1)
    odd = len(range(0, COUNT, every))
    assert [(loss.where, loss.count, loss.bytes) for loss in manifest.losses] == [("audio/7.wav", odd, odd)]
    replays_alike(tmp_path / "r")


def test_a_sample_is_not_completed_over_a_pause(tmp_path: Path) -> None:
    first, second = voice(16_000, 1, 1)[0], voice(16_000, 1, 1, begin=9)[0]
    frames = [grant(), *packets([first + b"x", second[1:]], lambda n: ZERO_MS + 5_000 * n)]
    [loss] = recorded(tmp_path / "r", frames).losses[:1]
    assert loss.what == "bytes at the end of a packet that are not a whole sample"


@pytest.mark.parametrize("length", [640, 1, 9_999, 0, -5, "640", "x"])
def test_a_length_that_lies_costs_nothing(length: object, tmp_path: Path) -> None:
    payloads = voice(16_000, 1)
    padding = bytes(64) if length == 640 else b""
    frames = [
        media(14, one + padding, ZERO_MS + 20 * n, user_id=7, at_us=20_000 * n, length=length)
        for n, one in enumerate(payloads)
    ]
    manifest = recorded(tmp_path / "r", [grant(), *frames])
    assert sound(tmp_path / "r") == (b"".join(payloads), 16_000, 1)
    assert (manifest.losses, manifest.tracks[0].overlap) == ([], 0)


TIMES: dict[str, Callable[[int], object]] = {
    "seconds": lambda n: ZERO_MS // 1000 + n * 20 // 1000,
    "fractional seconds": lambda n: (ZERO_MS + 20 * n) / 1000,
    "seconds as text": lambda n: f"{(ZERO_MS + 20 * n) / 1000:.3f}",
    "µs": lambda n: (ZERO_MS + 20 * n) * 1000,
    "ns": lambda n: (ZERO_MS + 20 * n) * 1_000_000,
    "fractional ms": lambda n: ZERO_MS + 20 * n + 0.25,
    "two packets each": lambda n: ZERO_MS + 40 * (n // 2),
    "five packets each": lambda n: ZERO_MS + 100 * (n // 5),
    "too slow": lambda n: ZERO_MS + 13 * n,
    "half as fast": lambda n: ZERO_MS + 10 * n,
    "standing still": lambda n: ZERO_MS,
    "none": lambda n: None,
    "zero": lambda n: 0,
    "before the beginning": lambda n: -20 * n,
    "beyond the end": lambda n: 2**63 - 1,
    "each alike": lambda n: ZERO_MS + n,
    "words": lambda n: "soon",
}


@pytest.mark.parametrize("kind", ["voice", "tone"])
@pytest.mark.parametrize("name", list(TIMES))
def test_timestamps_of_any_kind_cost_no_sound(name: str, kind: str, tmp_path: Path) -> None:
    payloads = voice(16_000, 1, 200)
    if kind == "tone":
        if name == "standing still":
            pytest.skip("nothing tells these from packets that came twice")
        payloads = [(9000 * np.sin(np.arange(320) * np.pi / 8)).astype("<i2").tobytes()] * 200
    manifest = recorded(tmp_path / "r", [grant(), *packets(payloads, TIMES[name])])
    came, *_ = sound(tmp_path / "r")
    assert came == b"".join(payloads)
    [track] = manifest.tracks
    assert (track.packets, track.overlap, track.duplicates, manifest.losses) == (200, 0, 0, [])
    assert track.offset is not None
    replays_alike(tmp_path / "r")


def test_packets_that_came_twice_are_there_once_all_the_same(tmp_path: Path) -> None:
    payloads = voice(16_000, 1)
    frames = [grant()]
    for frame in packets(payloads, lambda n: ZERO_MS + 20 * n):
        frames += [frame, frame]
    manifest = recorded(tmp_path / "r", frames)
    assert sound(tmp_path / "r") == (b"".join(payloads), 16_000, 1)
    assert manifest.tracks[0].duplicates == COUNT
    assert manifest.warnings == []


def test_without_timestamps_a_pause_is_where_it_was(tmp_path: Path) -> None:
    payloads = voice(16_000, 1, 100)
    frames = [grant()]
    for n, payload in enumerate(payloads):
        pause = 3_000_000 if n >= 50 else 0
        frames.append(media(14, payload, None, user_id=7, at_us=2_000_000 + 20_000 * n + pause + n * 7919 % 15_000))
    manifest = recorded(tmp_path / "r", frames)
    came, *_ = sound(tmp_path / "r")
    begin, end = b"".join(payloads[:50]), b"".join(payloads[50:])
    assert came.startswith(begin)
    assert came.endswith(end)
    assert abs(len(came) - len(begin + end) - 3 * 32_000) <= 32 * 32
    [track] = manifest.tracks
    assert track.offset == 2.0  # nothing else tells the time: the recording's zero is where our clock began
    assert (track.first_timestamp, track.last_timestamp) == (None, None)
    assert [warned.text for warned in manifest.warnings] == [
        "media: audio without a usable timestamp; it is placed by its arrival"
    ]


def test_a_packet_without_a_timestamp_among_others_stands_between_them(tmp_path: Path) -> None:
    payloads = voice(16_000, 1)
    stamps = lambda n: None if n % 7 == 3 else ZERO_MS + 20 * n  # noqa: E731
    manifest = recorded(tmp_path / "r", [grant(), *packets(payloads, stamps)])
    assert sound(tmp_path / "r") == (b"".join(payloads), 16_000, 1)
    assert manifest.tracks[0].duplicates == 0


def test_muted_is_not_misfit(tmp_path: Path) -> None:
    """Every other packet is missing, or nine of ten: what is there has the granted length."""
    for step in (2, 10):
        payloads = voice(16_000, 1)
        frames = packets(payloads, lambda n, step=step: ZERO_MS + 20 * step * n)  # type: ignore[misc]
        manifest = recorded(tmp_path / f"r{step}", [grant(), *frames])
        came, rate, channels = sound(tmp_path / f"r{step}")
        assert (rate, channels, manifest.warnings) == (16_000, 1, [])
        assert [came[at : at + 640] for at in range(0, len(came), 640 * step)] == payloads


STEPS = st.sampled_from([20, 20, 20, 20, 20, 0, 10, 40, 400, -20, None])
LENGTHS = st.sampled_from([640, 640, 640, 1920, 320, 1, 0])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(said=st.lists(st.tuples(STEPS, LENGTHS), min_size=1, max_size=60), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_whatever_comes_is_the_same_in_any_batches_and_in_a_replay(
    said: list[tuple[int | None, int]], cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    frames, latest = [grant()], 1000
    for n, (step, nbytes) in enumerate(said):
        latest += step or 0
        stamp = None if step is None else ZERO_MS + latest
        frames.append(media(14, bytes([n + 1]) * nbytes, stamp, user_id=7, at_us=20_000 * n))
    folder = tmp_path_factory.mktemp("m")
    manifest = recorded(folder / "whole", frames)
    recorded(folder / "cut", frames, cuts)
    assert tree(folder / "cut") == tree(folder / "whole")
    replays_alike(folder / "whole")
    assert sum(track.packets for track in manifest.tracks) <= len(frames) - 1


def test_two_channels_are_told_from_one() -> None:
    for rate in (8_000, 16_000, 32_000, 48_000):
        assert is_stereo(voice(rate, 2)) is True
        assert is_stereo(voice(rate, 1)) is False or rate == 8_000
    one = np.frombuffer(b"".join(voice(16_000, 1)), "<i2")
    assert is_stereo([np.repeat(one, 2).astype("<i2").tobytes()]) is True
    assert is_stereo([bytes(4000)]) is None
    assert is_stereo([b"", b"x"]) is None


CODECS = ["l16", "opus", "g711", "g722"]
SETTINGS = [(codec, wrapped) for codec in CODECS for wrapped in (False, True)]


@pytest.mark.parametrize(("given_", "came"), [(a, b) for a in SETTINGS for b in SETTINGS], ids=str)
def test_any_codec_in_any_wrapping(given_: tuple[str, bool], came: tuple[str, bool], tmp_path: Path) -> None:
    codec, is_wrapped = came
    bare = voice(16_000, 1) if codec == "l16" else encoded(codec, sine(ENCODED_HZ[codec], 1.5))
    sent = packets(rtp(bare) if is_wrapped else bare, lambda n: ZERO_MS + 20 * n)
    recorded(tmp_path / "right", [encoded_grant(codec), *packets(bare, lambda n: ZERO_MS + 20 * n)])
    manifest = recorded(tmp_path / "r", [encoded_grant(given_[0], content_type=1 if given_[1] else 2), *sent])
    [track] = manifest.tracks
    assert (track.codec, track.rate, track.channels) == (codec.upper(), ENCODED_HZ[codec], 1)
    assert (track.packets, track.gaps, track.overlap, manifest.losses) == (len(bare), [], 0, [])
    assert sound(tmp_path / "r") == sound(tmp_path / "right")
    assert bool(track.assumed) == bool(manifest.warnings) == (given_ != came)
    replays_alike(tmp_path / "r")


@pytest.mark.parametrize("given_", [(48_000, 2), (8_000, 1)])
@pytest.mark.parametrize("came", SETTINGS[2:], ids=str)
def test_an_encoded_codec_where_pcm_of_another_rate_was_granted(
    given_: tuple[int, int], came: tuple[str, bool], tmp_path: Path
) -> None:
    codec, is_wrapped = came
    bare = encoded(codec, sine(ENCODED_HZ[codec], 2.0))
    recorded(tmp_path / "right", [encoded_grant(codec), *packets(bare, lambda n: ZERO_MS + 20 * n)])
    sent = packets(rtp(bare) if is_wrapped else bare, lambda n: ZERO_MS + 20 * n)
    manifest = recorded(tmp_path / "r", [grant(*given_), *sent])
    [track] = manifest.tracks
    assert (track.codec, manifest.losses) == (codec.upper(), [])
    assert sound(tmp_path / "r") == sound(tmp_path / "right")


def signals(rate: int) -> dict[str, np.ndarray]:
    time, noise = np.arange(rate * 2) / rate, np.random.default_rng(5).normal(0, 1, rate * 2)
    found = {
        "silence": 0 * time, "noise": 3_000 * noise, "quiet noise": 20 * noise, "low": 9_000 * np.sin(900 * time),
        "high": 9_000 * np.sin(18_000 * time), "silence, then a tone": 9_000 * np.sin(2_000 * time) * (time > 1),
        "buzz": sum(4_000 / part * np.sin(760 * part * time) for part in range(1, 25)),
    }  # fmt: skip
    return {name: np.clip(one, -32_000, 32_000).astype("<i2")[:, None] for name, one in found.items()}


@pytest.mark.parametrize("name", list(signals(8_000)))
@pytest.mark.parametrize("codec", CODECS)
def test_whatever_it_sounds_like_it_is_as_granted(codec: str, name: str, tmp_path: Path) -> None:
    payloads = encoded(codec, signals(ENCODED_HZ[codec])[name])
    manifest = recorded(tmp_path / "r", [encoded_grant(codec), *packets(payloads, lambda n: ZERO_MS + 20 * n)])
    [track] = manifest.tracks
    assert (track.codec, track.assumed, track.packets, track.gaps) == (codec.upper(), None, len(payloads), [])
    assert (manifest.warnings, manifest.losses) == ([], [])


def test_opus_of_two_channels_where_one_was_granted(tmp_path: Path) -> None:
    payloads = encoded("opus", sine(48_000, 1.0, 2))
    stamped = packets(payloads, lambda n: ZERO_MS + 20 * n)
    recorded(tmp_path / "right", [encoded_grant("opus", 2), *stamped])
    manifest = recorded(tmp_path / "r", [encoded_grant("opus"), *stamped])
    [track] = manifest.tracks
    assert (track.channels, bool(track.assumed)) == (2, True)
    assert sound(tmp_path / "r") == sound(tmp_path / "right")


def test_opus_that_is_about_as_long_as_l16_would_be(tmp_path: Path) -> None:
    time = np.arange(57_600) / 48_000
    loud = 5_000 + 5_000 * np.sin(19 * time)
    sides = [loud * (0.7 * np.sin(1_130 * time + n) + 0.3 * np.sin(4_460 * time)) for n in range(2)]
    payloads = encoded("opus", np.stack(sides, axis=1).astype("<i2"))
    assert 0.8 < sum(map(len, payloads)) / len(payloads) / 320 < 1.25
    stamped = packets(payloads, lambda n: ZERO_MS + 20 * n)
    recorded(tmp_path / "right", [encoded_grant("opus", 2), *stamped])
    manifest = recorded(tmp_path / "r", [grant(8_000), *stamped])
    assert ([track.codec for track in manifest.tracks], manifest.losses) == (["OPUS"], [])
    assert sound(tmp_path / "r") == sound(tmp_path / "right")


@pytest.mark.parametrize("channels", [1, 2])
def test_l16_that_begins_like_opus(channels: int, tmp_path: Path) -> None:
    payloads = voice(16_000, 1)
    payloads[:7] = [b"\x08" + payload[1:] for payload in payloads[:7]]
    stamped = packets(payloads, lambda n: ZERO_MS + 20 * n)
    manifest = recorded(tmp_path / "r", [encoded_grant("opus", channels), *stamped])
    assert sound(tmp_path / "r") == (b"".join(payloads), 16_000, 1)
    assert (len(manifest.tracks), len(manifest.warnings), manifest.losses) == (1, 1, [])
    replays_alike(tmp_path / "r")


@pytest.mark.parametrize("given_", ["g711", "g722"])
@pytest.mark.parametrize("came", FORMS, ids=str)
def test_another_codec_that_is_l16(given_: str, came: tuple[int, int], tmp_path: Path) -> None:
    payloads = voice(*came)
    manifest = recorded(tmp_path / "r", [encoded_grant(given_), *packets(payloads, lambda n: ZERO_MS + 20 * n)])
    [track] = manifest.tracks
    assert (track.codec, track.assumed is not None, manifest.losses) == ("L16", True, [])
    came_, rate, channels = sound(tmp_path / "r")
    assert came_ == b"".join(payloads)
    assert rate * channels == came[0] * came[1]
    replays_alike(tmp_path / "r")
