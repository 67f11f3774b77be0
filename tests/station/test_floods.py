"""Webhooks that come too often, too late, too large, or lead nowhere: what is recorded, and what is said."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from harness import Silent, make_station
from processes import until
from websockets.asyncio.server import ServerConnection, serve

from rtms_cli.capture import Capture
from rtms_cli.machine import WEBHOOK
from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.signatures import signed_headers
from rtms_cli.protocol.webhooks import (
    LONGEST_KEPT,
    Stream,
    StreamInterrupted,
    StreamStart,
    StreamStop,
    read_webhook,
    shortened_webhook,
)
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator
from rtms_cli.station.admission import MINUTE_S, MOST_A_MINUTE, MOST_STREAMS, Admission
from rtms_cli.station.beginning import MOST_HELD
from rtms_cli.station.metrics import OTHERS, Figures, Totals, exposition
from rtms_cli.station.station import Station
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.listener import Listener
from rtms_cli.wire.notices import MOST, MOST_NEW

SPEED = 20


def webhook(event: str, stream_id: str = "stream1", **fields: object) -> bytes:
    event_ts = fields.pop("event_ts", int(time.time() * 1000))
    payload = {"meeting_uuid": "uuid==", "rtms_stream_id": stream_id, **fields}
    return json.dumps({"event": event, "event_ts": event_ts, "payload": payload}).encode()


def started(stream_id: str = "stream1", url: str = "ws://127.0.0.1:9/x", **fields: object) -> bytes:
    return webhook("meeting.rtms_started", stream_id, server_urls=url, **fields)


def take(station: Station, body: bytes) -> None:
    station.take(body, read_webhook(body))


async def folders_in(folder: Path) -> list[Path]:
    return await asyncio.to_thread(lambda: list(folder.iterdir()))


async def files_in(folder: Path) -> list[Path]:
    return await asyncio.to_thread(lambda: [path for path in folder.rglob("*") if path.is_file()])


@pytest.mark.parametrize("url", ["wss://evil.example.org/x", "ws://10.0.0.1/x"])
async def test_starts_whose_server_is_refused_leave_nothing(url: str, tmp_path: Path) -> None:
    observer, writer = Silent(), Writer()
    station = make_station(tmp_path, writer, trusted=True, observer=observer)
    for number in range(246):
        take(station, started(f"stream{number}", url, filler="x" * 900_000))
    await station.stop("the test")
    await writer.close()
    assert await files_in(tmp_path) == []
    assert len(observer.notices) == MOST + 1
    assert "is not one of Zoom's hosts" in observer.notices[0]
    assert observer.notices[-1].startswith(f"{246 - MOST} more ")
    assert not observer.finished


async def test_a_start_whose_handshake_is_refused_leaves_nothing(tmp_path: Path) -> None:
    observer, writer = Silent(), Writer()
    station = make_station(tmp_path, writer, trusted=True, observer=observer)
    async with Simulator(App("client", "another secret", "token")) as simulator:
        stream = simulator.announce(Product.MEETING, Scenario(seconds=600))
        take(station, stream.webhook("started"))
        await station.idle()
        assert stream.report().refused == {"3 STATUS_INVALID_SIGNATURE": 1}
    await station.stop("the test")
    await writer.close()
    assert [finish.status for finish in observer.finished] == ["failed"]
    assert await folders_in(tmp_path) == []


async def test_a_server_that_accepts_and_ends_before_any_media_is_recorded(tmp_path: Path) -> None:
    """What it said of its end is in the capture: someone will ask why there is no media."""
    observer, writer = Silent(), Writer()
    station = make_station(tmp_path, writer, trusted=True, observer=observer)

    async def accept(connection: ServerConnection) -> None:
        await connection.recv()
        urls = {"all": "ws://127.0.0.1:1/"}
        answer = {"msg_type": 2, "protocol_version": 1, "status_code": 0, "media_server": {"server_urls": urls}}
        await connection.send(json.dumps(answer))
        await connection.send(json.dumps({"msg_type": 8, "state": 4, "reason": 6, "timestamp": 1}))
        await connection.wait_closed()

    async with serve(accept, "127.0.0.1", 0) as server:
        take(station, started(url=f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/x"))
        await station.idle()
    await writer.close()
    (folder,) = await folders_in(tmp_path)
    assert any(b'"msg_type": 8' in frame.raw for frame in Capture(folder))


async def test_a_server_that_accepts_nobody_and_says_much_is_recorded(tmp_path: Path) -> None:
    """What waits in memory has a limit."""
    observer, writer = Silent(), Writer()
    station = make_station(tmp_path, writer, trusted=True, observer=observer)

    async def flood(connection: ServerConnection) -> None:
        for _ in range(40):
            await connection.send("x" * 200_000)
        await connection.wait_closed()

    async with serve(flood, "127.0.0.1", 0) as server:
        take(station, started(url=f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/x"))
        await until(lambda: any(tmp_path.iterdir()))
        await station.stop("the test")
    await writer.close()
    (folder,) = await folders_in(tmp_path)
    assert sum(len(frame.raw) for frame in Capture(folder)) > MOST_HELD


async def test_a_start_that_leads_nowhere_leaves_nothing(tmp_path: Path) -> None:
    """Nobody listens there: it is tried for a minute, which is a moment here."""
    observer, writer = Silent(), Writer()
    station = make_station(tmp_path, writer, trusted=True, observer=observer, make_clock=lambda: Clock(1000))
    take(station, started())
    await station.idle()
    await writer.close()
    assert await files_in(tmp_path) == []
    assert [finish.status for finish in observer.finished] == ["failed"]


async def test_a_folder_that_cannot_be_made_ends_the_session_and_is_said(tmp_path: Path) -> None:
    app, observer, writer = App("client", "secret", "token"), Silent(), Writer()
    out = tmp_path / "out"
    out.write_text("a file")
    request = MediaRequest(parse_media("audio"))
    station = make_station(out, writer, request, trusted=True, observer=observer, sign=app.sign_stream)
    async with Simulator(app) as simulator:
        take(station, simulator.announce(Product.MEETING, Scenario(30)).webhook("started"))
        await station.idle()
        simulator.end()
    await writer.close()
    assert [finish.status for finish in observer.finished] == ["failed"]
    assert "Cannot make a folder" in observer.finished[0].said_by


class Beginning(Silent):
    """Notes when a recording begins."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = asyncio.Event()

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        super().on_started(stream, folder)
        self.has_begun.set()


