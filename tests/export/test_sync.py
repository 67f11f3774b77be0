"""Flash and beep go through the whole export, an hour and a half long: sound and picture stay together within 40 ms."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from export.test_export import RATE, VIDEO, h264
from frames import HEADER, ZERO_MS, granted, media
from processes import rtms

from rtms_cli.recording.recorder import Recorder

HOURS_S = 5400
EVERY_S = 1200
BEEP_S = 0.1
FLASHES = [at + at / 7919 for at in range(600, HOURS_S, EVERY_S)]
"""At odd fractions of a second, so that no rounding to whole frames helps."""


def recording(folder: Path) -> Path:
    """Cameras whose picture is white for 80 ms at a flash, sound that beeps then; black and silent else."""
    folder.mkdir()
    black, white = h264(range(1))[0], h264(range(255, 256))[0]
    shown = [(0, black)]
    for at in FLASHES:
        shown += [(round(at * 1000), white), (round(at * 1000) + 80, black)]
    recorder = Recorder(folder, HEADER)
    recorder.fold([granted(video=VIDEO)])
    recorder.fold([media(15, unit, ZERO_MS + at, user_id=7, at_us=at * 1000) for at, unit in shown])
    recorder.close()
    (folder / "audio").mkdir()
    beep = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(round(BEEP_S * RATE)) / RATE)
    with soundfile.SoundFile(folder / "audio/mixed.wav", "w", RATE, 1, "PCM_16") as sound:
        at = 0
        for flash in FLASHES:
            for _ in range((round(flash * RATE) - at) // RATE):
                sound.write(np.zeros(RATE))
                at += RATE
            sound.write(np.zeros(round(flash * RATE) - at))
            sound.write(beep)
            at = round(flash * RATE) + len(beep)
        for _ in range(HOURS_S - at // RATE):
            sound.write(np.zeros(RATE))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["tracks"].append({"kind": "audio", "path": "audio/mixed.wav", "user_id": 0, "offset": 0.0, "codec": "L16"})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def flashes_of(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [
            float(frame.time or 0)
            for frame in container.decode(video=0)
            if frame.reformat(format="gray").to_ndarray().mean() > 128
        ]


def beeps_of(path: Path) -> list[float]:
    found: list[float] = []
    with av.open(str(path)) as container:
        frame: Any
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray().reshape(-1).astype(float))
            loud = np.flatnonzero(samples > 0.1)
            if len(loud):
                at = float(frame.time) + loud[0] / frame.sample_rate
                if not found or at - found[-1] > 10:
                    found.append(at)
    return found


@pytest.mark.timeout(180)
def test_flash_and_beep_stay_together_for_an_hour_and_a_half(tmp_path: Path) -> None:
    folder = recording(tmp_path / "long")
    done = rtms("export", folder, "--to", "mp4", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [film] = json.loads(done.stdout)["files"]
    flashes, beeps = flashes_of(Path(film)), beeps_of(Path(film))
    assert len(flashes) == len(beeps) == len(FLASHES)
    for due, flash, beep in zip(FLASHES, flashes, beeps, strict=True):
        assert abs(flash - due) < 0.002
        assert abs(beep - flash) < 0.040
