"""What the content of a chat message says, in the shapes of before and since July 2026 (PROTOCOL §4).

A message's own fields win over those of its `sender`, and over those of the JSON that its text may be: whoever writes
`{"operation_type": 2, "message_id": …}` into a chat takes nothing back with it.
"""

from collections.abc import Mapping

from rtms_cli.protocol.fields import (
    AS_IS,
    ID,
    PERSON,
    TIME,
    USER,
    WORDS,
    Field,
    Key,
    Kind,
    Nested,
    Shape,
    text_or_none,
)
from rtms_cli.protocol.numbers import ChatOperation
from rtms_cli.protocol.strict_json import loads

MOST_LETTERS = 1 << 18
"""A longer text is not looked into."""

_MARKS = ("operation_type", "message_id")
_OTHERS = ("parent_message_id", "chat_session", "sender", "receiver", "files", "delete_file_id_list", "timestamp")
_TEXTS = ("data", "text", "message", "content")
"""Which of them holds the text in a JSON text is not public."""


def _read_operation(value: object) -> int | str | None:
    known = ChatOperation.find(value)
    return text_or_none(value) if known is None else known


_SHAPE = Shape(
    *USER,
    WORDS,
    Field("timestamp", TIME),
    Field("operation_type", Kind(_read_operation, is_number=True), "operation"),
    Field("message_id", ID),
    Field("parent_message_id", ID),
    Field("chat_session", AS_IS),
    Key("sender", inside=Shape(*PERSON, is_open=True)),
    Field("receiver", AS_IS),
    Field("files", AS_IS),
    Field("delete_file_id_list", AS_IS, "deleted_files"),
    rest="extra",
    dropped=("length", "media_type"),
    is_open=True,
)


class ChatContent(Nested, frozen=True):
    """The content of `18`."""

    def read(self, given: Mapping[str, object], found: dict[str, object]) -> None:
        """See `Key.read`."""
        found |= self.inside.read(_with_sender(_opened(self.gathered(given))))

    def write(self, holder: object, written: dict[str, object]) -> None:
        """See `Key.write`: since there are operations, the sender stands in an object too."""
        super().write(holder, written)
        content = written[self.key]
        assert isinstance(content, dict)
        person = {name: content[name] for name in ("user_id", "user_name") if name in content}
        if person and "operation_type" in content:
            content.setdefault("sender", person)


CONTENT = ChatContent("content", inside=_SHAPE)


def _opened(content: Mapping[str, object]) -> Mapping[str, object]:
    """The content with the fields that its text holds, where that is sure to be JSON of these same fields."""
    place = next((name for name in ("data", "text", "content") if content.get(name)), "")
    inner = content.get(place)
    if isinstance(inner, str) and len(inner) <= MOST_LETTERS and inner.lstrip()[:1] == "{":
        try:
            inner = loads(inner.encode())
        except ValueError:
            return content
    if not isinstance(inner, Mapping):
        return content
    own = {name: value for name, value in content.items() if value is not None and name not in _TEXTS}
    marks = [name for name in _MARKS if inner.get(name) is not None]
    known = [name for name in (*marks, *_OTHERS, *_TEXTS) if name in inner]
    if not marks or len(known) < 2 or any(name in own and _says(own, name) != _says(inner, name) for name in marks):
        return content
    text = next((inner[name] for name in _TEXTS if isinstance(inner.get(name), str)), None)
    rest = {name: value for name, value in inner.items() if name not in _TEXTS}
    if text is None and rest.keys() - {*_MARKS, *_OTHERS, "user_id", "user_name"}:
        text = content[place]  # one of the others may be the text: the whole of it stays
    return {**rest, **own, "data": text}


def _says(content: Mapping[str, object], name: str) -> object:
    """What a field says, in whatever notation: `4` and `"EMOJI_ADD"` are the same operation."""
    return _SHAPE.by_name[name].kind.read(content[name])


def _with_sender(content: Mapping[str, object]) -> Mapping[str, object]:
    """The content with its sender beside the other fields; a sender that says more, or other things, stays too."""
    sender = content.get("sender")
    if not isinstance(sender, Mapping):
        return content
    found = dict(content)
    for name in ("user_id", "user_name"):
        if found.get(name) is None and sender.get(name) is not None:
            found[name] = sender[name]
    if all(found.get(name) == value for name, value in sender.items() if value is not None):
        del found["sender"]
    return found
