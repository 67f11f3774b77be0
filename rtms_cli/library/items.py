"""What a stream and a recording give: sound, pictures, lines of text, and what becomes of the connection."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from rtms_cli.protocol.fields import UserId

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TEXT_KINDS = ("transcript", "chat", "events")
"""The kinds of lines, as their files are called."""


class Audio(Struct, frozen=True, eq=False):
    """Sound that was sent, of one person or of all together. Nothing is made up where nobody sent anything."""

    samples: "npt.NDArray[np.int16]"
    """Of shape (n,), or (n, 2) of stereo; read-only. What was Opus, G.711 or G.722 is decoded."""
    rate: int
    """Samples of a channel in a second."""
    timestamp: int
    """When the first sample was, in ms on Zoom's clock; on ours, where the packets have no usable time."""
    user_id: UserId = None
    """Whose it is; `None` is everybody's. In Contact Center and Phone it is the `channel_id`."""
    user_name: str | None = None

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate


class Picture(Struct, frozen=True):
    """One picture of a camera or of a shared screen."""

    kind: str
    """`video` or `share`."""
    data: bytes
    """A whole JPEG or PNG, or an H.264 access unit with start codes."""
    codec: str
    """`JPG`, `PNG` or `H264`; empty where it is none of them."""
    timestamp: int | None
    """In ms on Zoom's clock."""
    is_key: bool
    """Whether a decoder can begin here: every image, and an H.264 key frame."""
    user_id: UserId = None
    """Whose it is; `None` is nobody's in particular."""
    user_name: str | None = None


class Transcript(Struct, frozen=True):
    """Something that was said: a line of transcript.jsonl."""

    text: str
    timestamp: int | None
    """In ms on Zoom's clock."""
    t: float | None
    """Seconds since the recording's zero; of a stream that runs, as far as that is known by then."""
    user_id: UserId
    user_name: str | None
    language: str | None
    start_time: int | None
    """When it was begun to be said, in ms; see `timestamp`."""
    end_time: int | None
    attribute: str
    """`UPDATE` or `DELETE` where it changes or takes back what was said before; else empty."""
    fields: Mapping[str, Any]
    """The whole line."""


class Chat(Struct, frozen=True):
    """A chat message, or what was done to one: a line of chat.jsonl."""

    text: str
    timestamp: int | None
    """In ms on Zoom's clock."""
    t: float | None
    """As in `Transcript`."""
    user_id: UserId
    user_name: str | None
    operation: str
    """`new`, `update`, `delete`, `emoji_add`, `emoji_remove`; empty where Zoom does not say."""
    message_id: str | None
    fields: Mapping[str, Any]
    """The whole line: receivers, files, reactions."""


class Event(Struct, frozen=True):
    """Something that happened in the meeting: a line of events.jsonl."""

    name: str
    """`PARTICIPANT_JOIN`, `ACTIVE_SPEAKER_CHANGE`, …; of a mark, `MARK`."""
    timestamp: int | None
    """In ms on Zoom's clock."""
    t: float | None
    """As in `Transcript`."""
    fields: Mapping[str, Any]
    """The whole line, with the event's own fields."""


class State(Struct, frozen=True):
    """What becomes of the stream's connections; told at once, before media that wait."""

    name: str
    """Of a connection `opening`, `open`, `refused`, `closed`; a `warning`; of Zoom's `session` and `stream`, what
    `text` says: `started`, `paused`, `resumed`, …; `finished` at the end."""
    channel: str
    """`signaling`, `media`, or `media.audio` and so on where each kind has a connection of its own."""
    text: str = ""
    """For people."""


Item = Audio | Picture | Transcript | Chat | Event | State
"""Whatever a stream gives."""

Line = Transcript | Chat | Event
"""What is text among them."""


def line_of(kind: str, fields: Mapping[str, Any], whose: Callable[[UserId, UserId], UserId]) -> Line:
    """A line of a recording's JSONL file, whose values may be anything.

    :param kind: one of `TEXT_KINDS`.
    :param whose: the party that a user id and a channel id stand for.
    """
    timestamp, t = _whole(fields.get("timestamp")), fields.get("t")
    t = float(t) if isinstance(t, int | float) and not isinstance(t, bool) else None
    if kind == "events":
        return Event(_text(fields.get("event")), timestamp, t, fields)
    user, channel = _id(fields.get("user_id")), _id(fields.get("channel_id"))
    who, name = whose(user, channel), _text(fields.get("user_name")) or None
    if kind == "chat":
        operation, message_id = fields.get("operation"), _id(fields.get("message_id"))
        told = str(operation) if isinstance(operation, str | int) else ""
        ident = None if message_id is None else str(message_id)
        return Chat(_text(fields.get("text")), timestamp, t, who, name, told, ident, fields)
    return Transcript(
        _text(fields.get("text")),
        timestamp,
        t,
        who,
        name,
        _text(fields.get("language")) or None,
        _whole(fields.get("start_time")),
        _whole(fields.get("end_time")),
        _text(fields.get("attribute")),
        fields,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _id(value: object) -> UserId:
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None
