"""Chat in the shapes of before and since July 2026."""

import json

import pytest

from rtms_cli.protocol.chat import MOST_LETTERS
from rtms_cli.protocol.conversation import chat_line
from rtms_cli.protocol.messages import Chat, Transcript, encode, read
from rtms_cli.protocol.numbers import Attribute, ChatOperation

T = 1_783_000_000_123
ANNA = {"user_id": 7, "user_name": "Anna"}
NEW = {"operation_type": 1, "message_id": "m1"}


def chat(content: object, **beside: object) -> Chat:
    message = read(json.dumps({"msg_type": 18, "content": content, **beside}).encode())
    assert isinstance(message, Chat)
    return message


def test_all_fields_of_july_2026() -> None:
    files = [{"file_id": "f1", "file_name": "plan.pdf", "file_size": 3}]
    message = chat(
        {
            **NEW, "parent_message_id": "m0", "chat_session": {"type": 3, "group_id": "g"}, "sender": ANNA,
            "receiver": {"user_id": 8}, "files": files, "delete_file_id_list": ["f0"], "data": "hi", "timestamp": T,
            "colour": "red",
        }
    )  # fmt: skip
    assert message == Chat(
        7, "Anna", T, "hi", {"colour": "red"}, ChatOperation.NEW, "m1", "m0", {"type": 3, "group_id": "g"},
        {"user_id": 8}, files, ["f0"],
    )  # fmt: skip
    assert json.loads(encode(message))["content"]["sender"] == ANNA
    assert read(encode(message)) == message


@pytest.mark.parametrize(
    ("given", "operation"),
    [
        (1, "new"), (2, "delete"), (3, "update"), (4, "emoji_add"), (5, "emoji_remove"), ("2", "delete"),
        ("UPDATE", "update"), ("CHAT_OPERATION_EMOJI_ADD", "emoji_add"), (9, 9), ("PIN", "PIN"), (None, None),
    ],
)  # fmt: skip
def test_operations(given: object, operation: object) -> None:
    message = chat({"operation_type": given, "data": "x"})
    assert chat_line(message).get("operation") == operation
    assert message.extra == {}


def test_a_transcripts_attribute_has_other_numbers() -> None:
    for number, change in ((2, Attribute.UPDATE), (3, Attribute.DELETE), ("DELETE", Attribute.DELETE)):
        line = read(json.dumps({"msg_type": 17, "content": {"data": "x", "attribute": number}}).encode())
        assert isinstance(line, Transcript)
        assert line.attribute is change
    assert chat({"data": "x", "attribute": 2}).operation is None


@pytest.mark.parametrize(
    ("content", "who", "extra"),
    [
        ({"sender": ANNA}, (7, "Anna"), {}),
        ({"sender": {"user_id": "7"}, "user_name": "Anna"}, (7, "Anna"), {}),
        ({**ANNA, "sender": ANNA}, (7, "Anna"), {}),
        ({"user_id": 8, "sender": ANNA}, (8, "Anna"), {"sender": ANNA}),
        ({"sender": {**ANNA, "role": "host"}}, (7, "Anna"), {"sender": {**ANNA, "role": "host"}}),
        ({"sender": "Anna"}, (None, None), {"sender": "Anna"}),
        ({"sender": None}, (None, None), {"sender": None}),
        ({"sender": {}}, (None, None), {}),
    ],
)  # fmt: skip
def test_the_sender_may_stand_in_an_object(
    content: dict[str, object], who: tuple[object, object], extra: dict[str, object]
) -> None:
    message = chat({"data": "x", **content})
    assert (message.user_id, message.user_name) == who
    assert message.extra == extra


@pytest.mark.parametrize("name", ["data", "text", "message", "content"])
def test_the_text_may_be_json_of_the_same_fields(name: str) -> None:
    inner = {**NEW, "sender": ANNA, "timestamp": T, name: "hi", "colour": "red"}
    expected = Chat(7, "Anna", T, "hi", {"colour": "red"}, ChatOperation.NEW, "m1")
    assert chat({"data": json.dumps(inner)}) == expected
    assert chat({"text": json.dumps(inner)}) == expected
    assert chat({"data": inner}) == expected
    assert chat(json.dumps(inner)) == expected
    assert chat({"data": json.dumps(inner), "message_id": "m1", "timestamp": T, **ANNA}) == expected
    assert chat({"data": json.dumps(inner | {"operation_type": "NEW"}), **NEW}) == expected


