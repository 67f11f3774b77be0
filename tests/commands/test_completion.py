"""What Tab completes: in a real bash, and by the protocols of zsh and fish."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import environment
from terminals import Terminal

from rtms_cli.commands import completing

NEWEST, OLDER = "20261122T221500Z_meeting_abc", "20261121T100000Z_webinar_xyz"
PROGRAM = "import sys; sys.argv[0] = 'rtms'; from rtms_cli.__main__ import main; main()"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with recordings, and a program `rtms` in bin/."""
    for name in (NEWEST, OLDER, "bad\x1b[2Jname"):
        (tmp_path / "recordings" / name).mkdir(parents=True)
        (tmp_path / "recordings" / name / "manifest.json").write_text("{}")
    program = tmp_path / "bin" / "rtms"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    return tmp_path


def run(arguments: list[str], place: Path, **settings: str) -> str:
    done = subprocess.run(
        arguments, cwd=place, env=environment(settings), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    return done.stdout


def offered(place: Path, *words: str) -> list[str]:
    """What bash would offer for the last word."""
    script = run([str(place / "bin/rtms")], place, _RTMS_COMPLETE="source_bash")
    given = " ".join(map(shlex.quote, words))
    asked = f'{script}\nCOMP_WORDS=({given}); COMP_CWORD={len(words) - 1}; _rtms_completion "$RTMS"'
    asked += '; printf "%s\\n" "${COMPREPLY[@]}"'
    return run(["bash", "--norc", "-c", asked], place, RTMS=str(place / "bin/rtms")).split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("rtms join --media a", ["audio", "all"]),
        ("rtms join --media audio,t", ["audio,transcript"]),
        ("rtms join --media = v", ["video"]),  # as bash splits --media=v
        ("rtms demo --media =", ["audio", "video", "share", "transcript", "chat", "all"]),
        ("rtms listen --audio g", ["g711", "g722"]),
        ("rtms listen --language frenchc", ["frenchcanada"]),
        ("rtms start 1 --product we", ["webinar"]),
        ("rtms simulate --scenario flaky", ["flaky-network"]),
        ("rtms simulate --products phone,ses", ["phone,session"]),
        ("rtms export --to mp4,sr", ["mp4,srt"]),
        ("rtms inspect --explain connection-s", ["connection-silent"]),
        ("rtms trigger url", ["url_validation"]),
        ("rtms show ", ["latest", NEWEST, OLDER]),
        ("rtms inspect 20261122", [NEWEST]),
        ("rtms export recordings/2", []),  # a path: bash completes it
        ("rtms ls --status rev", ["revoked"]),
        ("rtms config jo", ["join"]),
        ("rtms sim", ["simulate"]),
        ("rtms join --skip", ["--skip-buffered"]),
        ("rtms --color al", ["always"]),
    ],
)
def test_bash_offers(words: str, values: list[str], place: Path) -> None:
    assert offered(place, *words.split(" ")) == values


def test_a_folder_may_be_a_number_in_a_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "recordings").rename(place / "5")
    (place / "rtms.toml").write_text("[listen]\nout = 5\n")
    monkeypatch.chdir(place)
    assert completing.recordings("") == ["latest", NEWEST, OLDER]


def test_recordings_are_looked_for_where_listen_puts_them(place: Path) -> None:
    (place / "recordings").rename(place / "kept")
    assert offered(place, "rtms", "show", "") == []
    (place / "rtms.toml").write_text('out = "kept"\nlive = true\n')  # an old name: no note in someone's command line
    assert offered(place, "rtms", "show", "")[:2] == ["latest", NEWEST]
    (place / "rtms.toml").write_text("out = [")
    assert offered(place, "rtms", "show", "") == []


def test_other_shells_show_what_a_scenario_does(place: Path) -> None:
    words = {"_TYPER_COMPLETE_ARGS": "rtms simulate --scenario flaky", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    rtms = [str(place / "bin/rtms")]
    assert run(rtms, place, **words, _RTMS_COMPLETE="complete_fish").startswith("flaky-network\tSockets break")
    assert '"flaky-network":"Sockets break' in run(rtms, place, **words, _RTMS_COMPLETE="complete_zsh")
    words["_TYPER_COMPLETE_ARGS"] = "rtms join --media audio,t"
    assert run(rtms, place, **words, _RTMS_COMPLETE="complete_fish") == "audio,transcript\n"
    assert '"audio,transcript"' in run(rtms, place, **words, _RTMS_COMPLETE="complete_zsh")
    for shell in ("zsh", "fish"):
        assert "_TYPER_COMPLETE_ARGS" in run(rtms, place, _RTMS_COMPLETE=f"source_{shell}")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_tab_completes_in_a_terminal(place: Path) -> None:
    terminal = Terminal(["bash", "--norc", "--noprofile", "-i"], place, 200, 30)
    try:
        terminal.type(f"PS1='ready> '; PATH={json.dumps(str(place / 'bin'))}:$PATH\n")
        terminal.type("source <(_RTMS_COMPLETE=source_bash rtms); echo sour''ced\n")
        terminal.shows("\nsourced\nready>")
        terminal.type("rtms join --media aud\t")
        terminal.shows("rtms join --media audio")
        terminal.type("\x15rtms show 20261121\t")
        terminal.shows(f"rtms show {OLDER}")
        terminal.type("\x15exit\n")
        terminal.end()
    finally:
        terminal.close()
