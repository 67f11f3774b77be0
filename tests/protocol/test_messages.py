"""Reading every message of PROTOCOL §4 in every tolerated shape, writing the documented one, and never raising."""

import base64
import json
import math
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtms_cli.protocol.media import (
    DEFAULT_PARAMS,
    AudioParams,
    MediaParams,
    ShareParams,
    TranscriptParams,
)
from rtms_cli.protocol.messages import (
    MAX_DEPTH,
    MAX_MEMBERS,
    MAX_TEXT,
    Audio,
    Chat,
    ClientReadyAck,
    EventSubscription,
    EventUpdate,
    KeepAliveRequest,
    KeepAliveResponse,
    Media,
    MediaHandshakeRequest,
    MediaHandshakeResponse,
    Message,
    SessionStateRequest,
    SessionStateResponse,
    SessionStateUpdate,
    Share,
    SignalingHandshakeRequest,
    SignalingHandshakeResponse,
    Signature,
    StreamCloseRequest,
    StreamCloseResponse,
    StreamStateRequest,
    StreamStateResponse,
    StreamStateUpdate,
    Transcript,
    Unknown,
    Unreadable,
    Video,
    VideoSubscriptionRequest,
    VideoSubscriptionResponse,
    encode,
    read,
)
from rtms_cli.protocol.numbers import MediaType, SessionState, StatusCode, StopReason, StreamState
from rtms_cli.protocol.parties import people_of
from rtms_cli.protocol.strict_json import whole_text

FIXTURES = Path(__file__).parents[2] / "fixtures" / "messages.jsonl"
CASES: dict[str, dict[str, Any]] = {
    line["case"]: line["message"] for line in map(json.loads, FIXTURES.read_text().splitlines())
}
S, M, SIG, T = "stream123==", "AbC123==", Signature("5f" * 32), 1738394112345
WHO = (16778240, "John Smith")
PCM = b"AAEC/w=="
MEDIA = "wss://media.example/"
L16 = AudioParams(2, 1, 1, 1, 1, 20)
URLS = {name: MEDIA + name for name in ("audio", "video", "share", "transcript", "chat", "all")}
ALL = {"all": MEDIA + "all"}
SMITH = {"user_id": 16778240, "user_name": "John Smith"}
TWO_SMITHS: dict[str, object] = {"participants": [SMITH, {"user_id": 16778241, "user_name": "John Smith"}]}

