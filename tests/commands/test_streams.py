"""Standard streams that are closed, full or lose their reader: output ends, and nothing else does."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, state
from processes import RTMS, environment

from rtms_cli.capture import capture_lines
from rtms_cli.machine import State
from rtms_cli.recording.manifest import Manifest


def shell(line: str, cwd: Path, *, unbuffered: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run a line of a shell in which `rtms` is a command; the exit code is that of `rtms`, in a pipe as well."""
    if "/dev/full" in line and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    kept = environment()
    if not unbuffered:
        del kept["PYTHONUNBUFFERED"]
    command = f'rtms() {{ {shlex.join(RTMS)} "$@"; echo $? >code; }}; {line}'
    done = subprocess.run(
        ["sh", "-c", command], cwd=cwd, env=kept, capture_output=True, text=True, timeout=50, check=False
    )
    done.returncode = int((cwd / "code").read_text())
    return done


@pytest.mark.parametrize(
    ("streams", "unbuffered"),
    [
        *((streams, False) for streams in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")),
        *((streams, False) for streams in (">/dev/full", ">/dev/full 2>/dev/full", "| head -1", "2>&1 | head -1")),
        *((streams, True) for streams in (">/dev/full", "| head -1")),
    ],
)
def test_a_recording_goes_on_whatever_becomes_of_the_output(streams: str, unbuffered: bool, tmp_path: Path) -> None:
    done = shell(f"rtms demo --seconds 1 --media audio --out out --plain {streams}", tmp_path, unbuffered=unbuffered)
    assert done.returncode == 0
    if streams == ">/dev/full":
        assert done.stderr == "warning: output cannot be written (No space left on device); the work goes on\n"
    else:
        assert done.stderr == ""
    (folder,) = (tmp_path / "out").iterdir()
    manifest = Manifest.read(folder)
    assert (manifest.status, manifest.losses) == ("complete", [])


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_reader_that_does_not_read_holds_up_no_end(unbuffered: bool, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while True:  # fill it: nothing that is written now goes anywhere
        try:
            os.write(writing, bytes(4096))
        except BlockingIOError:
            break
    os.set_blocking(writing, True)
    kept = environment()
    if not unbuffered:
        del kept["PYTHONUNBUFFERED"]
    demo = [*RTMS, "demo", "--seconds", "1", "--media", "audio", "--json"]
    done = subprocess.run(demo, cwd=tmp_path, env=kept, stdout=writing, stderr=subprocess.PIPE, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    for end in (reading, writing):
        os.close(end)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("capture") / "capture.jsonl"
    frames = [audio(bytes(640), ZERO_MS + number * 20, at_us=number * 20_000) for number in range(200)]
    end = state(State.FINISHED, 4_000_000, "signaling", status="complete", code=6)
    path.write_bytes(HEADER.line() + capture_lines([*frames, end]))
    return path


COMMANDS = ["inspect {}", "inspect {} --messages", "replay {} --out out", "config --all", "--help"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_whose_output_finds_no_room_says_so(command: str, capture: Path, tmp_path: Path) -> None:
    line = f"rtms {command.format(capture)}"
    for unbuffered in (False, True):
        done = shell(f"{line} >/dev/full", tmp_path, unbuffered=unbuffered)
        assert done.stderr.startswith("error: Cannot write the output: No space left on device.")
        assert done.returncode == 2
    assert shell(f"{line} >/dev/full 2>/dev/full", tmp_path).returncode == 2
    closed = shell(f"{line} <&- >&-", tmp_path)
    assert (closed.returncode, closed.stderr) == (0, "")
    assert shell(f"{line} | head -1", tmp_path).stderr == ""


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize(
    "command", ["repair 1 2", "repair 1 2 --json", "replay 1 --out out", "config --all", "inspect 1"]
)
def test_a_reader_that_went_away_stops_no_work(command: str, unbuffered: bool, capture: Path, tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        shutil.copy(capture, tmp_path / name / "capture.jsonl")
    kept = environment()
    if not unbuffered:
        del kept["PYTHONUNBUFFERED"]
    reading, writing = os.pipe()
    os.close(reading)
    line = [*RTMS, *command.split()]
    done = subprocess.run(line, cwd=tmp_path, env=kept, stdout=writing, stderr=subprocess.PIPE, timeout=50, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    if "repair" in command:
        assert Manifest.read(tmp_path / "2").status == "complete"


def test_the_exit_code_is_the_same_where_nobody_can_be_told(tmp_path: Path) -> None:
    for streams in ("", "2>&-", "2>/dev/full"):
        assert shell(f"rtms join no-such-file {streams}", tmp_path).returncode == 2
        assert shell(f"rtms nonsense {streams}", tmp_path).returncode == 2


def test_windows_is_refused_in_a_line(tmp_path: Path) -> None:
    program = "import sys; from rtms_cli.commands.app import main; sys.platform = 'win32'; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: rtms runs on Linux and macOS")
    assert done.stderr.count("\n") == 2


@pytest.mark.parametrize(("settings", "shown"), [({}, False), ({"PYTHONWARNINGS": "default"}, True)])
def test_warnings_of_libraries_are_for_programmers(settings: dict[str, str], shown: bool, tmp_path: Path) -> None:
    warn = "app.app = lambda: warnings.warn('of a library')"
    program = f"import warnings; from rtms_cli.commands import app; {warn}; app.main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "of a library" in done.stderr) == (0, shown)
