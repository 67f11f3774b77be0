"""`rtms replay` as its users see it: where the new recording goes, and what is left when it is stopped."""

import gzip
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from harness import same_files
from processes import RTMS, environment, rtms

from rtms_cli.capture import Capture
from rtms_cli.errors import Problem
from rtms_cli.recording.ownership import FolderLock
from rtms_cli.station.replaying import Aside


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    done = rtms("demo", "--seconds", "2", cwd=folder)
    assert done.returncode == 0, done.stdout
    return next((folder / "recordings").iterdir())


def test_a_replay_stays_apart_from_what_was_recorded(demo: Path) -> None:
    place = demo.parent.parent
    done = rtms("replay", "latest", cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"replays/{demo.name}"
    assert [*demo.parent.iterdir()] == [demo]
    (again,) = (place / "replays").iterdir()
    same_files(demo, again)
    beside = rtms("replay", "latest", "--out", "recordings", cwd=place)
    assert beside.stdout.splitlines()[0] == f"recordings/{demo.name}_2"
    assert rtms("inspect", cwd=place).stderr == f"inspecting recordings/{demo.name}\n"


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_a_capture_on_standard_input(compress: Callable[[bytes], bytes], demo: Path, tmp_path: Path) -> None:
    given = compress((demo / "capture.jsonl").read_bytes())
    done = subprocess.run(
        [*RTMS, "replay", "-", "--out", "again"], cwd=tmp_path, env=environment(), input=given, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    (again,) = (tmp_path / "again").iterdir()
    same_files(demo, again)
    nothing = rtms("replay", "-", cwd=tmp_path)
    assert nothing.returncode == 2
    assert "Traceback" not in nothing.stderr


def test_what_a_killed_replay_has_left_goes_with_the_next_one(demo: Path, tmp_path: Path) -> None:
    header = Capture(demo).header
    left, new, held, other = [Aside(tmp_path, header).folder for _ in range(3)] + [tmp_path / ".mine"]
    other.mkdir()
    lock = FolderLock(held)
    lock.acquire()
    for folder in (left, held, other):
        os.utime(folder, (1_000_000, 1_000_000))
    assert rtms("replay", demo, "--out", tmp_path, cwd=tmp_path).returncode == 0
    lock.release()
    assert {folder.name for folder in tmp_path.iterdir()} == {new.name, held.name, other.name, demo.name}


def test_a_replay_that_cannot_be_put_in_place_is_an_error(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = rtms("replay", demo, "--out", "file", cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: Cannot make a folder in file: File exists.")


def test_a_replay_whose_folder_is_gone_leaves_no_empty_one(demo: Path, tmp_path: Path) -> None:
    aside = Aside(tmp_path / "out", Capture(demo).header)
    aside.discard()
    with pytest.raises(Problem, match="cannot be stored"):
        aside.put_in_place()
    assert list((tmp_path / "out").iterdir()) == []
