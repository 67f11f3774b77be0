"""`rtms ls`, `show`, `search`, `play`, `name` and `rm` as people use them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from catalog.shelf import manifest, put
from catalog.test_search import say
from processes import RTMS, environment, rtms
from s3_server import S3Server
from terminals import Terminal

from rtms_cli.recording.manifest import Loss, TrackEntry
from rtms_cli.recording.ownership import FolderLock

OLD, NEW = "20261127T090000Z_meeting_aaa", "20261128T090000Z_meeting_bbb"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with two recordings in `recordings`, one of them with sound."""
    old = put(tmp_path / "recordings", OLD, started_at="2026-11-27T09:00:00Z", rtms_stream_id="aaa", id="one")
    new = put(tmp_path / "recordings", NEW, rtms_stream_id="bbb", id="two", losses=[Loss("was not written", "x")])
    say(old, (1.0, "Kim", "The invoice is late."), (2.0, "Ada", "Which one?"))
    say(new, (5.0, "Ada", "An invoice came."))
    (new / "audio").mkdir()
    soundfile.write(new / "audio" / "mixed.wav", np.zeros(16_000 * 20, np.int16), 16_000)
    return tmp_path


def test_ls_in_a_pipe_has_a_line_a_recording(place: Path) -> None:
    done = rtms("ls", cwd=place)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows] == [[NEW, "complete"], [OLD, "complete"]]
    assert rows[0][2:4] == ["2026-11-28T09:00:00Z", "0:00:20"]
    assert rows[0][5:] == ["1", "meeting", "two"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--since", "2026-11-28"], [NEW]),
        (["--since", "99999d"], [NEW, OLD]),
        (["--status", "interrupted"], []),
        (["--status", "failed", "--status", "complete"], [NEW, OLD]),
        (["--limit", "1"], [NEW]),
    ],
)
def test_ls_can_be_narrowed(place: Path, options: list[str], names: list[str]) -> None:
    done = rtms("ls", "--json", *options, cwd=place)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == names


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ls", "--since", "tomorrow"], "--since tomorrow is not a time"),
        (["ls", "--status", "dead"], "--status dead is not a status"),
        (["ls", "nowhere"], "There is no folder nowhere"),
        (["ls", f"recordings/{NEW}"], "is a recording itself"),
        (["show", "nosuch"], "There is no recording nosuch"),
        (["show", "2026112"], "is the beginning of 2 recordings"),
        (["show", f"recordings/{NEW}/capture.jsonl"], "is not a recording's folder"),
        (["show", "."], "is not a finished recording"),
        (["show", ""], "The name of a recording is empty"),
        (["rm", "--yes", ""], "The name of a recording is empty"),
        (["inspect", "-"], "Standard input is empty"),
        (["repair", "-"], "A recording on standard input cannot be repaired"),
        (["search", "?!"], "There is no word"),
        (["search", "x", "--in", "nowhere"], "There is no folder nowhere"),
        (["name", "latest", "x" * 300], "has 300 letters"),
        (["rm", "latest"], "Nobody can be asked"),
        (["rm", "--yes", "recordings"], "is not a recording's folder"),
        (["play", "--at", "soon"], "--at soon is not a time"),
        (["play", "--at", "1:00:00"], "past the end"),
    ],
)
def test_mistakes_are_told_in_one_line(place: Path, arguments: list[str], told: str) -> None:
    done = rtms(*arguments, cwd=place)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert (place / "recordings" / NEW / "manifest.json").exists()


def test_a_title_is_shown_everywhere(place: Path) -> None:
    assert rtms("name", NEW[:10], "Weekly [red]sync[/red]", cwd=place).returncode == 0
    assert "Weekly [red]sync[/red]" in rtms("ls", cwd=place).stdout
    assert "Weekly [red]sync[/red]" in rtms("inspect", "weekly", cwd=place).stdout
    assert rtms("inspect", "weekly", "--html", "page.html", cwd=place).returncode == 0
    assert "<title>Weekly [red]sync[/red]</title>" in (place / "page.html").read_text()
    shown = rtms("show", "weekly", cwd=place).stdout
    assert shown.splitlines()[:2] == ["20 s, 3 people, 1 loss", "title: Weekly [red]sync[/red]"]
    assert rtms("search", "weekly", cwd=place).stdout.split("\t")[2:] == ["title", "", "Weekly [red]sync[/red]\n"]


@pytest.mark.parametrize("title", ["👩\u200d👩\u200d👧 at home", "نمی\u200cخواهم", "שלום"])
def test_a_title_is_in_any_script(place: Path, title: str) -> None:
    done = rtms("name", NEW, title, cwd=place)
    assert done.returncode == 0, done.stderr
    assert f"title: {title}\n" in rtms("show", NEW, cwd=place).stdout


@pytest.mark.parametrize("command", [["show"], ["inspect"], ["play", "--at", "1:00:00"]])
def test_a_folder_of_recordings_is_the_newest_in_it(place: Path, command: list[str]) -> None:
    done = rtms(command[0], "recordings/", *command[1:], cwd=place)
    said = done.stdout + done.stderr
    assert NEW in said
    assert OLD not in said


