"""What is said of a capture is the same whether its media are looked at in runs or line by line."""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from frames import HEADER, ZERO_MS, granted, media, said, state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from rtms_cli.capture import Capture, Header, capture_lines
from rtms_cli.inspection import runs
from rtms_cli.inspection.forms import PacketForms, odd_forms
from rtms_cli.inspection.known import unknown_fields
from rtms_cli.inspection.lanes import lanes
from rtms_cli.inspection.lint import lint
from rtms_cli.inspection.page import link_from, page
from rtms_cli.inspection.reading import Line, Piece, in_pieces, numbered
from rtms_cli.inspection.runs import Run
from rtms_cli.inspection.summary import summarize
from rtms_cli.machine import SIGNALING, WEBHOOK, Direction, Frame, Packets, State, frame_of
from rtms_cli.protocol.messages import DocumentedPacket, read_packets

OUT = Direction.OUT
S = 1_000_000
IDS: dict[str, object] = {
    "protocol_version": 1, "meeting_uuid": "uuid==", "rtms_stream_id": "stream123==", "signature": "[redacted]",
}  # fmt: skip
PARAMS: dict[str, dict[str, object]] = {
    "audio": {"content_type": 2, "codec": 1, "sample_rate": 1, "channel": 1, "data_opt": 1, "send_rate": 20},
    "video": {"content_type": 3, "codec": 7, "resolution": 2, "fps": 25},
}


def many(*usual: object, seldom: Sequence[object] = ()) -> st.SearchStrategy[Any]:
    """The usual ones much oftener than the others."""
    return st.sampled_from([*usual * 40, *seldom])


PACKETS = st.fixed_dictionaries({
    "kind": many(14, 14, 15, seldom=[16]),
    "user": many(7, 7, 8, seldom=[0, None, "9"]),
    "name": many("Ann", seldom=["Ben", None, "", "B\"n", "+49 170 5550123", "\ud83d"]),
    "party": many(None, None, 3, seldom=[0, 4, "5"]),
    "step": many(20, 20, 40, seldom=[0, 0, 0, 10, 400, -20, -300, 2_000, 70_000, 4_000_000, -4_000_000, None, "text"]),
    "waits": many(20_000, 20_001, 19_000, seldom=[0, -50_000, 400_000, 11 * S, 61 * S, 4_000 * S]),
    "data": many(bytes(640), seldom=[bytes(641), bytes(3000), b"", "A", "AA==", "AA", "\u00e9", "A\\/A=", 5, "A A="]),
    "length": many(None, "right", seldom=[12, 0, None]),
    "more": many({}, seldom=[{"level": 1.5}, {"level": {"now": 5}}, {"x1": 1}, {"x2": 1}, {"timestamp": None}]),
    "channel": many("media", "media", "media.video", seldom=["media.audio"]),
})  # fmt: skip
PLAIN = {"kind": 14, "user": 7, "name": "Ann", "party": 3, "step": 20, "waits": 20_000, "data": bytes(640),
         "length": None, "more": {}, "channel": "media"}  # fmt: skip
FLOWS = st.tuples(
    st.integers(1, 5), many(20_000, seldom=[11 * S, 25 * S, 61 * S]), st.sampled_from(["media", "media", "media.video"])
).map(lambda flow: [PLAIN | {"waits": flow[1], "channel": flow[2]}] * flow[0])
OTHER = st.sampled_from([
    "asks", "answers", "transcript", "chat", "event", "speaker", "closed", "ours", "signaling closed", "open",
    "opening", "granted", "slower", "finished", "stopped", "started", "ready", "terminated", "odd", "warning",
])  # fmt: skip
SAID = st.one_of(
    FLOWS, FLOWS, PACKETS.map(lambda one: [one]), PACKETS.map(lambda one: [one]), OTHER.map(lambda one: [one])
)
SAYINGS = st.lists(SAID, max_size=25).map(lambda parts: [one for part in parts for one in part])
_ODD = [
    b'{"msg_type":14,"content":{"data":123456,"timestamp":1738394112345}}',
    b'{"msg_type": 14,"content":{"data":"AA\\/A","user_id":7,"timestamp":1738394112345}}',
    b'{"msg_type":14,"msg_type":15,"content":{"data":"AAAA","user_id":7,"timestamp":1738394112345}}',
    b'{"msg_type":15,"content":{"x":1},"content":{"data":"AAAA","user_id":7,"timestamp":1738394112345}}',
    b'{"msg_type":14,"user_id":7,"content":{"data":"AAAA","timestamp":1738394112345}}',
    b'{"msg_type":14,"content":{"data":"AAAA"',
]