EXPECTED: dict[str, Message] = {
    "1 documented": SignalingHandshakeRequest(M, S, SIG, 1, False),
    "1 user's document, media_type beside": SignalingHandshakeRequest(M, S, SIG),
    "1 contact center": SignalingHandshakeRequest("eng1", S, SIG, 1, product_ids={"engagement_id": "eng1"}),
    "1 phone samples, call_id alone": SignalingHandshakeRequest("call1", S, SIG, 1, product_ids={"call_id": "call1"}),
    "1 zoom's sdk": SignalingHandshakeRequest(M, S, SIG, 912873465),
    "1 video sdk, session_id beside": SignalingHandshakeRequest("ses1", S, SIG, 1, product_ids={"session_id": "ses1"}),
    "1 ids are numbers": SignalingHandshakeRequest(
        "7428734287342873", "12", SIG, protocol_version=None, product_ids={"call_id": "7428734287342873"}
    ),
    "2 status for status_code": SignalingHandshakeResponse(3, "invalid signature"),
    "2 several protocols": SignalingHandshakeResponse(0, "", {"all": MEDIA + "all,srt://media.example:1"}),
    "2 server_urls lists": SignalingHandshakeResponse(0, "", {"all": "srt://media.example:1," + MEDIA + "all"}),
    "2 documented": SignalingHandshakeResponse(0, "", URLS, 1),
    "2 share for deskshare, srtp_keys": SignalingHandshakeResponse(0, "", {"share": MEDIA + "share"} | ALL, 1),
    "2 name for number": SignalingHandshakeResponse(0, "", ALL),
    "2 refused": SignalingHandshakeResponse(3, "invalid signature", {}, 1),
    "2 refused without status_code": SignalingHandshakeResponse(None, "no"),
    "2 server_urls a string": SignalingHandshakeResponse(0, "", ALL),
    "2 server_urls beside": SignalingHandshakeResponse(0, "", ALL),
    "3 documented": MediaHandshakeRequest(M, S, SIG, 31, DEFAULT_PARAMS, 1),
    "3 user's document, language": MediaHandshakeRequest(
        M, S, SIG, 9, MediaParams(audio=L16, transcript=TranscriptParams(5, 9))
    ),
    "3 zoom's sdk, media_params null": MediaHandshakeRequest(M, S, SIG, 8, MediaParams(), 1),
    "4 documented": MediaHandshakeResponse(0, "", DEFAULT_PARAMS, 1),
    "4 numbers as strings, names, share": MediaHandshakeResponse(
        0, "", MediaParams(audio=AudioParams(2, 3, 2, 4, None, 20), share=ShareParams(None, 7, None, 15)), 1
    ),
    "4 refused": MediaHandshakeResponse(22, "invalid codec", MediaParams(), 1),
    "5 documented": EventSubscription(((2, True), (3, False))),
    "5 without subscribe": EventSubscription(((4, True),)),
    "6 first packet": EventUpdate(1, T),
    "6 active speaker": EventUpdate(2, T, SMITH),
    "6 join": EventUpdate(3, T, TWO_SMITHS),
    "6 leave, no names, string id": EventUpdate(4, T, {"participants": [{"user_id": "16778240"}]}),
    "6 contact center hold": EventUpdate(12, T, {"user_id": 1}),
    "6 contact center, event_ts": EventUpdate(10, T, {"participant_info": {"channel_id": 1, "display_name": "Anna"}}),
    "6 contact center, misspelt": EventUpdate("CONSUMER_ANSWERED", T, {"paticipant_info": {"channel_id": 0}}),
    "6 event_code": EventUpdate(None, T, {"event_code": 7}),
    "6 event_code beside": EventUpdate(3, T, {"event_code": 90003}),
    "6 flat": EventUpdate(5, T, SMITH),
    "6 name": EventUpdate(3, T),
    "7 documented": ClientReadyAck(S),
    "8 documented": StreamStateUpdate(2, 14, T),
    "8 names": StreamStateUpdate(4, 6, T),
    "8 stop_reason for reason": StreamStateUpdate(4, 24),
    "8 undocumented numbers": StreamStateUpdate(77, 99),
    "9 documented": SessionStateUpdate("session1", 5, 6, T),
    "9 reason and names": SessionStateUpdate("session1", 5, 1, T),
    "10 documented": SessionStateRequest("session1"),
    "11 documented": SessionStateResponse("session1", 2, T),
    "12 documented": KeepAliveRequest(T, 7),
    "12 without timestamp": KeepAliveRequest(),
    "12 name, odd types": KeepAliveRequest(str(T), "7"),
    "13 documented": KeepAliveResponse(T, 7),
    "14 documented": Audio(*WHO, T, PCM, 4, 1),
    "14 mixed, no name, no length": Audio(0, None, T, PCM),
    "14 flat": Audio(*WHO, T, PCM),
    "14 numbers as strings": Audio(16778240, None, T, PCM, 4),
    "14 name for number": Audio(0, None, T, PCM),
    "14 content missing": Audio(1, None, T, b""),
    "15 documented": Video(*WHO, T, b"AAAAAWc=", 5),
    "15 flat": Video(*WHO, T, b"AAAAAWc="),
    "16 documented": Share(*WHO, T, b"/9j/", 3),
    "16 flat, name not ascii": Share(1, "Zoë 李", T, b"/9j/"),
    "17 documented": Transcript(*WHO, T, "Guten Tag, 世界", T - 900, T, 14, 1, 2),
    "17 text for data, empty, language a name, more": Transcript(
        1, None, T, "", language="LANGUAGE_ID_GERMAN", extra={"confidence": 0.5}
    ),
    "17 flat": Transcript(*WHO, T, "hello"),
    "18 documented, more": Chat(*WHO, T, "hi", message_id="m1"),
    "18 nobody": Chat(None, None, T, "hi"),
    "18 flat": Chat(*WHO, T, "hi"),
    "19 documented": StreamStateRequest(S),
    "20 documented, seconds": StreamStateResponse(S, 1, 1738394112000),
    "21 documented": StreamCloseRequest(S),
    "22 documented": StreamCloseResponse(S, 0, "", T),
    **{f"{number} reserved": Unknown(number, CASES[f"{number} reserved"]) for number in range(23, 28)},
    "28 documented": VideoSubscriptionRequest(16778240, True, T),
    "29 documented": VideoSubscriptionResponse(16778240, 44, "again", T),
    "unknown number": Unknown(99, {"msg_type": 99, "content": {"a": [1, None, "é"]}, "b": -0.5}),
    "unknown name": Unknown("REWIND_RESP", {"msg_type": "REWIND_RESP", "from": T}),
}