async def test_a_stream_that_runs_leaves_its_server_for_none_that_is_refused(tmp_path: Path) -> None:
    app, observer, writer = App("client", "secret", "token"), Beginning(), Writer()
    request = MediaRequest(parse_media("audio"))
    station = make_station(tmp_path, writer, request, observer=observer, sign=app.sign_stream)
    async with Simulator(app) as simulator, asyncio.timeout(30):
        announced = simulator.announce(Product.MEETING, Scenario(2))
        take(station, announced.webhook("started"))
        await observer.has_begun.wait()
        newer = int(time.time() * 1000) + 5000
        take(station, started(announced.stream_id, "wss://evil.example.org/x", event_ts=newer))
        lost = {"server_urls": "wss://evil.example.org/x", "event_ts": newer}
        take(station, webhook("meeting.rtms_interrupted", announced.stream_id, **lost))
        await station.idle()
    await writer.close()
    assert [finish.status for finish in observer.finished] == ["complete"]
    assert sum("is not one of Zoom's hosts" in notice for notice in observer.notices) == 2
    assert len(await folders_in(tmp_path)) == 1


async def test_a_webhook_that_is_repeated_begins_the_stream_once_a_session(tmp_path: Path) -> None:
    """The stream ends, and the very same request comes again and again: the first may be meant, the others are not."""
    app, observer, writer = App("client", "secret", "token"), Silent(), Writer()
    request = MediaRequest(parse_media("audio"))
    station = make_station(
        tmp_path,
        writer,
        request,
        trusted=True,
        observer=observer,
        sign=app.sign_stream,
        make_clock=lambda: Clock(SPEED),
    )
    listener = Listener(
        "127.0.0.1", 0, "/webhook", "token", station.take, station.health, station.notice,
        may_repeat=station.may_repeat, not_now=station.not_now,
    )  # fmt: skip
    simulator = Simulator(app, speed=SPEED, client_in_real_time=False)
    async with simulator, httpx.AsyncClient(trust_env=False, timeout=None) as client, asyncio.timeout(30):
        url = f"http://127.0.0.1:{await listener.start()}/webhook"
        stream = simulator.announce(Product.MEETING, Scenario(3))
        body = stream.webhook("started")
        headers = signed_headers("token", int(time.time()), body)
        for _ in range(3):  # while it runs they are retries
            assert (await client.post(url, content=body, headers=headers)).status_code == 200
        await stream.done()
        await station.idle()
        assert len(observer.started) == 1
        for _ in range(30):
            assert (await client.post(url, content=body, headers=headers)).status_code == 200
            await station.idle()
        await listener.stop()
    await writer.close()
    assert len(await folders_in(tmp_path)) <= 2
    assert any("repeated byte for byte" in notice for notice in observer.notices)
    assert len(observer.finished) == 2