def test_an_operation_in_json_needs_no_text() -> None:
    assert chat({"data": json.dumps({"operation_type": 2, "message_id": "m1"})}).text is None


@pytest.mark.parametrize(
    ("text", "beside"),
    [
        ('{"price": 3}', {}),
        ("{not JSON", {}),
        ('{"message_id": "m1"}', {}),  # not enough to be sure
        ('{"operation_type": 2, "message_id": "m9"}', NEW),  # someone wrote that
        ('{"operation_type": 1, "message_id": "m1", "data": "\\ud800"', {}),
        ('["operation_type", "message_id"]', {}),
        (json.dumps({**NEW, "body": "where the text may be"}), {}),
        (json.dumps({**NEW, "data": "x" * MOST_LETTERS}), {}),
        (json.dumps({**NEW, "data": "hi"}) + "!", {}),
    ],
)
def test_a_text_stays_as_it_is_where_that_is_not_sure(text: str, beside: dict[str, object]) -> None:
    message = chat({"data": text, **beside})
    assert message.text == text
    assert message.message_id in (None, "m1")


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({"type": 1}, {"type": "everyone"}),
        ({"type": "2", "id": 5}, {"type": "individual", "id": 5}),
        (4, {"type": "hosts_and_panelists"}),
        ({"type": 5}, {"type": "individual_cc_hosts_and_panelists"}),
        ({"type": 99}, {"type": 99}),
        ({"type": None}, {"type": None}),
        ("lobby", "lobby"),
        ([1], [1]),
        (None, None),
    ],
)
def test_chat_sessions_have_names(given: object, written: object) -> None:
    assert chat_line(chat({"chat_session": given})).get("chat_session") == written


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"data": None, "text": "hi"}, "hi"),
        ({"data": "", "text": "hi"}, "hi"),
        ({"data": ""}, ""),
        ({"data": 42}, "42"),
        ({"message": "hi"}, "hi"),
        ({"data": ["a", 1]}, '["a",1]'),
        ({}, None),
    ],
)
@pytest.mark.parametrize("kind", [17, 18])
def test_where_the_words_stand(kind: int, content: dict[str, object], text: str | None) -> None:
    message = read(json.dumps({"msg_type": kind, "content": {"user_id": 1, **content}}).encode())
    assert isinstance(message, Chat | Transcript)
    assert message.text == text


@pytest.mark.parametrize(
    ("kind", "content", "kept"),
    [
        (18, {"user_name": {"first": "Ann"}}, {"user_name": {"first": "Ann"}}),
        (18, {"operation_type": [1], "message_id": {"id": 3}}, {"operation_type": [1], "message_id": {"id": 3}}),
        (18, {"data": "hello", "text": "hola"}, {"text": "hola"}),
        (18, {"data": "", "text": "hola"}, {}),
        (17, {"start_time": "00:00:05", "language": ["de"]}, {"start_time": "00:00:05", "language": ["de"]}),
        (17, {"attribute": "FINAL", "timestamp": "2026-11-27T10:00:00Z"},
         {"attribute": "FINAL", "timestamp": "2026-11-27T10:00:00Z"}),
        (17, {"user_id": "7", "end_time": "1795000000", "attribute": "NEW", "user_name": 7}, {}),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_kept(kind: int, content: dict[str, object], kept: dict[str, object]) -> None:
    message = read(json.dumps({"msg_type": kind, "content": {"data": "x", **content}}).encode())
    assert isinstance(message, Chat | Transcript)
    assert message.extra == kept


@pytest.mark.parametrize(("given", "ident"), [(12, "12"), (12.0, "12"), ("012", "012"), (10**30, str(10**30))])
def test_ids_may_be_numbers(given: object, ident: str) -> None:
    message = chat({"message_id": given, "parent_message_id": given, "user_name": 7})
    assert (message.message_id, message.parent_message_id, message.user_name) == (ident, ident, "7")


@pytest.mark.parametrize("kind", [17, 18])
def test_what_stands_beside_the_content_is_its_own(kind: int) -> None:
    beside = {"msg_type": kind, "user_id": 7, "user_name": "Ann", "timestamp": 1_783_000_000_000, "data": "no"}
    message = read(json.dumps(beside | {"content": {"data": "hi", "user_id": 8}}).encode())
    assert isinstance(message, Chat | Transcript)
    assert (message.text, message.user_id, message.user_name) == ("hi", 8, "Ann")
    assert message.timestamp == 1_783_000_000_000
    assert message.extra == {}