def letters(message: Message) -> Message:
    """A packet's data as bytes: quick reading leaves it in another type than thorough reading."""
    return msgspec.structs.replace(message, data=message.letters()) if isinstance(message, Media) else message


def test_every_fixture_is_expected_and_every_type_has_one() -> None:
    assert CASES.keys() == EXPECTED.keys()
    assert {int(case.split()[0]) for case in CASES if case[0].isdigit()} == set(range(1, 30))


@pytest.mark.parametrize("case", CASES)
def test_reading(case: str) -> None:
    body, expected = CASES[case], EXPECTED[case]
    spellings = (
        json.dumps(body).encode(),  # ASCII only
        json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
        json.dumps(dict(reversed(body.items())), indent="\t").encode() + b"\n",  # as Zoom's SDK, in binary frames
    )
    for raw in spellings:
        message = read(raw)
        assert type(message) is type(expected)
        assert letters(message) == expected


# A reading that lost something on the way (a name instead of a number, a flat content) is written as documented.
@pytest.mark.parametrize("case", [case for case, message in EXPECTED.items() if not isinstance(message, Unknown)])
def test_what_is_written_reads_back(case: str) -> None:
    raw = encode(EXPECTED[case])
    assert json.loads(raw)["msg_type"] == int(EXPECTED[case].msg_type)
    assert letters(read(raw)) == EXPECTED[case]


@pytest.mark.parametrize("case", [case for case in CASES if "documented" in case and case[:2] not in ("17", "20")])
def test_the_documented_form_is_written_field_by_field(case: str) -> None:
    assert json.loads(encode(EXPECTED[case])) == CASES[case]


WRITTEN: dict[str, str] = {
    line["case"]: line["written"]
    for line in map(json.loads, FIXTURES.with_name("written.jsonl").read_text().splitlines())
}
MORE: dict[str, Message] = {
    "1 everything": SignalingHandshakeRequest("u", "s", SIG, 5, True, 2, {"engagement_id": "e", "call_id": "c"}),
    "1 nothing": SignalingHandshakeRequest(None, None, None, protocol_version=None),
    "1 empty": SignalingHandshakeRequest("", "", SIG),
    "2 nothing": SignalingHandshakeResponse(None),
    "3 everything": MediaHandshakeRequest(
        "u", "s", SIG, MediaType.AUDIO | MediaType.VIDEO, DEFAULT_PARAMS, 5, 2, {"call_id": "u"}
    ),
    "3 nothing": MediaHandshakeRequest(None, None, None, None, protocol_version=None),
    "3 empty params": MediaHandshakeRequest("u", "s", SIG, 1, MediaParams(audio=AudioParams())),
    "4 nothing": MediaHandshakeResponse(None),
    "5 nothing": EventSubscription(()),
    "5 no type": EventSubscription(((None, True), (6, False))),
    "6 nothing": EventUpdate(None),
    "6 null among the fields": EventUpdate(2, T, {"user_id": 0, "user_name": None, "odd": [None, {"a": None}]}),
    "8 nothing": StreamStateUpdate(None),
    "8 members": StreamStateUpdate(StreamState.TERMINATED, StopReason.STOP_BC_MEETING_ENDED, T),
    "9 members": SessionStateUpdate("s", SessionState.STOPPED, StopReason.STOP_BC_MEETING_ENDED, T),
    "12 sequence only": KeepAliveRequest(None, 7),
    "13 odd types": KeepAliveResponse({"a": [1]}, 1 << 70),
    "14 text": Audio(7, 'Zoë "q" \ud800', T, "AAEC/w==", 4, "left"),
    "14 nothing": Audio(None, None, None, ""),
    "14 as it came": read(b'{"msg_type":14,"content":{"user_id":1,"data":"AA\\/\\u002b","timestamp":1}}'),
    "15 channel": Video(1, None, T, b"AAAA", None, 0),
    "16 not base64": Share("x", None, T, b"\xff\x00"),
    "17 everything": Transcript(0, "", T, "é\n", 1, 2, "de", 3, "left", {"b": 1, "a": None, "c": {"d": None}}),
    "17 nothing": Transcript(None, None, None, None),
    "18 null among the rest": Chat(1, "n", T, "", {"sender": {"user_id": None}, "operation_type": 1, "x": None}),
    "18 nothing": Chat(None, None, None, None),
    "22 nothing": StreamCloseResponse(None, None),
    "28 nobody": VideoSubscriptionRequest(None, False),
    "29 text": VideoSubscriptionResponse("abc", StatusCode.STATUS_OK, "", 0),
}
"""Messages in which something is missing, empty or odd."""


