"""The outbox: what is in it survives, in order, whatever becomes of processes and files."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtms_cli.errors import Problem
from rtms_cli.live import outbox as module
from rtms_cli.live.outbox import FILE, KEPT_S, Batch, BrokenOutboxError, Message, Outbox

NOW = 1_795_000_000.0


def message(number: int, receiver: str = "r", stream: str = "s", *, kept: bool = False, at: float = NOW) -> Message:
    return Message(receiver, stream, f"msg_{number}", at, b'{"number":%d}' % number, kept)


def opened(folder: Path | None) -> Outbox:
    outbox = Outbox(folder)
    assert outbox.open() is None
    return outbox


def put(outbox: Outbox, *messages: Message) -> list[bool]:
    return outbox.commit(lambda: [outbox.add(one) for one in messages])


def ids(outbox: Outbox, receiver: str = "r", stream: str = "s", after: int = 0) -> list[str]:
    found, _ = outbox.commit(lambda: outbox.heads(receiver, stream, after, 1000, 1 << 30))
    return [one.id for one in found]


def take_over(outbox: Outbox, *receivers: str, now: float = NOW) -> int:
    return outbox.commit(lambda: outbox.take_over(receivers, now))


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = opened(tmp_path)
    yield outbox
    outbox.close()


def test_a_lane_has_its_messages_in_order(outbox: Outbox) -> None:
    put(outbox, message(1), message(2, stream="t"), message(3), message(4, receiver="q"), message(5))
    assert ids(outbox) == ["msg_1", "msg_3", "msg_5"]
    assert sorted(outbox.commit(outbox.lanes)) == [("q", "s"), ("r", "s"), ("r", "t")]
    found, has_more = outbox.commit(lambda: outbox.heads("r", "s", 0, 2, 1 << 20))
    assert ([one.id for one in found], has_more) == (["msg_1", "msg_3"], True)
    assert found[0] == Message("r", "s", "msg_1", NOW, b'{"number":1}', False, found[0].seq)
    found, has_more = outbox.commit(lambda: outbox.heads("r", "s", 0, 10, 1))
    assert ([one.id for one in found], has_more) == (["msg_1"], True)
    outbox.commit(lambda: outbox.remove([found[0].seq]))
    assert ids(outbox) == ["msg_3", "msg_5"]
    assert outbox.waiting == 4


def test_the_file_is_its_owners_alone_and_forgets_what_was_delivered(outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, Message("r", "s", "msg_1", NOW, b"what was said in confidence"))
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    outbox.commit(lambda: outbox.remove([1]))
    outbox.close()
    (tmp_path / FILE).chmod(0o644)
    outbox.open()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    outbox.close()
    assert b"confidence" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_the_room_of_what_was_delivered_is_given_back(outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, *(Message("r", "s", f"msg_{number}", NOW, bytes(10_000)) for number in range(500)))
    outbox.commit(lambda: outbox.remove(list(range(1, 501))))
    outbox.close()
    assert (tmp_path / FILE).stat().st_size < 100_000


def test_a_transaction_that_fails_changes_nothing(outbox: Outbox) -> None:
    put(outbox, message(1))

    def fail() -> None:
        outbox.add(message(2))
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        outbox.commit(fail)
    assert ids(outbox) == ["msg_1"]
    assert outbox.waiting == 1


def test_a_full_disk_is_no_damage(outbox: Outbox) -> None:
    put(outbox, message(1))
    outbox._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError):
        put(outbox, Message("r", "s", "msg_2", NOW, bytes(1 << 20)))
    outbox._db.execute("PRAGMA max_page_count = 100000")
    assert put(outbox, message(3)) == [True]
    assert ids(outbox) == ["msg_1", "msg_3"]


def test_two_processes_do_not_get_each_others_messages_until_one_is_gone(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    put(first, message(1), message(2))
    put(second, message(3))
    take_over(second, "r")
    assert (ids(first), ids(second)) == (["msg_1", "msg_2"], ["msg_3"])
    first.close()
    take_over(second, "r")
    assert ids(second) == ["msg_1", "msg_2", "msg_3"]
    assert second.waiting == 3
    again = opened(tmp_path)  # has the first one's place
    take_over(again, "r")
    assert ids(again) == []
    second.close()
    again.close()


CHILD = """
import os, sys
from pathlib import Path
from rtms_cli.live.outbox import Batch, Message, Outbox
outbox = Outbox(Path(sys.argv[1]))
outbox.open()
for number in range(3):
    outbox.commit(lambda: outbox.add(Message("r", "s", f"msg_{number}", 1_795_000_000.0, b"{}")))
outbox.commit(lambda: outbox.grow(Batch("msg_b", ("r", "q"), "s", 1_795_000_000.0, b"[]")))
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("someone_else_is_there", [False, True])
def test_what_a_killed_process_has_left_is_taken_over_once(someone_else_is_there: bool, tmp_path: Path) -> None:
    before = opened(tmp_path) if someone_else_is_there else None
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"done\n"
    while_it_runs = before or opened(tmp_path)
    take_over(while_it_runs, "r")
    assert ids(while_it_runs) == []
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    if before is None:
        while_it_runs.close()
        while_it_runs = opened(tmp_path)
        while_it_runs.commit(while_it_runs.seal_own)
    take_over(while_it_runs, "r")
    assert ids(while_it_runs) == ["msg_0", "msg_1", "msg_2", "msg_b"]
    while_it_runs.close()


