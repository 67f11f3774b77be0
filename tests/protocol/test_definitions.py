"""One definition for each message: what is written reads back, is known to lint, and is what the protocol documents."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.inspection.forms import odd_forms, wrong_channel
from rtms_cli.inspection.known import unknown_fields
from rtms_cli.protocol.fields import Constant, Field, Nested, Shape
from rtms_cli.protocol.media import AudioParams, ChatParams, MediaParams, ShareParams, TranscriptParams, VideoParams
from rtms_cli.protocol.messages import (
    DEFINITIONS,
    EventUpdate,
    Media,
    Message,
    SignalingHandshakeRequest,
    SignalingHandshakeResponse,
    Signature,
    Unknown,
    Unreadable,
    encode,
    read,
)
from rtms_cli.protocol.numbers import MessageType
from rtms_cli.protocol.times import unit

NUMBER = st.none() | st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.none() | st.text(max_size=8)
WORD = st.text(max_size=8).filter(lambda text: not re.fullmatch(r"\s*[-+]?[\d_]+\s*", text))
"""Text that does not read as a number."""
WHO = NUMBER | WORD
TAKEN = {
    name for known in DEFINITIONS.values() for key in known.shape.keys for name in (*key.names, *key.inside.by_name)
}
REST = st.dictionaries(
    st.text(max_size=8).filter(
        lambda name: name not in TAKEN | {"msg_type", "length", "media_type"} and "." not in name
    ),
    st.integers(-9, 9) | st.text(max_size=3) | st.lists(st.none(), max_size=2),
    max_size=3,
)
NAMED = {
    "id": st.text(max_size=8),
    "signature": st.none() | st.text(max_size=8).map(Signature),
    "buffer_data": st.none() | st.booleans(),
    "product_ids": st.dictionaries(st.sampled_from(["engagement_id", "call_id"]), st.text(max_size=8)),
    "server_urls": st.dictionaries(st.sampled_from(["audio", "share", "all"]), st.text(min_size=1, max_size=8)),
    "params": st.builds(
        MediaParams,
        st.none() | st.builds(AudioParams, *[NUMBER] * 6),
        st.none() | st.builds(VideoParams, *[NUMBER] * 5),
        st.none() | st.builds(ShareParams, *[NUMBER] * 4),
        st.none() | st.builds(TranscriptParams, NUMBER, NUMBER, st.none() | st.booleans()),
        st.none() | st.builds(ChatParams, NUMBER),
    ),
    "events": st.lists(st.tuples(NUMBER, st.booleans()), max_size=3).map(tuple),
    "subscribe": st.booleans(),
    "data": st.text(max_size=8),
    "event_type": WHO,
    "language": WHO,
    "operation": WHO,
    "user_id": WHO,
    "channel_id": WHO,
    "extra": REST,
    "fields": REST,
    **dict.fromkeys(
        ("timestamp", "start_time", "end_time"), NUMBER.filter(lambda at: not at or unit(at) in ("", "ms"))
    ),
}


REASON = NUMBER | st.just("STOP_BC_OF_THE_FUTURE")
TYPED = {
    int | None: NUMBER,
    int | str | None: REASON,
    str | None: TEXT,
    str: st.text(max_size=8),
    object: NUMBER | st.text(max_size=8),
}


def any_of(kind: type[Message]) -> st.SearchStrategy[Message]:
    """Messages of a class, with values by the names of its attributes, or else by their types."""
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{one.name: NAMED[one.name] if one.name in NAMED else TYPED[one.type] for one in fields})


def classes(kind: type[Message] = Message) -> Iterator[type[Message]]:
    """Every class of a stream's messages that can be sent."""
    for one in kind.__subclasses__():
        yield from classes(one)
        if one not in (Media, Unknown, Unreadable) and one.__module__ == Message.__module__:
            yield one


CLASSES = sorted(classes(), key=lambda kind: kind.msg_type)
MESSAGES = st.one_of([any_of(kind) for kind in CLASSES])


def test_every_documented_type_has_one_definition() -> None:
    assert list(DEFINITIONS) == [*range(23, 28), *(kind.msg_type for kind in CLASSES)]
    assert set(DEFINITIONS) == set(MessageType)
    assert [kind for kind in CLASSES if DEFINITIONS[kind.msg_type].make is not kind] == []


@given(MESSAGES)
def test_what_is_written_reads_back(message: Message) -> None:
    back = read(encode(message))
    if isinstance(message, Media) and isinstance(back, Media):
        assert back.letters() == message.letters()
        back = msgspec.structs.replace(back, data=message.data)
    assert back == message


@given(MESSAGES)
def test_what_is_written_is_known_to_lint(message: Message) -> None:
    free = set(message.fields if isinstance(message, EventUpdate) else getattr(message, "extra", ()))
    unknown = set(unknown_fields(json.loads(encode(message)), "meeting"))
    assert {path.rpartition(".")[2] for path in unknown} <= free


@given(st.binary() | MESSAGES.flatmap(lambda message: st.builds(spoilt, st.just(encode(message)), st.integers(0, 999))))
def test_reading_never_raises(raw: bytes) -> None:
    assert isinstance(read(raw), Message)


def spoilt(raw: bytes, at: int) -> bytes:
    """The same with one byte that is another."""
    at %= len(raw)
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