@pytest.mark.parametrize(
    ("given_type", "event_type"),
    [
        ("3", 3),
        (3.0, 3),
        ("participant_join", 3),
        (" consumer_answered ", "CONSUMER_ANSWERED"),
        ("PARTICIPANT_VIDEO_ON", "PARTICIPANT_VIDEO_ON"),
        ("NEWS", "NEWS"),
        ([3], None),
    ],
)
def test_event_types_in_any_form(given_type: object, event_type: object) -> None:
    message = read(json.dumps({"msg_type": 6, "event": {"event_type": given_type}}).encode())
    assert isinstance(message, EventUpdate)
    assert message.event_type == event_type


def test_every_message_is_written_byte_for_byte_as_before() -> None:
    known = {case: message for case, message in (EXPECTED | MORE).items() if not isinstance(message, Unknown)}
    assert {case: encode(message).decode() for case, message in known.items()} == WRITTEN
    assert {int(case.split()[0]) for case in WRITTEN} == {*range(1, 23), 28, 29}


HELLO = {"protocol_version": 1, "meeting_uuid": "u", "rtms_stream_id": "s", "signature": "f"}


@pytest.mark.parametrize(
    ("message", "written"),
    [
        (
            SignalingHandshakeRequest("u", "s", Signature("f"), 5, True, product_ids={"call_id": "u"}),
            {"msg_type": 1, **HELLO, "sequence": 5, "buffer_data": True, "call_id": "u"},
        ),
        (
            MediaHandshakeRequest("u", "s", Signature("f"), 8, MediaParams(transcript=TranscriptParams(5, 9, False))),
            {
                "msg_type": 3,
                **HELLO,
                "media_type": 8,
                "payload_encryption": False,
                "media_params": {"transcript": {"content_type": 5, "src_language": 9, "enable_lid": False}},
            },
        ),
        (KeepAliveResponse("x", None), {"msg_type": 13, "timestamp": "x"}),
        (KeepAliveResponse(1 << 70, 0), {"msg_type": 13, "timestamp": 1 << 70, "sequence": 0}),
        (VideoSubscriptionRequest(7, False), {"msg_type": 28, "user_id": 7, "subscribe": False}),
    ],
)
def test_what_we_send(message: Message, written: dict[str, object]) -> None:
    assert json.loads(encode(message)) == written


def test_participants_of_events() -> None:
    def people(case: str) -> object:
        message = EXPECTED[case]
        assert isinstance(message, EventUpdate)
        return [(who.party, who.name) for who in people_of(message, "meeting")]

    assert people("6 join") == [WHO, (16778241, "John Smith")]
    assert people("6 active speaker") == [WHO]
    assert people("6 leave, no names, string id") == [(16778240, None)]
    assert people("6 first packet") == []


