"""A chat as people read it: what its operations make of its messages (PROTOCOL §4, "Chat messages since July 2026").

The operations are lines as `chat.jsonl` has them, from us or from anyone. Nothing is trusted, and nothing is dropped:
what belongs to no message that is known stands for itself, and says so. Time decides between operations, not arrival.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from rtms_cli.protocol.fields import UserId, id_or_none, name_or_none, text_or_none, user_id, words_or_none
from rtms_cli.protocol.messages import Chat
from rtms_cli.protocol.numbers import ChatOperation, ChatSessionType, as_int
from rtms_cli.protocol.strict_json import loads
from rtms_cli.protocol.webhooks import is_older

_GISTS = {
    "update": "edited",
    "delete": "deleted a message",
    "emoji_add": "reacted",
    "emoji_remove": "took a reaction back",
}
_TITLES = ("name", "group_name", "chat_group_name", "session_name", "title")
_EMOJIS = ("emoji", "reaction", "emoji_unicode", "unicode", "value", "emoji_name", "name", "shortcode", "code")
_LONGEST_EMOJI = 1_000


def chat_line(message: Chat) -> dict[str, object]:
    """What `chat.jsonl` says of a message, after its times."""
    fields: dict[str, object] = {
        "operation": _operation_line(message.operation),
        "message_id": message.message_id,
        "parent_message_id": message.parent_message_id or None,
        "chat_session": _session_line(message.chat_session),
        "receiver": message.receiver,
        "files": message.files,
        "delete_file_id_list": message.deleted_files,
        "extra": message.extra or None,
    }
    said = {"user_id": message.user_id, "user_name": message.user_name, "text": message.text}
    return said | {name: value for name, value in fields.items() if value is not None}


def chat_gist(message: Chat) -> str:
    """A message in a few words, with what it does to another one."""
    operation, text = _operation_line(message.operation), message.text or ""
    words = "" if operation in (None, "new") else _GISTS.get(str(operation), f"operation {operation}")
    if not words and message.parent_message_id:
        words = "reply"
    parts = (f"({words})" if words else "", text, *(f"📎 {name}" for name in file_names(message.files)))
    return " ".join(part for part in parts if part)


def chat_change(message: Chat) -> str:
    """What a message does to an earlier one, as `chat.jsonl` has it; nothing if it is new."""
    operation = message.operation
    return str(_operation_line(operation)) if operation not in (None, ChatOperation.NEW) else ""


def chat_receivers(message: Chat) -> str:
    """Who could read a message, if not everyone."""
    return _readers({"chat_session": message.chat_session, "receiver": message.receiver})


class Post(Struct):
    """One message of a chat, as it stood in the end."""

    at: float | None
    """When it was written, in whatever the conversation was told."""
    user_id: UserId = None
    name: str = ""
    text: str = ""
    message_id: str | None = None
    parent_id: str | None = None
    to: str = ""
    """Who could read it, if not everyone."""
    named: list[tuple[str | None, str]] = []
    """Id and name of each file that it came with."""
    gone: set[str | None] = set()
    """The ids of files that were taken back."""
    is_known: bool = False
    """Whether the message itself came, and not only what was done to it."""
    is_edited: bool = False
    is_taken_back: bool = False
    """Whether all of it was deleted."""
    lost_files: bool = False
    """Whether a deletion named files."""
    note: str = ""
    """What is said of it that could not be applied to any message."""
    changed: int | None = None
    """When its text was last changed, on Zoom's clock."""
    stamp: int | None = None
    """When it was written, on Zoom's clock."""
    votes: dict[tuple[str, str], tuple[int | None, bool, str]] = {}
    """By emoji and person: when it was added or taken back, and the person's name."""

    @property
    def files(self) -> list[tuple[str | None, str]]:
        """Id and name of each file that is still there."""
        return [one for one in self.named if one[0] not in self.gone]

    @property
    def is_deleted(self) -> bool:
        """Whether nothing of it is left. A deletion of files takes the message too, unless other files remain."""
        return self.is_taken_back or (self.lost_files and len(self.files) in (0, len(self.named)))

    @property
    def reactions(self) -> dict[str, list[str]]:
        """The reactions, with their senders."""
        found: dict[str, list[str]] = {}
        for (emoji, _), (_, is_there, name) in self.votes.items():
            if is_there:
                found.setdefault(emoji, []).append(name)
        return found

    def shown(self) -> str:
        """Its text, with all that was done to it."""
        body = self.text
        if self.is_deleted:
            body = "(deleted)"
        elif not (self.is_known or self.is_edited or self.note):
            body = "(a message from before the recording)"
        parts = [body, "(edited)" if self.is_edited and not self.is_deleted else ""]
        parts += [] if self.is_deleted else [f"📎 {name}" for _, name in self.files]
        parts += [f"[{emoji} {', '.join(names)}]" for emoji, names in self.reactions.items()]
        parts.append(f"({self.note})" if self.note else "")
        return " ".join(filter(None, parts))


