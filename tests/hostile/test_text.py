"""Text that is not text: half a pair of surrogates, anywhere in any message or webhook, makes no output fail.

`"\\ud83d"` is JSON, and what a client gets whose sender cuts a text in an emoji. No encoding holds it.
"""

import csv
import io
import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pyarrow.parquet
import pytest
from frames import HEADER, tree
from harness import Silent, make_station
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moments import drawn
from processes import rtms
from victim import MESSAGES, Client, changed, encode, paths

from rtms_cli.capture import Capture
from rtms_cli.export.tables import write_table
from rtms_cli.inspection.lint import lint
from rtms_cli.machine import ChannelState, Finish, State, state_frame
from rtms_cli.protocol.messages import dumps, loads
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.signatures import signed_headers
from rtms_cli.protocol.webhooks import Stream, read_webhook
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.writer import Writer
from rtms_cli.station.metrics import exposition
from rtms_cli.station.observing import StreamSnapshot
from rtms_cli.view.dashboard import Moment
from rtms_cli.view.lines import JsonLines, PlainLines
from rtms_cli.wire.listener import Listener

LONE = "\ud83d"
"""The first half of many an emoji."""


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"a": f"cut {LONE}"}, {"a": "cut �"}),
        ([f"{LONE} and {LONE}"], ["� and �"]),
        ({"a": "whole 😀"}, {"a": "whole 😀"}),
        ({"user_id": LONE, "meeting_uuid": "x\udc00"}, {"user_id": "�d83d", "meeting_uuid": "x�dc00"}),
        ({f"a{LONE}": 1, "a\ud83e": 2}, {"a�d83d": 1, "a�d83e": 2}),
    ],
)
def test_each_becomes_a_replacement_character_and_what_it_tells_apart_stays_apart(given: object, read: object) -> None:
    assert loads(json.dumps(given).encode()) == read
    assert json.loads(dumps(given)) == read


def test_an_escaped_backslash_before_it_is_no_escape() -> None:
    assert loads(rb'{"a": "\\ud83d"}') == {"a": r"\ud83d"}


STREAM = Stream(Product.MEETING, "uuid", "stream", "ws://127.0.0.1/s", 1)
WEBHOOK_BODIES: list[dict[str, object]] = [
    {"event": "meeting.rtms_started", "event_ts": 1, "payload": {"meeting_uuid": "u", "operator_id": "o",
     "rtms_stream_id": "s", "server_urls": "ws://127.0.0.1:9/x", "signature": "hush"}},
    {"event": "meeting.rtms_stopped", "payload": {"rtms_stream_id": "s", "stop_reason": 1}},
    {"event": "meeting.rtms_interrupted", "payload": {"rtms_stream_id": "s", "server_urls": ["ws://127.0.0.1:9/y"]}},
    {"event": "endpoint.url_validation", "payload": {"plainToken": "t"}},
    {"event": "some.thing", "payload": {"object": {"rtms_stream_id": "s"}}},
]  # fmt: skip


def cut(messages: Iterable[dict[str, object]]) -> Iterable[bytes]:
    """Each message with a cut text for each of its values, and beside each under a cut key."""
    for message in messages:
        for path in paths(message):
            yield encode(changed(message, path, f"a{LONE}b"))
            if isinstance(path[-1], str):
                yield encode(changed(message, (*path[:-1], f"{path[-1]}{LONE}"), {"x": LONE}))


def held_together(client: Client) -> None:
    """Every view shows what came, every file is text that strict readers read, and a replay makes the same files."""
    client.done()
    finish = Finish("complete", 6, f"Zoom {LONE}")
    noon = datetime(2026, 11, 28, 12, tzinfo=UTC)
    for view in (JsonLines, partial(PlainLines, now=lambda: noon, is_verbose=True, shows_text=True)):
        out = io.StringIO()
        lines = view(out)
        lines.on_started(STREAM, Path(f"folder {LONE}"))
        for frame in client.frames:
            lines.on_frame(STREAM.stream_id, frame)
        lines.on_notice(f"notice {LONE}")
        lines.on_progress({STREAM.stream_id: client.recorder.snapshot()})
        lines.on_finished(STREAM, client.recorder.folder, finish, client.recorder.manifest())
        lines.close()
        shown = out.getvalue().encode().decode().split("\n")[:-1]  # it can be encoded
        assert len(shown) > len(client.frames) - sum(b"12" in frame.raw for frame in client.frames)
        if view is JsonLines:
            assert len([msgspec.json.decode(line) for line in shown]) == len(client.frames) + 4
    seen = StreamSnapshot(client.recorder.folder, client.at_us, client.session.snapshot(), client.recorder.snapshot())
    for frames in (None, client.frames[-30:]):
        assert "\x1b" not in drawn(Moment("x", [seen], frames=frames)).encode().decode()
    msgspec.json.encode(list(lint(enumerate(client.frames, 1))))
    made = tree(client.recorder.folder)
    for name, content in made.items():
        if name.endswith(".jsonl") and name != "capture.jsonl":
            for line in content.splitlines():
                msgspec.json.decode(line)
    msgspec.json.decode(made["manifest.json"])
    kept = list(Capture(client.recorder.folder))
    assert [type(frame.message) for frame in kept] == [type(frame.message) for frame in client.frames]
    again = client.recorder.folder.with_name(client.recorder.folder.name + " again")
    again.mkdir()
    replayed = Recorder(again, HEADER)
    replayed.fold(kept)
    replayed.close()
    assert tree(again) == made
    capture = client.recorder.folder / "capture.jsonl"
    for form in ("csv", "parquet"):
        write_table(capture, again / f"table.{form}")
    with (again / "table.csv").open(newline="", encoding="utf-8") as source:
        rows = list(csv.DictReader(source))
    assert len(rows) == pyarrow.parquet.read_table(again / "table.parquet").num_rows