def test_a_signature_does_not_show() -> None:
    message = read(json.dumps(CASES["1 documented"]).encode())
    assert SIG not in repr(message)
    assert "'[redacted]'" in repr(message)


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        ("AAEC/w==", b"\0\1\2\xff"),
        ("AAEC/w", b"\0\1\2\xff"),
        ("AAEC_w", b"\0\1\2\xff"),
        ("--__", b"\xfb\xef\xff"),
        ("", b""),
        ("A", None),
        ("AA*C", None),
        ("é", None),
        ("data:image/jpeg;base64,AAEC/w==", b"\0\1\2\xff"),
        (" DATA:;base64,\n AAEC\n/w", b"\0\1\2\xff"),
        ("data:video/h264;codecs=avc1;base64,AAEC_w", b"\0\1\2\xff"),
        ("AAEC%2Fw%3D%3D", b"\0\1\2\xff"),
        ("AA==AQ==Ag", b"\0\1\2"),
        ("AAEC/w=", b"\0\1\2\xff"),
        ("AAEC/w=====", b"\0\1\2\xff"),
        ("\tAA EC\f/w\v==\r\n", b"\0\1\2\xff"),
        ("data:AAEC/w==", None),
        ("base64,AAEC/w==", b"\0\1\2\xff"),
        ("b'AAEC/w=='", b"\0\1\2\xff"),
        ('b"AAEC/w=="', b"\0\1\2\xff"),
        ('"data:;base64,AAEC/w=="', b"\0\1\2\xff"),
        ("'AAEC/w==", None),
        ("\ufeffAAEC/w==\0", b"\0\1\2\xff"),
        ("AA\0EC/w==", None),
        ("b'", None),
        ("=A=", None),
        ("AA==" * 100, None),
    ],
)
def test_payloads(data: str, payload: bytes | None) -> None:
    for content in ({"content": data, "timestamp": T}, {"content": {"data": data, "timestamp": T}}):
        for kind in (14, "14"):  # the number is read quickly, the text thoroughly
            message = read(json.dumps({"msg_type": kind} | content, ensure_ascii=False).encode())
            assert isinstance(message, Audio)
            assert message.payload() == payload


@pytest.mark.parametrize(
    ("data", "length", "payload"),
    [
        ("  / ", 3, b"\xfb\xef\xfe"),
        ("AAEC /w=", 5, b"\0\1\2\xfb\xfc"),
        ("AA EC /w==", 4, b"\0\1\2\xff"),
        ("AAEC /w=", None, b"\0\1\2\xff"),
    ],
)
def test_blanks_are_pluses_where_the_length_says_so(data: str, length: int | None, payload: bytes) -> None:
    assert Audio(0, None, T, data, length).payload() == payload


@pytest.mark.parametrize(
    "data",
    [
        [0, 128, 255],
        [0, -128, -1],
        {"type": "Buffer", "data": [0, 128, 255]},
        {"0": 0, "1": 128, "2": 255},
        {"type": "Buffer", "data": "AID/"},
    ],
)
def test_payloads_of_numbers(data: object) -> None:
    message = read(json.dumps({"msg_type": 14, "content": {"data": data, "timestamp": T}}).encode())
    assert isinstance(message, Audio)
    assert message.payload() == b"\0\x80\xff"


@pytest.mark.parametrize("data", [[256], [0.5], ["AA"], {"data": [None]}])
def test_payloads_of_what_are_no_bytes(data: object) -> None:
    message = read(json.dumps({"msg_type": 14, "content": {"data": data, "timestamp": T}}).encode())
    assert isinstance(message, Audio)
    assert message.payload() is None