def beginning(how: str) -> list[Frame]:
    """What comes before media, in most cases."""
    url = {"url": "ws://z/s"}
    frames = [
        state(State.OPENING, 10, SIGNALING, **url), state(State.OPEN, 20, SIGNALING),
        said({"msg_type": 1, **IDS}, 25, SIGNALING, OUT),
        said({"msg_type": 2, "status_code": 0, "media_server": {"server_urls": {"audio": "ws://z/m"}}}, 30, SIGNALING),
        state(State.OPENING, 32, **url), state(State.OPEN, 40), state(State.OPEN, 41, "media.video"),
        said({"msg_type": 3, **IDS, "media_type": 3, "media_params": PARAMS}, 45, "media", OUT),
        granted(at_us=50, video=PARAMS["video"]), granted("media.video", at_us=51, video=PARAMS["video"]),
        said({"msg_type": 7, "rtms_stream_id": "stream123=="}, 55, SIGNALING, OUT),
    ]  # fmt: skip
    return {"whole": frames, "not ready": frames[:-1], "lone": frames[-2:-1], "nothing": []}[how]


def session(how: str, sayings: Sequence[dict[str, Any] | str]) -> list[Frame]:
    """A capture in which all of that is said."""
    frames = beginning(how)
    latest, at_us = 60_000, 1 * S
    for number, what in enumerate(sayings):
        if isinstance(what, str):
            frames.append(_other(what, ZERO_MS + latest, at_us, number))
            continue
        at_us = max(0, at_us + what["waits"])
        stamp: object = what["step"]
        if isinstance(stamp, int):
            latest += stamp
            stamp = ZERO_MS + latest
        data = what["data"]
        size = len(data) if isinstance(data, bytes) else 3
        fields = {"user_name": what["name"], "channel_id": what["party"],
                  "length": size if what["length"] == "right" else what["length"]}  # fmt: skip
        fields = {key: value for key, value in fields.items() if value is not None} | what["more"]
        content = {"user_id": what["user"], "timestamp": stamp, **fields,
                   "data": base64.b64encode(data).decode() if isinstance(data, bytes) else data}  # fmt: skip
        frames.append(said({"msg_type": what["kind"], "content": content}, at_us, what["channel"]))
    return frames


def _other(what: str, now: int, at_us: int, number: int) -> Frame:
    match what:
        case "asks" | "answers":
            asks = what == "asks"
            return said(
                {"msg_type": 12 if asks else 13, "timestamp": now}, at_us, "media", Direction.IN if asks else OUT
            )
        case "transcript" | "chat":
            return media(17 if what == "transcript" else 18, "said", now, user_id=7, at_us=at_us, channel_id=number % 4)
        case "event" | "speaker":
            people = [{"user_id": 7, "channel_id": number % 3, "user_name": "Cid"}]
            event = {"event_type": 3 if what == "event" else 2, "timestamp": now, "participants": people}
            return said({"msg_type": 6, "event": event}, at_us, SIGNALING)
        case "closed" | "ours" | "signaling closed":
            channel = SIGNALING if what == "signaling closed" else "media"
            return state(State.CLOSED, at_us, channel, code=1000, ours=what == "ours")
        case "open" | "opening" | "warning":
            return state(State(what), at_us, reason="given up: media")
        case "finished":
            return state(State.FINISHED, at_us, SIGNALING, status="interrupted")
        case "granted" | "slower":
            return granted(at_us=at_us, audio=PARAMS["audio"] | {"send_rate": 20 if what == "granted" else 100})
        case "ready":
            return said({"msg_type": 7, "rtms_stream_id": "stream123=="}, at_us, SIGNALING, OUT)
        case "terminated":
            return said({"msg_type": 8, "state": 4, "reason": 6, "timestamp": now}, at_us, SIGNALING)
        case "started" | "stopped":
            payload = {"meeting_uuid": "uuid==", "rtms_stream_id": "stream123==", "server_urls": "ws://z/s"}
            return said({"event": f"meeting.rtms_{what}", "event_ts": now, "payload": payload}, at_us, WEBHOOK)
        case _:
            return frame_of(at_us, "media", Direction.IN, _ODD[number % len(_ODD)])


def written(path: Path, frames: Iterable[Frame], product: str = "meeting") -> Capture:
    """A capture of those frames."""
    header = structs.replace(HEADER, product=product)
    path.write_bytes(header.line() + capture_lines(frames))
    return Capture(path)