async def test_the_capture_has_what_is_read_of_a_long_webhook_and_says_so(tmp_path: Path) -> None:
    app, observer, writer = App("client", "secret", "token"), Silent(), Writer()
    request = MediaRequest(parse_media("audio"))
    station = make_station(tmp_path, writer, request, trusted=True, observer=observer, sign=app.sign_stream)
    async with Simulator(app) as simulator, asyncio.timeout(20):
        stream = simulator.announce(Product.MEETING, Scenario(0.3))
        posted = json.loads(stream.webhook("started"))
        posted["payload"]["filler"] = "x" * 900_000
        take(station, json.dumps(posted).encode())
        await stream.done()
        await station.idle()
    await writer.close()
    assert [finish.status for finish in observer.finished] == ["complete"]
    take(station, stream.webhook("stopped"))
    assert observer.notices[-1].endswith(f"{stream.stream_id}: its session is over already")
    (folder,) = await folders_in(tmp_path)
    frames = list(Capture(folder))
    (first,) = [frame for frame in frames if frame.channel == WEBHOOK]
    assert len(first.raw) < 2000
    assert b"900" in first.raw
    assert b"SHA-256" in first.raw
    assert isinstance(first.message, StreamStart)


@pytest.mark.parametrize(
    ("body", "stream"),
    [
        (started(filler="x" * 100_000), True),
        (webhook("meeting.rtms_stopped", stop_reason=6, filler="x" * 100_000), False),
        (webhook("meeting.rtms_interrupted", filler=["xxxx"] * 20_000), False),
    ],
)
def test_a_shortened_webhook_reads_the_same(body: bytes, stream: bool) -> None:
    short = shortened_webhook(body)
    assert len(short) < LONGEST_KEPT
    assert read_webhook(short) == read_webhook(body)
    assert isinstance(read_webhook(short), StreamStart) == stream


def test_a_list_of_urls_that_is_too_long_becomes_its_first() -> None:
    body = started(url=",".join(["wss://a.zoom.us/" + "x" * 1000] * 500))
    short = shortened_webhook(body)
    assert len(short) < LONGEST_KEPT
    assert b'"server_urls":"wss://a.zoom.us/xxx' in short


@pytest.mark.parametrize("body", [b"[" * 100_000, b'"' + b"x" * 100_000 + b'"', b"\xff" * 100_000])
def test_what_is_no_webhook_is_not_shortened(body: bytes) -> None:
    assert shortened_webhook(body) == body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (webhook("meeting.rtms_stopped"), "meeting rtms_stopped of stream stream1: nothing is recorded of that stream"),
        (webhook("meeting.rtms_interrupted"), "meeting rtms_interrupted of stream stream1: nothing is recorded"),
        (webhook("meeting.started", ""), "meeting.started: nothing to be done"),
        (webhook("rtms.concurrency_limited", "", concurrency_number=2000), "rtms.concurrency_limited"),
        (webhook("rtms.start_failed", ""), "rtms.start_failed"),
        (started(event_ts=1), "WARNING: stream stream1: it was announced"),
    ],
)
async def test_a_webhook_that_starts_nothing_or_is_too_old_is_shown(body: bytes, said: str, tmp_path: Path) -> None:
    observer, writer = Silent(), Writer()
    station = make_station(tmp_path, writer, observer=observer)
    take(station, body)
    await station.stop("the test")
    await writer.close()
    assert observer.notices[0].startswith(said)


async def test_webhooks_of_many_kinds_and_streams_are_a_few_lines_and_hide_no_other(tmp_path: Path) -> None:
    observer, writer = Silent(), Writer()
    station = make_station(tmp_path, writer, observer=observer)
    for number in range(1000):
        take(station, webhook(f"event{number}", f"stream{number}"))
        take(station, webhook("meeting.rtms_stopped", f"stream{number}"))
        take(station, started(f"stream{number}", f"wss://host{number}.example.org/x"))
    flood = len(observer.notices)
    assert flood <= 3 * MOST_NEW
    await station.stop("the test")
    await writer.close()
    assert len(observer.notices) == flood + 3