class Conversation:
    """Takes the operations in the order in which they came.

    :param most: how many messages are kept; what is beyond is counted.
    """

    def __init__(self, most: int | None = None) -> None:
        self.posts: list[Post] = []
        self.left_out = 0
        self._most = most
        self._by_id: dict[str, Post] = {}

    def take(self, at: float | None, line: Mapping[str, Any]) -> None:
        """Take one line of `chat.jsonl`.

        :param at: when it was, in seconds of whatever clock.
        """
        found = line.get("operation")
        known = ChatOperation.find(found)
        operation = ChatOperation.NEW if found is None else known
        ident = _id(line.get("message_id"))
        if operation in (ChatOperation.EMOJI_ADD, ChatOperation.EMOJI_REMOVE):
            ident = ident or _id(line.get("parent_message_id"))
        if not isinstance(operation, ChatOperation) or (ident is None and operation is not ChatOperation.NEW):
            what = ChatOperation.label(known) if isinstance(known, ChatOperation) else found
            self._add(Post(at, note=f"operation {what}" if ident is None else f"operation {what} on {ident}"), line)
        elif operation is ChatOperation.NEW:
            self._on_new(at, ident, line)
        elif (post := self._known(at, ident or "")) is not None:
            self._change(post, operation, line)

    def call(self, names: Mapping[UserId, str]) -> None:
        """Name those who wrote without one."""
        for post in self.posts:
            post.name = names.get(post.user_id, post.name) if post.name in ("", str(post.user_id)) else post.name

    def sender(self, post: Post) -> str:
        """Who wrote it, to whom, and in reply to whom: `Anna → Bernd, in reply to Zoë`."""
        who = f"{post.name} → {post.to}" if post.to else post.name
        if post.parent_id is None:
            return who
        parent = self._by_id.get(post.parent_id)
        to = parent.name if parent is not None and parent.name else "a message from before the recording"
        return f"{who}, in reply to {to}"

    def _on_new(self, at: float | None, ident: str | None, line: Mapping[str, Any]) -> None:
        post = None if ident is None else self._by_id.get(ident)
        if post is None or (
            post.is_known and post.text != (words_or_none(line.get("text")) or "") and not post.is_edited
        ):
            post = self._add(Post(at, message_id=ident, is_known=True), line)
        elif not post.is_known:
            edited = post.text, post.named
            _fill(post, line)
            post.at, post.is_known = at, True
            if post.is_edited:
                post.text, post.named = edited[0], edited[1] or post.named
        if ident is not None and post is not None:
            self._by_id[ident] = post

    def _known(self, at: float | None, ident: str) -> Post | None:
        """The message of an id, which may be one from before the recording."""
        post = self._by_id.get(ident)
        if post is None and (post := self._add(Post(at, message_id=ident), {})) is not None:
            self._by_id[ident] = post
        return post

    def _change(self, post: Post, operation: ChatOperation, line: Mapping[str, Any]) -> None:
        stamp = as_int(line.get("timestamp"))
        if operation is ChatOperation.UPDATE:
            post.gone |= _deleted(line)
            if not is_older(stamp, post.changed):
                post.changed, post.is_edited = stamp or post.changed, True
                post.text = words_or_none(line.get("text")) or post.text
                post.named = _files(line.get("files")) or post.named
            if not post.is_known and not post.name:
                _sign(post, line)
        elif operation is ChatOperation.DELETE:
            gone = _deleted(line)
            post.gone |= gone
            post.lost_files, post.is_taken_back = post.lost_files or bool(gone), post.is_taken_back or not gone
        else:
            key = _emoji(line), str(line.get("user_id") or _name(line))
            if key not in post.votes or not is_older(stamp, post.votes[key][0]):
                post.votes[key] = stamp, operation is ChatOperation.EMOJI_ADD, _name(line)

    def _add(self, post: Post, line: Mapping[str, Any]) -> Post | None:
        if self._most is not None and len(self.posts) >= self._most:
            self.left_out += 1
            return None
        _fill(post, line)
        self.posts.append(post)
        return post


