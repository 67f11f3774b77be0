"""Every shell block of the documents is run; of those that cannot be, every `rtms` is parsed."""

import asyncio
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.blocks import (
    OTHERS,
    PAGES,
    ROOT,
    SHELLS,
    Block,
    blocks,
    commands,
    indented,
    languages,
    old_options,
    options_are_known,
    parse,
    spans,
)
from docs.stage import Stage
from processes import CREDENTIALS, environment, rtms

PROGRAMS = ("ENGINE", "NOTES", "VISION", "UPLOAD", "ffmpeg", "mpv")
"""Programs of other people, of which the documents say that they read what they get."""
IN_ORDER = "<!-- in order -->"
SECONDS = 150
"""For the blocks of one test, on a machine that does much else."""
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def runs() -> list[list[Block]]:
    """The blocks that are run, together where one needs what another has made."""
    together: list[list[Block]] = []
    for page in PAGES:
        found = [block for block in blocks(page) if not block.reason]
        if IN_ORDER in page.read_text(encoding="utf-8"):
            together.append(found)
        else:
            together += [[block] for block in found]
    return [found for found in together if found]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording in it, as someone has who reads on."""
    folder = tmp_path_factory.mktemp("recorded")
    done = rtms("demo", "--seconds", "4", "--plain", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "recordings"


@pytest.fixture
def place(tmp_path: Path, recorded: Path) -> Iterator[Path]:
    """A folder to run blocks in: recordings, a capture, a payload, and programs on the PATH."""
    home = tmp_path / "home"
    shutil.copytree(recorded, home / "recordings")
    (capture,) = recorded.glob("*/capture.jsonl")
    shutil.copy(capture, home / "capture.jsonl")
    shutil.copy(ROOT / "fixtures/webhooks/meeting_started.json", home / "payload.json")
    (tmp_path / "bin").mkdir()
    for name in PROGRAMS:
        (tmp_path / "bin" / name).write_text("#!/bin/sh\nexec cat >/dev/null\n")
    (tmp_path / "bin/python").symlink_to(sys.executable)
    for program in (tmp_path / "bin").iterdir():
        if not program.is_symlink():
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
    stage = Stage(tmp_path / "bin")
    yield home
    stage.close()


def test_blocks_say_what_they_are() -> None:
    for page in PAGES:
        assert languages(page) <= SHELLS | OTHERS, page
        assert indented(page) == [], page


@needs_bash
@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.parametrize("together", runs(), ids=lambda together: together[0].name)
async def test_a_block_runs(together: list[Block], place: Path) -> None:
    path = f"{place.parent / 'bin'}:{environment()['PATH']}"
    settings = CREDENTIALS | {"PATH": path, "HOME": str(place), "PYTHONPATH": str(ROOT)}
    for block in together:
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", block.script,
            cwd=place,
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        said, _ = await process.communicate()
        assert process.returncode == 0, f"{block.name}\n{block.script}\n{said.decode()}"


NOT_RUN = [block for page in PAGES for block in blocks(page) if block.reason]


@needs_bash
@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: block.name)
def test_a_block_that_is_not_run_is_right(block: Block) -> None:
    checked = subprocess.run(["bash", "-n", "-c", block.script], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    for words in commands(block.script):
        parse(words)


def test_commands_within_sentences_exist() -> None:
    for page in PAGES:
        for span in spans(page):
            assert options_are_known(shlex.split(span)), f"{page.name}: {span}"


def test_options_have_the_names_of_today() -> None:
    for page in PAGES:
        written = [words for block in blocks(page) for words in commands(block.script)]
        for words in [*written, *map(shlex.split, spans(page))]:
            assert old_options(words) == set(), f"{page.name}: {words}"
    assert old_options(["rtms", "inspect", "--to", "10"]) == {"--to"}


@pytest.mark.parametrize(
    "script",
    ["rtms listen --nosuch", "A=b rtms join x.json --media", "cd x && rtms inspec", "echo | rtms sign webhook -x"],
)
def test_a_wrong_command_is_found(script: str) -> None:
    (words,) = commands(script)
    with pytest.raises(Exception, match=r"(?i)no such option|requires an argument|there is no command"):
        parse(words)


def test_a_wrong_command_within_a_sentence_is_found() -> None:
    assert not options_are_known(["rtms", "listen", "--nosuch"])
    assert not options_are_known(["rtms", "lisen"])
