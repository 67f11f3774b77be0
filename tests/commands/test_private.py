"""Whatever a command writes is for its user alone, from the first byte, and goes where it was told to go."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import CREDENTIALS, rtms, running, until

from rtms_cli.recording.files import atomic_path, atomic_write


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """The one that most systems have: without a mode of its own, a file is 0644."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of everything, in a folder that had to be made."""
    place = tmp_path_factory.mktemp("private")
    done = rtms("demo", "--seconds", "4", "--json", "--out", "new/recordings", cwd=place, settings={})
    assert done.returncode == 0, done.stderr
    [folder] = (place / "new/recordings").iterdir()
    return folder


def others_may_read(place: Path) -> dict[str, str]:
    """Everything beneath a folder that is not as private as it should be."""
    found = {str(path.relative_to(place)): path.stat().st_mode & 0o777 for path in place.rglob("*")}
    assert found
    return {name: oct(mode) for name, mode in found.items() if mode != (0o700 if (place / name).is_dir() else 0o600)}


def test_a_recording_and_the_folders_that_it_needed(recording: Path) -> None:
    assert not others_may_read(recording.parent.parent.parent)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--to", "mp4,mkv,wav,flac,opus,mp3,srt,vtt,txt,md,json,csv,parquet,frames,slides", "--out", "deep/er"],
        ["--to", "wav", "--only-speech", "--out", "deep/er", "--plot", "deep/er/plot.png"],
    ],
    ids=["every format", "cuts and plot"],
)
def test_what_export_writes(arguments: list[str], recording: Path, tmp_path: Path) -> None:
    done = rtms("export", recording, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not others_may_read(tmp_path)
    assert not list(tmp_path.rglob("*.part*"))


def test_what_inspect_writes(recording: Path, tmp_path: Path) -> None:
    assert rtms("inspect", recording, "--html", "page.html", cwd=tmp_path).returncode == 0
    assert not others_may_read(tmp_path)
    (tmp_path / "page.html").chmod(0o644)
    assert rtms("inspect", recording, "--html", "page.html", cwd=tmp_path).returncode == 0
    assert not others_may_read(tmp_path)


@pytest.mark.parametrize("command", ["simulate", "replay"])
async def test_payloads(command: str, recording: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = ["simulate", "--streams", "2"]
    if command == "replay":
        arguments = ["replay", recording, "--serve", "--port", "0"]
    arguments += ["--payload-out", "payload.json"]
    async with running(*arguments, cwd=tmp_path, settings=CREDENTIALS):
        last = tmp_path / ("payload-2.json" if command == "simulate" else "payload.json")
        await until(last.exists)
        assert not others_may_read(tmp_path)


def test_the_file_is_private_while_it_is_written(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "page.html") as temporary:
        assert temporary.stat().st_mode & 0o777 == 0o600
        assert not (tmp_path / "page.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert not others_may_read(tmp_path)


def test_two_processes_that_write_the_same_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_path(tmp_path / "page.html") as one:
        one.write_bytes(b"one")
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with atomic_path(tmp_path / "page.html") as other:
            other.write_bytes(b"other")
        assert one.read_bytes() == b"one"
    assert (tmp_path / "page.html").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    atomic_write(target, b"old")
    with pytest.raises(IsADirectoryError), atomic_path(target) as temporary:
        temporary.parent.write_bytes(b"half")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("option", ["--html", "--payload-out", "--plot"])
def test_no_symbolic_link_is_followed(option: str, recording: Path, tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "out.png"
    victim.write_bytes(b"precious")
    link.symlink_to(victim)
    arguments: dict[str, list[str | Path]] = {
        "--html": ["inspect", recording],
        "--payload-out": ["simulate"],
        "--plot": ["export", recording, "--force"],
    }
    done = rtms(*arguments[option], option, link, cwd=tmp_path, settings=CREDENTIALS)
    assert (done.returncode, "it is a symbolic link" in done.stderr) == (2, True), done.stderr
    assert victim.read_bytes() == b"precious"
    assert link.is_symlink()


def test_a_link_in_the_temporary_files_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".page.{os.getpid()}.part.html").symlink_to(victim)
    atomic_write(tmp_path / "page.html", b"new")
    assert (victim.read_bytes(), (tmp_path / "page.html").read_bytes()) == (b"precious", b"new")
    assert not (tmp_path / "page.html").is_symlink()


@pytest.mark.parametrize("place", [".", "", "/", "a folder"])
def test_a_folder_is_not_written_to_as_a_file(place: str, recording: Path, tmp_path: Path) -> None:
    (tmp_path / "a folder").mkdir()
    for command in (["inspect", recording, "--html"], ["simulate", "--payload-out"]):
        done = rtms(*command, place, cwd=tmp_path, settings=CREDENTIALS)
        assert (done.returncode, ": Is a directory." in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("settings", [None, {"PYTHONUNBUFFERED": "1"}], ids=["file", "pipe"])
def test_standard_output_takes_a_page_as_well(recording: Path, tmp_path: Path, settings: dict[str, str] | None) -> None:
    """The zygote's output goes to a file, and that of a process of its own through a pipe; see `processes.rtms`."""
    done = rtms("inspect", recording, "--html", "/dev/stdout", cwd=tmp_path, settings=settings)
    assert done.returncode == 0, done.stderr
    assert "<html" in done.stdout


def test_a_link_that_leads_in_a_circle_is_refused_in_a_line(recording: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.symlink_to(page.name)
    for command in ("inspect --html", "export --to vtt --force --out"):
        name, *options = command.split()
        done = rtms(name, recording, *options, page, cwd=tmp_path)
        assert (done.returncode, "it is a symbolic link" in done.stderr) == (2, True), done.stderr
