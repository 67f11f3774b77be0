"""What the operations of a chat make of its messages, in any order and any shape."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.protocol.conversation import Conversation, Post, chat_gist
from rtms_cli.protocol.messages import Chat, read

NEW = {"operation": "new", "message_id": "m1", "user_id": 7, "user_name": "Anna", "text": "helo"}
UPDATE = {**NEW, "operation": "update", "text": "hello"}
DELETE = {**NEW, "operation": "delete", "text": None}
THUMB = {"operation": "emoji_add", "message_id": "m1", "user_id": 8, "user_name": "Bernd", "text": "👍"}
FILES = [{"file_id": "a", "file_name": "a.pdf"}, {"file_id": "b", "file_name": "b.pdf"}]
TAKEN = {**DELETE, "delete_file_id_list": ["a"]}


def posts(*lines: dict[str, Any]) -> list[Post]:
    conversation = Conversation()
    for number, line in enumerate(lines):
        conversation.take(float(number), line)
    return conversation.posts


def gist(post: Post) -> str:
    """A post in one line, for these tables."""
    marks = [word for word in ("is_known", "is_edited", "is_deleted") if getattr(post, word)]
    files = [name for _, name in post.files]
    parts = (post.name, post.text, *(mark[3:] for mark in marks), *files, post.note, str(post.reactions or ""))
    return " ".join(filter(None, parts))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([NEW], ["Anna helo known"]),
        ([{"user_id": 7, "user_name": "Anna", "text": "before July"}], ["Anna before July known"]),
        ([{"user_id": nobody, "text": "hi"} for nobody in (0, "0", "", None)], ["hi known"] * 4),
        ([NEW, UPDATE], ["Anna hello known edited"]),
        ([UPDATE, NEW], ["Anna hello known edited"]),
        ([UPDATE], ["Anna hello edited"]),
        ([NEW, DELETE], ["Anna helo known deleted"]),
        ([DELETE, NEW], ["Anna helo known deleted"]),
        ([NEW, DELETE, UPDATE], ["Anna hello known edited deleted"]),
        ([DELETE], ["deleted"]),
        ([NEW, NEW], ["Anna helo known"]),  # sent again after a reconnect
        ([NEW, UPDATE, NEW], ["Anna hello known edited"]),
        ([NEW, {**NEW, "text": "another"}], ["Anna helo known", "Anna another known"]),
        ([NEW, THUMB], ["Anna helo known {'👍': ['Bernd']}"]),
        ([THUMB], ["{'👍': ['Bernd']}"]),
        ([NEW, THUMB, {**THUMB, "operation": "emoji_remove"}], ["Anna helo known"]),
        ([NEW, {**THUMB, "operation": "emoji_remove", "timestamp": 9}, {**THUMB, "timestamp": 8}], ["Anna helo known"]),
        ([NEW, THUMB, {**THUMB, "user_id": 9}], ["Anna helo known {'👍': ['Bernd', 'Bernd']}"]),
        ([NEW, {**THUMB, "message_id": None, "parent_message_id": "m1"}], ["Anna helo known {'👍': ['Bernd']}"]),
        ([NEW, {**THUMB, "text": None, "extra": {"emoji": "🎉"}}], ["Anna helo known {'🎉': ['Bernd']}"]),
        ([NEW, {**THUMB, "text": '{"emoji":"🎉"}'}], ["Anna helo known {'🎉': ['Bernd']}"]),
        ([NEW, {**THUMB, "text": None, "extra": {"emoji": {"code": "U+1F389"}}}],
         ["Anna helo known {'U+1F389': ['Bernd']}"]),
        ([NEW, {**THUMB, "text": None, "extra": {"reaction": {"name": "tada", "n": 1}}}],
         ["Anna helo known {'tada': ['Bernd']}"]),
        ([{**NEW, "message_id": 12.0}, {**DELETE, "message_id": "12"}], ["Anna helo known deleted"]),
        ([{**NEW, "timestamp": 1}, {**UPDATE, "timestamp": 5}, {**UPDATE, "text": "older", "timestamp": 3}],
         ["Anna hello known edited"]),
        ([NEW, {**NEW, "operation": 9, "text": "pinned"}], ["Anna helo known", "Anna pinned operation 9 on m1"]),
        ([{**NEW, "operation": "PIN", "message_id": None}], ["Anna helo operation PIN"]),
        ([{**UPDATE, "message_id": None}], ["Anna hello operation 3 UPDATE"]),
        ([{**NEW, "files": FILES}], ["Anna helo known a.pdf b.pdf"]),
        ([{**NEW, "files": FILES}, {**UPDATE, "delete_file_id_list": ["a"]}], ["Anna hello known edited b.pdf"]),
        ([{**NEW, "files": FILES}, {**DELETE, "delete_file_id_list": ["a"]}], ["Anna helo known b.pdf"]),
        ([{**NEW, "files": FILES}, {**DELETE, "delete_file_id_list": ["a", "b"]}],
         ["Anna helo known deleted"]),
        ([{**NEW, "files": FILES}, TAKEN, TAKEN], ["Anna helo known b.pdf"]),  # sent again after a reconnect
        ([TAKEN, {**NEW, "files": FILES}], ["Anna helo known b.pdf"]),
        ([{**UPDATE, "delete_file_id_list": ["a"]}, {**NEW, "files": FILES}], ["Anna hello known edited b.pdf"]),
        ([{**NEW, "files": FILES}, TAKEN, {**TAKEN, "delete_file_id_list": ["b"]}], ["Anna helo known deleted"]),
        ([{**NEW, "files": FILES}, {**TAKEN, "delete_file_id_list": [{"file_id": "a"}]}], ["Anna helo known b.pdf"]),
        ([{**NEW, "files": FILES}, {**TAKEN, "delete_file_id_list": "a"}], ["Anna helo known b.pdf"]),
        ([{**NEW, "files": FILES}, {**TAKEN, "delete_file_id_list": ["z"]}],
         ["Anna helo known deleted a.pdf b.pdf"]),
        ([{**NEW, "timestamp": 1000}, {**UPDATE, "text": "first", "timestamp": 3000}, UPDATE],
         ["Anna hello known edited"]),  # one without a time comes when it comes
        ([{**NEW, "message_id": 5}, {**UPDATE, "message_id": "5"}], ["Anna hello known edited"]),
    ],
)  # fmt: skip
def test_operations_are_applied(lines: list[dict[str, Any]], expected: list[str]) -> None:
    assert list(map(gist, posts(*lines))) == expected


@pytest.mark.parametrize(
    ("line", "to"),
    [
        ({"chat_session": {"type": "everyone"}, "receiver": {"user_name": "All"}}, ""),
        ({"chat_session": {"type": "individual"}, "receiver": {"user_id": 8, "user_name": "Bernd"}}, "Bernd"),
        ({"chat_session": {"type": 2}}, "one person"),
        ({"chat_session": 4}, "hosts and panelists"),
        ({"receiver": "Bernd"}, "Bernd"),
        ({"chat_session": [], "receiver": 8}, "8"),
        ({"chat_session": {"type": 2}, "receiver": [{"user_name": "Ann"}, {"user_id": 9}, "Zoë"]}, "Ann, 9, Zoë"),
        ({"chat_session": {"type": "chat_group", "group_name": "Team"}}, "Team"),
    ],
)
def test_who_could_read_it(line: dict[str, Any], to: str) -> None:
    assert posts({**NEW, **line})[0].to == to


def test_only_so_many_are_kept() -> None:
    conversation = Conversation(most=2)
    for number in range(4):
        conversation.take(0.0, {**NEW, "message_id": number})
    conversation.take(0.0, {**DELETE, "message_id": "unknown"})
    assert (len(conversation.posts), conversation.left_out) == (2, 3)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"data": "hi"}, "hi"),
        ({"data": "hi", "operation_type": 1, "parent_message_id": "m0"}, "(reply) hi"),
        ({"data": "hi", "operation_type": 3}, "(edited) hi"),
        ({"operation_type": 2}, "(deleted a message)"),
        ({"data": "👍", "operation_type": 4}, "(reacted) 👍"),
        ({"data": "👍", "operation_type": 5}, "(took a reaction back) 👍"),
        ({"data": "x", "operation_type": 9}, "(operation 9) x"),
        ({"operation_type": 1, "files": FILES}, "📎 a.pdf 📎 b.pdf"),
    ],
)
def test_a_message_in_a_few_words(content: dict[str, Any], expected: str) -> None:
    message = read(json.dumps({"msg_type": 18, "content": content}).encode())
    assert isinstance(message, Chat)
    assert chat_gist(message) == expected


KEYS = (
    *NEW, "parent_message_id", "chat_session", "receiver", "files", "delete_file_id_list", "extra", "timestamp",
)  # fmt: skip
VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(0, 6)
    | st.floats()
    | st.sampled_from(["m1", "new", "delete", "type", "👍"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "file_id", "name", "emoji", "user_name"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), VALUE), max_size=6))
def test_no_shape_is_trusted_and_nothing_is_dropped(lines: list[dict[str, Any]]) -> None:
    found = posts(*lines)
    assert bool(found) == bool(lines)
    assert all(isinstance(gist(post), str) and isinstance(post.to, str) for post in found)


def test_a_time_that_is_far_too_large_is_none() -> None:
    assert [gist(post) for post in posts({**NEW, "timestamp": 10**400}, {**UPDATE, "timestamp": -(10**400)})] == [
        "Anna hello known edited"
    ]
