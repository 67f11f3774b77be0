"""The log for machines: what each line has, what cannot get into it, and that nobody waits for its disk."""

import json
import logging
import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from processes import CREDENTIALS, rtms, running, until

from rtms_cli.errors import Problem
from rtms_cli.machine import Finish
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.station.log_context import About, about, of_worker
from rtms_cli.view import logs
from rtms_cli.view.logs import Log, LogLines, RotatingFile, secrets_in

FIELDS = {"time", "level", "event", "stream", "meeting", "worker", "epoch", "logger", "message"}
SECRET = "a-secret-that-nobody-may-read-0123456789"


def now() -> datetime:
    return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def log_in(folder: Path, *, as_json: bool = True, most_nbytes: int = 1 << 20, keep: int = 3) -> LogLines:
    file = RotatingFile(folder / "rtms.log", most_nbytes, keep)
    return LogLines(Log(file, now, as_json=as_json, secrets=[SECRET, None]))


def test_every_line_has_every_field(tmp_path: Path) -> None:
    a_stream = Stream(Product.MEETING, "a meeting", "stream1", "ws://s")
    log = log_in(tmp_path)
    log.on_notice("WARNING: the disk is short")
    log.on_event("fleet", {"stream_id": a_stream.stream_id, "epoch": 2, "worker": "w-1"}, "taken over")
    log.on_started(a_stream, tmp_path)
    with of_worker("w-2"):
        about.set(About("s", "m", 3))
        logging.getLogger("rtms_cli.somewhere").info("a record")
        about.set(About())
    log.on_finished(a_stream, tmp_path, Finish("failed", None, "the server"), None)
    log.close()
    written = lines(tmp_path / "rtms.log")
    assert all(set(line) == FIELDS for line in written)
    assert [line["event"] for line in written] == ["notice", "fleet", "started", "log", "finished"]
    assert [line["level"] for line in written] == ["warning", "info", "info", "info", "error"]
    assert [line["epoch"] for line in written] == ["", 2, 2, 3, 2]
    assert [line["worker"] for line in written] == ["", "w-1", "", "w-2", ""]
    assert written[0]["message"] == "the disk is short"
    assert written[2]["meeting"] == written[4]["meeting"] == a_stream.id
    assert (written[3]["stream"], written[3]["meeting"], written[3]["logger"]) == ("s", "m", "rtms_cli.somewhere")


HOSTILE = 'x\n{"level":"error"}\r\x1b[2J\u2028\u202e[red]\x00\x9b31m\ud800'


@pytest.mark.parametrize("as_json", [True, False])
def test_nothing_begins_a_line_of_its_own(tmp_path: Path, *, as_json: bool) -> None:
    log = log_in(tmp_path, as_json=as_json)
    log.on_notice(HOSTILE)
    log.on_event("tap", {"stream_id": HOSTILE}, HOSTILE)
    log.close()
    written = (tmp_path / "rtms.log").read_bytes()
    assert written.count(b"\n") == 2
    assert written.endswith(b"\n")
    assert not any(byte < 0x20 and byte != 0x0A for byte in written)
    assert not {0x202E, 0x2028, 0x9B} & set(map(ord, written.decode()))


def test_secrets_are_hidden(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.on_notice(f"a token {SECRET} was sent")
    log.on_notice("redis://user:password@queue/0 and wss://x/?token=abcdef")
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("rtms_cli.x").exception("a defect")
    log.close()
    written = (tmp_path / "rtms.log").read_text()
    assert SECRET not in written
    assert "password" not in written
    assert "abcdef" not in written
    assert "ValueError" in written


def test_variables_that_are_secret() -> None:
    environment = {"ZOOM_CLIENT_SECRET": "a", "RTMS_QUEUE_PASSWORD": "b", "AWS_SECRET_ACCESS_KEY": "c", "HOME": "d"}
    assert secrets_in(environment) == ["a", "b", "c"]


def test_a_full_file_is_rotated(tmp_path: Path) -> None:
    log = log_in(tmp_path, most_nbytes=2000, keep=2)
    for number in range(100):
        log.on_notice(f"notice {number}")
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["rtms.log", "rtms.log.1", "rtms.log.2"]
    assert all((tmp_path / name).stat().st_size <= 2000 for name in files)
    in_order = [line["message"] for name in reversed(files) for line in lines(tmp_path / name)]
    assert in_order == [f"notice {number}" for number in range(100 - len(in_order), 100)]


def test_nobody_waits_for_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_WAITING", 10)
    may_write, file = threading.Event(), RotatingFile(tmp_path / "rtms.log", 1 << 20, 1)
    write = file.write

    def hang(text: str) -> None:
        may_write.wait()
        write(text)

    monkeypatch.setattr(file, "write", hang)
    log = LogLines(Log(file, now, as_json=True))
    for number in range(100):
        log.on_notice(f"notice {number}")  # returns, or the test hangs
    may_write.set()
    log.close()
    assert "lines of this log were dropped" in (tmp_path / "rtms.log").read_text()


def test_a_file_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="Cannot write"):
        RotatingFile(tmp_path / "no" / "rtms.log", 1, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--log-format", "xml"], "Use json or text"),
        (["--log-format", "json", "--json"], "Give --log-file FILE too"),
        (["--log-rotate", "0:5"], "Use MiB and a number of files"),
        (["--log-file", "no/such/folder"], "Choose another file with --log-file"),
    ],
)
def test_options_that_cannot_be_done(tmp_path: Path, options: list[str], said: str) -> None:
    ended = rtms("listen", "--port", "0", *options, cwd=tmp_path, settings=CREDENTIALS)
    assert ended.returncode == 2
    assert said in ended.stderr


async def test_a_process_logs_its_streams_and_opens_a_moved_file_again(tmp_path: Path) -> None:
    log, moved = tmp_path / "rtms.log", tmp_path / "moved.log"
    options = ["--port", "0", "--json", "--log-format", "json", "--log-file", str(log)]
    async with running("listen", *options, cwd=tmp_path, settings=CREDENTIALS) as listen:
        url = json.loads(await listen.line_with("listening on"))["text"].split("listening on ")[1]
        simulating = ["--webhook", url, "--seconds", "1", "--json"]
        async with running("simulate", *simulating, cwd=tmp_path, settings=CREDENTIALS) as simulate:
            await listen.line_with('"event":"finished"')
            await simulate.exit_code()
        await until(lambda: "finished" in log.read_text())
        log.rename(moved)
        os.kill(listen.process.pid, signal.SIGUSR1)
        await until(log.exists)
        listen.process.terminate()
        assert await listen.exit_code() == 0
    written = lines(moved) + lines(log)
    assert all(set(line) == FIELDS for line in written)
    started, finished = (next(line for line in written if line["event"] == name) for name in ("started", "finished"))
    assert started["stream"] == finished["stream"] != ""
    assert started["meeting"] != ""


async def test_a_log_takes_the_place_of_what_is_shown(tmp_path: Path) -> None:
    async with running("listen", "--port", "0", "--log-format", "json", cwd=tmp_path, settings=CREDENTIALS) as listen:
        told = json.loads(await listen.line_with("listening on"))
        assert set(told) == FIELDS
        listen.process.terminate()
        assert await listen.exit_code() == 0
    assert all(set(json.loads(line)) == FIELDS for line in listen.lines)
