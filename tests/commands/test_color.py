"""`--color`, `NO_COLOR` and `FORCE_COLOR` hold for every command."""

import re
from pathlib import Path

import pytest
from processes import RTMS, rtms
from terminals import Terminal

from rtms_cli.commands.listing import COMMANDS

PACKAGE = Path(__file__).parent.parent.parent / "rtms_cli"
COLOR = re.compile(r"\x1b\[[\d;]*m")

FAILING = {
    "config": ["--nosuch"],
    "doctor": ["--ca-file", "nosuch"],
    "export": ["nosuch", "--to", "txt"],
    "inspect": ["nosuch"],
    "fleet": ["--queue", "nosuch"],
    "join": ["nosuch"],
    "work": ["--queue", "nosuch"],
    "replay": ["nosuch"],
    "repair": ["nosuch"],
    "sign": ["nosuch"],
    "simulate": ["--scenario", "nosuch"],
    "trigger": ["meeting.rtms_started", "--to", "nosuch"],
    "listen": ["--only", "nosuch"],
    "demo": ["--media", "nosuch"],
    "prune": ["nosuch", "--older-than", "nosuch"],
}
"""Arguments that each command refuses."""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording in it."""
    folder = tmp_path_factory.mktemp("recordings")
    done = rtms("demo", "--seconds", "1", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not COLOR.search(done.stdout)
    return folder


REPORTS = [
    ["demo", "--seconds", "1", "--plain", "--out", "other"],
    ["doctor"],
    ["inspect"],
    ["inspect", "--timeline"],
    ["replay", "RECORDING", "--out", "again"],
]


@pytest.mark.parametrize("arguments", REPORTS, ids=" ".join)
def test_reports_follow_what_was_asked_for(arguments: list[str], recordings: Path) -> None:
    recording = str(next((recordings / "recordings").iterdir()))
    given = [recording if word == "RECORDING" else word for word in arguments]
    assert COLOR.search(rtms("--color", "always", *given, cwd=recordings).stdout)
    assert COLOR.search(rtms(*given, cwd=recordings, settings={"FORCE_COLOR": "1"}).stdout)
    assert not COLOR.search(rtms(*given, cwd=recordings).stdout)
    terminal = Terminal([*RTMS, "--color", "never", *given], recordings)
    try:
        terminal.end()
    finally:
        terminal.close()
    assert not COLOR.search(terminal.output.decode())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_errors_follow_what_was_asked_for(name: str, tmp_path: Path) -> None:
    given = [name, *FAILING.get(name, ["nosuch"])]
    shown = rtms("--color", "always", *given, cwd=tmp_path)
    assert shown.returncode, shown.stdout
    if shown.stderr.startswith("Usage:"):
        return  # the parser's own, which has no colours
    assert COLOR.search(shown.stdout + shown.stderr), shown
    assert not COLOR.search(rtms(*given, cwd=tmp_path).stderr)


def test_consoles_come_from_one_place() -> None:
    found = [
        str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        if re.search(r"(?<![\w.\"])Console\(", path.read_text())
    ]
    assert found == ["view/console.py"]