async def test_more_streams_than_may_be_are_asked_for_later(tmp_path: Path) -> None:
    app, observer, writer = App("client", "secret", "token"), Silent(), Writer()
    station = make_station(tmp_path, writer, observer=observer, sign=app.sign_stream, max_streams=1)
    async with Simulator(app) as simulator, asyncio.timeout(20):
        bodies = [simulator.announce(Product.MEETING, Scenario(30)).webhook("started") for _ in range(2)]
        first, second = map(read_webhook, bodies)
        assert station.not_now(first) is None
        station.take(bodies[0], first)
        assert station.not_now(first) is None
        assert "--max-streams" in (station.not_now(second) or "")
        simulator.end()
        await station.stop("the test")
        assert station.not_now(second) == "rtms is stopping"
    await writer.close()


# Admission, without a station.


def stream(stream_id: str = "s", event_ts: int | None = 1000) -> Stream:
    return Stream(Product.MEETING, "uuid", stream_id, "ws://s", event_ts)


KINDS: list[Callable[[str], StreamStart | StreamStop | StreamInterrupted]] = [
    lambda stream_id: StreamStart(stream(stream_id)),
    lambda stream_id: StreamStop(Product.MEETING, stream_id, 6),
    lambda stream_id: StreamInterrupted(Product.MEETING, stream_id),
]


@pytest.mark.parametrize("kind", KINDS)
def test_so_many_a_minute(kind: Callable[[str], StreamStart | StreamStop | StreamInterrupted]) -> None:
    now = 0.0
    admission = Admission(lambda: now)

    def let_in(stream_id: str, count: int) -> int:
        return sum(admission.refusal(kind(stream_id), may_be_old=False) is None for _ in range(count))

    assert let_in("s", 100) == MOST_A_MINUTE
    assert let_in("other", 1) == 1
    now = MINUTE_S - 1
    assert let_in("s", 1) == 0
    now = MINUTE_S
    assert let_in("s", 100) == MOST_A_MINUTE


NEWS: list[Callable[[int], StreamStart | StreamStop | StreamInterrupted]] = [
    lambda event_ts: StreamStart(stream(event_ts=event_ts)),
    lambda event_ts: StreamStop(Product.MEETING, "s", 6, event_ts),
    lambda event_ts: StreamInterrupted(Product.MEETING, "s", None, event_ts),
]


@pytest.mark.parametrize("kind", NEWS)
def test_who_repeats_a_webhook_keeps_no_news_out(kind: Callable[[int], StreamStart | StreamStop]) -> None:
    admission = Admission(lambda: 0.0)

    def let_in(event_ts: int) -> bool:
        return admission.refusal(kind(event_ts), may_be_old=True) is None

    assert sum(let_in(1000) for _ in range(100)) == MOST_A_MINUTE
    assert sum(let_in(event_ts) for event_ts in range(1001, 1100)) == MOST_A_MINUTE - 1


def test_a_start_that_is_older_than_the_last_one_begins_nothing() -> None:
    admission = Admission()
    admission.begin(stream(event_ts=2000))
    admission.end("s", by_zoom=True)
    assert "older" in (admission.refusal(StreamStart(stream(event_ts=1999)), may_be_old=False) or "")
    for event_ts in (2000, 2001, None):
        assert admission.refusal(StreamStart(stream(event_ts=event_ts)), may_be_old=False) is None
    assert admission.refusal(StreamStart(stream(event_ts=1999)), may_be_old=True) is None


@pytest.mark.parametrize("event_ts", [1000, 5000])
def test_what_told_the_end_of_a_session_does_not_end_the_next(event_ts: int) -> None:
    """The stream begins again by the very same announcement, and the stop of its first session is sent again."""
    admission = Admission()
    stop, lost = StreamStop(Product.MEETING, "s", 6, 2000), StreamInterrupted(Product.MEETING, "s", None, 2000)
    newer = StreamStop(Product.MEETING, "s", 6, 5001)
    admission.begin(stream(event_ts=1000))
    for webhook in (stop, lost, stop):
        assert admission.refusal(webhook, may_be_old=True) is None
        admission.note_end(webhook)
    admission.end("s", by_zoom=True)
    admission.begin(stream(event_ts=event_ts))
    for webhook in (stop, lost):
        assert "earlier session" in (admission.refusal(webhook, may_be_old=True) or "")
    for webhook in (newer, StreamStop(Product.MEETING, "s", 6), newer):
        assert admission.refusal(webhook, may_be_old=True) is None


