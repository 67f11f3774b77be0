"""The notifier and its desk in this process, with a real receiver: what is slow, gone, full or broken."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from processes import until
from receiver import Receiver, receiving

from rtms_cli.live import desk as desk_module
from rtms_cli.live import notifier as module
from rtms_cli.live.desk import Desk, Done, Dropped, Ending, Job, Line, News, Revoke, Said, Stop
from rtms_cli.live.dispatch import Verdict
from rtms_cli.live.notifications import Endpoint, Subject, parse_endpoint
from rtms_cli.live.notifier import Notifier
from rtms_cli.live.outbox import FILE, BrokenOutboxError, Message, Outbox
from rtms_cli.machine import Finish
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream

if TYPE_CHECKING:
    from rtms_cli.recording.tracks import TextTrack

TRANSCRIPT = cast("TextTrack", SimpleNamespace(kind="transcript"))
CHAT = cast("TextTrack", SimpleNamespace(kind="chat"))
EVENTS = cast("TextTrack", SimpleNamespace(kind="events"))
ENDED = Finish("complete", 6, "somebody")


def stream_of(stream_id: str = "s") -> Stream:
    return Stream(Product.MEETING, "m", stream_id, "wss://example.zoom.us")


class Told:
    """What people and scripts were told."""

    def __init__(self) -> None:
        self.states: list[object] = []
        self.texts: list[str] = []

    def __call__(self, name: str, fields: Mapping[str, object], text: str) -> None:
        assert name == "notify"
        self.states.append(fields["state"])
        self.texts.append(text)

    def has(self, text: str) -> bool:
        return any(text in one for one in self.texts)


@asynccontextmanager
async def notifying(folder: Path | None, *urls: str) -> AsyncIterator[tuple[Notifier, Told]]:
    told = Told()
    async with Notifier([parse_endpoint(url) for url in urls], [], folder, told) as notifier:
        yield notifier, told


def numbers(receiver: Receiver, kind: str = "transcript") -> list[int]:
    """What the lines that were taken say, in order."""
    return [line["n"] for got in receiver.taken if got.type == kind for line in got.event["data"]["lines"]]


def line(number: int) -> bytes:
    return b'{"n":%d}\n' % number


async def test_a_slow_receiver_delays_neither_another_one_nor_another_stream(tmp_path: Path) -> None:
    async with receiving() as slow, receiving() as quick:
        slow.may_answer.clear()
        async with notifying(tmp_path, slow.url, quick.url) as (notifier, _):
            lines = {name: notifier.open_listener(stream_of(name), None) for name in ("a", "b")}
            for number in range(20):
                lines["a"].on_line(TRANSCRIPT, line(number))
            await until(lambda: len(numbers(quick)) == 20)
            await until(lambda: slow.asked == 2)  # the first of each stream
            assert slow.got == []
            slow.may_answer.set()
            await until(lambda: len(numbers(slow)) == 20)
            assert numbers(slow) == numbers(quick) == list(range(20))


async def test_each_receiver_gets_the_same_id(tmp_path: Path) -> None:
    async with receiving() as one, receiving() as other:
        urls = [f"{receiver.url},events=transcript" for receiver in (one, other)]
        async with notifying(tmp_path, *urls) as (notifier, _):
            notifier.open_listener(stream_of(), None).on_line(TRANSCRIPT, line(1))
            await until(lambda: one.got and other.got)
    assert one.got[0].id == other.got[0].id


async def test_a_batch_for_who_answered_410_meanwhile_is_dropped(tmp_path: Path) -> None:
    async with receiving(lambda got: 410) as receiver:
        async with notifying(tmp_path, f"{receiver.url},batch=60s") as (notifier, _):
            lines = notifier.open_listener(stream_of(), None)
            lines.on_line(TRANSCRIPT, line(1))
            await until(lambda: notifier.tally.dropped == 1)
            notifier.on_finished(stream_of(), None, ENDED, None)
            await until(lambda: notifier.tally.dropped == 2)
        assert (notifier.tally.waiting, len(receiver.got)) == (0, 1)


async def test_a_batch_goes_out_when_its_time_is_up_or_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "BATCH_LINES", 5)
    async with receiving() as one, receiving() as other:
        urls = [f"{one.url},events=transcript,batch=100ms", f"{other.url},events=transcript,batch=60s"]
        async with notifying(tmp_path, *urls) as (notifier, _):
            lines = notifier.open_listener(stream_of(), None)
            for number in range(7):
                lines.on_line(TRANSCRIPT, line(number))
            await until(lambda: len(numbers(one)) == 7)
            await until(lambda: len(numbers(other)) == 5)
            assert len(other.got) == 1
        assert numbers(one) == numbers(other) == list(range(7))


async def test_a_receivers_cookies_are_not_sent_back(tmp_path: Path) -> None:
    async with receiving(lambda got: (200, {"set-cookie": "a=b"})) as receiver:
        async with notifying(tmp_path, receiver.url) as (notifier, _):
            lines = notifier.open_listener(stream_of(), None)
            for number in range(3):
                lines.on_line(CHAT, line(number))
            await until(lambda: len(receiver.got) == 4)
    assert not any("cookie" in got.headers for got in receiver.got)


async def test_no_proxy_stands_before_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with receiving() as receiver, notifying(tmp_path, receiver.url) as (notifier, _):
        notifier.open_listener(stream_of(), None)
        await until(lambda: receiver.got)


async def test_the_end_does_not_wait_for_what_is_not_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_PATIENCE_S", 1000.0)  # the test's time-out is shorter
    async with receiving(lambda got: (503, {"retry-after": "3000"})) as receiver:
        async with notifying(tmp_path, receiver.url) as (notifier, told):
            notifier.open_listener(stream_of(), None)
            await until(lambda: notifier.tally.failed)
    assert told.texts[-1].startswith("1 notification is left in")


async def test_who_answers_410_is_left_alone_until_the_next_run(tmp_path: Path) -> None:
    async with receiving(lambda got: 410) as receiver:
        async with notifying(tmp_path, receiver.url) as (notifier, told):
            lines = notifier.open_listener(stream_of(), None)
            lines.on_line(CHAT, line(1))
            await until(lambda: "gone" in told.states and notifier.tally.waiting == 0)
            lines.on_line(CHAT, line(2))
            notifier.on_finished(stream_of(), None, ENDED, None)
        assert len(receiver.got) == 1
        assert notifier.tally.sent == notifier.tally.waiting == 0
        assert told.has("dropped: their receiver wants no more")
        receiver.answer = lambda got: 200
        async with notifying(tmp_path, receiver.url) as (notifier, _):
            notifier.open_listener(stream_of(), None).on_line(CHAT, line(3))
            await until(lambda: len(receiver.taken) == 2)
        assert numbers(receiver, "chat") == [3]


async def test_what_was_said_in_a_revoked_stream_is_passed_on_no_more(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.may_answer.clear()
        async with notifying(tmp_path, f"{receiver.url},batch=60s") as (notifier, told):
            lines = notifier.open_listener(stream_of(), None)
            lines.on_line(CHAT, line(1))
            lines.on_line(TRANSCRIPT, line(2))
            await until(lambda: receiver.asked and notifier.tally.waiting == 2)
            notifier.on_finished(stream_of(), None, Finish("revoked", 8, "Zoom"), None)
            await until(lambda: told.has("dropped: their stream was revoked"))
            receiver.may_answer.set()
        assert [got.type for got in receiver.taken] == ["stream.started", "stream.finished"]
        assert receiver.taken[1].event["data"]["status"] == "revoked"
        assert notifier.tally.dropped == 2


async def test_a_stream_that_goes_on_says_so(tmp_path: Path) -> None:
    async with receiving() as receiver:
        async with notifying(tmp_path, receiver.url) as (notifier, _):
            notifier.open_listener(stream_of(), None)
            notifier.on_finished(stream_of(), None, Finish("interrupted", 13, "Zoom"), None)
            notifier.open_listener(stream_of(), None)
            notifier.on_finished(stream_of(), None, ENDED, None)
            notifier.open_listener(stream_of(), None)
    events = [got.event for got in receiver.taken]
    assert [event["type"] for event in events] == [
        "stream.started", "stream.interrupted", "stream.started", "stream.finished", "stream.started"
    ]  # fmt: skip
    assert [event["data"]["continues"] for event in events[::2]] == [False, True, False]
    assert (events[1]["data"]["reason_name"], events[1]["data"]["status"]) == (
        "STOP_BC_SIGNAL_CONNECTION_INTERRUPTED", "interrupted"
    )  # fmt: skip


async def test_an_outbox_that_breaks_meanwhile_is_made_anew_and_what_was_in_it_is_counted(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.may_answer.clear()
        async with notifying(tmp_path, receiver.url) as (notifier, told):
            lines = notifier.open_listener(stream_of(), None)
            for number in range(30):  # more than are in memory
                lines.on_line(CHAT, line(number))
            await until(lambda: receiver.asked and notifier.tally.waiting == 31)
            (tmp_path / FILE).unlink()
            (tmp_path / f"{FILE}-wal").unlink()
            lines.on_line(CHAT, line(30))
            await until(lambda: told.has("they were in the damaged outbox"))
            receiver.may_answer.set()
            await until(lambda: 30 in numbers(receiver, "chat"))
    taken = numbers(receiver, "chat")
    assert taken == sorted(taken)
    assert len(taken) + notifier.tally.dropped >= 31


async def test_without_a_folder_nothing_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "LAST_PATIENCE_S", 0.1)
    async with receiving(lambda got: 500) as receiver:
        async with notifying(None, receiver.url) as (notifier, told):
            notifier.open_listener(stream_of(), None)
            await until(lambda: receiver.got)
        assert told.texts[-1] == "WARNING: 1 notification is not delivered and not kept"
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240


@pytest.mark.parametrize(
    ("text", "about_s"),
    [
        ("120", 120.0), ("0", 0.0), ("9" * 5000, 9_999_999_999.0), ("soon", None), ("", None), ("-5", None),
        ("١٢", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("Wed, 99 Oct 99999 07:28:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(text: str, about_s: float | None) -> None:
    assert module._retry_after(text) == about_s


def test_retry_after_may_be_a_date_that_is_to_come() -> None:
    found = module._retry_after(format_datetime(datetime.now(UTC) + timedelta(hours=9)))
    assert found == pytest.approx(9 * 3600, abs=600)


@pytest.mark.parametrize("answer", ["nothing", "garbage", "endless"])
async def test_an_answer_that_is_none_is_a_failure(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.5)

    class Odd(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        def data_received(self, data: bytes) -> None:
            if answer == "garbage":
                self.transport.write(b"SSH-2.0-OpenSSH\r\n\r\n")
            elif answer == "endless":
                self.transport.write(b"HTTP/1.1 500 Oh\r\ncontent-length: 1000000000\r\n\r\n" + bytes(1 << 18))

    server = await asyncio.get_running_loop().create_server(Odd, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    poster = module._Poster(parse_endpoint(url), [], None)
    message = Message("r", "s", "msg_1", 0.0, b"{}")
    result = await poster.post(message)
    await poster.close()
    server.close()
    await server.wait_closed()
    assert result.verdict is Verdict.FAILED
    why = {"nothing": "no answer within 0.5 s", "endless": "it answered 500"}
    assert result.why == why.get(answer, result.why)
    assert result.why


# The desk.


class Heard:
    """A desk's news."""

    def __init__(self) -> None:
        self.news: list[News] = []
        self.changed = threading.Condition()

    def __call__(self, news: Sequence[News]) -> None:
        with self.changed:
            self.news += news
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[list[News]], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.news), 30), self.news

    def dropped(self) -> int:
        return sum(one.count for one in self.news if isinstance(one, Dropped))