@pytest.mark.parametrize("command", [["inspect", "-"], ["inspect", "-", "--lint"], ["export", "-", "--to", "md"]])
def test_standard_input_is_called_so(place: Path, command: list[str]) -> None:
    """The temporary file that it is kept in is nothing that people know."""
    for content in (b"no capture", b'{"rtms_capture": 1}\n'):
        done = subprocess.run([*RTMS, *command], input=content, capture_output=True, cwd=place, env=environment({}))
        said = (done.stdout + done.stderr).decode()
        assert "tandard input" in said
        assert "standard-input.jsonl" not in said


def test_ls_in_a_narrow_terminal_has_names_that_can_be_typed(place: Path) -> None:
    terminal = Terminal([*RTMS, "ls"], place, 40, 20)
    terminal.shows(
        "recording", "20261128T090000Z", "20261127T090000Z", "complete, 1 lost", "Next: rtms show 20261128T090000Z"
    )
    assert terminal.end() == 0
    assert "…" not in terminal.text


def test_prune_fits_a_terminal(place: Path) -> None:
    terminal = Terminal([*RTMS, "prune", "--older-than", "0s", "--dry-run"], place, 80, 24)
    terminal.shows("20261128T090000Z  complete  2026-11-28", "20261127T090000Z  complete", "Next: rtms prune")
    terminal.end()
    assert len(terminal.text.split("\n\n")[0].strip().splitlines()) == 4, terminal.text


def test_next_commands_find_what_is_in_another_folder(place: Path) -> None:
    (place / "recordings").rename(place / "elsewhere")
    for words, suggested in (
        (["ls", "elsewhere"], f"rtms show elsewhere/{NEW}"),
        (["search", "invoice", "--in", "elsewhere"], f"rtms play elsewhere/{NEW} --at"),
    ):
        terminal = Terminal([*RTMS, *words], place, 120, 24)
        terminal.shows(suggested, *(["rtms search WORDS --in elsewhere"] if words[0] == "ls" else []))
        assert terminal.end() == 0


def test_search_says_where(place: Path) -> None:
    done = rtms("search", "invoice", cwd=place)
    assert [line.split("\t")[:4] for line in done.stdout.splitlines()] == [
        [NEW, "0:00:05", "transcript", "Ada"],
        [OLD, "0:00:01", "transcript", "Kim"],
    ]
    assert rtms("search", "invoice", "--user", "kim", "--json", cwd=place).stdout.count("\n") == 1
    assert rtms("search", "nothing", cwd=place).returncode == 1
    nobody = rtms("search", "invoice", "--user", "Nobody", cwd=place)
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr.startswith(
        "error: --user Nobody: nobody of that name said or wrote anything.\n  There are Ada,"
    )
    (place / "recordings" / NEW / "page.html").touch()
    (hit, _) = [json.loads(line) for line in rtms("search", "invoice", "--json", cwd=place).stdout.splitlines()]
    assert hit["link"] == (place / "recordings" / NEW / "page.html").as_uri() + "#t=5.0"


def test_rm_deletes_what_is_named_and_nothing_that_runs(place: Path) -> None:
    lock = FolderLock(place / "recordings" / OLD)
    lock.acquire()
    assert rtms("rm", "--yes", NEW, OLD, cwd=place).returncode == 2
    assert (place / "recordings" / NEW).exists(), "one that cannot be deleted is told before anything is"
    lock.release()
    done = rtms("rm", "--yes", "bbb", cwd=place)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (place / "recordings").iterdir()] == [OLD]


def test_rm_asks_on_a_terminal(place: Path) -> None:
    for answer, is_left in (("n", True), ("y", False)):
        terminal = Terminal([*RTMS, "rm", "latest"], place, 80, 24)
        terminal.shows("two, 0:00:20", "Delete this recording? [y/N]")
        terminal.type(f"{answer}\n")
        terminal.end()
        assert (place / "recordings" / NEW).exists() is is_left
        terminal.close()


def script(folder: Path, name: str, exit_code: int = 0) -> Path:
    """A program that writes down what it was called with."""
    path = folder / name
    path.write_text(
        f"#!{sys.executable}\nimport json, sys\njson.dump(sys.argv, open({str(folder / 'called')!r}, 'w'))\n"
        f"sys.exit({exit_code})\n"
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("player", "option"), [("mpv", "--start=12.500"), ("ffplay", "12.500")])
def test_play_hands_the_sound_to_a_player(place: Path, player: str, option: str) -> None:
    script(place, player)
    done = rtms("play", "--with", player, "--at", "0:12.5", cwd=place, settings={"PATH": str(place)})
    assert done.returncode == 0, done.stderr
    called = json.loads((place / "called").read_text())
    assert option in called
    assert called[-1] == str(place / "recordings" / NEW / "audio" / "mixed.wav")