@pytest.mark.parametrize(
    "data", ["AAAAAQAAAAIAAAAD", "QUFBQUFRQUFBQUlBQUFBRA==", "000000010000000200000003", "0x000000010000000200000003"]
)
def test_payloads_that_are_encoded_twice_are_told_by_their_length(data: str) -> None:
    wanted = bytes.fromhex("000000010000000200000003")
    message = read(json.dumps({"msg_type": 14, "content": {"data": data, "length": 12, "timestamp": T}}).encode())
    assert isinstance(message, Audio)
    payload = message.payload() or b""
    assert (payload if len(payload) == 12 else message.inner_payload(payload)) == wanted


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (rb"\/9j\/", b"\xff\xd8\xff"),
        (rb"AAA\u002B", b"\0\0\x3e"),  # .NET escapes the plus
        (rb"AAEC\u002fw\u003d\u003d", b"\0\1\2\xff"),
        (rb"AAEC\r\n/w==", b"\0\1\2\xff"),  # MIME breaks lines
    ],
)
def test_payloads_with_escapes(data: bytes, payload: bytes) -> None:
    message = read(b'{"msg_type":16,"content":{"user_id":1,"data":"%b","timestamp":1}}' % data)
    assert isinstance(message, Share)
    assert message.payload() == payload


def test_escapes_of_urls_cost_little_memory_whatever_they_are() -> None:
    def peak(escape: bytes) -> int:
        message = read(b'{"msg_type":15,"content":{"user_id":1,"timestamp":1,"data":"%b"}}' % (escape * 100_000))
        assert isinstance(message, Media)
        tracemalloc.start()
        message.payload()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert max(map(peak, (b"%2B", b"%2f%3D", b"%41", b"%", b"%%%"))) < 10 * 600_000


@settings(deadline=None)
@given(
    st.sampled_from([14, 15, 16]),
    st.integers(-(1 << 63), (1 << 63) - 1) | st.text(max_size=3).filter(lambda text: not text.strip().isdigit()),
    st.none() | st.text(max_size=5),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.binary(max_size=30),
)
def test_fast_and_thorough_reading_agree(kind: int, who: int | str, name: str | None, at: int, payload: bytes) -> None:
    data = base64.b64encode(payload).decode()
    content = {"user_id": who, "user_name": name, "timestamp": at, "data": data, "length": len(payload)}
    one = read(json.dumps({"msg_type": kind, "content": content}).encode())
    other = read(json.dumps({"msg_type": str(kind), "content": content}).encode())
    assert isinstance(one, Media)
    assert isinstance(other, Media)
    assert letters(one) == letters(other)
    assert one.payload() == other.payload() == payload


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "not JSON: Expecting value"),
        (b"\xff\xfe{}", "not UTF-8 (byte 0)"),
        (b"[1]", "JSON, but not an object: list"),
        (b"null", "JSON, but not an object: NoneType"),
        (b"{}", "a JSON object without msg_type"),
        (b'{"msg_type": NaN}', "not JSON: NaN is not JSON"),
        (b'{"msg_type": 14, "content": {"data": "AAAA", "timestamp": -Infinity}}', "not JSON: -Infinity is not JSON"),
        (b'{"msg_type": 7}{', "not JSON: Extra data"),
        (b'{"msg_type": 7, "x": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "JSON nested deeper than 64"),
        (b"[" * MAX_MEMBERS, "JSON nested deeper than 64"),
        (b"[" * (16 << 20), "JSON of more than 200 members"),
        (b'{"msg_type": 6, "x": [' + b"[]," * 5_000_000 + b"[]]}", "JSON of more than 200 members"),
        (b"[]," * 15_001 + b"," * 15_000, "JSON of more than 30000 members"),
        (b"\n" * (2 << 20), "not JSON: Input data was truncated"),
        (b'{"msg_type": 14, "content": {"data": "' + rb"\ud83d" * 200_000 + b'"}}', "not JSON: JSON is malformed"),
        (b'{"msg_type": 18, "content": {"data": "' + b"x" * MAX_TEXT + b'"}}', "1048617 bytes, and not a media packet"),
    ],
)
def test_what_cannot_be_read_says_why(raw: bytes, problem: str) -> None:
    message = read(raw)
    assert isinstance(message, Unreadable)
    assert message.problem.startswith(problem)


def test_many_brackets_are_not_depth() -> None:
    body = {"msg_type": 99, "x": [[] for _ in range(1000)]}
    assert read(json.dumps(body).encode()) == Unknown(99, body)
    assert read(json.dumps({"msg_type": 18, "content": '"\\[{' * 100}).encode()) == Chat(
        None, None, None, '"\\[{' * 100
    )


