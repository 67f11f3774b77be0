"""`--tap` as people use it: pipelines, several targets at once, a replay that is listened to, nothing on the disk."""

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from processes import RTMS, environment, rtms, running, until

from rtms_cli.recording.audio import HEADER_SIZE

COPY = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, open(sys.argv[1], 'wb'))"


def copy_to(path: Path) -> str:
    """A target that writes all that it reads to a file."""
    return "exec:" + shlex.join([sys.executable, "-c", COPY, str(path)])


def only(folder: Path) -> Path:
    (recording,) = folder.iterdir()
    return recording


def samples_of(recording: Path) -> bytes:
    return (recording / "audio/mixed.wav").read_bytes()[HEADER_SIZE:]


def piped(*arguments: str | Path, cwd: Path) -> tuple[bytes, str]:
    """What `rtms` writes to standard output, which is a pipe, and to standard error."""
    done = subprocess.run(
        [*RTMS, *map(str, arguments)], cwd=cwd, env=environment(), capture_output=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.decode()


def test_every_target_gets_the_samples_of_the_wav(tmp_path: Path) -> None:
    """A large `hold` makes this true on a machine that is busy with something else, too."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    taps = ["-", copy_to(tmp_path / "process"), f"file:{tmp_path / 'file-{stream}-{user}'}", f"file:{pipe}"]
    options = [part for target in taps for part in ("--tap", f"audio,hold=10s:{target}")]
    out, err = piped("demo", "--seconds", "3", *options, "--tap", f"transcript:file:{tmp_path / 'words'}", cwd=tmp_path)
    reader.join()
    recording = only(tmp_path / "recordings")
    expected = hashlib.sha256(samples_of(recording)).hexdigest()
    (file,) = tmp_path.glob("file-*-mixed")
    for name, content in (
        ("-", out), ("exec", (tmp_path / "process").read_bytes()), ("file", file.read_bytes()), ("fifo", got[0])
    ):  # fmt: skip
        assert hashlib.sha256(content).hexdigest() == expected, name
    assert (tmp_path / "words").read_bytes() == (recording / "transcript.jsonl").read_bytes()
    assert "complete, reason 6 STOP_BC_MEETING_ENDED" in err
    assert "tap audio → standard output" in err
    taps_told = json.loads((recording / "manifest.json").read_text())["taps"]
    assert [(tap["bytes"], tap["drops"]) for tap in taps_told[:4]] == [(len(out), 0)] * 4


def test_a_command_writes_to_where_our_lines_go(tmp_path: Path) -> None:
    out, _ = piped("demo", "--seconds", "2", "--tap", "transcript:exec:cat", cwd=tmp_path)
    assert b"Good morning, can everybody hear me?" in out
    out, err = piped("demo", "--seconds", "2", "--json", "--tap", "transcript:exec:cat", cwd=tmp_path)
    events = [json.loads(line) for line in out.splitlines()]
    states = [event["state"] for event in events if event["event"] == "tap"]
    assert states == ["open"]
    assert '"text":"Good morning, can everybody hear me?"' in err


def test_nothing_is_written_without_a_recording(tmp_path: Path) -> None:
    out, err = piped("demo", "--seconds", "2", "--no-record", "--tap", "audio,hold=10s:-", cwd=tmp_path)
    assert len(out) >= 2 * 32_000 - 640
    assert list(tmp_path.iterdir()) == []
    assert "following meeting" in err.lower()


def test_a_replay_is_listened_to_as_the_session_was(tmp_path: Path) -> None:
    assert rtms("demo", "--seconds", "2", cwd=tmp_path).returncode == 0
    recording = only(tmp_path / "recordings")
    out, _ = piped("replay", recording, "--out", "again", "--speed", "4", "--tap", "audio,hold=10s:-", cwd=tmp_path)
    assert out == samples_of(recording) == samples_of(only(tmp_path / "again"))
    out, _ = piped("replay", recording, "--no-record", "--tap", "transcript:-", cwd=tmp_path)
    assert out == (recording / "transcript.jsonl").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_who_reads_only_the_beginning_costs_nothing(tmp_path: Path) -> None:
    command = [*RTMS, "demo", "--seconds", "3", "--tap", "audio:-"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as demo:
        assert demo.stdout is not None
        assert len(demo.stdout.read(640)) == 640
        demo.stdout.close()
        assert demo.stderr is not None
        err = demo.stderr.read().decode()
    assert demo.returncode == 0, err
    assert "nobody reads it now" in err
    assert len(samples_of(only(tmp_path / "recordings"))) >= 3 * 32_000 - 640


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "--tap", "sound:-"], "--tap sound: 'sound' cannot be tapped."),
        (["demo", "--media", "audio", "--tap", "chat:-"], "Add chat to --media."),
        (["demo", "--no-record"], "Add --tap or --notify, or leave it out."),
        (["listen", "--tap", "audio:-"], "cannot be used with several streams"),
        (["replay", "capture.jsonl", "--tap", "audio:-", "--speed", "max"], "Add --speed 1"),
        (["demo", "--tap", "audio:exec:no-such-program-here"], "program not found"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = rtms(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_settings_file_has_taps(tmp_path: Path) -> None:
    (tmp_path / "rtms.toml").write_text('[demo]\ntap = ["transcript:file:words", "chat:file:chat"]\n')
    assert rtms("demo", "--seconds", "2", cwd=tmp_path).returncode == 0
    assert "Good morning" in (tmp_path / "words").read_text()
    assert (tmp_path / "chat").read_bytes() == (only(tmp_path / "recordings") / "chat.jsonl").read_bytes()


async def test_a_second_signal_kills_what_taps_run(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    )
    tap = f"transcript:exec:{shlex.join([sys.executable, '-c', program, str(tmp_path / 'pid')])}"
    async with running("demo", "--seconds", "600", "--plain", "--tap", tap, cwd=tmp_path) as demo:
        await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        await demo.line_with("1 ACTIVE")
        demo.process.send_signal(signal.SIGINT)
        await demo.line_with("rtms_stopped")  # and now the tap has its time to end, some 20 s
        assert await demo.interrupt() == 130
        assert "complete" not in "".join(demo.lines)
    child = Path("/proc") / (tmp_path / "pid").read_text()
    await until(lambda: not child.exists() or "Z" in (child / "stat").read_text())


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg")
def test_ffmpeg_makes_a_flac_of_a_demo(tmp_path: Path) -> None:
    rtms_part = shlex.join([*RTMS, "demo", "--seconds", "2", "--tap", "audio,hold=10s:-"])
    pipeline = f"{rtms_part} 2> said | ffmpeg -v error -f s16le -ar 16000 -i - x.flac"
    subprocess.run(pipeline, shell=True, cwd=tmp_path, env=environment(), timeout=50, check=True)
    decode = ["ffmpeg", "-v", "error", "-i", "x.flac", "-f", "s16le", "-"]
    decoded = subprocess.run(decode, cwd=tmp_path, capture_output=True, timeout=50, check=True).stdout
    assert decoded == samples_of(only(tmp_path / "recordings"))