@pytest.mark.parametrize(
    ("body", "unknown", "odd"),
    [
        ({"msg_type": 8, "state": 4, "stop_reason": 6}, [], ["stop_reason stands for reason"]),
        ({"msg_type": 8, "reason": "X", "why": 1}, ["why"], ['reason is text ("X"), not a number']),
        ({"msg_type": 9, "reason": 6}, [], []),
        ({"msg_type": "12"}, [], ['msg_type is text ("12"), not a number']),
        ({"msg_type": 1, "session_id": "s", "webinar_uuid": "w"}, [], []),
        ({"msg_type": 2, "server_urls": {"all": "u", "srt": "u"}}, ["server_urls.srt"],
         ["server_urls stands outside media_server"]),
        ({"msg_type": 2, "media_server": {"server_urls": {"share": "u"}, "region": "eu"}}, ["media_server.region"], []),
        ({"msg_type": 3, "media_params": {"audio": {"codec": "L16", "gain": 2}, "x": 1}},
         ["media_params.audio.gain", "media_params.x"],
         ['media_params.audio.codec is text ("L16"), not a number']),
        ({"msg_type": 4, "media_params": {"share": {"fps": 1}, "transcript": {"language": 9}}}, [], []),
        ({"msg_type": 5, "events": [{"event_type": 2, "subscribe": True, "x": 1}, 7]}, ["events[].x"], []),
        ({"msg_type": 6, "event": {"event_type": 3, "participants": [{"user_id": 1, "role": 2}]}},
         ["event.participants[].role"], []),
        ({"msg_type": 6, "event": {"event_type": 99, "x": 1}, "y": 1}, ["y"], []),
        ({"msg_type": 6, "event_type": 2, "user_id": 1, "x": 1}, ["x"],
         ["event_type stands outside event", "user_id stands outside event"]),
        ({"msg_type": 14, "content": "AAAA", "user_id": 1, "level": 3}, ["level"],
         ["content is text, and its fields stand beside it"]),
        ({"msg_type": 14, "content": {"data": "AAAA", "length": "3"}, "user_id": 1}, ["user_id"],
         ['content.length is text ("3"), not a number']),
        ({"msg_type": 17, "content": {"text": "hi", "x": 1}}, ["content.x"], []),
        ({"msg_type": 18, "content": {"anything": "goes"}, "x": 1}, ["x"], []),
        ({"msg_type": 23, "anything": "goes"}, [], []),
        ({"msg_type": 99, "anything": "1"}, [], []),
        ({"msg_type": 20, "timestamp": 1783000000}, [], ["timestamp 1783000000 is in s, not in ms"]),
        ({"msg_type": 18, "content": {"timestamp": 1783000000123000}}, [],
         ["content.timestamp 1783000000123000 is in µs, not in ms"]),
        ({"msg_type": 17, "content": {"start_time": 12.5, "end_time": 1783000000123}}, [],
         ["content.start_time 12.5 is not a whole number"]),
    ],
)  # fmt: skip
def test_what_lint_knows(body: dict[str, object], unknown: list[str], odd: list[str]) -> None:
    assert list(unknown_fields(body, "meeting")) == unknown
    assert list(odd_forms(body)) == odd


def test_events_of_a_contact_center_have_fields_of_their_own() -> None:
    body: dict[str, object] = {"msg_type": 6, "event": {"event_type": 8, "x": 1}}
    assert list(unknown_fields(body, "meeting")) == ["event.x"]
    assert list(unknown_fields(body, "contact_center")) == []


def test_channels() -> None:
    on_signaling = {number for number in range(32) if wrong_channel(number, "media.audio")}
    on_media = {number for number in range(32) if wrong_channel(number, "signaling")}
    assert on_signaling == {1, 2, 5, 6, 7, 8, 9, 10, 11, 19, 20, 21, 22, 28, 29}
    assert on_media == {3, 4, *range(14, 19), *range(23, 28)}


def test_messages_do_not_share_what_can_change() -> None:
    one, other = read(b'{"msg_type":2}'), read(b'{"msg_type":2}')
    assert isinstance(one, SignalingHandshakeResponse)
    assert isinstance(other, SignalingHandshakeResponse)
    one.server_urls["all"] = "ws://a"
    assert other.server_urls == {}


def test_an_empty_signature_is_written() -> None:
    assert b'"signature":""' in encode(SignalingHandshakeRequest("", "", Signature("")))


PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"


def names_in(shape: Shape) -> set[str]:
    """Every documented name of the keys of an object and of the objects in it."""
    return {name for key in shape.keys for name in (key.key, *key.also, *names_in(key.inside))}


def written_in(shape: Shape) -> set[str]:
    """The keys that the classes write."""
    inner = set().union(*(written_in(key.inside) for key in shape.keys if isinstance(key, Nested)))
    return inner | {key.key for key in shape.keys if isinstance(key, Field | Constant | Nested)}


def test_the_documents_table_says_the_same() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| ([^|]+?) \| ([^|]+?) \|$", PROTOCOL.read_text(), re.MULTILINE)
    assert {int(row[0]) for row in rows} == set(DEFINITIONS)
    every_name = set().union(*(names_in(known.shape) for known in DEFINITIONS.values()))
    for number, name, route, text in rows:
        known = DEFINITIONS[int(number)]
        assert (MessageType[name], route.partition(" (")[0]) == (int(number), known.route)
        words = set(re.findall(r"[a-z_0-9]+", re.sub(r"\[[^\]]*\]\([^)]*\)", "", text)))
        if known.make is not None:
            assert {word for word in words if word in every_name or "_" in word} <= names_in(known.shape)
            # Only sound has a channel; all packets have one class of content.
            assert written_in(known.shape) - words <= {"channel_id"}