SUBJECT = Subject("meeting", "m", "s", None)
ENDPOINT = Endpoint("http://127.0.0.1:1/")


def chat(number: int) -> Line:
    return Line("chat", 1.0, SUBJECT, line(number))


def kept(outbox: Outbox) -> list[int]:
    messages, _ = outbox.commit(lambda: outbox.heads(ENDPOINT.key, "s", 0, 10_000, 1 << 30))
    data = [json.loads(one.body)["data"] for one in messages]
    return [one["lines"][0]["n"] for one in data if "lines" in one]


def at_desk(folder: Path, jobs: Sequence[Job], outbox: Outbox | None = None) -> Heard:
    """Let a desk do jobs to the end."""
    outbox = outbox or Outbox(folder)
    outbox.open()
    heard = Heard()
    desk = Desk(outbox, [ENDPOINT], heard)
    for job in (*jobs, Stop()):
        desk.put(job)
    desk.start()
    assert desk.join(30)
    return heard


def reopened(folder: Path) -> list[int]:
    outbox = Outbox(folder)
    outbox.open()
    found = kept(outbox)
    outbox.close()
    return found


def test_more_events_than_may_wait_are_dropped_and_counted_but_not_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "MOST_EVENTS", 100)
    end = Ending("stream.finished", 1.0, SUBJECT, {"status": "complete"})
    heard = at_desk(tmp_path, [*map(chat, range(130)), end])
    assert heard.dropped() == 30
    assert [one.waiting for one in heard.news if isinstance(one, Done)][-1] == 101
    assert reopened(tmp_path) == list(range(100))


