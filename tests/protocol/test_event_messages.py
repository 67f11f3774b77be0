"""Messages of the event WebSocket: any bytes give a value, and what is delivered comes out as it went in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.protocol.event_socket import (
    ConnectionBuilt,
    EventDelivery,
    HeartbeatAnswer,
    OtherModule,
    built,
    delivery,
    heartbeat_answer,
    read_event_message,
)
from rtms_cli.protocol.messages import Unreadable

KINDS = (ConnectionBuilt, HeartbeatAnswer, EventDelivery, OtherModule, Unreadable)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "module": st.sampled_from(["build_connection", "heartbeat", "message", "MESSAGE", "new"]) | values,
        "content": values | values.map(json.dumps) | values.map(json.dumps).map(json.dumps),
        "success": values,
        "header": values,
    },
)


@given(st.binary() | values.map(json.dumps).map(str.encode) | messages.map(json.dumps).map(str.encode))
def test_any_bytes_give_a_value(raw: bytes) -> None:
    message = read_event_message(raw)
    assert isinstance(message, KINDS)
    if isinstance(message, EventDelivery):
        message.webhook.decode()
    if isinstance(message, ConnectionBuilt | HeartbeatAnswer | OtherModule):
        assert len(message.says) <= 200


@given(st.dictionaries(st.text(), st.text() | st.integers(-(2**53), 2**53)))
def test_an_event_comes_out_as_it_went_in(event: dict[str, object]) -> None:
    body = json.dumps(event, ensure_ascii=False).encode()
    assert read_event_message(delivery(body)) == EventDelivery(body)
    as_object = json.dumps({"module": "message", "content": event, "header": None}).encode()
    found = read_event_message(as_object)
    assert isinstance(found, EventDelivery)
    assert json.loads(found.webhook) == event


@pytest.mark.parametrize(
    ("success", "is_success"),
    [
        *((True, True), ("true", True), (None, True), (1, True), ([], True)),
        *((False, False), ("false", False), ("FALSE", False), (0, False)),
    ],
)
def test_what_worked(success: object, is_success: bool) -> None:
    raw = json.dumps({"module": "build_connection", "success": success, "content": 7}).encode()
    assert read_event_message(raw) == ConnectionBuilt(is_success, "7")


def test_what_the_documents_show() -> None:
    shown = b'{"module":"heartbeat","success":true,"content":"live","header":{}}'
    assert read_event_message(shown) == HeartbeatAnswer(True, "live")
    assert json.loads(heartbeat_answer()) == json.loads(shown)
    assert read_event_message(b'{"module":"build_connection","success":true}') == ConnectionBuilt(True)
    assert read_event_message(built(is_success=False, says="no")) == ConnectionBuilt(False, "no")
    assert read_event_message(b'{"module":"news","content":{"a":1}}') == OtherModule("news", '{"a":1}')


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"module":7}', b'{"module":"message"}', b'{"module":"message","content":""}']
)
def test_what_is_no_message_says_why(raw: bytes) -> None:
    message = read_event_message(raw)
    assert isinstance(message, Unreadable)
    assert message.problem
