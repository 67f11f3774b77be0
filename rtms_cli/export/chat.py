"""The chat → documents and tables: its messages as they stood in the end, with replies, reactions and files."""

import json
from collections.abc import Callable

from rtms_cli.export.breaking import flat
from rtms_cli.export.source import Recorded
from rtms_cli.export.text import marked
from rtms_cli.protocol.conversation import Conversation, Post
from rtms_cli.protocol.times import clock_time

COLUMNS = (
    "t", "user_id", "name", "to", "text", "message_id", "parent_message_id", "edited", "deleted", "files", "reactions",
    "note",
)  # fmt: skip
KINDS = ("float", *("text",) * 6, "flag", "flag", *("text",) * 3)


def conversation(recorded: Recorded) -> Conversation:
    """The chat of a recording; `at` is in seconds since its zero."""
    found = Conversation()
    for line in recorded.lines("chat"):
        t = line.get("t")
        found.take(float(t) if isinstance(t, int | float) else None, line)
    found.call(recorded.names())
    return found


def rows(chat: Conversation) -> list[tuple[object, ...]]:
    """A row a message, for tables; what was taken back has no text."""
    return [
        (
            post.at,
            None if post.user_id is None else str(post.user_id),
            post.name,
            post.to,
            "" if post.is_deleted else post.text,
            post.message_id,
            post.parent_id,
            post.is_edited,
            post.is_deleted,
            "" if post.is_deleted else "; ".join(name for _, name in post.files),
            "; ".join(f"{emoji} {', '.join(names)}" for emoji, names in post.reactions.items()),
            post.note,
        )
        for post in chat.posts
    ]


def _txt(chat: Conversation) -> str:
    return "".join(f"[{_time(post)}] {flat(chat.sender(post) or '?')}: {flat(post.shown())}\n" for post in chat.posts)


def _md(chat: Conversation) -> str:
    blocks = ["# Chat\n\n"]
    for post in chat.posts:
        sender = marked(chat.sender(post) or "?")
        blocks.append(f"**{sender}** <small>{_time(post)}</small>  \n{marked(post.shown())}\n\n")
    return "".join(blocks)


def _json(chat: Conversation) -> str:
    listed = []
    for row, post in zip(rows(chat), chat.posts, strict=True):
        one = dict(zip(COLUMNS, row, strict=True)) | {"user_id": post.user_id, "reactions": post.reactions}
        files = [] if post.is_deleted else post.files
        listed.append(one | {"files": [{"file_id": ident, "name": name} for ident, name in files]})
    return json.dumps({"messages": listed}, ensure_ascii=False, indent=2) + "\n"


WRITERS: dict[str, Callable[[Conversation], str]] = {"txt": _txt, "md": _md, "json": _json}
"""The formats by their names on the command line."""


def _time(post: Post) -> str:
    return "?" if post.at is None else clock_time(max(0.0, post.at))
