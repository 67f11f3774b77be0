"""Webhooks in every shape of PROTOCOL §2, what people paste of them, and bodies that are none."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.urls import first_url, is_websocket_url, other_urls
from rtms_cli.protocol.webhooks import (
    Ids,
    OtherWebhook,
    Stream,
    StreamInterrupted,
    StreamStart,
    StreamStop,
    UnreadableWebhook,
    UrlValidation,
    Webhook,
    event_ms,
    read_ids,
    read_payload,
    read_webhook,
)

FOLDER = Path(__file__).parents[2] / "fixtures" / "webhooks"
BODIES = {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.json"))}
S, M, U, T = "stream123==", "AbC123==", "wss://rtms-sjc1.zoom.example/signaling", 1738394112345
NUMBER = "123456789"
SIG = Signature("5f" * 32)
SEVERAL = f"https://zoom.example, {U} ,wss://other.example"


def start(
    product: Product,
    identity: str,
    event_ts: int | None = T,
    signature: Signature | None = None,
    urls: object = U,
    own: str = "",
    key: str | None = None,
    host: bool | None = None,
    operator: str | None = None,
    number: str | None = None,
) -> StreamStart:
    ids = {own: identity} if own else {}
    return StreamStart(Stream(product, identity, S, U, event_ts, signature, urls, ids, key, host, operator, number))


EXPECTED: dict[str, Webhook] = {
    "meeting_started": start(Product.MEETING, M, host=True, operator="op1", number=NUMBER),
    "meeting_started_object": start(Product.MEETING, M, None, SIG, number=NUMBER),
    "webinar_started": start(Product.WEBINAR, M, host=True, operator="op1", number=NUMBER),
    "webinar_started_webinar_uuid": start(Product.WEBINAR, "Web123==", own="webinar_uuid", number=NUMBER),
    "session_started": start(Product.VIDEO_SDK, "Ses123==", own="session_id"),
    "session_started_session_key": start(Product.VIDEO_SDK, "Key123", own="session_key", key="Key123"),
    "contact_center_started": start(Product.CONTACT_CENTER, "eng1", own="engagement_id"),
    "contactcenter_started": start(Product.CONTACT_CENTER, "eng1", own="engagement_id"),
    "phone_started": start(Product.PHONE, "call1", own="call_id"),
    "phone_call_started": start(Product.PHONE, "call1", own="call_id"),
    "server_urls_several": start(Product.MEETING, M, urls=SEVERAL),
    "server_urls_list": start(Product.MEETING, M, urls=[None, "srt://zoom.example", U, "wss://other.example"]),
    "server_urls_object": start(
        Product.MEETING, M, urls={"all": "wss://all.example", "signal": "wss://signal.example", "signaling": U}
    ),
    "server_urls_object_all": start(Product.MEETING, M, urls={"audio": "wss://audio.example", "all": U}),
    "event_ts_string": start(Product.MEETING, M),
    "meeting_stopped": StreamStop(Product.MEETING, S, 6, T),
    "session_stopped_object_name": StreamStop(Product.VIDEO_SDK, S, 8, T),
    "phone_stopped_without_reason": StreamStop(Product.PHONE, S, None, T),
    "meeting_interrupted": StreamInterrupted(Product.MEETING, S, U, T),
    "contact_center_interrupted": StreamInterrupted(Product.CONTACT_CENTER, S, None, T),
    "url_validation": UrlValidation("plain-token-1"),
    "concurrency_limited": OtherWebhook(
        "rtms.concurrency_limited",
        None,
        "a stream does not start: the account may not have more streams at once, 2000 are running; "
        "meeting_uuid AbC123== operator_id op1",
    ),
    "concurrency_near_limit": OtherWebhook(
        "rtms.concurrency_near_limit", None, "1601 of 2000 streams at once (80 %): more will soon not start"
    ),
    "start_failed": OtherWebhook("rtms.start_failed", None, "a stream could not be started; meeting_uuid AbC123=="),
    "session_started_both": start(Product.VIDEO_SDK, "Ses123==", own="session_id", key="Key123"),
    "webinar_started_both": start(Product.WEBINAR, M, own="webinar_uuid"),
    "phone_started_number": start(Product.PHONE, "7428734287342873", own="call_id"),
    "server_urls_srt": start(Product.MEETING, M, urls=f"srt://x:y@zoom.example:9000?passphrase=hush,{U}"),
}


def test_every_fixture_is_expected() -> None:
    assert BODIES.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", BODIES)
def test_reading(name: str) -> None:
    assert read_webhook(BODIES[name]) == EXPECTED[name]


def hook(event: object = "meeting.rtms_started", **changes: object) -> bytes:
    """A started webhook with some fields changed; `...` is a field that is not there."""
    fields: dict[str, object] = {"meeting_uuid": M, "rtms_stream_id": S, "server_urls": U} | changes
    payload = {name: value for name, value in fields.items() if value is not ...}
    return json.dumps({"event": event, "event_ts": T, "payload": payload}).encode()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not JSON: Expecting value"),
        (b"\xff", "not UTF-8 (byte 0)"),
        (b"[" * 1000, "JSON nested deeper than 64"),
        (b"[]", "not a webhook: a JSON object with an 'event' is expected"),
        (b'{"event": 5}', "not a webhook: a JSON object with an 'event' is expected"),
        (b'{"event": "endpoint.url_validation"}', "endpoint.url_validation without payload.plainToken"),
        (b'{"event": "meeting.rtms_started"}', "meeting.rtms_started: no meeting_uuid or webinar_uuid"),
        (b'{"event": "meeting.rtms_stopped", "payload": 7}', "meeting.rtms_stopped: no rtms_stream_id in the payload"),
        (hook(meeting_uuid=...), "meeting.rtms_started: no meeting_uuid or webinar_uuid in the payload"),
        (hook(meeting_uuid=True), "meeting.rtms_started: no meeting_uuid or webinar_uuid in the payload"),
        (hook(meeting_uuid={"a": 1}), "meeting.rtms_started: no meeting_uuid or webinar_uuid in the payload"),
        (hook("webinar.rtms_started", meeting_uuid=""), "webinar.rtms_started: no meeting_uuid or webinar_uuid"),
        (
            hook("session.rtms_started", meeting_uuid=...),
            "session.rtms_started: no session_id or session_key or meeting_",
        ),
        (hook("phone.rtms_started", meeting_uuid=...), "phone.rtms_started: no call_id or meeting_uuid in the payload"),
        (hook("contactcenter.rtms_started", meeting_uuid=""), "contactcenter.rtms_started: no engagement_id or meet"),
        (hook(rtms_stream_id=None), "meeting.rtms_started: no rtms_stream_id in the payload"),
        (hook(server_urls=...), "meeting.rtms_started: no ws:// or wss:// URL in server_urls"),
        (hook(server_urls="https://zoom.us"), "meeting.rtms_started: no ws:// or wss:// URL in server_urls"),
        (hook(meeting_uuid="u" * 10_001), "meeting.rtms_started: meeting_uuid is 10001 characters long"),
        (hook(rtms_stream_id="s" * 10_001), "meeting.rtms_started: rtms_stream_id is 10001 characters long"),
    ],
)
def test_what_is_no_webhook_says_why(body: bytes, problem: str) -> None:
    webhook = read_webhook(body)
    assert isinstance(webhook, UnreadableWebhook)
    assert webhook.problem.startswith(problem)


@pytest.mark.parametrize("event", ["meeting.started", "meeting.rtms_paused", "room.rtms_started", "", "MEETING.rtms_"])
def test_unknown_events_are_kept_by_name(event: str) -> None:
    assert read_webhook(hook(event)) == OtherWebhook(event, S)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({}, "a stream does not start: the account may not have more streams at once"),
        ({"id_field": 7, "concurrency_number": "2000"}, "a stream does not start: the account may not have more "
         "streams at once, 2000 are running"),
        ({"object": {"id_field": {"session_id": 12}}}, "a stream does not start: the account may not have more streams "
         "at once; session_id 12"),
    ],
)  # fmt: skip
def test_a_limit_is_told_whatever_the_shape(payload: object, says: str) -> None:
    body = json.dumps({"event": "rtms.concurrency_limited", "payload": payload}).encode()
    webhook = read_webhook(body)
    assert isinstance(webhook, OtherWebhook)
    assert webhook.says == says


@pytest.mark.parametrize(
    ("percentage", "share"),
    [(80, " (80 %)"), ("80", " (80 %)"), ("80 %", " (80 %)"), (80.05, " (80.05 %)"), (None, ""), ([80], "")],
)
def test_how_near_a_limit_is_is_told_whatever_the_shape(percentage: object, share: str) -> None:
    payload = {"concurrency_limit": 2000, "concurrency_number": 1601, "percentage": percentage}
    webhook = read_webhook(json.dumps({"event": "rtms.concurrency_near_limit", "payload": payload}).encode())
    assert isinstance(webhook, OtherWebhook)
    assert webhook.says == f"1601 of 2000 streams at once{share}: more will soon not start"


def test_a_failed_start_says_why_where_the_payload_does() -> None:
    body = json.dumps({"event": "rtms.start_failed", "payload": {"reason": "no credits", "call_id": 7}}).encode()
    assert read_webhook(body) == OtherWebhook(
        "rtms.start_failed", None, "a stream could not be started: no credits; call_id 7"
    )


@pytest.mark.parametrize("event", ["meeting.rtms_started", "webinar.rtms_started"])
@pytest.mark.parametrize("field", ["meeting_uuid", "webinar_uuid"])
def test_a_webinar_may_come_as_either(event: str, field: str) -> None:
    webhook = read_webhook(hook(event, **({"meeting_uuid": ...} | {field: M})))
    assert isinstance(webhook, StreamStart)
    assert webhook.stream.id == M
    assert webhook.stream.product_ids() == ({field: M} if field == "webinar_uuid" else {})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"stop_reason": "STOP_BC_NEW"}, "STOP_BC_NEW"),
        ({"stop_reason": None, "reason": "8"}, 8),
        ({"reason": "STOP_BC_APP_DISABLED_BY_HOST"}, 5),
        ({"stop_reason": {}}, None),
    ],
)
def test_reasons_of_a_stop(fields: dict[str, object], reason: object) -> None:
    webhook = read_webhook(hook("meeting.rtms_stopped", **fields))
    assert isinstance(webhook, StreamStop)
    assert webhook.reason == reason


def test_numbers_are_ids() -> None:
    webhook = read_webhook(hook(meeting_uuid=123, rtms_stream_id=4.0))
    assert isinstance(webhook, StreamStart)
    assert (webhook.stream.id, webhook.stream.stream_id) == ("123", "4")
    assert read_webhook(hook("meeting.rtms_stopped", rtms_stream_id=4)) == StreamStop(Product.MEETING, "4", None, T)


@pytest.mark.parametrize(
    ("given_urls", "others"),
    [
        (U, []),
        (f"{U},srt://a.example:9000", ["srt://a.example:9000"]),
        ("SRT://user:word@a:1/live?passphrase=hush,srt://a:1#x", ["srt://a:1"]),
        ([U, {"srt": "srt://a"}, 7], ["srt://a"]),
        ({"all": f"{U}?a=1,2", "b": "https://c"}, ["https://c"]),
        ("nothing", []),
        (None, []),
    ],
)
def test_what_is_offered_beside_websockets(given_urls: object, others: list[str]) -> None:
    assert other_urls(given_urls) == others


@pytest.mark.parametrize(
    ("given_urls", "url"),
    [
        (U, U),
        (f" {U} ", U),
        (f"srt://a:1,{U}", U),
        (f"{U}?a=1,2", f"{U}?a=1,2"),
        (f"{U}, other.example", U),
        (f"{U},", U),
        (f"srt://a:1;{U}", U),
        (f"srt://a:1 {U}", U),
        (f"srt://a:1\n{U}\n", U),
        (f"srt://a:1|{U}", U),
        (f"{U}/x;y=1", f"{U}/x;y=1"),
        ([{"protocol": "srt", "url": "srt://a:1"}, {"protocol": "ws", "url": U}], U),
        ({"all": {"srt": "srt://a:1", "wss": U}}, U),
        ("ws://127.0.0.1:8080/x,wss://b", "ws://127.0.0.1:8080/x"),
        ("", None),
        (",,", None),
        ([], None),
        ([{"all": U}], U),
        ({"all": "https://no", "video": U}, U),
        ({"signal": "wss://signal", "all": "wss://all"}, "wss://signal"),
        ({"signaling": [U], "signal": "wss://signal"}, U),
        ({}, None),
        (None, None),
        (7, None),
        (True, None),
    ],
)
def test_server_urls(given_urls: object, url: str | None) -> None:
    assert first_url(given_urls) == url


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("wss://a", True),
        ("WSS://a", True),
        ("ws://[::1]:1/x?y", True),
        ("wss://", False),
        ("wss:///path", False),
        ("http://a", False),
        ("wss://a:0", False),
        ("wss://a:65536", False),
        ("wss://[::1", False),
        ("wss:a", False),
        ("", False),
    ],
)
def test_websocket_urls(text: str, good: bool) -> None:
    assert is_websocket_url(text) is good


@pytest.mark.parametrize(
    ("body", "retry"),
    [
        (hook(), True),
        (hook(operator_id="other"), True),
        (hook(server_urls="wss://other"), False),
        (hook(server_urls=[U]), False),
        (hook().replace(str(T).encode(), str(T + 1).encode()), False),
    ],
)
def test_retry_or_failover(body: bytes, retry: bool) -> None:
    first, second = read_webhook(hook()), read_webhook(body)
    assert isinstance(first, StreamStart)
    assert isinstance(second, StreamStart)
    assert second.stream.is_retry_of(first.stream) is retry


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("meeting_started", {}),
        ("webinar_started", {}),
        ("webinar_started_webinar_uuid", {"webinar_uuid": "Web123=="}),
        ("webinar_started_both", {"webinar_uuid": M}),
        ("session_started", {"session_id": "Ses123=="}),
        ("session_started_session_key", {"session_key": "Key123"}),
        ("session_started_both", {"session_id": "Ses123=="}),
        ("phone_started_number", {"call_id": "7428734287342873"}),
        ("contact_center_started", {"engagement_id": "eng1"}),
        ("phone_started", {"call_id": "call1"}),
    ],
)
def test_ids_that_handshakes_carry_beside_meeting_uuid(name: str, ids: dict[str, str]) -> None:
    webhook = read_webhook(BODIES[name])
    assert isinstance(webhook, StreamStart)
    assert webhook.stream.product_ids() == ids


@pytest.mark.parametrize("name", [name for name, webhook in EXPECTED.items() if isinstance(webhook, StreamStart)])
def test_people_paste_a_webhook_its_payload_or_the_object_in_it(name: str) -> None:
    expected = EXPECTED[name]
    assert isinstance(expected, StreamStart)
    assert read_payload(BODIES[name]) == expected.stream
    body = json.loads(BODIES[name])
    payload = body["payload"]
    wanted = expected.stream
    for pasted in (payload, payload.get("object", payload)):
        stream = read_payload(json.dumps(pasted).encode())
        assert (stream.id, stream.stream_id, stream.server_url) == (wanted.id, wanted.stream_id, wanted.server_url)
        assert (stream.event_ts, stream.signature) == (None, wanted.signature)
        # A webinar's payload tells nothing that a meeting's does not, unless a field has "webinar" in its name.
        same = wanted.product is not Product.WEBINAR or "webinar_uuid" in payload
        assert stream.product is (wanted.product if same else Product.MEETING)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{", "not JSON"),
        (b"[]", "a JSON object is expected, not a list"),
        (b"{}", "no id in the payload: meeting_uuid, session_id, engagement_id or call_id is expected"),
        (BODIES["meeting_stopped"], "meeting.rtms_stopped starts no stream: a …rtms_started webhook is expected"),
        (hook(rtms_stream_id=...), "meeting.rtms_started: no rtms_stream_id in the payload"),
    ],
)
def test_what_cannot_be_joined_says_why(text: bytes, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_payload(text)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (
            BODIES["meeting_started_object"],
            Ids(Product.MEETING, M, S, SIG, {"meeting_id": "123456789", "account_id": "abc123", "host_id": "user123"}),
        ),
        (BODIES["meeting_stopped"], Ids(Product.MEETING, M, S)),
        (
            BODIES["webinar_started_webinar_uuid"],
            Ids(Product.WEBINAR, "Web123==", S, None, {"webinar_id": "123456789"}),
        ),
        (b'{"call_id": "c", "rtms_stream_id": "s"}', Ids(Product.PHONE, "c", "s")),
        (b'{"call_id": 0, "rtms_stream_id": 5}', Ids(Product.PHONE, "0", "5")),
        (
            b'{"meeting_uuid": "u", "webinar_id": null, "session_id": "", "call_id": null, "rtms_stream_id": "s"}',
            Ids(Product.MEETING, "u", "s"),
        ),
    ],
)
def test_ids_to_sign(text: bytes, ids: Ids) -> None:
    assert read_ids(text) == ids


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"\xff", "not UTF-8 (byte 0)"),
        (b"[]", "a JSON object is expected, not a list"),
        (b"{}", "no id in the payload: meeting_uuid, session_id, engagement_id or call_id is expected"),
        (b'{"rtms_stream_id": "s"}', "no id in the payload: meeting_uuid, session_id, engagement_id or call_id is ex"),
        (b'{"meeting_uuid": "u"}', "no rtms_stream_id in the payload"),
    ],
)
def test_ids_that_are_missing(text: bytes, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_ids(text)
    assert str(caught.value).startswith(problem)


FIELDS = ["event", "event_ts", "payload", "object", "meeting_uuid", "session_id", "rtms_stream_id", "server_urls"]
EVENTS = st.sampled_from([json.loads(body)["event"] for body in BODIES.values()])
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from([U, "\ud800", "8"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.binary() | ANY.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_and_any_json_give_a_webhook(body: bytes) -> None:
    assert isinstance(read_webhook(body), Webhook)


@settings(deadline=None)
@given(EVENTS, ANY)
def test_any_payload_of_a_known_event_gives_that_event_or_says_why_not(event: str, payload: object) -> None:
    webhook = read_webhook(json.dumps({"event": event, "payload": payload}).encode())
    match webhook:
        case UnreadableWebhook(problem):
            assert problem.startswith((event, "not JSON"))
        case StreamStart():
            assert event.endswith("rtms_started")
            assert webhook.stream.server_url == first_url(webhook.stream.server_urls)
        case StreamStop():
            assert event.endswith("rtms_stopped")
        case StreamInterrupted():
            assert event.endswith("rtms_interrupted")
        case UrlValidation():
            assert event == "endpoint.url_validation"
        case OtherWebhook(name):
            assert name == event


@pytest.mark.parametrize(
    "urls", [["wss://x", *[[]] * 20_000], {"all": "wss://x", **dict.fromkeys(map(str, range(9999)), 0)}]
)
def test_of_server_urls_only_urls_are_kept(urls: object) -> None:
    payload = {"meeting_uuid": "uuid", "rtms_stream_id": "stream", "server_urls": urls}
    webhook = read_webhook(json.dumps({"event": "meeting.rtms_started", "payload": payload}).encode())
    assert isinstance(webhook, StreamStart)
    assert webhook.stream.server_urls == ["wss://x"]


def test_urls_nested_without_end_take_no_time() -> None:
    nested: object = "wss://x.zoom.us"
    for _ in range(60):
        nested = {"all": nested}
    assert first_url(nested) is None
    assert first_url({"all": {"all": "wss://x.zoom.us"}}) == "wss://x.zoom.us"


@pytest.mark.parametrize(
    ("given", "ms"),
    [
        (T, T), (str(T), T), (float(T), T), (f"{T}.0", T), (T + 0.3, T), (T * 1000, T), (T * 10**6, T), (f"{T}000", T),
        (1738394112, 1738394112000), ("1738394112", 1738394112000), (1738394112.345, T), ("1738394112.345", T),
        (1000, 1000), (0, None), (-5, None), (True, None), (None, None), ("soon", None), ("1e400", None), ([], None),
        (float("nan"), None), (float("inf"), None), (10**30, None), ("9" * 100, None), ("", None), ("." * 30, None),
    ],
)  # fmt: skip
def test_times_in_any_unit(given: object, ms: int | None) -> None:
    assert event_ms(given) == ms


def test_without_a_time_the_urls_tell_a_retry_from_a_failover() -> None:
    first, same = start(Product.MEETING, M).stream, start(Product.MEETING, M, None).stream
    other = start(Product.MEETING, M, None, urls=["wss://other.zoom.us"]).stream
    assert same.is_retry_of(first)
    assert first.is_retry_of(same)
    assert not other.is_retry_of(first)


@pytest.mark.parametrize(
    ("event", "product"),
    [
        ("session.rtms_started", Product.VIDEO_SDK),
        ("contactcenter.rtms_started", Product.CONTACT_CENTER),
        ("phone.call_rtms_started", Product.PHONE),
    ],
)
def test_the_id_of_any_product_may_be_called_meeting_uuid(event: str, product: Product) -> None:
    webhook = read_webhook(hook(event))
    assert isinstance(webhook, StreamStart)
    assert (webhook.stream.product, webhook.stream.id) == (product, "AbC123==")
    assert webhook.stream.product_ids() == {product.id_field: "AbC123=="}


@pytest.mark.parametrize("field", ["webinar_uuid", "session_id", "engagement_id", "call_id"])
def test_a_payload_without_its_event_is_told_by_its_own_id(field: str) -> None:
    stream = read_payload(
        json.dumps({"meeting_uuid": "x", field: "x", "rtms_stream_id": "s", "server_urls": U}).encode()
    )
    assert stream.product_ids() == {field: "x"}


@pytest.mark.parametrize(
    ("text", "what"), [(b"null", "null"), (b"[]", "a list"), (b"3", "a number"), (b"true", "true or false")]
)
def test_what_is_no_object_is_named_in_words(text: bytes, what: str) -> None:
    for read in (read_ids, read_payload):
        with pytest.raises(ValueError, match=f"a JSON object is expected, not {what}$"):
            read(text)


@pytest.mark.parametrize(
    ("given", "is_host"),
    [
        (True, True), ("true", True), ("TRUE ", True), (1, True), (1.0, True), ("1", True),
        (False, False), ("false", False), ("False", False), (0, False), ("0", False),
        (..., None), (None, None), ("", None), ("yes", None), (2, None), ([], None), ({"a": 1}, None),
        ("true" * 9, None),
    ],
)  # fmt: skip
def test_whose_stream_it_is(given: object, is_host: bool | None) -> None:
    webhook = read_webhook(hook(is_original_host=given, operator_id=7))
    assert isinstance(webhook, StreamStart)
    assert webhook.stream.is_original_host is is_host
    assert webhook.stream.operator_id == "7"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(json_values, json_values)
def test_whose_stream_it_is_never_costs_a_start(is_host: object, operator: object) -> None:
    webhook = read_webhook(hook(is_original_host=is_host, operator_id=operator))
    assert isinstance(webhook, StreamStart)
    assert webhook.stream.is_original_host in (True, False, None)
    assert webhook.stream.operator_id is None or 0 < len(webhook.stream.operator_id) <= 200