def test_what_is_for_others_is_kept_for_a_day(tmp_path: Path) -> None:
    first = opened(tmp_path)
    put(first, message(1, "old"), message(2, "r"))
    first.close()
    second = opened(tmp_path)
    assert take_over(second, "r", now=NOW + KEPT_S - 1) == 0
    assert (ids(second), second.waiting) == (["msg_2"], 1)
    second.close()
    third = opened(tmp_path)
    assert take_over(third, "old", now=NOW + KEPT_S - 1) == 0
    assert ids(third, "old") == ["msg_1"]
    third.close()
    fourth = opened(tmp_path)
    assert take_over(fourth, "r", now=NOW + KEPT_S + 1) == 1
    assert ids(fourth, "old") == []
    assert ids(fourth) == ["msg_2"]  # is tried once more, however old it is
    fourth.close()


def test_what_may_wait_is_bounded(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MESSAGES", 10)
    assert put(outbox, *(message(number) for number in range(11))) == [True] * 10 + [False]
    assert put(outbox, message(12, kept=True)) == [True]  # an end finds room where talk does not
    assert put(outbox, message(13, kept=True)) == [False]
    assert put(outbox, message(14, receiver="q")) == [True]
    outbox.commit(lambda: outbox.remove([1, 2]))
    assert put(outbox, message(15)) == [True]
    monkeypatch.setattr(module, "MOST_NBYTES", 1000)
    assert put(outbox, Message("p", "s", "msg_x", NOW, bytes(1001)), message(16, "p")) == [False, True]


def test_old_messages_of_a_lane_and_those_of_a_stream_or_receiver_can_be_removed(outbox: Outbox) -> None:
    put(outbox, message(1, at=NOW - 10), message(2, at=NOW - 10), message(3), message(4, stream="t", kept=True))
    put(outbox, message(5, stream="t"), message(6, stream="t"), message(7, receiver="q"))
    assert outbox.commit(lambda: outbox.remove_old("r", "s", 1, NOW - 5)) == 1
    assert ids(outbox) == ["msg_1", "msg_3"]
    outbox.commit(lambda: outbox.grow(Batch("msg_b", ("r",), "t", NOW, b"[]")))
    assert outbox.commit(lambda: outbox.remove_stream("t", [6])) == 2  # 5, and the batch
    assert ids(outbox, stream="t") == ["msg_4", "msg_6"]
    assert outbox.commit(lambda: outbox.remove_receiver("r", [1])) == 3
    assert (ids(outbox), ids(outbox, "q"), outbox.waiting) == (["msg_1"], ["msg_7"], 2)


def spoil(path: Path, how: str) -> None:
    """Put something into the outbox's place that is not valid."""
    if how == "noise":
        path.write_bytes(b"no database " * 1000)
    elif how == "another program's":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE secrets (a)")
        connection.close()
    elif how == "a newer version's":
        opened(path.parent).close()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    elif how == "a link":
        (path.parent / "precious").write_bytes(b"precious")
        path.symlink_to("precious")
    elif how == "a pipe":
        os.mkfifo(path)
    elif how == "a folder":
        path.mkdir()
    else:
        outbox = opened(path.parent)
        put(outbox, *(message(number) for number in range(500)))
        outbox.close()
        content = bytearray(path.read_bytes())
        content[4096:12288] = b"\xff" * 8192
        path.write_bytes(content)


@pytest.mark.parametrize(
    "how", ["noise", "another program's", "a newer version's", "a link", "a pipe", "a folder", "damaged"]
)
def test_what_is_no_outbox_is_moved_aside_whole(how: str, tmp_path: Path) -> None:
    spoil(tmp_path / FILE, how)
    before = (tmp_path / FILE).lstat()
    outbox = Outbox(tmp_path)
    aside = outbox.open()
    assert aside is not None
    assert (tmp_path / aside).lstat().st_ino == before.st_ino
    assert put(outbox, message(1)) == [True]
    assert ids(outbox) == ["msg_1"]
    outbox.close()
    if how == "a link":
        assert (tmp_path / "precious").read_bytes() == b"precious"


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_that_goes_while_it_is_open_is_made_anew(how: str, outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, message(1), message(2))
    (tmp_path / FILE).unlink()
    if how == "replaced":
        (tmp_path / FILE).write_bytes(b"noise " * 1000)
    with pytest.raises(BrokenOutboxError):
        put(outbox, message(3))
    outbox.open()
    put(outbox, message(3))
    (*_, last), _ = outbox.commit(lambda: outbox.heads("r", "s", 0, 10, 1 << 20))
    assert (last.id, last.seq > 2) == ("msg_3", True)  # no number stands for two messages


def test_a_folder_that_takes_no_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="Cannot open the outbox"):
        Outbox(tmp_path / "missing").open()


def test_an_outbox_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outbox = opened(None)
    put(outbox, message(1))
    take_over(outbox, "r")
    assert ids(outbox) == ["msg_1"]
    outbox.close()
    assert list(tmp_path.iterdir()) == []
