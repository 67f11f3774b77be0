"""Hooks: when they run, what they are told, and that nothing they do costs a recording anything.

The programs are real. Where a station is not what matters, its calls are made here.
"""

import asyncio
import json
import os
import re
import shlex
import signal
import sys
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import Silent, make_station
from hypothesis import given
from hypothesis import strategies as st
from processes import CREDENTIALS, Running, rtms, running, until

from rtms_cli.errors import Problem
from rtms_cli.live import hooks as hooks_module
from rtms_cli.live.hooks import EVENTS, MOST_LOG_NBYTES, Hooks, parse_hook
from rtms_cli.live.programs import child_environment, redacted_command
from rtms_cli.machine import Finish
from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.numbers import Product, StopReason
from rtms_cli.protocol.webhooks import Stream, read_webhook
from rtms_cli.recording.manifest import Manifest, TrackEntry
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator

DOCUMENT = Path(__file__).parents[2] / "docs/hooks.md"
NOTE = """
import json, os, sys
told = {"argv": sys.argv[2:], "environment": dict(os.environ), "stdin": json.load(sys.stdin), "folder": os.getcwd()}
manifest = os.path.join(os.environ["RTMS_FOLDER"], "manifest.json")
if os.path.exists(manifest):
    told["manifest"] = json.load(open(manifest))
with open(sys.argv[1], "x") as file:
    json.dump(told, file)
"""
"""A program that writes down what it was told, and what the manifest says at that time."""
BOUND_S = 30
PRODUCT_ID = "an id"


def note(folder: Path) -> str:
    """The beginning of a command that writes down what it was told; the file's name follows."""
    (folder / "note.py").write_text(NOTE)
    return f"{sys.executable} {folder / 'note.py'}"


def python(program: str, *arguments: object) -> str:
    """A command that runs a Python program."""
    return shlex.join([sys.executable, "-c", program, *map(str, arguments)])


def only(folder: Path) -> Path:
    (recording,) = folder.iterdir()
    return recording


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def stream(stream_id: str = "a stream", id_: str = PRODUCT_ID) -> Stream:
    return Stream(Product.MEETING, id_, stream_id, "wss://example.invalid/")


def manifest(status: str = "complete", **more: Any) -> Manifest:
    return Manifest(
        schema=1, status=status, product="meeting", id=PRODUCT_ID, rtms_stream_id="a stream",
        generator="", process=None,
        started_at="2026-11-27T00:00:00Z", ended_at=None, origin_ms=None, buffered_ms=None, media={}, messages={},
        keep_alive={}, connections=[], connection_count=0, participants=[], stop=None,
        **{"tracks": [], **more},
    )  # fmt: skip


COMPLETE = Finish("complete", 6, "zoom")


