"""What recordings sound like: silence, level and outline against sound whose values are known."""

import json
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from frames import HEADER, state
from hypothesis import given
from hypothesis import strategies as st
from processes import rtms

from rtms_cli.capture import capture_lines
from rtms_cli.inspection.sound import DB_A_STEP, SILENT_DBFS, Outline, Recorded, Sound, dbfs, look_at
from rtms_cli.machine import State
from rtms_cli.recording.manifest import Loss, Manifest, TrackEntry

RATE = 16_000


def tone(seconds: float, amplitude: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return amplitude * np.cos(2 * np.pi * 500 * np.arange(round(RATE * seconds)) / RATE)


def recording(folder: Path, *tracks: TrackEntry, losses: tuple[Loss, ...] = ()) -> Path:
    """A folder with a manifest of these tracks and a capture of next to nothing."""
    manifest = Manifest(
        1, "complete", "meeting", "id", "stream", "rtms-cli test", None, "", None, 1000, None, {}, list(tracks), {},
        {}, [], 0, [], None, losses=list(losses),
    )  # fmt: skip
    (folder / "manifest.json").write_bytes(manifest.encode())
    (folder / "capture.jsonl").write_bytes(HEADER.line() + capture_lines([state(State.OPEN)]))
    (folder / "audio").mkdir(exist_ok=True)
    return folder


def heard(
    folder: Path, samples: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", most_points: int = 10_000
) -> tuple[Sound, Outline]:
    track = TrackEntry("audio", "audio/mixed.wav", 0, offset=1.5, gaps=[(0.5, 0.75), (1.0, 1.125)], gap_count=2)
    recording(folder, track)
    soundfile.write(folder / "audio/mixed.wav", samples, RATE)
    recorded, outlines = look_at(folder, most_points)
    assert look_at(folder) == (recorded, {})
    (sound,) = recorded.sounds
    return sound, outlines["audio/mixed.wav"]


def test_silence_level_and_peak(tmp_path: Path) -> None:
    whisper = 10 ** ((SILENT_DBFS - 1) / 20)  # below the threshold all the time
    samples = np.concatenate([tone(1, 0.5), np.zeros(RATE), tone(1, whisper), tone(1, 0.25), tone(0.25, 0.5)])
    sound, outline = heard(tmp_path, samples)
    assert (sound.rate, sound.channels, sound.duration, sound.offset) == (RATE, 1, 4.25, 1.5)
    assert (sound.gap_count, sound.gap_seconds) == (2, 0.375)
    assert sound.silence == pytest.approx(100 / 213)  # the last of the windows is a half
    assert sound.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert sound.rms_dbfs == pytest.approx(10 * math.log10((1.25 * 0.125 + 0.03125) / 2.25), abs=0.01)
    assert (outline.seconds_a_point, len(outline.levels)) == (0.001, 4260)
    assert DB_A_STEP * (outline.levels[0] - 255) == pytest.approx(-6.02, abs=DB_A_STEP / 2)
    assert outline.levels[1500] == 0
    assert DB_A_STEP * (outline.levels[2500] - 255) == pytest.approx(SILENT_DBFS - 1, abs=1)


@pytest.mark.parametrize(
    ("samples", "silence", "rms", "peak"),
    [
        (np.zeros(0), None, None, None),
        (np.zeros(RATE), 1, None, None),
        (np.full(7, -1.0), 0, 0, 0),
        (np.full((RATE, 2), [0.5, 0.0]), 0, -9.03, -6.02),
    ],
    ids=["nothing", "digital silence", "seven samples", "one of two channels"],
)
def test_edges(
    samples: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]",
    silence: float | None,
    rms: float | None,
    peak: float | None,
    tmp_path: Path,
) -> None:
    sound, outline = heard(tmp_path, samples)
    assert sound.silence == silence
    assert (sound.rms_dbfs, sound.peak_dbfs) == (
        rms if rms is None else pytest.approx(rms, abs=0.01),
        peak if peak is None else pytest.approx(peak, abs=0.01),
    )
    assert outline.seconds_a_point * len(outline.levels) >= sound.duration


