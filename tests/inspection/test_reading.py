"""Which capture is read, and how far it has come."""

import gzip
import os
import pty
import subprocess
from pathlib import Path

import pytest
import zstandard
from frames import HEADER, ZERO_MS, audio, state
from processes import RTMS, environment, rtms

from rtms_cli.capture import Capture, capture_lines
from rtms_cli.catalog.finding import newest
from rtms_cli.errors import Problem
from rtms_cli.inspection.reading import numbered
from rtms_cli.machine import State
from rtms_cli.view.progress import WORTH_A_BAR, with_progress

PACKET = capture_lines([audio(bytes(640), ZERO_MS)])


def recording(out: Path, name: str, written_at: int, suffix: str = "") -> Path:
    folder = out / name
    folder.mkdir(parents=True)
    content = HEADER.line() + PACKET
    path = folder / f"capture.jsonl{suffix}"
    path.write_bytes({"": content, ".gz": gzip.compress(content), ".zst": zstandard.compress(content)}[suffix])
    os.utime(path, (written_at, written_at))
    return folder


def test_the_newest_recording(tmp_path: Path) -> None:
    out = tmp_path / "recordings"
    with pytest.raises(Problem, match=r"no recording in .*recordings/.*rtms demo"):
        newest(out)
    assert rtms("inspect", cwd=tmp_path).returncode == 2
    recording(out, "20261122_b", 1000)
    newer = recording(out, "20261122_a", 2000)
    (out / "20261123_without_capture").mkdir()
    assert newest(out) == newer
    done = rtms("inspect", "--json", cwd=tmp_path)
    assert done.stderr == "inspecting recordings/20261122_a\n"
    assert '"capture":"recordings/20261122_a/capture.jsonl"' in done.stdout.replace(": ", ":")
    packed = recording(out, "20261122_c", 3000, ".zst")
    assert newest(out) == packed
    assert len(rtms("inspect", "--messages", cwd=tmp_path).stdout.splitlines()) == 1


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_position_goes_from_nothing_to_the_files_size(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"capture.jsonl{suffix}"
    noise = b"".join(capture_lines([audio(os.urandom(640), ZERO_MS + 20 * number)]) for number in range(1000))
    content = HEADER.line() + noise
    path.write_bytes({"": content, ".gz": gzip.compress(content), ".zst": zstandard.compress(content)}[suffix])
    capture = Capture(path)
    assert capture.position == 0
    seen = [capture.position for _ in numbered(capture)]
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert seen[0] < path.stat().st_size / 2
    assert capture.position == path.stat().st_size


def test_lines_pass_through() -> None:
    assert list(with_progress(range(5), 2 * WORTH_A_BAR, lambda: 0, "reading")) == [*range(5)]


@pytest.mark.parametrize(
    ("command", "said"),
    [("inspect", "reading"), ("inspect --lint", "reading"), ("replay", "replaying"), ("repair", "repairing")],
)
def test_a_bar_on_a_terminal_for_a_big_capture_only(command: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "recording/capture.jsonl"
    path.parent.mkdir()
    with path.open("wb") as big:
        big.write(HEADER.line())
        for number in range(0, WORTH_A_BAR, 400 * len(PACKET)):
            ms = ZERO_MS + 20 * (number // len(PACKET))
            big.write(capture_lines([audio(bytes(640), ms + 20 * n, at_us=1000 * (ms - ZERO_MS)) for n in range(400)]))
    assert said in on_terminal(*command.split(), path.parent, cwd=tmp_path)
    with path.open("r+b") as small:
        small.truncate(100_000)
    assert said not in on_terminal(*command.split(), path.parent, cwd=tmp_path)


def test_no_bar_where_nobody_looks(tmp_path: Path) -> None:
    """Not in a pipe, and not on a terminal that can't."""
    path = tmp_path / "capture.jsonl"
    path.write_bytes(HEADER.line() + PACKET + b" " * WORTH_A_BAR)
    assert rtms("inspect", path, cwd=tmp_path).stderr == ""
    assert on_terminal("inspect", path, cwd=tmp_path, terminal="dumb") == ""
    assert "reading" in on_terminal("inspect", path, cwd=tmp_path)


def on_terminal(*arguments: str | Path, cwd: Path, terminal: str = "xterm") -> str:
    """What a command draws on a terminal that is its standard error only."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*RTMS, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=follower,
        env=environment({"TERM": terminal}),
    ) as process:
        os.close(follower)
        drawn = b""
        try:
            while chunk := os.read(leader, 65_536):
                drawn += chunk
        except OSError:
            pass  # the other end of a pseudo-terminal is gone
        os.close(leader)
        assert process.stdout is not None
        assert b"\x1b" not in process.stdout.read()
    return drawn.decode()


def test_a_torn_capture_of_one_state(tmp_path: Path) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(HEADER.line() + capture_lines([state(State.OPEN)]) + b'{"at": 1')
    assert [number for number, _ in numbered(Capture(path))] == [2]