@pytest.mark.parametrize("channel", ["signaling", "media", "webhook"])
def test_in_any_place_of_any_message(channel: str, tmp_path: Path) -> None:
    folder = tmp_path / "0"
    folder.mkdir()
    client = Client(folder)
    client.greet()
    count = 0
    for raw in cut(WEBHOOK_BODIES if channel == "webhook" else MESSAGES):
        count += 1
        client.take(channel, raw)
        if client.finish is not None:
            held_together(client)
            folder = tmp_path / str(count)
            folder.mkdir()
            client = Client(folder)
            client.greet()
    for state in State:
        client.state(channel, ChannelState(state, 6, f"why {LONE}", f"ws://x/{LONE}"))
    held_together(client)
    assert count > 25
    assert b"\\ud83d" in (folder / "capture.jsonl").read_bytes()  # as it came


TEXTS = st.text(st.characters(), max_size=5) | st.text("\ud83d\ude00\udc00a", max_size=3)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
PLACES = [
    (channel, message, path)
    for channel, messages in {"signaling": MESSAGES, "media": MESSAGES, "webhook": WEBHOOK_BODIES}.items()
    for message in messages
    for path in paths(message)
]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(said=st.lists(st.tuples(st.sampled_from(PLACES), ANY_JSON), max_size=20))
def test_any_json_in_any_place(
    tmp_path_factory: pytest.TempPathFactory,
    said: list[tuple[tuple[str, dict[str, object], tuple[str | int, ...]], object]],
) -> None:
    client = Client(tmp_path_factory.mktemp("any"))
    for (channel, message, path), value in said:
        client.take(channel, encode(changed(message, path, value)))
    held_together(client)


async def test_webhooks_with_ids_that_are_cut_are_recorded_apart_and_health_and_metrics_answer(tmp_path: Path) -> None:
    writer, observer, out = Writer(), Silent(), io.StringIO()
    station = make_station(tmp_path / "not \udcff text", writer, observer=observer)
    lines = JsonLines(out)
    station.subscribe(lines)
    for last in (LONE, "\ud83e"):
        payload = {"meeting_uuid": f"u{last}", "rtms_stream_id": f"s{last}", "server_urls": f"ws://127.0.0.1:9/{last}"}
        body = json.dumps({"event": "meeting.rtms_started", "event_ts": 1, "payload": payload}).encode()
        station.take(body, read_webhook(body))
    challenge = json.dumps({"event": "endpoint.url_validation", "payload": {"plainToken": LONE}})
    listener = Listener(
        "127.0.0.1", 0, "/webhook", "secret", lambda *_: None, station.health, observer.notices.append, 10,
        lambda answers: exposition(station.figures(answers, None)),
    )  # fmt: skip
    port = await listener.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=None) as client:
        health = (await client.get("/healthz")).json()
        metrics = await client.get("/metrics")
        headers = signed_headers("secret", int(time.time()), challenge.encode())
        answer = await client.post("/webhook", content=challenge, headers=headers)
    await listener.stop()
    await station.stop("the test")
    await writer.close()
    lines.close()
    assert {stream["stream_id"] for stream in health["streams"]} == {"s�d83d", "s�d83e"}
    assert (metrics.status_code, answer.status_code, answer.json()["plainToken"]) == (200, 200, "�")
    events = [msgspec.json.decode(line) for line in out.getvalue().splitlines()]
    assert sum(event["event"] == "finished" for event in events) == 2


def test_what_is_typed_and_paths_that_are_no_text_are_read_back_as_they_were_taken() -> None:
    frame = state_frame(0, "signaling", ChannelState(State.MARK, reason="typed \udcff"))
    assert frame.message == ChannelState(State.MARK, reason="typed �")
    assert loads(frame.raw) == {"state": "mark", "reason": "typed �"}


def test_texts_of_any_length_leave_the_manifest_and_what_is_shown_short(tmp_path: Path) -> None:
    """The capture keeps them whole; what is larger than a message can be is not even read."""
    client = Client(tmp_path)
    client.greet()
    long = "x" * 900_000
    for number in range(60):
        client.take("media", encode({"msg_type": f"{number} {long}"}))
    for message in MESSAGES:
        if message["msg_type"] not in (8, 9, 20, 22):
            for path in paths(message):
                client.take("media", encode(changed(message, path, long[:100_000])))
    for webhook in WEBHOOK_BODIES[3:]:
        client.take("webhook", encode(changed(webhook, ("event",), long)))
    for state in (State.OPENING, State.CLOSED, State.REFUSED, State.WARNING, State.DROPPED, State.FINISHED):
        client.state("media", ChannelState(state, reason=f"{state} {long}", url=f"ws://{long}", count=1, status=long))
    client.recorder.fold(client.frames)
    shown = repr(client.recorder.snapshot())
    client.recorder.close()
    made = tree(tmp_path)
    manifest = json.loads(made["manifest.json"])
    assert len(made["manifest.json"]) < 200_000
    assert len(shown) < 2_000_000
    assert f"UNKNOWN 0 {'x' * 98}… (900,002 characters)" in manifest["messages"]["received"]
    assert any("characters)" in one["reason"] for one in manifest["connections"])
    assert sum(len(content) for name, content in made.items() if name.startswith("capture")) > 60 * len(long)


@pytest.mark.parametrize("command", ["listen", "simulate"])
def test_a_host_that_is_no_text_is_refused_in_a_line(command: str, tmp_path: Path) -> None:
    done = rtms(command, "--host", "\udcff", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(r"error: Cannot listen on \udcff:")
