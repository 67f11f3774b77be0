"""Recordings whose clock has jumped: what is exported has everything, one stretch after the other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import soundfile
import typer
from export.test_export import ANN, RATE, VIDEO, exported, h264, made, pictures, sentence, tone
from frames import ZERO_MS, audio, media
from processes import rtms

from rtms_cli.commands import export as command
from rtms_cli.commands.app import app
from rtms_cli.errors import Problem
from rtms_cli.export import files
from rtms_cli.export.audio import Mixer, Span
from rtms_cli.export.files import check_room
from rtms_cli.machine import Frame
from rtms_cli.recording.audio import HEADER_SIZE, audio_form, wav_header
from rtms_cli.recording.files import atomic_path

DAY_MS = 86_400_000


def jumping(jumps: list[int], each_ms: int = 2000) -> list[Frame]:
    """Stretches of two seconds, each of which begins this much later (or earlier) than the one before has ended."""
    frames: list[Frame] = []
    at, begin = 0, ZERO_MS + 100 * DAY_MS
    for number, jump in enumerate([0, *jumps]):
        begin += jump
        for step in range(0, each_ms, 20):
            frames.append(audio(tone(300 + 100 * number, at), begin + step, at_us=at * 1000))
            if step % 40 == 0:
                unit = h264(range(number * 50 + step // 40, number * 50 + step // 40 + 1))[0]
                frames.append(media(15, unit, begin + step, user_id=ANN, at_us=at * 1000 + 1))
            at += 20
        said = begin - ZERO_MS
        frames.append(sentence(f"stretch {number}", said + 500, said + 1500, ANN, at_us=at * 1000))
        begin += each_ms
    return frames


def expected(count: int) -> bytes:
    return b"".join(tone(300 + 100 * (at // 2000), at) for at in range(0, 2000 * count, 20))


@pytest.mark.parametrize("jumps", [
    [400 * DAY_MS], [-400 * DAY_MS], [-2 * 3_600_000], [5 * 3_600_000, -3 * 3_600_000],
    [DAY_MS, DAY_MS, -2 * DAY_MS - 4000],
], ids=str)  # fmt: skip
def test_everything_stands_one_after_the_other(jumps: list[int], tmp_path: Path) -> None:
    recording = made(tmp_path / "r", jumping(jumps), video=VIDEO)
    count = len(jumps) + 1
    [wav] = exported(recording, "--to", "wav")
    sound, rate = soundfile.read(wav, dtype="int16")
    assert rate == RATE
    back = jumps[-1] == -2 * DAY_MS - 4000  # into the first stretch's own time: the same file goes on
    if not back:
        assert sound.tobytes() == expected(count)
        [film] = exported(recording, "--to", "mkv")
        assert [number for _, number in pictures(film)] == list(range(50 * count))
        assert all(abs(at - 0.04 * number) < 0.002 for at, number in pictures(film))
        [srt] = exported(recording, "--to", "srt")
        cues = [block.splitlines() for block in srt.read_text().strip().split("\n\n")]
        assert [cue[1][:12] for cue in cues] == [f"00:00:{2 * n:02},500" for n in range(count)]
    done = rtms("export", recording, "--to", "flac", cwd=tmp_path)
    assert "the clock jumped by " in done.stderr
    assert "what came after it stands right behind what came before" in done.stderr


def test_a_file_of_weeks_is_refused_with_the_number(tmp_path: Path) -> None:
    recording = made(tmp_path / "r", [audio(tone(440, 0), ZERO_MS)])
    form, nbytes = audio_form(None), 60 * 86_400 * 32_000
    with (recording / "audio/mixed.wav").open("r+b") as file:
        file.write(wav_header(form, nbytes))
        file.truncate(HEADER_SIZE + nbytes)
    for to in ("wav", "opus", "mp4"):
        done = rtms("export", recording, "--to", to, cwd=tmp_path)
        assert done.returncode == 2
        assert "It would be 60 days long; the limit is 14." in done.stderr
    assert not list((recording / "export").iterdir())


def test_what_the_disk_has_no_room_for_is_refused_with_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_space", lambda _: 3_000_000_000)
    check_room(tmp_path / "a.wav", 2.9e9)
    with pytest.raises(Problem, match=r"wav would need about 1,100\.0 GB, and 3\.0 GB are free"):
        check_room(tmp_path / "a.wav", 1.1e12)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to catch")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_no_half_file(number: signal.Signals, tmp_path: Path) -> None:
    recording = made(tmp_path / "r", [audio(tone(440, 0), ZERO_MS)])
    nbytes = 20 * 3600 * 32_000
    with (recording / "audio/mixed.wav").open("r+b") as file:
        file.write(wav_header(audio_form(None), nbytes))
        file.truncate(HEADER_SIZE + nbytes)  # which takes no room, and long to read
    command = [sys.executable, "-m", "rtms_cli", "export", str(recording), "--to", "mp3"]
    folder = recording / "export"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=tmp_path) as running:
        try:
            while not (folder.is_dir() and any(folder.iterdir())):
                assert running.poll() is None
                time.sleep(0.02)
            running.send_signal(number)
            assert running.wait(40) in (128 + number, 130)
        finally:
            running.kill()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_compiled_code_swallows_is_obeyed_at_the_next_step(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As PyAV's resampler does while it looks a result up."""
    recording = made(tmp_path / "r", [audio(tone(440, 20 * at), ZERO_MS + 20 * at) for at in range(400)])
    monkeypatch.setattr(command, "_wanted", [])
    steps = Mixer.blocks

    def blocks(mixer: Mixer, span: Span) -> Iterator[Any]:
        for step in steps(mixer, span):
            with suppress(SystemExit, KeyboardInterrupt):
                signal.raise_signal(number)
            yield step

    monkeypatch.setattr(Mixer, "blocks", blocks)
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with pytest.raises(SystemExit) as ended:
            typer.main.get_command(app).main(["export", str(recording), "--to", "mp3"])
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert ended.value.code == 128 + number
    assert list((recording / "export").iterdir()) == []


def test_a_signal_right_behind_the_opening_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close = os.close

    def interrupted(descriptor: int) -> None:
        close(descriptor)
        raise SystemExit(128 + signal.SIGTERM)

    monkeypatch.setattr(os, "close", interrupted)
    with pytest.raises(SystemExit), atomic_path(tmp_path / "sound.mp3"):
        pytest.fail("it goes on")
    assert list(tmp_path.iterdir()) == []