ODD = st.sampled_from(
    [
        "", "-1", "1e999", "\0", "\ud800", "CON", "é" * 4000, "A" * 100_001, "====", 1 << 31, 1 << 63, -(1 << 70),
        10**4000, 1e308, -0.5, float("nan"), float("inf"), [[[]]], {"a": {"b": []}}, [None] * 50, T + 10**11,
    ]
)  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def paths(value: object, prefix: tuple[str | int, ...] = ()) -> Iterable[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*prefix, key)
        yield from paths(one, (*prefix, key))


def finite(value: object) -> bool:
    if isinstance(value, dict | list):
        return all(finite(inner) for inner in (value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def changed(case: str, path: tuple[str | int, ...], *value: object) -> object:
    """The fixture with one field replaced, or dropped if there is no value for it."""
    body = at = json.loads(json.dumps(CASES[case]))
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    if value and isinstance(at, list):
        at.insert(int(path[-1]), *value)
    elif value:
        at[path[-1]] = value[0]
    return body


PLACES = [(case, path) for case, body in CASES.items() for path in paths(body) if path != ("msg_type",)]


@settings(deadline=None)
@given(st.sampled_from(PLACES), st.tuples() | st.tuples(ANY), st.booleans())
def test_a_mutated_field_never_raises_and_never_changes_the_type(
    place: tuple[str, tuple[str | int, ...]], value: tuple[object, ...], ascii_only: bool
) -> None:
    case, path = place
    body = changed(case, path, *value)
    raw = json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    message = read(raw)
    # NaN and Infinity are no JSON, and a lone surrogate is UTF-8 only as an escape.
    broken = not finite(body) or b"\xed\xa0\x80" in raw
    assert type(message) is (Unreadable if broken else type(EXPECTED[case]))
    if isinstance(message, Unknown):
        assert message.fields == whole_text(json.loads(raw))
    if isinstance(message, Media):
        message.payload()


@pytest.mark.parametrize("case", CASES)
def test_deep_nesting_anywhere_is_not_read(case: str) -> None:
    for path in (path for name, path in PLACES if name == case):
        raw = json.dumps(changed(case, path, "deep")).encode().replace(b'"deep"', b"[" * 100 + b"]" * 100)
        assert read(raw) == Unreadable("JSON nested deeper than 64")


@settings(deadline=None)
@given(st.binary() | ANY.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_and_any_json_give_a_message(raw: bytes) -> None:
    assert isinstance(read(raw), Message)


@settings(deadline=None)
@given(st.integers().filter(lambda number: not 0 < number < 30), st.dictionaries(st.text(), st.integers() | st.text()))
def test_unknown_types_and_their_fields_survive(number: int, fields: dict[str, object]) -> None:
    body = fields | {"msg_type": number}
    assert read(json.dumps(body).encode()) == Unknown(number, body)


@pytest.mark.parametrize(
    ("urls", "found"),
    [
        ({"all": {"url": "wss://a/all"}}, {"all": "wss://a/all"}),
        ({"all": [{"url": "srt://a:1"}, {"url": "wss://a"}]}, {"all": "srt://a:1,wss://a"}),
        ({"ALL": "wss://a", "DeskShare": "wss://b"}, {"all": "wss://a", "share": "wss://b"}),
        ({"all": None, "audio": 5, "video": []}, {}),
        ([["wss://a"]], {"all": "wss://a"}),
    ],
)
def test_media_urls_of_any_shape(urls: object, found: dict[str, str]) -> None:
    answer = read(json.dumps({"msg_type": 2, "status_code": 0, "media_server": {"server_urls": urls}}).encode())
    assert isinstance(answer, SignalingHandshakeResponse)
    assert answer.server_urls == found


def test_a_packets_timestamp_may_stand_beside_its_content() -> None:
    packet = {"msg_type": 14, "timestamp": T, "user_id": 3, "content": {"user_id": 4, "data": "AAAA"}}
    message = read(json.dumps(packet).encode())
    assert isinstance(message, Audio)
    assert (message.user_id, message.timestamp, message.payload()) == (4, T, bytes(3))
