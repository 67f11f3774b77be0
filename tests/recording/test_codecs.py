"""Encoded packets → WAV: real encoders, the recorder, a real reader."""

import math
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from encoded_audio import RATES, encoded, grant, rtp, sine
from frames import HEADER, ZERO_MS, audio, media, state
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.machine import Frame, State
from rtms_cli.recording.codecs import SequenceCount, opus_samples, read_rtp
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import Recorder


def record(folder: Path, frames: Sequence[Frame], *, keep_encoded: bool = False, at_once: int = 1000) -> Manifest:
    """Fold them, and read the manifest."""
    recorder = Recorder(folder, HEADER, keep_encoded=keep_encoded)
    for start in range(0, len(frames), at_once):
        recorder.fold(frames[start : start + at_once])
    recorder.close()
    return Manifest.read(folder)


def best_shift(heard: np.ndarray, sent: np.ndarray, most: int) -> int:
    """By how many samples one signal follows another."""
    size = len(sent) - most
    products = [float(np.dot(heard[shift : shift + size].astype(float), sent[:size])) for shift in range(most)]
    return int(np.argmax(products))


_ROWS = [("g711", 1), ("g722", 1), ("opus", 1), ("opus", 2)]


@pytest.mark.parametrize(
    ("codec", "channels", "content_type"),
    [*((*row, 1) for row in _ROWS), *((*row, 2) for row in _ROWS), ("l16", 1, 2), ("l16", 2, 2)],
)
def test_every_codec_becomes_sound(tmp_path: Path, codec: str, channels: int, content_type: int) -> None:
    rate, pcm = RATES[codec], sine(RATES[codec], 2.0, channels)
    packets = encoded(codec, pcm)
    assert len(packets) == 100
    if content_type == 1:
        packets = rtp(packets)
    frames = [audio(packet, ZERO_MS + 20 * index) for index, packet in enumerate(packets)]
    manifest = record(tmp_path, [grant(codec, channels, content_type), *frames])
    assert manifest.losses == []
    [track] = manifest.tracks
    assert (track.codec, track.rate, track.channels) == (codec.upper(), rate, channels)
    assert (track.packets, track.duration, track.gap_count, track.concealed) == (100, 2.0, 0, 0.0)
    assert track.lost == (0 if content_type == 1 else None)
    heard, heard_rate = soundfile.read(tmp_path / "audio/mixed.wav", dtype="int16", always_2d=True)
    assert (heard_rate, heard.shape) == (rate, (2 * rate, channels))
    for channel in range(channels):
        one, sent = heard[rate // 5 :, channel], pcm[rate // 5 :, channel]
        # Level within 1 dB; the tone where it was, but for the few milliseconds that an encoder looks ahead.
        loudness = [math.sqrt(float(np.mean(np.square(each, dtype=float)))) for each in (one, sent)]
        assert abs(20 * math.log10(loudness[0] / loudness[1])) < 1
        assert best_shift(one, sent, rate // 440 - 1) / rate < 0.0075
        tone = np.abs(np.fft.rfft(one.astype(float)))
        assert abs(float(np.argmax(tone)) * rate / len(one) - 440 * (channel + 1)) < 2
    if codec == "l16":
        assert np.array_equal(heard, pcm)


def test_lost_packets_are_concealed_and_counted(tmp_path: Path) -> None:
    packets = rtp(encoded("opus", sine(48_000, 2.0)))
    kept = [index for index in range(100) if index not in (30, 50, 51, 52) and not 70 <= index < 90]
    frames = [audio(packets[index], ZERO_MS + 20 * index) for index in kept]
    manifest = record(tmp_path, [grant("opus", content_type=1), *frames])
    [track] = manifest.tracks
    assert track.gaps == [(0.6, 0.62), (1.0, 1.06), (1.4, 1.8)]
    assert (track.lost, track.concealed, manifest.losses) == (24, 0.08, [])
    heard, _ = soundfile.read(tmp_path / "audio/mixed.wav", dtype="int16")
    assert np.abs(heard[int(0.6 * 48_000) : int(0.62 * 48_000)]).max() > 5000
    assert np.abs(heard[int(1.0 * 48_000) : int(1.02 * 48_000)]).max() > 5000
    # A pause of 400 ms may be a muted microphone: nothing is invented there.
    assert not heard[int(1.4 * 48_000) : int(1.8 * 48_000)].any()


def test_no_sound_is_guessed_over_what_came_when_the_zero_moves(tmp_path: Path) -> None:
    packets = encoded("opus", sine(48_000, 1.0))
    frames = [grant("opus"), *(audio(one, ZERO_MS + 20 * at, user_id=7) for at, one in enumerate(packets))]
    earlier = media(17, "before all sound", ZERO_MS - 60)
    for name, told in (("moved", [*frames[:26], earlier, *frames[26:]]), ("known", [earlier, *frames])):
        (tmp_path / name).mkdir()
        track = next(track for track in record(tmp_path / name, told).tracks if track.kind == "audio")
        assert (track.gaps, track.concealed) == ([(0.0, 0.06)], 0.0)
    moved, known = (soundfile.read(tmp_path / name / "audio/7.wav", dtype="int16")[0] for name in ("moved", "known"))
    assert np.array_equal(moved, known)


def test_a_late_packet_takes_the_place_of_its_concealment(tmp_path: Path) -> None:
    packets = encoded("opus", sine(48_000, 0.4))
    order = [*range(5), 6, 5, *range(7, 20)]
    manifest = record(tmp_path, [grant("opus"), *(audio(packets[at], ZERO_MS + 20 * at) for at in order)])
    [track] = manifest.tracks
    assert (track.gap_count, track.duplicates, track.duration) == (0, 0, 0.4)


@pytest.mark.parametrize("codec", ["opus", "g711", "l16"])
def test_packets_without_a_sample_make_no_file_and_no_track(codec: str, tmp_path: Path) -> None:
    """Neither at first, nor when a recording with sound goes on."""
    bad = audio({"opus": b"\xff\xff\xff\xff", "l16": b"\0"}.get(codec, b""), ZERO_MS, user_id=7)
    good = [audio(one, ZERO_MS + 20 * at) for at, one in enumerate(encoded(codec, sine(RATES[codec], 0.2)))]
    last = state(State.FINISHED, 5, "signaling", status="interrupted", reason="lost")
    told = [grant(codec), bad, *good, last, grant(codec), bad, audio(b"", ZERO_MS), last]
    manifest = record(tmp_path, told, keep_encoded=True, at_once=1)
    paths = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("audio/*") if path.suffix != ".jsonl"}
    assert {track.path for track in manifest.tracks} == paths


def test_a_bad_packet_costs_itself(tmp_path: Path) -> None:
    packets = encoded("opus", sine(48_000, 1.0))
    packets[20] = b"\xff\xff\xff\xff"  # 63 frames in one packet: longer than 120 ms
    packets[30] = packets[30][:1] + b""  # a frame of no length: the codec conceals it
    packets[40] = bytes((packets[40][0] | 3, 0x41)) + b"\xff\xff"  # padding that is longer than the packet
    manifest = record(tmp_path, [grant("opus"), *(audio(one, ZERO_MS + 20 * at) for at, one in enumerate(packets))])
    [track] = manifest.tracks
    assert [(loss.what.split(":")[0], loss.where, loss.count, loss.bytes) for loss in manifest.losses] == [
        ("packet that is not OPUS", "audio/mixed.wav", 1, 4),
        ("packet could not be decoded", "audio/mixed.wav", 1, 4),
    ]
    assert (track.packets, track.duration) == (50, 1.0)
    heard, _ = soundfile.read(tmp_path / "audio/mixed.wav", dtype="int16")
    assert np.abs(heard[-960:]).max() > 5000


def test_a_duplicate_does_not_disturb_the_decoder(tmp_path: Path) -> None:
    packets = encoded("g722", sine(16_000, 0.4))
    once = [audio(one, ZERO_MS + 20 * at) for at, one in enumerate(packets)]
    for folder, frames in ((tmp_path / "once", once), (tmp_path / "twice", [f for one in once for f in (one, one)])):
        folder.mkdir()
        record(folder, [grant("g722"), *frames])
    assert (tmp_path / "once/audio/mixed.wav").read_bytes() == (tmp_path / "twice/audio/mixed.wav").read_bytes()


def test_rtp_header_that_is_none(tmp_path: Path) -> None:
    frames = [grant("g711", content_type=1), audio(b"\0" * 160, ZERO_MS), audio(b"\x80" * 8, ZERO_MS + 20)]
    manifest = record(tmp_path, frames)
    assert [(loss.what, loss.count, loss.bytes) for loss in manifest.losses] == [
        ("packet without a good RTP header", 2, 168)
    ]


@given(st.binary(max_size=60))
def test_headers_of_any_bytes(packet: bytes) -> None:
    assert 0 <= opus_samples(packet) <= 5760
    found = read_rtp(packet)
    assert found is None or found.payload in packet


@given(st.integers(0, 65_535), st.sets(st.integers(1, 298)), st.sets(st.integers(1, 298)))
def test_sequence_numbers(first: int, missing: set[int], doubled: set[int]) -> None:
    """Numbers wrap, packets change places with the next; each that is missing is counted."""
    count = SequenceCount()
    order = [number for number in range(300) if number not in missing]
    for at in range(1, len(order) - 2, 7):
        order[at], order[at + 1] = order[at + 1], order[at]
    for number in order:
        count.add((first + number) & 0xFFFF)
    assert count.lost == len(missing)
    for number in doubled & set(order):
        count.add((first + number) & 0xFFFF)
    assert count.lost <= len(missing)


def test_opus_is_kept_as_it_came_in_ogg(tmp_path: Path) -> None:
    packets = encoded("opus", sine(48_000, 2.0, 2))
    order = [at for at in range(100) if not 30 <= at < 40]
    order[60], order[61] = order[61], order[60]
    frames = [grant("opus", 2, 1), *(audio(rtp(packets)[at], ZERO_MS + 20 * at) for at in order)]
    for folder, at_once in ((tmp_path / "one", 1000), (tmp_path / "many", 7)):
        folder.mkdir()
        manifest = record(folder, frames, keep_encoded=True, at_once=at_once)
    [kept] = [track for track in manifest.tracks if track.kind == "encoded"]
    # One packet came after the next one: there is no place for it in a stream that only grows.
    assert (kept.path, kept.packets, kept.duration, kept.channels) == ("audio/mixed.opus", 89, 2.0, 2)
    with av.open(str(tmp_path / "one/audio/mixed.opus")) as container:
        found = [(packet.pts, bytes(packet)) for packet in container.demux() if packet.size]
    assert [data for _, data in found] == [packets[at] for at in sorted(order) if at != order[61]]
    # Ogg has times for pages, not packets: the pause shows behind the packet that follows it.
    assert [pts for pts, _ in found][29:32:2] == [29 * 960, 41 * 960]
    assert (tmp_path / "one/audio/mixed.opus").read_bytes() == (tmp_path / "many/audio/mixed.opus").read_bytes()
    heard, rate = soundfile.read(tmp_path / "one/audio/mixed.opus")
    assert rate == 48_000
    assert np.abs(heard[-9600:]).max() > 0.2


def test_other_packets_are_kept_one_after_the_other(tmp_path: Path) -> None:
    packets = encoded("g711", sine(8_000, 0.2))
    frames = [grant("g711", content_type=1), *(audio(one, ZERO_MS + 20 * at) for at, one in enumerate(rtp(packets)))]
    record(tmp_path, frames, keep_encoded=True)
    assert (tmp_path / "audio/mixed.alaw").read_bytes() == b"".join(packets)
    assert len((tmp_path / "audio/mixed.alaw.index.jsonl").read_text().splitlines()) == 10
