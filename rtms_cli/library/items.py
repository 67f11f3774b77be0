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
    """Audio as Zoom sent it, of one participant or of all. It has no silence for times in which nothing was sent."""

    samples: "npt.NDArray[np.int16]"
    """Shape (n,), or (n, 2) for stereo; read-only. Opus, G.711 and G.722 are decoded."""
    rate: int
    """Samples per second and channel."""
    timestamp: int
    """The time of the first sample, in ms on Zoom's clock; on this machine's if the packets have no usable time."""
    user_id: UserId = None
    """The participant; `None` means everyone. In Contact Center and Phone it is the `channel_id`."""
    user_name: str | None = None

    @property
    def seconds(self) -> float:
        """The length."""
        return len(self.samples) / self.rate


class Picture(Struct, frozen=True):
    """One picture of a camera or of a shared screen."""

    kind: str
    """`video` or `share`."""
    data: bytes
    """A whole JPEG or PNG, or an H.264 access unit with start codes."""
    codec: str
    """`JPG`, `PNG` or `H264`; empty if it is something else."""
    timestamp: int | None
    """In ms on Zoom's clock."""
    is_key: bool
    """Whether a decoder can start here: true for every image, and for an H.264 key frame."""
    user_id: UserId = None
    """The participant; `None` if there is none in particular."""
    user_name: str | None = None


class Transcript(Struct, frozen=True):
    """Something that was said: a line of transcript.jsonl."""

    text: str
    timestamp: int | None
    """In ms on Zoom's clock."""
    t: float | None
    """Seconds since the recording's zero; `None` if a running stream does not know its zero yet."""
    user_id: UserId
    user_name: str | None
    language: str | None
    start_time: int | None
    """When the sentence began, in ms; see `timestamp`."""
    end_time: int | None
    attribute: str
    """`UPDATE` or `DELETE` if the line changes or deletes an earlier one; otherwise empty."""
    fields: Mapping[str, Any]
    """The whole line."""


class Chat(Struct, frozen=True):
    """A chat message, or a change of one: a line of chat.jsonl."""

    text: str
    timestamp: int | None
    """In ms on Zoom's clock."""
    t: float | None
    """As in `Transcript`."""
    user_id: UserId
    user_name: str | None
    operation: str
    """`new`, `update`, `delete`, `emoji_add`, `emoji_remove`; empty if Zoom does not say."""
    message_id: str | None
    fields: Mapping[str, Any]
    """The whole line: receivers, files, reactions."""


class Event(Struct, frozen=True):
    """Something that happened in the meeting: a line of events.jsonl."""

    name: str
    """`PARTICIPANT_JOIN`, `ACTIVE_SPEAKER_CHANGE`, …; `MARK` for a mark."""
    timestamp: int | None
    """In ms on Zoom's clock."""
    t: float | None
    """As in `Transcript`."""
    fields: Mapping[str, Any]
    """The whole line, with the event's own fields."""


class State(Struct, frozen=True):
    """A change of the stream's connections. It comes at once, before media that is waiting."""

    name: str
    """For a connection: `opening`, `open`, `refused`, `closed`. Also `warning`; `session` and `stream`, whose state
    is in `text` (`started`, `paused`, `resumed`, …); and `finished` at the end."""
    channel: str
    """`signaling` or `media`; `media.audio` and so on if each kind has its own connection."""
    text: str = ""
    """An explanation for people."""


Item = Audio | Picture | Transcript | Chat | Event | State
"""An item of a stream."""

Line = Transcript | Chat | Event
"""What is text among them."""


def line_of(kind: str, fields: Mapping[str, Any], whose: Callable[[UserId, UserId], UserId]) -> Line:
    """A line of a recording's JSONL file, whose values may be anything.

    :param kind: one of `TEXT_KINDS`.
    :param whose: the party that a user id and a channel id stand for.
    """
    timestamp, t = _as_int(fields.get("timestamp")), fields.get("t")
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
        _as_int(fields.get("start_time")),
        _as_int(fields.get("end_time")),
        _text(fields.get("attribute")),
        fields,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _as_int(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _id(value: object) -> UserId:
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None
