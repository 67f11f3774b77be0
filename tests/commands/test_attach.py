"""`rtms attach`: the dashboard of a recorder in another terminal, and what scripts get of it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import environment, rtms
from terminals import Terminal

ATTACH = [sys.executable, "-m", "rtms_cli", "attach"]
SECONDS = 40
"""Of a meeting that is longer than what is done while it runs."""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for sockets of this test alone."""
    folder = tmp_path / "run"

    def own(settings: Mapping[str, str] | None = None) -> dict[str, str]:
        return environment({"RTMS_RUNTIME_DIR": str(folder), **(settings or {})})

    monkeypatch.setattr("processes.environment", own)
    monkeypatch.setattr("terminals.environment", own)
    return folder


@contextmanager
def recording(tmp_path: Path, runtime: Path, seconds: int = SECONDS) -> Iterator["subprocess.Popen[str]"]:
    """A recorder of a simulated meeting, once it has its feed."""
    command = [sys.executable, "-m", "rtms_cli", "demo", "--seconds", str(seconds), "--plain"]
    kept = environment({"RTMS_RUNTIME_DIR": str(runtime)})
    with subprocess.Popen(command, cwd=tmp_path, env=kept, stdout=subprocess.PIPE, text=True) as recorder:
        try:
            assert recorder.stdout is not None
            next(line for line in recorder.stdout if "recording Meeting" in line)
            yield recorder
        finally:
            recorder.send_signal(signal.SIGINT)
            recorder.communicate(timeout=30)


@contextmanager
def terminal(tmp_path: Path, *arguments: str) -> Iterator[Terminal]:
    shown = Terminal([*ATTACH, *arguments], tmp_path)
    try:
        yield shown
    finally:
        shown.close()


@pytest.mark.timeout(300)
def test_the_dashboard_shows_the_recorder_and_leaves_it_alone(tmp_path: Path, runtime: Path) -> None:
    with recording(tmp_path, runtime) as recorder:
        with terminal(tmp_path) as shown:
            shown.shows("demo of", "streaming", "signaling", "John Smith", "“", "q detach")
            shown.type("m")
            shown.shows("marked: a line in events.jsonl")
            shown.type("s")
            shown.shows("without --web-control")
            shown.type("r")
            shown.shows("messages, without media", "signaling")
            shown.type("?")
            shown.shows("detach: the recorder continues")
            shown.type(" ")
            shown.until(lambda text: "detach: the recorder continues" not in text)
            shown.type("q")
            assert shown.end() == 0
            assert "Detached. The recorder continues." in shown.text
            assert shown.is_restored()
        assert recorder.poll() is None
    (folder,) = (tmp_path / "recordings").iterdir()
    assert "marked by rtms attach" in (folder / "events.jsonl").read_text()


@pytest.mark.timeout(300)
def test_when_the_recorder_ends_it_says_what_has_ended(tmp_path: Path, runtime: Path) -> None:
    with recording(tmp_path, runtime) as recorder, terminal(tmp_path) as shown:
        shown.shows("streaming")
        recorder.send_signal(signal.SIGINT)
        assert shown.end() == 0
        shown.shows("complete: stopped by Ctrl-C", "_meeting_", "The recorder has ended.")
        assert shown.is_restored()


@pytest.mark.timeout(300)
def test_a_recorder_that_is_killed_has_ended_too(tmp_path: Path, runtime: Path) -> None:
    with recording(tmp_path, runtime) as recorder, terminal(tmp_path) as shown:
        shown.shows("streaming")
        recorder.kill()
        assert shown.end() == 0
        shown.shows("The recorder has ended.")


@pytest.mark.timeout(300)
def test_scripts_get_messages_and_logs_get_lines(tmp_path: Path, runtime: Path) -> None:
    with recording(tmp_path, runtime, 12):
        kept = environment({"RTMS_RUNTIME_DIR": str(runtime)})
        runs = [
            subprocess.Popen(
                [*ATTACH, *options], cwd=tmp_path, env=kept, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for options in (["--json"], ["--show-text"], [])
        ]
        (messages, _), (told, _), (quiet, _) = (run.communicate(timeout=60) for run in runs)
    assert [run.returncode for run in runs] == [0, 0, 0]
    read = [json.loads(line) for line in messages.splitlines()]
    assert read[0]["type"] == "hello"
    seqs = [one["seq"] for one in read if one["type"] == "event"]
    assert seqs == list(range(1, len(seqs) + 1))
    assert {"started", "transcript", "connection", "finished"} <= {one.get("event") for one in read}
    assert any(one["watched"] for one in read if one["type"] == "picture")
    for lines in (told, quiet):
        assert lines.startswith("attached to demo of")
        assert " complete: reason 6 STOP_BC_MEETING_ENDED" in lines
        assert lines.endswith("The recorder has ended.\n")
    assert "“" in told
    assert "“" not in quiet


def test_what_cannot_be_attached_to_says_what_to_do(tmp_path: Path, runtime: Path) -> None:
    none = rtms("attach", cwd=tmp_path)
    assert (none.returncode, none.stdout) == (3, "")
    assert "No recorder of yours runs here." in none.stderr
    assert "rtms demo" in none.stderr
    gone = rtms("attach", "http://127.0.0.1:9", cwd=tmp_path)
    assert (gone.returncode, "Nothing answers at http://127.0.0.1:9" in gone.stderr) == (3, True)
    assert rtms("attach", "ftp://x", cwd=tmp_path).returncode == 2
    assert rtms("attach", "--json", "--plain", cwd=tmp_path).returncode == 2


def test_a_token_that_others_can_see_is_refused_or_warned_of(tmp_path: Path, runtime: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a-token\n")
    file.chmod(0o644)
    open_to_all = rtms("attach", "http://127.0.0.1:9", "--token-file", file, cwd=tmp_path)
    assert (open_to_all.returncode, f"chmod 600 {file}" in open_to_all.stderr) == (2, True)
    file.chmod(0o600)
    assert "Nothing answers" in rtms("attach", "http://127.0.0.1:9", "--token-file", file, cwd=tmp_path).stderr
    told = rtms("attach", "http://127.0.0.1:9/?token=abc123def", cwd=tmp_path).stderr
    assert "RTMS_WEB_TOKEN" in told
    assert "abc123def" not in told


@pytest.mark.timeout(300)
def test_of_several_recorders_one_is_chosen(tmp_path: Path, runtime: Path) -> None:
    with recording(tmp_path, runtime) as one, recording(tmp_path, runtime) as other:
        several = rtms("attach", cwd=tmp_path)
        assert several.returncode == 2
        assert {str(one.pid), str(other.pid)} <= set(several.stderr.replace(",", " ").replace(".", " ").split())
        with terminal(tmp_path, "--pid", str(other.pid)) as shown:
            shown.shows("streaming", "q detach")
            shown.type("q")
            assert shown.end() == 0
        assert rtms("attach", "--pid", "1", cwd=tmp_path).returncode == 3