@pytest.mark.parametrize(
    ("most_points", "seconds_a_point"),
    [(200_000, 0.001), (30_000, 0.004), (24_000, 0.005), (23_999, 0.01), (6000, 0.02), (2000, 0.06), (7, 120 / 7)],
)
def test_an_outline_is_as_fine_as_its_points_allow(most_points: int, seconds_a_point: float, tmp_path: Path) -> None:
    samples = np.zeros(120 * RATE)
    samples[100 * RATE] = -0.75
    sound, outline = heard(tmp_path, samples, most_points)
    assert outline.seconds_a_point == pytest.approx(seconds_a_point, abs=0.02 if most_points < 2000 else 1e-9)
    assert len(outline.levels) <= most_points
    (where,) = [number for number, level in enumerate(outline.levels) if level]
    assert where * outline.seconds_a_point <= 100.0001
    assert 100 < (where + 1) * outline.seconds_a_point
    assert outline.levels[where] == 248  # 0.75
    assert outline.seconds_a_point * len(outline.levels) == pytest.approx(120, abs=outline.seconds_a_point)
    assert sound.silence == 5999 / 6000


@given(st.floats(1e-9, 1))
def test_decibels(level: float) -> None:
    decibels = dbfs(level)
    assert decibels is not None
    assert 10 ** (decibels / 20) == pytest.approx(level)


def test_what_cannot_be_read_is_told_and_nothing_outside_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    folder.mkdir()
    soundfile.write(tmp_path / "outside.wav", tone(1, 0.5), RATE)
    tracks = [TrackEntry("audio", path) for path in ("audio/gone.wav", "audio/torn.wav", "../outside.wav")]
    recording(folder, *tracks, TrackEntry("video", "video/x.h264"))
    (folder / "audio/torn.wav").write_bytes(b"RIFF")
    recorded, outlines = look_at(folder)
    assert [(sound.path, bool(sound.problem), sound.silence) for sound in recorded.sounds] == [
        ("audio/gone.wav", True, None),
        ("audio/torn.wav", True, None),
        ("../outside.wav", True, None),
    ]
    assert outlines == {}
    (folder / "manifest.json").write_text("{")
    assert look_at(folder)[0].problem
    (folder / "manifest.json").unlink()
    recorded, _ = look_at(folder)
    assert (recorded.status, recorded.sounds) == ("", [])
    assert "No such file" in recorded.problem
    done = rtms("inspect", folder, cwd=tmp_path)
    assert "manifest  cannot be read: " in done.stdout


def test_the_summary_tells_of_sound_and_losses(tmp_path: Path) -> None:
    loss = Loss("audio packets", "audio/mixed.wav", 3, 1920, 1.5, 2.5, "No space left on device")
    tracks = (
        TrackEntry("audio", "audio/mixed.wav", 0, gap_count=1, gaps=[(0.25, 0.5)]),
        TrackEntry("audio", "audio/7_ann.wav", 7, "Ann\x1b"),
        TrackEntry("audio", "audio/gone.wav", 8, "Bob"),
    )
    recording(tmp_path, *tracks, losses=(loss,))
    soundfile.write(tmp_path / "audio/mixed.wav", np.concatenate([tone(1, 0.5), np.zeros(RATE)]), RATE)
    soundfile.write(tmp_path / "audio/7_ann.wav", np.zeros(RATE), RATE)
    lines = rtms("inspect", tmp_path, "--all", cwd=tmp_path).stdout.splitlines()
    start = lines.index("sound")
    assert [line.split() for line in lines[start + 2 : start + 4]] == [
        ["audio/mixed.wav", "everyone", "16,000", "0:00:02", "50%", "-9.0", "-6.0", "1", "0.25", "s", "–"],
        ["audio/7_ann.wav", "Ann\\x1b", "16,000", "0:00:01", "100%", "–", "–", "0", "–", "–"],
    ]
    assert lines[start + 4].split()[:8] == ["audio/gone.wav", "Bob", "–", "–", "–", "–", "–", "0"]
    start = lines.index("losses")
    assert " ".join(lines[start + 2].split()) == (
        "audio packets audio/mixed.wav 3 1.9 kB 1.500 2.500 No space left on device"
    )
    summary = json.loads(rtms("inspect", tmp_path, "--json", cwd=tmp_path).stdout)
    read = msgspec.convert(summary["recorded"], Recorded)
    assert read == look_at(tmp_path)[0]
    assert json.loads(rtms("inspect", tmp_path / "capture.jsonl", "--json", cwd=tmp_path).stdout)["recorded"] is None
