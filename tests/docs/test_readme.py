"""The README is short, and names every command once."""

import re

from docs.blocks import ROOT, blocks

from rtms_cli.commands import listing

README = ROOT / "README.md"


def test_it_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_one_command_does_the_main_job_and_one_runs_the_tests() -> None:
    set_up, tests, *_ = blocks(README)
    assert (set_up.script.splitlines(), tests.script) == ([set_up.script], ".ci/run")
    assert set_up.script.endswith("rtms demo")
    assert (ROOT / tests.script).is_file()


def test_every_command_is_in_the_table_once() -> None:
    rows = re.findall(r"^\| (`rtms .*?) \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    named = [name.removeprefix("rtms ") for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert sorted(named) == sorted(listing.COMMANDS)