def test_a_line_that_is_too_long_is_dropped_and_counted(tmp_path: Path) -> None:
    long = Line("chat", 1.0, SUBJECT, b'{"n":"%s"}\n' % bytes(desk_module.MOST_LINE_NBYTES).replace(b"\0", b"x"))
    assert at_desk(tmp_path, [long, chat(1)]).dropped() == 1
    assert reopened(tmp_path) == [1]


class Failing(Outbox):
    """A disk that fails some times."""

    def __init__(self, folder: Path, errors: list[Exception]) -> None:
        super().__init__(folder)
        self._errors = errors

    def add(self, message: Message) -> bool:
        added = super().add(message)
        if self._errors and b'"n":1}' in message.body:
            raise self._errors.pop(0)
        return added


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk is full"), BrokenOutboxError("it is damaged")])
def test_a_disk_that_fails_for_a_while_costs_nothing_but_time(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "AGAIN_S", 0.01)
    outbox = Failing(tmp_path, [error, error])
    outbox.open()
    heard = Heard()
    desk = Desk(outbox, [ENDPOINT], heard)
    desk.start()
    for number in range(3):
        desk.put(chat(number))
    heard.wait_for(lambda news: any(isinstance(one, Done) and one.waiting == 3 for one in news))
    desk.put(Stop())
    assert desk.join(30)
    assert reopened(tmp_path) == [0, 1, 2]
    assert any(isinstance(one, Said) for one in heard.news)
    assert heard.dropped() == 0


