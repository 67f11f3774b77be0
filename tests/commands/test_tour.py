"""The tour: a newcomer in a real terminal, who types what the screen suggests and nothing else.

Each command stands on the screen before it is typed: in the first steps of `rtms`, in `rtms --help`, or behind `Next:`.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminals import Terminal

PROMPT = "tour$"


class Shell(Terminal):
    """A shell in a terminal, with `rtms` on its path."""

    def __init__(self, cwd: Path, columns: int, lines: int) -> None:
        (cwd / "rc").write_text(
            f"PS1='{PROMPT} '\nPATH={Path(sys.executable).parent}:$PATH\nexport BROWSER='{cwd}/browser %s'\n"
        )
        browser = cwd / "browser"
        browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {cwd}/opened\n')
        browser.chmod(0o755)
        super().__init__(["bash", "--rcfile", str(cwd / "rc"), "-i"], cwd, columns, lines)

    def run(self, command: str) -> str:
        """Type a command, wait for the prompt, and return what was to be seen of it."""
        self.type("clear\n")
        self.until(lambda text: text.strip() == PROMPT)
        self.type(f"{command}; echo $((6 * 7))done\n")
        self.until(lambda text: re.search(r"^42done$", text, re.MULTILINE) and text.rstrip().endswith(PROMPT))
        return self.text

    def suggested(self, begin: str) -> str:
        """A command on the screen that begins so.

        It is an error if there is none: nobody would know what to type.
        """
        found = re.search(rf"(?:Next:|^) +({re.escape(begin)}.*?)(?:   |$)", self.text, re.MULTILINE)
        assert found is not None, f"nothing suggests {begin}:\n{self.text}"
        return found[1].strip()


@pytest.fixture(params=[(80, 24), (120, 40)], ids=["80x24", "120x40"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    terminal = Shell(tmp_path, *request.param)
    terminal.shows(PROMPT)
    yield terminal
    terminal.close()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.timeout(300)  # the demo alone takes ten seconds, and a busy machine its time for each command
def test_the_screen_says_what_to_do_next(shell: Shell, tmp_path: Path) -> None:
    shell.run("rtms")
    shell.run(shell.suggested("rtms demo"))
    show = shell.suggested("rtms show")
    shell.shows("complete")
    (recording,) = (path for path in (tmp_path / "recordings").iterdir() if path.is_dir())

    shell.run("rtms")
    listed = shell.run(shell.suggested("rtms ls"))
    assert "complete" in listed
    search = shell.suggested("rtms search").replace("WORDS", "numbers")
    shell.run(show)
    export, play = shell.suggested("rtms export"), shell.suggested("rtms play")

    assert "let us begin with the numbers" in shell.run(search)
    moment = shell.suggested("rtms play")
    assert "--at 0:00:0" in moment
    shell.run(f"{play} --with browser")
    assert (tmp_path / "opened").read_text() == (recording / "page.html").as_uri()
    shell.run(f"{moment} --with browser")
    assert (tmp_path / "opened").read_text().startswith((recording / "page.html").as_uri() + "#t=")

    shell.run(export)
    document = next(path for path in recording.rglob("*.md") if ".chat" not in path.name)
    assert "let us begin with the numbers" in document.read_text()

    shell.run("rtms --help | grep prune")
    shell.run("rtms prune --older-than 0s --dry-run")
    assert recording.exists()
    shell.type(shell.suggested("rtms prune") + "\n")
    shell.shows("Delete 1 recording? [y/N]")
    shell.type("y\n")
    shell.shows("deleted 1 recording")
    assert not recording.exists()
    assert "No recordings in recordings." in shell.run("rtms ls")
    shell.suggested("rtms demo")


def test_what_is_piped_is_plain(shell: Shell, tmp_path: Path) -> None:
    shell.run("rtms demo --seconds 2 --plain > demo.log 2>&1; rtms ls --json > ls.json; rtms show > show.txt")
    assert json.loads((tmp_path / "ls.json").read_text())["status"] == "complete"
    for name in ("demo.log", "show.txt"):
        text = (tmp_path / name).read_text()
        assert "\x1b" not in text
        assert "Next:" not in text
