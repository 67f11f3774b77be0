"""Which of the streams that are announced is the one that Zoom was asked for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.cloud.rest import Target
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream, StreamStart, read_webhook
from rtms_cli.station.awaiting import Awaited

MEETING = Target(Product.MEETING, "85512345678")


def stream(product: Product = Product.MEETING, stream_id: str = "s", **more: str) -> Stream:
    return Stream(product, more.pop("id", "uuid=="), stream_id, "wss://example.zoom.us", number=more.get("number"))


@pytest.mark.parametrize("product", [Product.MEETING, Product.WEBINAR])
def test_a_meeting_is_told_by_its_number(product: Product) -> None:
    awaited = Awaited(MEETING)
    assert awaited.refusal(stream(product, number="85512345678"), []) is None
    assert "is not of meeting 85512345678" in (awaited.refusal(stream(product, number="85512345679"), []) or "")


def test_one_without_a_number_is_taken_once_zoom_was_asked() -> None:
    awaited = Awaited(MEETING)
    assert "or does not say so" in (awaited.refusal(stream(), []) or "")
    awaited.is_asked_for = True
    assert awaited.refusal(stream(), []) is None
    assert awaited.refusal(stream(Product.PHONE), []) is not None


@pytest.mark.parametrize("product", [Product.VIDEO_SDK, Product.CONTACT_CENTER, Product.PHONE])
def test_others_are_told_by_their_id(product: Product) -> None:
    awaited = Awaited(Target(product, "id"))
    awaited.is_asked_for = True
    assert awaited.refusal(stream(product, id="id"), []) is None
    assert awaited.refusal(stream(product, id="other"), []) is not None
    assert awaited.refusal(stream(Product.MEETING, id="id"), []) is not None


def test_only_one_stream_of_it_is_recorded_and_may_come_back() -> None:
    awaited = Awaited(MEETING)
    first, second = stream(number=MEETING.id), stream(stream_id="t", number=MEETING.id)
    assert "one is recorded already" in (awaited.refusal(second, [first]) or "")
    assert awaited.refusal(first, [first]) is None
    awaited.has_ended.set()
    assert awaited.refusal(second, []) == "it is over"


@pytest.mark.parametrize("name", ["meeting_id", "webinar_id"])
@pytest.mark.parametrize("written", [85512345678, "85512345678", "855 1234 5678", "855-1234-5678", 85512345678.0])
def test_the_number_is_read_as_it_is_written(name: str, written: object) -> None:
    assert number_of({name: written}) == "85512345678"


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner), max_leaves=3))
def test_what_is_no_number_is_none(written: object) -> None:
    found = number_of({"meeting_id": written})
    assert found is None or (found.isascii() and found.isdigit())


def number_of(fields: dict[str, object]) -> str | None:
    payload = {"meeting_uuid": "u", "rtms_stream_id": "s", "server_urls": "wss://example.zoom.us", **fields}
    webhook = read_webhook(json.dumps({"event": "meeting.rtms_started", "payload": payload}, default=str).encode())
    if isinstance(webhook, StreamStart):
        return webhook.stream.number
    assert "NaN" in str(fields) or "inf" in str(fields) or "nan" in str(fields), webhook
    return None