def alone(lines: Iterable[Piece]) -> list[tuple[object, ...]]:
    """Piece one by one, as plain values."""
    found: list[tuple[object, ...]] = []
    for number, line in lines:
        for place, one in line.frames() if isinstance(line, Run) else [(number, line)]:
            found.append((place, one if isinstance(one, str) else (one.at_us, one.channel, one.direction, one.raw)))
    return found


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    sayings=SAYINGS,
    how=many("whole", seldom=["not ready", "lone", "nothing"]),
    product=many("meeting", "contact_center", seldom=["phone", "x"]),
    few=st.sampled_from([1, 4]),
    tail=st.sampled_from([b"", b"{broken}\n", b'{"at": 3']),
)
def test_runs_say_what_their_lines_say(
    sayings: list[dict[str, Any] | str], how: str, product: str, few: int, tail: bytes, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(runs, "_FEW", few)
    capture = written(tmp_path / "capture.jsonl", session(how, sayings), product)
    with capture.path.open("ab") as file:
        file.write(tail)
    one_by_one: list[Line] = list(numbered(capture))
    together = list(in_pieces(capture))
    assert alone(together) == alone(one_by_one)
    header: Header = capture.header
    assert summarize("x", header, together) == summarize("x", header, one_by_one)
    assert list(lint(together, product)) == list(lint(one_by_one, product))
    assert lanes(together, product) == lanes(one_by_one, product)
    link = link_from(tmp_path / "page.html")
    pages = [b"".join(page(header, lines, capture.path, None, link)) for lines in (together, one_by_one)]
    assert pages[0] == pages[1]


def test_what_goes_on_is_looked_at_in_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two speakers and a camera on another socket, after a beginning, no packet is looked at alone."""
    frames = beginning("whole")
    for number in range(400):
        for place, (user, kind) in enumerate(((7, 14), (8, 14), (7, 15))):
            channel = "media.video" if kind == 15 else "media"
            at_us = S + 20_000 * number + place
            frames.append(
                media(
                    kind, bytes(640), ZERO_MS + 20 * number, user_id=user, user_name="Ann", at_us=at_us, channel=channel
                )
            )
    capture = written(tmp_path / "capture.jsonl", frames)
    assert len(list(in_pieces(capture))) < len(beginning("whole")) + 10
    expanded = 0

    def counted(packets: Packets) -> Iterator[Frame]:
        nonlocal expanded
        expanded += len(packets.raws)
        return every(packets)

    every = Packets.frames
    monkeypatch.setattr(Packets, "frames", counted)
    for look in (lambda lines: summarize("x", HEADER, lines), lambda lines: list(lint(lines)),
                 lambda lines: lanes(lines, "meeting")):  # fmt: skip
        expanded = 0
        look(in_pieces(capture))
        assert 0 < expanded <= 8


def test_problems_have_the_numbers_of_their_lines(tmp_path: Path) -> None:
    capture = written(tmp_path / "capture.jsonl", [media(14, bytes(640), ZERO_MS + 20 * n) for n in range(3)])
    lines = capture.path.read_bytes().splitlines(keepends=True)
    capture.path.write_bytes(b"".join([lines[0], b"x\n", *lines[1:3], b"y\n", b"z\n", lines[3], b"torn"]))
    assert alone(in_pieces(capture)) == alone(numbered(capture))
    assert [number for number, line in in_pieces(capture) if isinstance(line, str)] == [2, 5, 6]


VALUES = st.sampled_from(list[object]([None, 7, 7.5, "text", "7", True, ZERO_MS, ZERO_MS // 1000, {}, [], {"x": 1}]))
KEYS = st.sampled_from(["user_id", "user_name", "data", "length", "timestamp", "channel_id", "user", "content", "x"])


@given(st.dictionaries(KEYS, VALUES), st.dictionaries(KEYS, VALUES), st.dictionaries(KEYS, st.just(7)))
def test_the_form_of_a_packet_is_known_by_its_keys(
    content: dict[str, object], another: dict[str, object], beside: dict[str, object]
) -> None:
    told, forms = [], PacketForms()
    for inside in (content, content | {key: value for key, value in another.items() if key in content}):
        body = {"msg_type": 14} | beside | {"content": {"data": "AA==", "timestamp": ZERO_MS} | inside}
        raw = json.dumps(body).encode()
        packets = read_packets([raw], whole=True)
        if packets is None:
            return
        told.append({*(form.partition(" ")[0] for form in odd_forms(body)), *unknown_fields(body, "meeting")})
        assert not told[-1] or not isinstance(packets[0], DocumentedPacket)
        if len(told) == 2 and forms.are_known([raw]):
            assert told[0] == told[1]
        forms.learn(body)


def test_a_packet_with_another_unknown_field_is_told_of(tmp_path: Path) -> None:
    """Each field once for each type of message, whatever its name."""
    frames = beginning("whole")
    for number, name in enumerate(["x1", "x2", "a", "x1", "b" * 2000, "b" * 2001] * 3):
        for kind in (14, 14, 15):
            now = 20 * len(frames)
            fields: dict[str, object] = {"user_id": 7, name: number, "data": "AAA=", "timestamp": ZERO_MS + now}
            frames.append(said({"msg_type": kind, "content": fields}, S + 1000 * now))
    found = [one.text for one in lint(in_pieces(written(tmp_path / "capture.jsonl", frames)))]
    told = [text for text in found if "content." in text]
    assert len(told) == len(set(told)) == 10
