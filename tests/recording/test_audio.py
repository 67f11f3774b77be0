"""WAV files: small ones, ones past 4 GB, and what a killed process leaves."""

import errno
import math
import os
import signal
import subprocess
import sys
import textwrap
import wave
from array import array
from pathlib import Path

import pytest
import soundfile
from frames import HEADER, ZERO_MS, audio, granted

from rtms_cli.capture import Capture
from rtms_cli.protocol.media import AudioParams
from rtms_cli.recording.audio import HEADER_SIZE, AudioTrack, audio_form, wav_header
from rtms_cli.recording.files import Files
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.timeline import Segment

RIFF_DATA_LIMIT = 0xFFFFFFFF - (HEADER_SIZE - 8)


@pytest.mark.parametrize("rate", [0, 1, 2, 3])
@pytest.mark.parametrize("channels", [1, 2])
def test_headers_of_every_form(tmp_path: Path, rate: int, channels: int) -> None:
    form = audio_form(AudioParams.read({"sample_rate": rate, "channel": channels, "codec": 1}))
    data = bytes(range(40))
    (tmp_path / "x.wav").write_bytes(wav_header(form, len(data)) + data)
    with wave.open(str(tmp_path / "x.wav")) as reader:
        assert reader.getparams()[:4] == (channels, 2, (8000, 16000, 32000, 48000)[rate], 20 // channels)
        assert reader.readframes(99) == data
    assert soundfile.info(tmp_path / "x.wav").frames == 20 // channels


@pytest.mark.parametrize("nbytes", [RIFF_DATA_LIMIT - 1, RIFF_DATA_LIMIT + 1, 5 << 30])
def test_sizes_around_four_gigabytes(tmp_path: Path, nbytes: int) -> None:
    form = audio_form(None)
    nbytes -= nbytes % form.block
    path = tmp_path / "long.wav"
    path.write_bytes(wav_header(form, nbytes))
    os.truncate(path, HEADER_SIZE + nbytes)  # sparse: takes no room
    info = soundfile.info(path)
    assert info.frames == nbytes // 2
    assert info.format == ("WAV" if nbytes <= RIFF_DATA_LIMIT else "RF64")


def test_a_file_becomes_rf64_in_place(tmp_path: Path) -> None:
    """The silence before the last packet is five hours of 48 kHz stereo, sparse on disk."""
    form = audio_form(AudioParams.read({"sample_rate": 3, "channel": 2, "codec": 1}))
    track = AudioTrack("audio/long.wav", 0, None, form, Segment(1, 0))
    files = Files(tmp_path)
    track.add(1, b"\1\0\2\0" * 960)
    track.flush(files)
    assert soundfile.info(tmp_path / "audio/long.wav").format == "WAV"
    for hour in range(1, 8):
        track.add(1 + hour * 3_600_000, b"\3\0\4\0" * 960)
        track.flush(files)
    with soundfile.SoundFile(tmp_path / "audio/long.wav") as reader:
        assert reader.format == "RF64"
        assert len(reader) == 7 * 3600 * 48000 + 960
        assert reader.read(1, dtype="int16").tolist() == [[1, 2]]
        reader.seek(-960, 2)
        assert reader.read(960, dtype="int16").tolist() == [[3, 4]] * 960


KILLED = """
    import sys
    from pathlib import Path
    from frames import HEADER, ZERO_MS, audio, granted, media
    from rtms_cli.recording.recorder import Recorder

    recorder = Recorder(Path(sys.argv[1]), HEADER)
    recorder.fold([granted()])
    number = 0
    while True:
        recorder.fold([
            audio(number.to_bytes(2, "little") * 320, ZERO_MS + 1_000_000 + number % 50_000 * 20, at_us=number),
            media(15, b"\\xff\\xd8\\xff" + bytes(1000), ZERO_MS + 1_000_000 + number, at_us=number),
            media(17, "words", ZERO_MS + 1_000_000 + number, at_us=number),
        ] + ([audio(bytes(640), ZERO_MS + 1_000_000 - number, at_us=number)] if number % 40 == 0 else []))
        recorder.checkpoint()
        number += 1
        if number == 30:
            print("going", flush=True)
"""


@pytest.mark.parametrize("lines", [1, 2, 3, 4, 5])
def test_killed_at_any_moment_every_file_is_valid(tmp_path: Path, lines: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED).replace("30:", f"{lines * 37}:"), str(tmp_path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"going\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with wave.open(str(tmp_path / "audio/mixed.wav")) as reader:
        length = reader.getnframes()
        assert len(reader.readframes(length)) == 2 * length > 0
    assert soundfile.info(tmp_path / "audio/mixed.wav").frames == length
    capture = Capture(tmp_path)
    assert len(list(capture)) >= 3 * lines * 37
    assert not capture.problems
    assert (tmp_path / "manifest.json").read_bytes().endswith(b"}\n")
    assert (tmp_path / "transcript.jsonl").read_bytes().count(b'"t":') >= lines * 37
    index = (tmp_path / "video/mixed.mjpeg.index.jsonl").read_bytes()
    assert (tmp_path / "video/mixed.mjpeg").stat().st_size >= index.count(b"\n") * 1003


def test_the_file_is_valid_after_every_flush(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, HEADER)
    recorder.fold([granted()])
    for number in range(20):
        recorder.fold([audio(bytes(640), ZERO_MS + number * 20)])
        with wave.open(str(tmp_path / "audio/mixed.wav")) as reader:
            assert reader.getnframes() == (number + 1) * 320


class ThinFiles(Files):
    """A disk that fills up in the middle of a flush: this many parts are written, the rest is not."""

    room = 0

    def write_at(self, name: str, parts: list[tuple[int, bytes]]) -> None:
        super().write_at(name, parts[: self.room])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("tone_hz", [110, 440, 1000, 3000])
def test_the_meter_is_about_right(tmp_path: Path, tone_hz: int, channels: int) -> None:
    """The second channel is silent: both are looked at."""
    track = AudioTrack("a.wav", 7, None, audio_form(AudioParams(channel=channels)), Segment(1, 0))
    wave_ = [round(12_000 * math.sin(math.tau * tone_hz * number / 16_000)) for number in range(3200)]
    pcm = array("h", (value for sample in wave_ for value in (sample, 0)[:channels]))
    for samples, level in ((pcm.tobytes(), 12_000 / 32768), (bytes(len(pcm) * 2), 0.0)):
        track.add(None, samples)
        track.flush(Files(tmp_path))
        assert track.level == pytest.approx(level, rel=0.1)


@pytest.mark.parametrize("pcm", [b"\1\0", b"\0\x80", b"\1\0\0\x80"])
def test_the_meter_of_few_samples(tmp_path: Path, pcm: bytes) -> None:
    track = AudioTrack("a.wav", 7, None, audio_form(AudioParams()), Segment(1, 0))
    track.add(None, pcm)
    track.flush(Files(tmp_path))
    assert track.level == max(abs(value) for value in array("h", pcm)) / 32768


@pytest.mark.parametrize("room", [0, 1])
def test_a_flush_that_fails_halfway_leaves_a_valid_file(tmp_path: Path, room: int) -> None:
    files = ThinFiles(tmp_path)
    files.room = room
    recorder = Recorder(tmp_path, HEADER, files=files)
    recorder.fold([granted(), audio(bytes(640), ZERO_MS)])
    with wave.open(str(tmp_path / "audio/mixed.wav")) as reader:
        assert reader.getnframes() == 0
    assert (tmp_path / "audio/mixed.wav").stat().st_size == HEADER_SIZE + 640 * room
    assert recorder.snapshot().losses == 1