def test_a_stop_that_came_before_its_start_is_news_when_it_is_repeated() -> None:
    admission = Admission()
    stop = StreamStop(Product.MEETING, "s", 6, 2000)
    admission.note_end(stop)
    admission.begin(stream(event_ts=1000))
    assert admission.refusal(stop, may_be_old=True) is None


def test_who_may_repeat() -> None:
    admission = Admission()
    assert admission.may_repeat("s")
    admission.begin(stream())
    assert not admission.may_repeat("s")
    admission.end("s", by_zoom=False)
    assert not admission.may_repeat("s")
    admission.end("s", by_zoom=True)
    assert admission.may_repeat("s")


def test_no_more_is_remembered_than_may_be() -> None:
    admission = Admission()
    for number in range(3 * MOST_STREAMS):
        admission.begin(stream(str(number)))
        admission.refusal(StreamStart(stream(str(number))), may_be_old=False)
    assert len(admission._streams) == len(admission._times) == MOST_STREAMS


def test_a_failover_is_the_last_start_too() -> None:
    admission = Admission()
    admission.begin(stream(event_ts=2000))
    assert admission.refusal(StreamStart(stream(event_ts=3000)), may_be_old=True) is None
    assert admission.refusal(StreamStart(stream(event_ts=None)), may_be_old=True) is None
    admission.end("s", by_zoom=True)
    assert "older" in (admission.refusal(StreamStart(stream(event_ts=2500)), may_be_old=False) or "")


def test_types_that_a_server_names_itself_are_one_label() -> None:
    totals = Totals()
    counts = {"MEDIA_DATA_AUDIO": 3, "\ud83d": 1, "x" * 100_000: 2, 'a"\n\\': 4}
    totals.add(RecorderSnapshot(Path(), "recording", counts=counts))
    shown = exposition(Figures([], totals, {}, {}, None)).decode()
    assert 'rtms_messages_total{type="MEDIA_DATA_AUDIO"} 3.0' in shown
    assert f'rtms_messages_total{{type="{OTHERS}"}} 7.0' in shown
    assert len(shown) < 10_000


async def test_starts_that_anybody_may_send_and_that_never_connect_give_way(tmp_path: Path) -> None:
    """A real start, then forged ones without end, then another real one; there is room for three."""
    app, observer, writer = App("client", "secret", "token"), Beginning(), Writer()
    request = MediaRequest(parse_media("audio"))
    station = make_station(tmp_path, writer, request, observer=observer, sign=app.sign_stream, max_streams=3)
    async with Simulator(app) as simulator, asyncio.timeout(30):
        first, second = (simulator.announce(Product.MEETING, Scenario(1)) for _ in range(2))
        take(station, first.webhook("started"))
        await observer.has_begun.wait()
        for number in range(200):
            body = started(f"forged{number}")
            assert station.not_now(read_webhook(body)) is None
            take(station, body)
            await asyncio.sleep(0)
            assert len(station.health()["streams"]) <= 3  # type: ignore[arg-type]
        take(station, second.webhook("started"))
        await first.done()
        await second.done()
        assert len(observer.started) == 2
        await station.stop("the test")
    await writer.close()
    assert [finish.status for finish in observer.finished].count("complete") >= 2
    assert len(await folders_in(tmp_path)) == 2
    assert len(observer.finished) <= MOST_NEW + 2
    assert len(observer.frames) < 1000
    assert "starts that anyone may have sent" in observer.notices[-1]


async def test_verified_starts_give_way_to_none(tmp_path: Path) -> None:
    observer, writer = Silent(), Writer()
    station = make_station(tmp_path, writer, trusted=True, observer=observer, max_streams=1)
    take(station, started("one"))
    await asyncio.sleep(0)
    assert "--max-streams" in (station.not_now(read_webhook(started("two"))) or "")
    await station.stop("the test")
    await writer.close()
    assert len(observer.finished) == 1
