"""The messages of the feed (docs/feed.md): JSON objects, told apart by their `type`.

Everything that a server sends is a `Hello`, an `Event`, a `Picture` or an `Answer`. Events are numbered, and a client
that comes back asks for those after the last one that it has. Pictures are not: each replaces the one before it.

Times of day are ISO 8601 in UTC, lengths are seconds. A client ignores fields and types that it does not know.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.strict_json import whole_text

VERSION = 1
"""Of the messages; it grows when a client could misunderstand one."""
KINDS = ("audio", "video", "share", "transcript", "chat", "other")
"""By which a row counts messages."""
WATCHED = frozenset(("transcript", "chat", "frame"))
"""Events that only clients get that watch their stream."""


class Hello(Struct, frozen=True, tag="hello"):
    """The first message of a server."""

    version: int
    rtms: str
    """The version of the package."""
    run: str
    """Names the process that runs. Another one counts events from 1 again."""
    title: str
    """What runs, for people: `listen on http://…`."""
    since: str
    """When it started."""
    seq: int
    """The number of the last event so far."""
    oldest: int
    """The number of the oldest event that is kept; `seq + 1` if there is none."""
    control: bool
    """Whether streams may be stopped; marks always may be set."""
    resumed: bool = False
    """Whether the events that follow go on where the client asked for. Otherwise it forgets what it has."""


class Event(Struct, frozen=True, tag="event", omit_defaults=True):
    """Something that happened. Which fields there are depends on `event`.

    `started`, `finished`, `connection`, `mark`, `transcript`, `chat` and `frame` have a `stream_id`; `notice` has a
    text only. Other names are those of `--json`: `tap`, `hook`, `notify`, `events`, `remote`, `fleet`, ….
    """

    seq: int
    at: str
    event: str
    stream_id: str | None = None
    t: float | None = None
    """Seconds on the stream's clock, since its recording began."""
    text: str = ""
    """For people; of a transcript or a chat message, what was said or written."""
    is_warning: bool = False
    product: str = ""
    """Of `started` and `finished`, as the next ones."""
    id: str = ""
    recording: str | None = None
    """The folder's name; `None` if nothing is recorded."""
    status: str = ""
    """Of `finished`: `complete`, `interrupted`, `failed`, `revoked`."""
    reason: str = ""
    """Of `finished`, why it ended; of `connection`, why it closed."""
    losses: int = 0
    channel: str = ""
    """Of `connection` and `frame`."""
    direction: str = ""
    """Of `frame`: `in`, `out`, `state`."""
    state: str = ""
    """Of `connection`: `opening`, `open`, `refused`, `closed`."""
    code: int | None = None
    user_id: UserId = None
    """Of `transcript` and `chat`, as the next ones."""
    user_name: str | None = None
    line_id: str = ""
    """What a line has in common with those that change it later: when it began on Zoom's clock, or its message's id."""
    change: str = ""
    """What it does to an earlier one: `update`, `delete`, `emoji_add`, `emoji_remove`."""
    to: str | None = None
    """To whom a chat message was sent, if not to everyone."""
    fields: dict[str, object] = {}
    """Of other names: what `--json` has."""

    @property
    def is_watched(self) -> bool:
        """Whether only clients get it that watch its stream."""
        return self.event in WATCHED


class KeepAlives(Struct, frozen=True):
    """How keep-alives are answered, over all channels or of one."""

    received: int = 0
    answered: int = 0
    slowest_ms: float | None = None
    last_s: float | None = None
    """How long ago the last one came; over all channels, the longest of those that are up."""


class Row(Struct, frozen=True):
    """A stream in short."""

    stream_id: str
    product: str
    id: str
    recording: str | None
    """The folder's name; `None` if nothing is recorded."""
    state: str
    """`streaming`, `connecting`, `lost`, `ending`, or another state of Zoom's, such as `paused`."""
    seconds: float
    """On the stream's clock."""
    messages: dict[str, int]
    """By `KINDS`; a kind without any is left out."""
    nbytes: int
    losses: int
    warnings: int
    people: int
    reconnects: int
    """Connections beyond the first of each channel."""
    keep_alives: KeepAlives
    level: float = 0.0
    """The peak of the loudest, 0 to 1."""
    speaker: str = ""
    worker: int | None = None
    """The worker that records it, where there are several."""


class Channel(Struct, frozen=True):
    """One socket of a stream."""

    name: str
    phase: str
    since_s: float
    """How long it is in this phase."""
    last_in_s: float | None
    """How long ago something came."""
    keep_alives: KeepAlives
    connects: int
    close_code: int | None
    note: str
    """Why it is lost or gone, for people."""