def test_play_mixes_what_has_several_tracks(place: Path) -> None:
    folder = place / "recordings" / NEW
    tracks = [
        TrackEntry("audio", f"audio/{one}.wav", one, packets=1, duration=20.0, offset=0.0, rate=16_000, channels=1)
        for one in (1, 2)
    ]
    for track in tracks:
        soundfile.write(folder / track.path, np.zeros(16_000 * 20, np.int16), 16_000)
    (folder / "manifest.json").write_bytes(manifest(tracks=tracks).encode())
    script(place, "mpv")
    assert rtms("play", NEW, cwd=place, settings={"PATH": str(place)}).returncode == 0
    assert json.loads((place / "called").read_text())[-1].endswith("/mixed.wav")


def test_a_player_that_fails_is_told(place: Path) -> None:
    script(place, "mpv", 2)
    done = rtms("play", cwd=place, settings={"PATH": str(place)})
    assert done.returncode == 2
    assert "mpv ended with exit code 2" in done.stderr
    done = rtms("play", "--with", "ffplay", cwd=place, settings={"PATH": str(place)})
    assert "ffplay is not installed" in done.stderr


def test_play_opens_the_page_where_there_is_no_player(place: Path) -> None:
    browser = script(place, "browser")
    done = rtms("play", "--at", "5", cwd=place, settings={"PATH": str(place), "BROWSER": f"{browser} %s"})
    assert done.returncode == 0, done.stderr
    page = place / "recordings" / NEW / "page.html"
    assert json.loads((place / "called").read_text())[1:] == [page.as_uri() + "#t=5"]
    assert page.read_text().startswith("<!doctype html>")
    before = page.stat().st_mtime_ns
    assert rtms("play", "--with", "browser", cwd=place, settings={"PATH": "", "BROWSER": "nosuch"}).returncode == 0
    assert page.stat().st_mtime_ns == before, "a page that is as new as the recording is kept"
    done = rtms("play", "--with", "browser", cwd=place, settings={"PATH": "", "BROWSER": "nosuch"})
    assert done.stdout.splitlines()[-2:] == ["No browser could be started. Open this page yourself:", page.as_uri()]


def test_recordings_in_a_store_are_listed_shown_named_and_deleted(place: Path) -> None:
    body = json.loads(manifest(rtms_stream_id="ccc").encode()) | {"store": {"epoch": 1}}
    with S3Server() as server:
        server.put("rec/20261128T100000Z_x/manifest.json", json.dumps(body).encode())
        settings, url = server.settings, f"{server.url}/rec"
        listed = rtms("ls", url, cwd=place, settings=settings)
        assert listed.stdout.split("\t")[:2] == ["20261128T100000Z_x", "complete"], listed.stderr
        assert rtms("name", f"{url}/20261128T100000Z_x", "Sync", cwd=place, settings=settings).returncode == 0
        shown = rtms("show", "sync", cwd=place, settings=settings | {"RTMS_OUT": url})
        assert "title: Sync" in shown.stdout, shown.stderr
        assert rtms("rm", "--yes", f"{url}/20261128T100000Z_x", cwd=place, settings=settings).returncode == 0
        assert rtms("ls", url, cwd=place, settings=settings).stdout == ""


def test_a_player_gets_nothing_but_sound_of_the_recording(place: Path) -> None:
    """A manifest may come from a stranger, and a player opens playlists and URLs."""
    folder = place / "recordings" / NEW
    (place / "other.wav").write_bytes((folder / "audio" / "mixed.wav").read_bytes())
    (folder / "list.m3u").write_text("https://example.org/")
    (folder / "audio" / "link.wav").symlink_to(place / "other.wav")
    script(place, "mpv")
    for path in ("../../other.wav", str(place / "other.wav"), "list.m3u", "audio/link.wav", "audio/gone.wav"):
        track = TrackEntry("audio", path, 0, packets=1, duration=20.0, offset=0.0)
        (folder / "manifest.json").write_bytes(manifest(tracks=[track]).encode())
        done = rtms("play", "--with", "mpv", cwd=place, settings={"PATH": str(place)})
        assert done.returncode == 2, path
        assert "Traceback" not in done.stderr
        assert not (place / "called").exists(), path


def test_a_page_that_is_a_link_is_not_opened(place: Path) -> None:
    browser = script(place, "browser")
    (place / "else.html").write_text("<p>something else</p>")
    (place / "recordings" / NEW / "page.html").symlink_to(place / "else.html")
    done = rtms("play", "--with", "browser", cwd=place, settings={"PATH": str(place), "BROWSER": f"{browser} %s"})
    assert done.returncode == 2, done.stdout
    assert "symbolic link" in done.stderr
    assert not (place / "called").exists()


def test_rm_deletes_what_is_named_twice_once(place: Path) -> None:
    done = rtms("rm", "--yes", "latest", f"recordings/{NEW}/", f"./recordings/{NEW}", cwd=place)
    assert (done.returncode, done.stdout.count("deleted")) == (0, 1), done.stderr
    assert not (place / "recordings" / NEW).exists()
    assert (place / "recordings" / OLD).exists()