def file_names(files: object) -> list[str]:
    """The names of a message's files."""
    return [name for _, name in _files(files)]


def _fill(post: Post, line: Mapping[str, Any]) -> None:
    _sign(post, line)
    post.stamp = as_int(line.get("timestamp"))
    post.text = words_or_none(line.get("text")) or ""
    post.parent_id = _id(line.get("parent_message_id"))
    post.named = _files(line.get("files"))
    post.to = _readers(line)


def _sign(post: Post, line: Mapping[str, Any]) -> None:
    post.user_id = user_id(line.get("user_id"))
    post.name = _name(line)


def _name(line: Mapping[str, Any]) -> str:
    for value in (line.get("user_name"), user_id(line.get("user_id")) or ""):  # 0 is nobody in particular
        if isinstance(value, str | int) and value != "" and value is not False:
            return str(value)
    return ""


def _readers(line: Mapping[str, Any]) -> str:
    session, receiver = line.get("chat_session"), line.get("receiver")
    kind = ChatSessionType.find(session.get("type") if isinstance(session, Mapping) else session)
    if kind == ChatSessionType.EVERYONE:
        return ""
    found = [
        _name(one) if isinstance(one, Mapping) else name_or_none(one) or ""
        for one in (receiver if isinstance(receiver, list) else [receiver])
    ]
    name = ", ".join(dict.fromkeys(filter(None, found)))
    if not name and isinstance(session, Mapping):
        name = next((text for key in _TITLES if (text := text_or_none(session.get(key)))), "")
    return name or (kind.gist if isinstance(kind, ChatSessionType) else "")


def _emoji(line: Mapping[str, Any]) -> str:
    """What someone reacted with: a text, or an object that has it; where it stands is not public."""
    extra = line.get("extra")
    found: object = line.get("text")
    if isinstance(found, str) and found.lstrip()[:1] == "{" and len(found) <= _LONGEST_EMOJI:
        try:
            found = loads(found.encode("utf-8", "replace"))
        except ValueError:
            pass
    for _ in range(3):
        if isinstance(found, str) and found:
            return found
        inside = found if isinstance(found, Mapping) else extra if isinstance(extra, Mapping) else {}
        found, extra = next((inside[key] for key in _EMOJIS if inside.get(key)), None), None
    return words_or_none(found) or "?"


def _id(value: object) -> str | None:
    return id_or_none(value) or None


def _files(files: object) -> list[tuple[str | None, str]]:
    found = []
    for one in files if isinstance(files, list) else [] if files is None else [files]:
        given = one if isinstance(one, Mapping) else {"id": one, "name": one}
        ident = next((text for name in ("file_id", "id") if (text := _id(given.get(name)))), None)
        names = (given.get(name) for name in ("file_name", "name", "title"))
        name = next((value for value in names if isinstance(value, str) and value), None)
        found.append((ident, name or ident or "file"))
    return found


def _deleted(line: Mapping[str, Any]) -> set[str | None]:
    return {ident for ident, _ in _files(line.get("delete_file_id_list")) if ident}


def _operation_line(operation: int | str | None) -> int | str | None:
    """An operation's name in place of its number, where it has one."""
    return operation.name.lower() if isinstance(operation, ChatOperation) else operation


def _session_line(session: object) -> object:
    """A `chat_session` with its type's name in place of the number."""
    kind = session.get("type") if isinstance(session, Mapping) else session
    known = ChatSessionType.find(kind)
    if not isinstance(known, ChatSessionType):
        return session
    return {**session, "type": known.name.lower()} if isinstance(session, Mapping) else {"type": known.name.lower()}