class Person(Struct, frozen=True):
    """A participant."""

    user_id: UserId
    """`None` stands for everyone's audio, mixed."""
    name: str
    level: float | None
    """The peak of the last audio, 0 to 1; `None` without audio of their own."""
    is_speaking: bool = False
    gaps: int = 0
    gap_seconds: float = 0.0


class Track(Struct, frozen=True):
    """One file of a recording."""

    path: str
    kind: str
    user_id: UserId
    user_name: str | None
    seconds: float
    packets: int
    level: float = 0.0
    gaps: int = 0
    gap_seconds: float = 0.0


class Tapped(Struct, frozen=True):
    """Where a stream is passed on to."""

    what: str
    target: str
    nbytes: int
    user_id: UserId = None
    user_name: str | None = None
    drops: int = 0
    late_seconds: float = 0.0
    restarts: int = 0


class Warned(Struct, frozen=True):
    """Something that a person should know of a stream."""

    text: str
    count: int
    """How often it came."""
    t: float
    """When it first came, on the stream's clock, in seconds."""


class Detail(Struct, frozen=True):
    """What a picture says of a stream that a client watches, beside its row."""

    stream_id: str
    folder: str | None
    steps: list[tuple[str, float]]
    """The lifecycle so far: what, and when on the stream's clock."""
    channels: list[Channel]
    people: list[Person]
    tracks: list[Track]
    taps: list[Tapped]
    counts: dict[str, int]
    """Messages that came in, by the type's name."""
    nbytes: dict[str, int]
    warnings: list[Warned]
    refused: dict[str, str]
    """Kinds of media that were refused, with the reason."""
    stream_state: int | None
    session_state: int | None
    ending: str
    backlog_nbytes: int
    written_nbytes: int


class Connection(Struct, frozen=True):
    """A connection that belongs to no stream, such as the event WebSocket."""

    text: str
    is_good: bool


class Ignored(Struct, frozen=True):
    """A webhook that started nothing."""

    at: str
    what: str
    """Its event and stream, for people."""
    why: str


class Worker(Struct, frozen=True):
    """A process that records, where there are several."""

    name: str
    state: str
    streams: int
    restarts: int | None = None
    slots: int | None = None
    silent_s: float | None = None
    """How long it has said nothing; of workers on a queue."""


class Picture(Struct, frozen=True, tag="picture"):
    """Everything as it stands. It comes about once a second, while there is a client."""

    seq: int
    """The number of the last event before it."""
    at: str
    streams: list[Row]
    watched: list[Detail] = []
    connections: list[Connection] = []
    hints: list[str] = []
    """What to do as long as nothing has come, for people."""
    ignored: list[Ignored] = []
    """The last webhooks that started nothing."""
    ignored_count: int = 0
    workers: list[Worker] = []
    free_nbytes: int | None = None
    """On the disk for recordings."""
    not_ready: list[str] = []
    """Why no stream would be taken now."""
    is_stopping: bool = False
    is_connected: bool = True
    """Of a mirror: whether it reaches the recorder. Otherwise all of this is as it was."""
    lost_at: str | None = None
    """Since when it does not; `None` if it never has."""


class Answer(Struct, frozen=True, tag="answer"):
    """Whether a client's order was carried out."""

    id: int
    ok: bool
    why: str = ""
    """Why not, for people."""


class Watch(Struct, frozen=True, tag="watch"):
    """From a client: from which streams it wants details, transcript, chat and frames.

    It replaces the former one. The events of newly watched streams that are kept follow, from `after` on; a client
    that asked for all events (`?events=all`) has them already.
    """

    streams: list[str] | Literal["*"]
    after: int = 0


class Mark(Struct, frozen=True, tag="mark"):
    """From a client: mark this moment in a stream."""

    id: int
    """The client's number of the order, which its answer has."""
    stream_id: str
    text: str


class Stop(Struct, frozen=True, tag="stop"):
    """From a client: stop a stream. It needs `control`."""

    id: int
    stream_id: str


Order = Mark | Stop
FromServer = Hello | Event | Picture | Answer
FromClient = Watch | Mark | Stop

_write = msgspec.json.Encoder(enc_hook=str).encode


def write(message: object) -> bytes:
    """A message as JSON.

    Half of a pair of surrogates, as in a path that is not UTF-8, becomes U+FFFD: an event that could not be written
    would cost each client its connection, again and again.
    """
    try:
        return _write(message)
    except UnicodeError:
        return _write(whole_text(msgspec.to_builtins(message, enc_hook=str)))


read_server = msgspec.json.Decoder(FromServer).decode
"""Read a server's message.

:raises msgspec.MsgspecError: if it is not one, or of a type that is not known.
"""
read_client = msgspec.json.Decoder(FromClient).decode
"""Read a client's message; raises as `read_server`."""