class Heard:
    """What hooks told us."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.ended: list[Mapping[str, Any]] = []

    def tell(self, name: str, fields: Mapping[str, Any], text: str) -> None:
        assert name == "hook"
        self.ended.append(fields)
        self.notices.append(text)


@asynccontextmanager
async def hooked(
    *texts: str, jobs: int = 1, timeout_s: float = BOUND_S, grace_s: float = BOUND_S
) -> AsyncIterator[tuple[Hooks, Heard]]:
    """Hooks that a test gives events to; at the end all have run, one after the other if nothing else is said."""
    heard = Heard()
    hooks = Hooks(
        [parse_hook(text) for text in texts],
        jobs,
        timeout_s,
        grace_s=grace_s,
        notice=heard.notices.append,
        tell=heard.tell,
    )
    async with asyncio.timeout(2 * BOUND_S):
        try:
            yield hooks, heard
        finally:
            await hooks.close()


def log_lines(folder: Path) -> list[str]:
    """What `hooks.log` says, without times and process ids."""
    lines = (folder / "hooks.log").read_text().splitlines()
    form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (\w+ [\w.]+)\[\d+\]: (.*)")
    found = [form.fullmatch(line) for line in lines]
    assert None not in found, lines
    return [f"{one[1]}: {one[2]}" for one in found if one is not None]


# Whole commands.


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a demo ran that had hooks; what they were told is in `*.json`."""
    folder = tmp_path_factory.mktemp("demo")
    saying = note(folder)
    done = rtms(
        "demo", "--seconds", "2", "--json",
        "--on", "finished=rtms export {folder} --to mp4,vtt",
        "--on", f"started={saying} started.json x{{folder}} {{stream}}",
        "--on", f"finished={saying} finished.json '{{status}}' {{folder}} {{stream}} '{{other}}' '$HOME' ''",
        "--on", "failed=touch failed", "--on", "interrupted=touch interrupted",
        cwd=folder,
        settings=CREDENTIALS | {"RTMS_NOTIFY_SECRET": "whsec_x", "RTMS_MEDIA": "all", "OTHER_TOKEN": "kept"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "out.jsonl").write_text(done.stdout)
    return folder


def told(demo: Path, event: str) -> dict[str, Any]:
    noted: dict[str, Any] = json.loads((demo / f"{event}.json").read_text())
    return noted


def test_a_finished_recording_is_exported(demo: Path) -> None:
    recording = only(demo / "recordings")
    assert sorted(path.suffix for path in (recording / "export").iterdir()) == [".mp4", ".vtt"]
    said = [line for line in log_lines(recording) if line.startswith("finished rtms: ")]
    assert said[0].endswith(".mp4")
    assert re.fullmatch(r"finished rtms: \(exit code 0 after .* s\)", said[-1])


def test_a_hook_is_told_what_it_runs_for(demo: Path) -> None:
    recording = only(demo / "recordings")
    written = json.loads((recording / "manifest.json").read_text())
    stream_id = written["rtms_stream_id"]
    noted = told(demo, "finished")
    assert noted["argv"] == ["complete", str(recording), stream_id, "{other}", "$HOME", ""]
    assert noted["manifest"] == written  # it is final
    assert told(demo, "started")["argv"] == ["x{folder}", stream_id]
    assert told(demo, "started")["manifest"]["status"] == "recording"
    given = noted["stdin"]
    summary = given.pop("summary")
    assert given == {
        "event": "finished", "product": "meeting", "id": written["id"], "stream_id": stream_id,
        "folder": str(recording), "status": "complete", "reason": 6, "reason_name": "STOP_BC_MEETING_ENDED",
        "said_by": "8 STREAM_STATE_UPDATE on signaling",
    }  # fmt: skip
    assert [track | {"gaps": [], "sizes": []} for track in written["tracks"]] == summary["tracks"]
    for name in ("started_at", "ended_at", "warnings", "losses", "taps"):
        assert summary[name] == written[name]
    assert {one["user_id"] for one in summary["participants"]} == {one["user_id"] for one in written["participants"]}
    assert told(demo, "started")["stdin"] == {
        name: given[name] for name in ("product", "id", "stream_id", "folder")
    } | {"event": "started", "status": "recording"}


def test_a_hook_has_the_environment_but_no_secrets(demo: Path) -> None:
    recording = only(demo / "recordings")
    noted = told(demo, "finished")
    environment, given = noted["environment"], noted["stdin"]
    assert {name: value for name, value in environment.items() if name.startswith("RTMS_")} == {
        "RTMS_EVENT": "finished", "RTMS_PRODUCT": "meeting", "RTMS_ID": given["id"],
        "RTMS_STREAM_ID": given["stream_id"], "RTMS_FOLDER": str(recording), "RTMS_STATUS": "complete",
        "RTMS_MEDIA": "all",
    }  # fmt: skip
    assert (environment["OTHER_TOKEN"], noted["folder"]) == ("kept", str(demo))
    assert not any(secret in json.dumps(noted) for secret in (*CREDENTIALS, *CREDENTIALS.values(), "whsec_x"))


def test_what_became_of_hooks_is_told(demo: Path) -> None:
    recording = only(demo / "recordings")
    events = [json.loads(line) for line in (demo / "out.jsonl").read_text().splitlines()]
    ended = [event for event in events if event["event"] == "hook"]
    assert sorted(event["hook"] for event in ended) == ["finished", "finished", "started"]
    [export] = [event for event in ended if "export" in event["command"]]
    assert export["command"][1:] == ["export", str(recording), "--to", "mp4,vtt"]
    assert (export["exit_code"], export["timed_out"], export["log"]) == (0, False, str(recording / "hooks.log"))
    assert export["seconds"] > 0
    assert not (demo / "failed").exists()
    assert not (demo / "interrupted").exists()


def test_other_commands_have_no_trouble_with_hooks_log(demo: Path) -> None:
    recording = only(demo / "recordings")
    for arguments in (["inspect"], ["inspect", "--lint"], ["export", "--to", "txt,csv"]):
        done = rtms(arguments[0], recording, *arguments[1:], cwd=demo)
        assert done.returncode == 0, done.stdout + done.stderr
    before = (recording / "hooks.log").read_bytes()
    mended = rtms("repair", recording, cwd=demo)
    assert mended.returncode == 0, mended.stderr
    assert "hooks.log" not in mended.stdout
    assert (recording / "hooks.log").read_bytes() == before


def test_hooks_run_where_nothing_is_recorded(tmp_path: Path) -> None:
    saying = note(tmp_path)
    done = rtms(
        "demo", "--seconds", "1", "--json", "--no-record", "--tap", f"audio:file:{tmp_path / 'sound'}",
        "--on", f"finished={saying} finished.json {{folder}}", "--on", "started=echo it began",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    noted = told(tmp_path, "finished")
    assert (noted["argv"], noted["environment"]["RTMS_FOLDER"]) == ([""], "")
    assert (noted["stdin"]["folder"], noted["stdin"]["status"]) == (None, "complete")
    assert "it said: it began" in done.stdout
    assert names(tmp_path) == {"note.py", "finished.json", "sound"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ended=true", "there is no event ended"),
        ("finished", "there is no ="),
        ("finished=", "the command is empty"),
        ("finished=''", "the command is empty"),
        ("finished=no-such-program {folder}", "program not found: no-such-program"),
        ("finished={folder}/x", "program not found: {folder}/x"),
        ("finished=echo 'x", "cannot be split: no closing quotation"),
    ],
)
def test_what_cannot_be_run_is_a_mistake_at_the_start(text: str, complaint: str, tmp_path: Path) -> None:
    done = rtms("demo", "--seconds", "1", "--on", text, cwd=tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr.splitlines()[0]
    assert not (tmp_path / "recordings").exists()


def test_rtms_is_found_though_it_is_not_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program = parse_hook("finished=rtms --version").command.words[:-1]
    assert Path(program[0]).is_relative_to(Path(sys.executable).parent)
    with pytest.raises(Problem, match="program not found: ls"):
        parse_hook("finished=ls")


async def test_a_stream_that_was_refused_has_failed(tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    arguments = ["--payload-out", str(payload), "--seconds", "1", "--json"]
    async with running("simulate", *arguments, cwd=tmp_path, settings=CREDENTIALS) as simulate:
        await until(lambda: payload.exists() and payload.read_text().endswith("\n"))
        wrong = CREDENTIALS | {"ZOOM_CLIENT_SECRET": "another"}
        saying = f"failed={note(tmp_path)} {tmp_path / 'failed.json'} {{status}}"
        done = await asyncio.to_thread(rtms, "join", payload, "--on", saying, cwd=tmp_path, settings=wrong)
        assert done.returncode == 3, done.stdout + done.stderr
        assert (told(tmp_path, "failed")["argv"], told(tmp_path, "failed")["stdin"]["event"]) == (["failed"], "failed")
        simulate.process.kill()


async def test_a_stream_that_was_lost_is_interrupted(tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    arguments = ["--payload-out", str(payload), "--seconds", "600", "--json"]
    saying = ["--on", f"interrupted={note(tmp_path)} {tmp_path / 'interrupted.json'} {{status}}"]
    async with running("simulate", *arguments, cwd=tmp_path, settings=CREDENTIALS) as simulate:
        await until(lambda: payload.exists() and payload.read_text().endswith("\n"))
        async with running("join", payload, "--json", *saying, cwd=tmp_path, settings=CREDENTIALS) as join:
            await recording_begun(join)
            simulate.process.kill()
            await join.line_with('"state":"closed"')
            join.process.send_signal(signal.SIGINT)
            assert await join.exit_code() == 4, join.lines
    noted = told(tmp_path, "interrupted")
    assert (noted["argv"], noted["stdin"]["status"]) == (["interrupted"], "interrupted")
    assert noted["manifest"] == json.loads((only(tmp_path / "recordings") / "manifest.json").read_text())
    assert noted["manifest"]["status"] == "interrupted"


GATE = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
while not os.path.exists(sys.argv[1] + ".go"):
    time.sleep(0.02)
child.kill()
open(sys.argv[1] + ".done", "w").close()
"""
"""A program with a child that runs until a file comes."""


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def recording_begun(demo: Running) -> None:
    await demo.line_with("CLIENT_READY_ACK")


async def test_ctrl_c_waits_for_hooks(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    arguments = ["--seconds", "600", "--json", "--on", f"finished={python(GATE, gate)}"]
    async with asyncio.timeout(2 * BOUND_S), running("demo", *arguments, cwd=tmp_path) as demo:
        await recording_begun(demo)
        demo.process.send_signal(signal.SIGINT)
        finished = await demo.event("finished")
        assert (finished["status"], finished["losses"]) == ("complete", [])
        await demo.line_with("waiting for a hook")
        await until(gate.exists)
        gate.with_suffix(".go").touch()
        assert (await demo.event("hook"))["exit_code"] == 0
        assert await demo.exit_code() == 0
    assert gate.with_suffix(".done").exists()


async def test_a_hook_that_hangs_delays_nothing_and_a_second_ctrl_c_ends_it(tmp_path: Path) -> None:
    gates = [tmp_path / name for name in ("one", "two")]
    on = [text for gate in gates for text in ("--on", f"started={python(GATE, gate)}")]
    arguments = ["--seconds", "2", "--json", *on, "--on", "finished=touch never"]
    async with asyncio.timeout(2 * BOUND_S), running("demo", *arguments, cwd=tmp_path) as demo:
        finished = await demo.event("finished")
        assert (finished["status"], finished["losses"]) == ("complete", [])
        await demo.line_with("waiting for 3 hooks")
        await until(lambda: all(gate.exists() for gate in gates))
        processes = [int(pid) for gate in gates for pid in gate.read_text().split()]
        assert all(map(is_alive, processes))
        assert await demo.interrupt() == 130
        await until(lambda: not any(map(is_alive, processes)))
    assert not (tmp_path / "never").exists()
    assert json.loads((only(tmp_path / "recordings") / "manifest.json").read_text())["status"] == "complete"


# What the environment and files set.


def test_commands_come_from_a_file_and_from_the_environment(tmp_path: Path) -> None:
    def held(settings: dict[str, str]) -> dict[str, object]:
        done = rtms("config", "--json", cwd=tmp_path, settings=settings)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["settings"]
        return {f"{one['command']} {one['option']}": one["value"] for one in found}

    lines = "finished=touch 'a b'\n\nstarted=touch c\n"
    for command in ("listen", "join", "demo"):
        assert held({"RTMS_ON": lines})[f"{command} on"] == ["finished=touch 'a b'", "started=touch c"]
    assert held({"RTMS_ALLOW_HOST": "a.example b.example"})["join allow-host"] == ["a.example", "b.example"]
    # A program that a hook starts does not take what it is told for its settings.
    assert held({"RTMS_STREAM_ID": "x", "RTMS_ID": "x", "RTMS_PRODUCT": "x"}) == {}
    assert held({"RTMS_TRIGGER_ID": "x"}) == {"trigger id": "x"}
    (tmp_path / "rtms.toml").write_text("[demo]\nhook-timeout = 50\non = \"finished=touch 'from a file'\"\n")
    assert held({})["demo on"] == ["finished=touch 'from a file'"]
    assert rtms("demo", "--seconds", "1", cwd=tmp_path).returncode == 0
    assert (tmp_path / "from a file").exists()
    assert rtms("demo", "--seconds", "1", cwd=tmp_path, settings={"RTMS_ON": lines}).returncode == 0
    assert (tmp_path / "a b").exists()
    assert (tmp_path / "c").exists()


# Hooks alone.


@pytest.mark.parametrize(
    ("status", "event"),
    [("complete", "finished"), ("revoked", "finished"), ("interrupted", "interrupted"), ("failed", "failed")],
)
async def test_each_end_has_its_event(status: str, event: str, tmp_path: Path) -> None:
    async with hooked(*(f"{name}=touch {tmp_path / name}" for name in EVENTS)) as (hooks, heard):
        hooks.on_finished(stream(), tmp_path, Finish(status, None, "us"), manifest(status))
    assert [(one["hook"], one["exit_code"]) for one in heard.ended] == [(event, 0)]
    assert names(tmp_path) == {event, "hooks.log"}


HOSTILE = [
    "$(touch x)",
    "`touch x`",
    "; touch x",
    "a\nb",
    "-rf",
    "--",
    "",
    " ",
    "{folder}",
    "\x1b[2J",
    "x" * 5000,
    "é'\"",
]


@pytest.mark.parametrize("text", [*HOSTILE, "\0", "\ud800"])
async def test_what_others_have_chosen_stays_one_argument(text: str, tmp_path: Path) -> None:
    target = tmp_path / "noted.json"
    async with hooked(
        f"started={note(tmp_path)} {target} a {{stream}} {{folder}} z",
    ) as (hooks, heard):
        hooks.on_started(stream(text, text), tmp_path)
    assert heard.ended[0]["exit_code"] == 0, heard.notices
    noted = json.loads(target.read_text())
    shown = text[:4096].replace("\0", "\ufffd").replace("\ud800", "?")
    assert noted["argv"] == ["a", shown, str(tmp_path), "z"]
    assert (noted["environment"]["RTMS_STREAM_ID"], noted["environment"]["RTMS_ID"]) == (shown, shown)
    assert noted["stdin"]["stream_id"] == text.replace("\ud800", "\ufffdd800")
    assert names(tmp_path) == {"note.py", "noted.json", "hooks.log"}


WORDS = st.sampled_from(["{folder}", "{stream}", "{status}", "{x}", "a{folder}", "$(x)", "a b", ""])


@given(st.text(), st.text(), st.lists(WORDS))
def test_a_command_has_as_many_arguments_as_were_given(folder: str, stream_id: str, words: list[str]) -> None:
    hook = parse_hook(f"finished=true {shlex.join(words)}")
    values = {"{folder}": folder, "{stream}": stream_id, "{status}": "complete"}
    filled = hook.filled(values)
    assert len(filled) == 1 + len(words)
    for word, put in zip(words, filled[1:], strict=True):
        assert "\0" not in put
        os.fsencode(put)
        if word not in values:
            assert put == word


async def test_a_hook_that_reads_nothing_or_closes_everything_is_waited_for_and_no_more(tmp_path: Path) -> None:
    tracks = [TrackEntry("audio", f"audio/{number}.wav", packets=number) for number in range(5000)]
    closing = "import os, sys; [os.close(n) for n in (0, 1, 2)]; os.mkdir(sys.argv[1])"
    gate = tmp_path / "gate"
    leaving = shlex.join(["sh", "-c", f"while ! test -e {gate}; do sleep 0.1; done & echo left"])
    counting = "import json, sys; told = json.load(sys.stdin)['summary']; print(len(told['tracks']), told['left_out'])"
    texts = ["true", python(closing, tmp_path / "made"), leaving, python(counting)]
    async with hooked(*(f"finished={text}" for text in texts)) as (hooks, heard):
        hooks.on_finished(stream(), tmp_path, COMPLETE, manifest(tracks=tracks))
    gate.touch()
    assert [(one["exit_code"], one["timed_out"]) for one in heard.ended] == [(0, False)] * len(texts), heard.notices
    assert (tmp_path / "made").is_dir()
    assert [line.partition(": ")[2] for line in log_lines(tmp_path) if "exit code" not in line] == ["left", "1000 4000"]


IGNORES = shlex.join(["sh", "-c", "trap '' TERM; sleep 600 & echo $!; wait"])
CLEANS_UP = "trap 'sleep 0.3; echo cleaned up; exit 0' TERM; echo ready; while :; do sleep 0.1; done"


async def test_a_hook_that_takes_too_long_is_ended_with_its_process_group(tmp_path: Path) -> None:
    async with hooked(f"finished={IGNORES}", timeout_s=3, grace_s=0.5) as (hooks, heard):
        hooks.on_finished(stream(), tmp_path, COMPLETE, manifest())
    [ended] = heard.ended
    assert (ended["timed_out"], ended["exit_code"]) == (True, -signal.SIGKILL)
    assert f" s; see {tmp_path / 'hooks.log'}" in heard.notices[-1]
    assert "took too long and was stopped" in log_lines(tmp_path)[-1]
    child = int(log_lines(tmp_path)[0].partition(": ")[2])
    await until(lambda: not is_alive(child))


@pytest.mark.parametrize(("program", "exit_code"), [(CLEANS_UP, 0), (f"({CLEANS_UP}) & wait", -signal.SIGTERM)])
async def test_a_hook_that_takes_too_long_may_clean_up(program: str, exit_code: int, tmp_path: Path) -> None:
    """Itself, and what it has started, also where it does not wait for that."""
    async with hooked(f"finished={shlex.join(['sh', '-c', program])}", timeout_s=3) as (hooks, heard):
        hooks.on_finished(stream(), tmp_path, COMPLETE, manifest())
    assert (heard.ended[0]["timed_out"], heard.ended[0]["exit_code"]) == (True, exit_code)
    assert "cleaned up" in log_lines(tmp_path)[-2]
    assert "took too long" in heard.notices[-1]


@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("import sys; sys.exit(3)", "exit code 3 after"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL after"),
    ],
)
async def test_a_hook_that_fails_is_told_of(program: str, how: str, tmp_path: Path) -> None:
    async with hooked(f"finished={python(program)}") as (hooks, heard):
        hooks.on_finished(stream(), tmp_path, COMPLETE, manifest())
    name = Path(sys.executable).name
    assert heard.notices[-1].startswith(f"WARNING: hook finished {name}: {how}")
    assert heard.notices[-1].endswith(f"see {tmp_path / 'hooks.log'}")


async def test_a_program_that_has_gone_is_told_of(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    async with hooked(f"finished={program}") as (hooks, heard):
        await asyncio.to_thread(program.unlink)
        hooks.on_finished(stream(), tmp_path, COMPLETE, manifest())
    assert (heard.ended[0]["exit_code"], heard.ended[0]["timed_out"]) == (None, False)
    assert "could not be started: No such file" in heard.notices[-1]


async def test_what_a_hook_floods_is_cut_and_counted(tmp_path: Path) -> None:
    flood = "import os\nfor _ in range(64): os.write(1, b'0123456789abcde\\n' * 4096)"
    lines = 64 * 4096
    async with hooked(f"finished={python(flood)}") as (hooks, heard):
        hooks.on_finished(stream(), tmp_path, COMPLETE, manifest())
    assert heard.ended[0]["exit_code"] == 0
    assert MOST_LOG_NBYTES // 2 < (tmp_path / "hooks.log").stat().st_size < MOST_LOG_NBYTES + 1000
    *kept, cut, end = log_lines(tmp_path)
    assert cut.endswith(f"(some {16 * (lines - len(kept)):,} more bytes were left out)")
    assert "exit code 0" in end


async def test_what_a_hook_says_is_harmless_where_it_is_shown(tmp_path: Path) -> None:
    says = r"import os; os.write(1, b'\x1b[2Jred\r50%\r100%\n\ta \xff \xc2\x9b \xe2\x80\xae\n\n' + b'x' * 20000)"
    async with hooked(f"finished={python(says)}") as (hooks, _):
        hooks.on_finished(stream(), tmp_path, COMPLETE, manifest())
    said = [line.partition(": ")[2] for line in log_lines(tmp_path)[:-1]]
    assert said[:4] == ["\\x1b[2Jred", "50%", "100%", "\ta \\xff \\x9b \\u202e"]
    assert "".join(said[4:]) == "x" * 20000


async def test_without_a_recording_the_output_is_a_notice(tmp_path: Path) -> None:
    says = python("for number in range(9): print(str(number) * 300)")
    async with hooked(f"started={says}") as (hooks, heard):
        hooks.on_started(stream(), None)
    assert heard.ended[0]["folder"] is None
    assert "; it said: " + "8" * 200 in heard.notices[-1]
    assert "5" not in heard.notices[-1].partition("it said")[2]


async def test_a_hook_runs_where_the_folder_is_gone_and_does_not_bring_it_back(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    async with hooked("finished=sh -c 'echo said; rm -r \"$1\" && echo more' - {folder}", jobs=1) as (hooks, heard):
        hooks.on_finished(stream(), gone, COMPLETE, manifest())
        (tmp_path / "deleted").mkdir()
        hooks.on_finished(stream(), tmp_path / "deleted", COMPLETE, manifest())
    assert [one["log"] is None for one in heard.ended] == [True, False]
    assert names(tmp_path) == set()
    assert "it said: said" in "".join(heard.notices)


async def test_nothing_is_kept_of_hooks_for_a_revoked_recording(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(manifest("revoked").encode())
    async with hooked("finished=echo secret {status}") as (hooks, heard):
        hooks.on_finished(stream(), tmp_path, Finish("revoked", 8, "zoom"), manifest("revoked"))
    assert names(tmp_path) == {"manifest.json"}
    assert heard.ended[0]["exit_code"] == 0
    assert "it said: secret revoked" in heard.notices[-1]


async def test_hooks_log_is_deleted_with_what_is_revoked_while_it_runs(tmp_path: Path) -> None:
    app, writer, observer = App("client", "secret", "token"), Writer(), Silent()
    station = make_station(
        tmp_path / "out",
        writer,
        MediaRequest(parse_media("audio")),
        trusted=True,
        observer=observer,
        sign=app.sign_stream,
    )
    gate = tmp_path / "gate"
    talking = python("import os, sys, time\nprint('begun', flush=True)\nwhile not os.path.exists(sys.argv[1]): "
                     "time.sleep(0.02)\nprint('more')", gate)  # fmt: skip
    async with hooked(f"started={talking}") as (hooks, heard), Simulator(app) as simulator:
        station.subscribe(hooks)
        announced = simulator.announce(Product.MEETING, Scenario(600))
        body = announced.webhook("started")
        station.take(body, read_webhook(body))
        await until(lambda: list((tmp_path / "out").glob("*/hooks.log")))
        folder = only(tmp_path / "out")
        await until((folder / "hooks.log").read_bytes)
        body = announced.webhook("stopped", StopReason.STOP_BC_STREAM_REVOKED)
        station.take(body, read_webhook(body))
        await until(lambda: observer.finished)
        gate.touch()
        simulator.end()
        await station.idle()
    await writer.close()
    assert observer.finished[0].status == "revoked"
    assert [one["exit_code"] for one in heard.ended] == [0]
    assert names(folder) == {"manifest.json"}
    assert Manifest.read(folder).status == "revoked"


COUNTED = """
import os, sys, time
folder, mine = sys.argv[1:]
open(f"{folder}/now/{mine}", "x").close()
time.sleep(0.1)
with open(f"{folder}/seen", "a") as file:
    file.write(f"{mine} {len(os.listdir(folder + '/now'))}\\n")
os.unlink(f"{folder}/now/{mine}")
"""


@pytest.mark.parametrize("jobs", [1, 3])
async def test_so_many_run_at_once_and_the_others_wait_in_order(jobs: int, tmp_path: Path) -> None:
    (tmp_path / "now").mkdir()
    command = f"started={python(COUNTED, tmp_path)} {{stream}}"
    async with hooked(command, jobs=jobs) as (hooks, heard):
        for number in range(3 * jobs):
            hooks.on_started(stream(str(number)), tmp_path)
    seen = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
    assert len(seen) == 3 * jobs
    assert max(int(count) for _, count in seen) <= jobs
    if jobs == 1:
        assert [number for number, _ in seen] == ["0", "1", "2"]
    assert "waiting for" in heard.notices[0]


async def test_more_than_can_wait_are_not_run_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks_module, "MOST_WAITING", 3)
    async with hooked("started=true", jobs=1) as (hooks, heard):
        for number in range(50):
            hooks.on_started(stream(str(number)), tmp_path)
    assert len(heard.ended) == 4
    left_out = [text for text in heard.notices if "is not run" in text]
    [more] = [text for text in heard.notices if "more hooks that are not run" in text]
    assert len(left_out) + int(more.split()[0]) == 46


async def test_a_full_disk_stops_the_log_and_not_the_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    async with hooked(f"finished=sh -c 'echo x; echo y; touch \"$1\"' - {tmp_path / 'done'}") as (hooks, heard):
        monkeypatch.setattr(hooks_module, "write_all", fail)
        hooks.on_finished(stream(), tmp_path, COMPLETE, manifest())
    assert (heard.ended[0]["exit_code"], heard.ended[0]["log"]) == (0, None)
    assert (tmp_path / "done").exists()


def test_what_looks_like_a_secret_is_not_shown() -> None:
    shown = redacted_command([
        "curl", "-u", "me:pass1", "--token", "pass2", "--password=pass3", "-H", "Authorization: Bearer pass4",
        "https://me:pass5@example.com/?token=pass6&x=1", "ACCESS_TOKEN=pass7", "-u", "plain",
    ])  # fmt: skip
    assert "pass" not in " ".join(shown).replace("--password", "")
    assert shown[-1] == "plain"
    assert shown[7].startswith("Authorization: ")


def test_a_child_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = (
        *("ZOOM_CLIENT_SECRET", "ZM_RTMS_SECRET", "RTMS_NOTIFY_SECRET", "RTMS_TAP_TOKEN"),
        *("RTMS_QUEUE", "RTMS_WORK_QUEUE", "RTMS_QUEUE_PASSWORD"),
    )
    for name in (*hidden, "RTMS_OUT", "MY_TOKEN"):
        monkeypatch.setenv(name, "x")
    kept = child_environment({"RTMS_ID": "a\0b"})
    assert not kept.keys() & set(hidden)
    assert (kept["RTMS_OUT"], kept["MY_TOKEN"], kept["RTMS_ID"]) == ("x", "x", "a\ufffdb")


# What the document says.


def block(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)


def test_the_examples_of_the_document_run(tmp_path: Path) -> None:
    commands = [shlex.split(text) for text in block("sh")]
    assert len(commands) == 3
    assert all(command[:2] == ["rtms", "listen"] for command in commands)
    [program] = block("python")
    (tmp_path / "note.py").write_text(program)
    (tmp_path / "python3").symlink_to(sys.executable)
    options = [word for command in commands for word in command[2:]]
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = rtms("demo", "--seconds", "2", "--json", *options, cwd=tmp_path, settings=path)
    assert done.returncode == 0, done.stderr
    ended = [event for line in done.stdout.splitlines() if (event := json.loads(line))["event"] == "hook"]
    assert [one["exit_code"] for one in ended] == [0] * options.count("--on"), done.stdout
    recording = only(tmp_path / "recordings")
    assert len(list((recording / "export").iterdir())) == 2
    assert str(recording) in (tmp_path / "sizes.txt").read_text()
    assert f"{recording} audio audio/mixed.wav" in (tmp_path / "recordings.txt").read_text().splitlines()


def test_the_document_names_what_there_is(demo: Path) -> None:
    text = DOCUMENT.read_text()
    listed = [codes for line in text.splitlines() if (codes := re.findall(r"`([^`]+)`", line.partition(" | ")[0]))]
    fields = {code for codes in listed for code in codes}
    assert told(demo, "finished")["stdin"].keys() <= fields
    events = [json.loads(line) for line in (demo / "out.jsonl").read_text().splitlines()]
    [*_, ended] = [event for event in events if event["event"] == "hook"]
    assert ended.keys() <= fields
    assert {name for name in told(demo, "finished")["environment"] if name.startswith("RTMS_")} - {
        "RTMS_MEDIA"
    } <= fields
    assert set(EVENTS) <= fields
    for product in Product:
        assert f"`{product.value}`" in text
    [settings] = block("toml")
    assert tomllib.loads(settings)["on"][0] == "finished=rtms export {folder} --to mp4,vtt"