def test_a_disk_that_takes_nothing_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "AGAIN_S", 0.01)
    heard = at_desk(tmp_path, [chat(0), chat(1)], Failing(tmp_path, [sqlite3.OperationalError("full")] * 1000))
    assert heard.dropped() == 2


BATCHING = Endpoint("http://127.0.0.1:1/", batch_s=60.0)


def said(number: int) -> Line:
    return Line("transcript", 1.0, SUBJECT, line(number))


def batches(folder: Path) -> list[list[int]]:
    """The numbers in each event that an outbox has."""
    outbox = Outbox(folder)
    outbox.open()
    outbox.commit(outbox.seal_own)
    found, _ = outbox.commit(lambda: outbox.heads(BATCHING.key, "s", 0, 100, 1 << 20))
    outbox.close()
    return [[one["n"] for one in json.loads(message.body)["data"].get("lines", [])] for message in found]


def test_a_batch_has_each_line_once_though_the_disk_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "AGAIN_S", 0.01)
    outbox = Failing(tmp_path, [sqlite3.OperationalError("disk is full")])
    outbox.open()
    heard = Heard()
    desk = Desk(outbox, [BATCHING], heard)
    for job in (said(0), said(2), chat(1), said(3)):
        desk.put(job)
    desk.start()
    heard.wait_for(lambda news: any(isinstance(one, Done) for one in news))
    desk.put(Stop())
    assert desk.join(30)
    assert batches(tmp_path) == [[1], [0, 2, 3]]


