"""`rtms mark`: what someone says of a moment, in a recording that is running, and wherever it is shown later."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from catalog.shelf import put
from harness import read_jsonl
from processes import Running, rtms, running

from rtms_cli.recording.marking import LONGEST, leave_mark, take_mark
from rtms_cli.recording.ownership import FolderLock

TEXT = "Decision: ship \x1b[31mit é"


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Running]:
    """A meeting that is being recorded."""
    async with running("demo", "--plain", "--seconds", "600", cwd=tmp_path) as demo:
        await demo.line_with(" recording Meeting ")
        yield demo


async def mark(place: Path, *arguments: str | Path) -> tuple[int, str]:
    done = await asyncio.to_thread(rtms, "mark", *arguments, cwd=place)
    return done.returncode, done.stdout + done.stderr


async def test_a_mark_is_in_the_recording_and_in_its_replay(demo: Running, tmp_path: Path) -> None:
    (folder,) = (tmp_path / "recordings").iterdir()
    code, said = await mark(tmp_path, TEXT)
    assert code == 0, said
    assert said == f"marked recordings/{folder.name}: Decision: ship \\x1b[31mit é\n"
    assert (await mark(tmp_path, "again", "latest"))[0] == 0
    demo.process.terminate()
    await demo.exit_code()
    marks = [line for line in read_jsonl(folder / "events.jsonl") if line["event"] == "MARK"]
    assert [line["text"] for line in marks] == [TEXT, "again"]
    assert not list(folder.glob(".mark*"))
    again = rtms("replay", folder, "--out", "again", cwd=tmp_path)
    assert again.returncode in (0, 5), again.stderr
    replayed = (tmp_path / "again" / folder.name / "events.jsonl").read_bytes()
    assert replayed == (folder / "events.jsonl").read_bytes()
    assert (await mark(tmp_path, "late"))[1].startswith("error: Nothing is being recorded in recordings/.")
    assert "is not being recorded" in (await mark(tmp_path, "late", folder))[1]
    shown = rtms("inspect", folder, "--messages", cwd=tmp_path).stdout
    assert r"MARK  Decision: ship \x1b[31mit é" in shown
    made = rtms("inspect", folder, "--html", "page.html", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "mark: Decision: ship" in (tmp_path / "page.html").read_text()


def test_of_several_one_has_to_be_named(tmp_path: Path) -> None:
    folders = [put(tmp_path / "recordings", name) for name in ("20261127T090000Z_a", "20261128T090000Z_b")]
    locks = [FolderLock(folder) for folder in folders]
    for lock in locks:
        lock.acquire()
    done = rtms("mark", "x", cwd=tmp_path)
    assert done.returncode == 2
    assert "2 recordings are running: 20261127T090000Z_a, 20261128T090000Z_b." in done.stderr
    for text in ("", " ", "x" * (LONGEST + 1)):
        assert "A mark has 1 to 1,000 characters" in rtms("mark", text, cwd=tmp_path).stderr
    done = rtms("mark", "x", "20261127", cwd=tmp_path)  # nobody looks there
    assert (done.returncode, "did not take the mark" in done.stderr) == (3, True)
    assert not list(folders[0].glob(".mark*"))
    for lock in locks:
        lock.release()


def test_only_a_file_of_the_folder_is_a_mark(tmp_path: Path) -> None:
    assert take_mark(tmp_path) is None
    leave_mark(tmp_path, "one")
    with pytest.raises(FileExistsError):
        leave_mark(tmp_path, "two")
    assert [take_mark(tmp_path), take_mark(tmp_path)] == ["one", None]
    (tmp_path / "secret").write_text("of somebody else")
    (tmp_path / ".mark").symlink_to(tmp_path / "secret")
    assert take_mark(tmp_path) is None
    os.mkfifo(tmp_path / ".mark")  # to open it would block
    assert take_mark(tmp_path) is None
    (tmp_path / ".mark").write_bytes(b"x" * 5_000_000)
    assert take_mark(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