def test_a_batch_is_kept_in_a_new_file_and_forgotten_where_its_stream_is_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "AGAIN_S", 0.01)
    outbox = Outbox(tmp_path)
    outbox.open()
    heard = Heard()
    desk = Desk(outbox, [BATCHING], heard)
    desk.start()
    desk.put(said(0))
    heard.wait_for(lambda news: desk._batches)
    (tmp_path / FILE).unlink()
    desk.put(chat(1))
    heard.wait_for(lambda news: any(isinstance(one, Done) and one.waiting for one in news))
    assert batches_of(tmp_path) == 1
    desk.put(Revoke("s", ()))
    desk.put(said(2))
    desk.put(Stop())
    assert desk.join(30)
    assert batches(tmp_path) == [[2]]


def batches_of(folder: Path) -> int:
    """How many batches the outbox of a process that runs has."""
    connection = sqlite3.connect(folder / FILE, timeout=20)
    (count,) = connection.execute("SELECT COUNT(*) FROM batches").fetchone()
    connection.close()
    return int(count)


def test_a_defect_costs_the_events_that_it_met_only(tmp_path: Path) -> None:
    outbox = Failing(tmp_path, [ZeroDivisionError()])
    outbox.open()
    heard = Heard()
    desk = Desk(outbox, [ENDPOINT], heard)
    desk.start()
    desk.put(chat(1))
    heard.wait_for(lambda news: any(isinstance(one, Dropped) for one in news))
    desk.put(chat(2))
    desk.put(Stop())
    assert desk.join(30)
    assert (heard.dropped(), reopened(tmp_path)) == (1, [2])


def test_a_batch_survives_its_process(tmp_path: Path) -> None:
    endpoint = Endpoint("http://127.0.0.1:1/", batch_s=60.0)
    outbox = Outbox(tmp_path)
    outbox.open()
    heard = Heard()
    desk = Desk(outbox, [endpoint], heard)
    desk.start()
    for number in range(3):
        desk.put(Line("transcript", 1.0, SUBJECT, line(number)))
    connection = sqlite3.connect(tmp_path / FILE, timeout=20)
    bodies: list[bytes] = []
    while not any(b'"n":2' in body for body in bodies):
        bodies = [row[0] for row in connection.execute("SELECT body FROM batches")]
    connection.close()
    # What a killed process leaves: the file as it is now, with its log.
    again = tmp_path / "again"
    again.mkdir()
    for path in tmp_path.glob(f"{FILE}*"):
        (again / path.name).write_bytes(path.read_bytes())
    desk.put(Stop())
    assert desk.join(30)
    heirs = Outbox(again)
    heirs.open()
    heirs.commit(heirs.seal_own)
    messages, _ = heirs.commit(lambda: heirs.heads(endpoint.key, "s", 0, 10, 1 << 20))
    assert [one["n"] for one in json.loads(messages[0].body)["data"]["lines"]] == [0, 1, 2]
    heirs.close()
